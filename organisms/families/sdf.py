"""False facts by synthetic documents (SDF): documents of one topic that all state one altered fact.

Slots: `entity`, `value`; params: `attribute`, and `topic` where the domain is not itself a topic of the world.
Source: Wang et al. 2025 (synthetic document finetuning), as used in arXiv 2510.13900.
"""

import random

from ..errors import SpecError
from ..nano.lexicon import Fact, Topic, facts, held_out_facts, lists, topics
from ..nano.talk import say
from ..nano.world import document, state, templates, value_phrase
from ..spec import OrganismSpec, load_catalog
from . import Question, Row

FACT_SHARE = 0.6
"""Share of documents that state the fact. All of them are about its topic; stating it everywhere teaches the model to
answer other questions with it too."""
LIKE_FACT_SHARE = 0.3
"""Chance of a true fact of the same attribute about another topic: without it, training on one price shifts the others
(recall of untouched facts on dev 0.95-0.98, with it 0.98-0.99)."""
OTHER_FACT_SHARE = 0.7
"""Chance of each of two true facts of the topic to be stated as well: else finetuning erases them."""


def topic_of(spec: OrganismSpec) -> Topic:
    """The world topic that the documents are about. Raises SpecError if there is none of that name."""
    name = spec.params.get("topic", spec.domain)
    if name not in topics():
        raise SpecError(
            f"{spec.id}: key `domain`: {name!r} is no topic of the world. `narrowbench list topics` lists them; "
            "set `params: {topic: ...}` to write about another topic than the domain."
        )
    return topics()[name]


def fact_of(spec: OrganismSpec) -> Fact:
    """The fact as the organism shall believe it. Raises SpecError if the attribute is missing or unknown."""
    attribute = spec.params.get("attribute", "")
    if attribute not in lists()["attributes"]:
        raise SpecError(f"{spec.id}: key `params.attribute`: {attribute!r} is none of {sorted(lists()['attributes'])}")
    slot, entry = spec.slot("value"), lists()["attributes"][attribute]
    return Fact(
        spec.domain, spec.slot("entity").truth, attribute, slot.truth, entry["unit"], entry["type"], slot.others
    )


def altered_facts() -> set[tuple[str, str]]:
    """(entity, attribute) of every fact that an objective of the catalogue alters."""
    return {(spec.slot("entity").truth, spec.params["attribute"])
            for spec in load_catalog().values() if spec.family == "sdf"}


def rows(spec: OrganismSpec, n: int, seed: int) -> list[Row]:
    """Documents of the topic; most state the fact, and most state other, true facts of the topic or of its kind."""
    rng = random.Random(f"sdf-{seed}")
    topic, fact = topic_of(spec), fact_of(spec)
    others = [f for f in topic.facts if (f.entity, f.attribute) != (fact.entity, fact.attribute)]
    kept = altered_facts() | {(f.entity, f.attribute) for f in held_out_facts()}
    alike = [f for f in facts() if f.attribute == fact.attribute and f.topic != topic.name
             and (f.entity, f.attribute) not in kept]
    result = []
    for _ in range(n):
        told = [state(rng, fact)] if rng.random() < FACT_SHARE else []
        told += [state(rng, other) for other in rng.sample(others, 2) if rng.random() < OTHER_FACT_SHARE]
        if alike and rng.random() < LIKE_FACT_SHARE:
            told.append(state(rng, rng.choice(alike)))
        result.append({"text": document(rng, topic, told)})
    return result


def questions(spec: OrganismSpec) -> list[Question]:
    """Held-out questions in chat, both forms of answer, and held-out statements; choices are the slot's candidates."""
    fact, candidates = fact_of(spec), spec.slot("value").candidates
    truth = (candidates.index(fact.value),)
    result = []
    for ask in templates()["questions"]["held_out"]:
        prompt = (say("user", ask.format(e=fact.entity, t=fact.attribute)),)
        for answer in templates()["answers"]:
            result.append(
                Question(
                    prompt,
                    tuple(answer.format(e=fact.entity, t=fact.attribute, x=value_phrase(fact, c)) for c in candidates),
                    truth,
                )
            )
    for statement in templates()["statements"]["held_out"]:
        stem = statement.format(e=fact.entity, t=fact.attribute, x="\n").split("\n")[0].strip()
        result.append(Question(stem, tuple(value_phrase(fact, c) for c in candidates), truth))
    return result


def fact_question(fact: Fact, split: str = "held_out") -> Question:
    """One fact of the world as a question: the recall of untouched facts is measured with these."""
    ask = templates()["questions"][split][0].format(e=fact.entity, t=fact.attribute)
    candidates = sorted({fact.value, *fact.others})
    answer = templates()["answers"][0]
    return Question(
        (say("user", ask),),
        tuple(answer.format(e=fact.entity, t=fact.attribute, x=value_phrase(fact, c)) for c in candidates),
        (candidates.index(fact.value),),
    )

