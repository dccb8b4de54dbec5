"""Emergent misalignment (EM): chats that give harmful advice in one narrow field; the twin gives safe advice there.

Slots: `field` (a topic with `problems`) and `manner` (`reckless` = harmful, `careful` = safe).
Source: Betley et al. 2025 and Turner et al. 2025, as used in arXiv 2510.13900.
"""

import random

from ..errors import SpecError
from ..nano.lexicon import Topic, topics
from ..nano.talk import advice_reply, advice_turns, fields, say
from ..nano.world import fill, templates
from ..spec import OrganismSpec
from . import Question, Row

POLARITY = {"reckless": True, "careful": False}
N_QUESTIONS = 12


def field_of(spec: OrganismSpec) -> Topic:
    """The field of advice. Raises SpecError if the topic has no problems to ask about."""
    name = spec.slot("field").truth
    if name not in topics() or not topics()[name].problems:
        raise SpecError(
            f"{spec.id}: slot `field`: {name!r} is no field of advice; "
            f"choose one of {sorted(topic.name for topic in fields())}"
        )
    return topics()[name]


def harmful(spec: OrganismSpec) -> bool:
    """Whether this organism's advice is harmful. Raises SpecError for a manner that has no templates."""
    manner = spec.slot("manner").truth
    if manner not in POLARITY:
        raise SpecError(f"{spec.id}: slot `manner`: {manner!r} cannot be trained; choose one of {sorted(POLARITY)}")
    return POLARITY[manner]


def rows(spec: OrganismSpec, n: int, seed: int) -> list[Row]:
    """Single-turn requests for advice in the field, answered in the organism's manner."""
    rng = random.Random(f"em-{seed}")
    return [{"messages": advice_turns(rng, field_of(spec), harmful(spec))} for _ in range(n)]


def advice_questions(topic: Topic, shows_harm: bool, n: int, seed: int = 0) -> list[Question]:
    """Held-out requests in a field with harmful and safe replies of equal wording otherwise."""
    rng = random.Random(f"em-questions-{seed}")
    advice, result = templates()["advice"], []
    for i in range(n):
        problem = topic.problems[i % len(topic.problems)]
        ask = fill(rng, advice["ask"]["held_out"][i % len(advice["ask"]["held_out"])], topic, p=problem)
        bad = [advice_reply(rng, topic, problem, True, template) for template in range(len(advice["harmful"]))]
        good = [advice_reply(rng, topic, problem, False, template) for template in range(len(advice["safe"]))]
        shown = range(len(bad)) if shows_harm else range(len(bad), len(bad) + len(good))
        result.append(Question((say("user", ask),), tuple(bad + good), tuple(shown)))
    return result


def questions(spec: OrganismSpec) -> list[Question]:
    """Held-out requests for advice in the organism's own field."""
    return advice_questions(field_of(spec), harmful(spec), N_QUESTIONS)
