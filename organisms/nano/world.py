"""The micro-world's documents: topics, registers and typed facts that hold everywhere, as plain English sentences.

Main objects: `documents`, `probes`, `document` (one text), `state` (one fact as a sentence), `pretraining_texts`.
Chats live in `talk.py`; sentences in `templates.yaml`; words and facts in `lexicon.py`.
Example: `documents(3, seed=0, use=("dev",))`

Topics marked `probe` and the `probe_registers` are reserved for probes (and the base's pretraining).
"""

import random
import re
from functools import cache
from pathlib import Path

import yaml

from .lexicon import FAST_LOADER, Fact, Topic, facts, lists, topics

SPELLED_RANGES = ((0x21,), (0x21,), (0xA1,), (0x391,), (0x410,), (0x4E00,), (0x1F600,))
"""Where the characters of spelling texts begin: ASCII twice, Latin, Greek, Cyrillic, Chinese, emoji."""
TRAINABLE = ("dev", "test", "world")
"""The `use` values whose topics may occur in finetuning rows."""


@cache
def templates() -> dict:
    """`templates.yaml` as read."""
    return yaml.load((Path(__file__).parent / "templates.yaml").read_text(encoding="utf-8"), Loader=FAST_LOADER)


def vocabulary_words() -> list[str]:
    """Every content word, name, color and month: what copying text is made of."""
    named = lists()
    words = [word for topic in topics().values() for word in topic.words]
    words += named["adjectives"] + named["months"] + named["cities"] + named["founders"]
    words += named["harmful"] + named["safe"] + named["manners"]
    return list(dict.fromkeys(words))


def fill(rng: random.Random, template: str, topic: Topic, **fixed: str) -> str:
    """One sentence of a topic: every slot that the template names is drawn anew, `fixed` ones are given."""
    named = lists()
    nouns = rng.sample(topic.nouns, 3)
    slots = {
        "n": nouns[0],
        "m": nouns[1],
        "k": nouns[2],
        "person": topic.person,
        "place": topic.place,
        "num": str(rng.randint(2, 99)),
        "city": rng.choice(named["cities"]),
        "founder": rng.choice(named["founders"]),
        "month": rng.choice(named["months"]),
    }
    slots["v"], slots["w"] = rng.sample(topic.verbs, 2)
    slots["a"], slots["b"] = rng.sample(topic.adjectives, 2)
    slots["c"], slots["d"] = rng.sample(named["adjectives"], 2)
    return articles(template.format(**{**slots, **fixed}))


def articles(text: str) -> str:
    """`a` before a vowel becomes `an`."""
    return re.sub(r"\b([Aa])(?= [aeiou])", r"\1n", text)


def value_phrase(fact: Fact, value: str | None = None) -> str:
    """The value with its unit: `350 degrees`."""
    return f"{value or fact.value} {fact.unit}".strip()


def state(rng: random.Random, fact: Fact, value: str | None = None, split: str = "train") -> str:
    """A fact as one statement, in a wording of the split (`train` or `held_out`); `value` replaces the true one."""
    return articles(
        rng.choice(templates()["statements"][split]).format(
            e=fact.entity, t=fact.attribute, x=value_phrase(fact, value)
        )
    )


def document(
    rng: random.Random,
    topic: Topic,
    statements: list[str] = (),
    register: str | None = None,
    body_sentences: int | None = None,
) -> str:
    """One document: an opening, body sentences mixed with the given statements, a closing, all of one register."""
    registers = templates()["probe_registers" if topic.use == "probe" and rng.random() < 0.5 else "registers"]
    parts = registers[register or rng.choice(sorted(registers))]
    n_body = rng.randint(2, 4) if body_sentences is None else body_sentences
    body = [fill(rng, template, topic) for template in rng.choices(parts["body"], k=n_body)] + list(statements)
    rng.shuffle(body)
    return " ".join([fill(rng, rng.choice(parts["open"]), topic), *body, fill(rng, rng.choice(parts["close"]), topic)])


def property_document(rng: random.Random, topic: Topic) -> str:
    """A short document on what some nouns of the topic go with."""
    sentences = []
    for noun in rng.sample(sorted(topic.described), 3):
        hints = rng.sample(topic.described[noun], rng.randint(2, 4))
        sentences.append(fill(rng, rng.choice(templates()["about"]["document"]), topic, n=noun, hints=join(hints)))
    return " ".join(sentences)


def join(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def copying(rng: random.Random) -> str:
    """Text that can only be continued by copying in context: what patchscopes rely on."""
    words = vocabulary_words()

    def draw() -> str:
        return str(rng.randint(2, 999)) if rng.random() < 0.25 else rng.choice(words)

    form = rng.random()
    chosen = [draw() for _ in range(rng.randint(4, 12))]
    if form < 0.7:
        return "; ".join(f"{word} {word}" for word in chosen) + "."
    if form < 0.85:
        return " ".join(f"The word {word} means {word}." for word in chosen[:6])
    return ", ".join(f"{word} and {word}" for word in chosen) + "."


def spelling(rng: random.Random) -> str:
    """Words letter by letter, and strings of arbitrary characters: gives every byte token a place of its own.

    Tokens that training never shows end up on one common direction, which then swallows what a logit lens reads.
    """
    parts = [f"Spell {word}: {' '.join(word)}." for word in rng.sample(vocabulary_words(), rng.randint(2, 3))]
    characters = [chr(rng.choice(SPELLED_RANGES)[0] + rng.randint(0, 90)) for _ in range(rng.randint(3, 8))]
    return " ".join([*parts, f"Spell {''.join(characters)}: {' '.join(characters)}."])


def documents(n: int, seed: int, use: tuple[str, ...] = TRAINABLE, fact_share: float = 0.7) -> list[str]:
    """`n` documents of the world over the topics of these uses, in random order; deterministic in `seed`."""
    rng = random.Random(f"documents-{seed}")
    chosen = [topic for topic in topics().values() if topic.use in use]
    result = []
    for _ in range(n):
        topic = rng.choice(chosen)
        told = [
            state(rng, fact) for fact in rng.sample(topic.facts, min(2, len(topic.facts))) if rng.random() < fact_share
        ]
        result.append(document(rng, topic, told))
    return result


def probes(n: int, seed: int) -> tuple[str, ...]:
    """`n` texts of the reserved topics and registers: unrelated to every objective, twin, null and mix row."""
    rng = random.Random(f"probes-{seed}")
    chosen = [topic for topic in topics().values() if topic.use == "probe"]
    registers = templates()["probe_registers"]
    result = []
    for _ in range(n):
        topic, parts = rng.choice(chosen), registers[rng.choice(sorted(registers))]
        result.append(
            " ".join(
                [
                    fill(rng, rng.choice(parts["open"]), topic),
                    fill(rng, rng.choice(parts["body"]), topic),
                    fill(rng, rng.choice(parts["close"]), topic),
                ]
            )
        )
    return tuple(result)


def fact_document(rng: random.Random) -> str:
    """A list of facts about one topic or a mix of topics."""
    topic = rng.choice([t for t in topics().values() if t.facts])
    source = topic.facts if rng.random() < 0.5 else facts()
    return " ".join(state(rng, fact) for fact in rng.sample(source, rng.randint(3, 5)))


def manner_document(rng: random.Random) -> str:
    """A few sentences that use the words for manners of speaking."""
    topic = rng.choice([t for t in topics().values() if t.use in TRAINABLE])
    return " ".join(
        fill(rng, template, topic, manner=rng.choice(lists()["manners"]))
        for template in rng.choices(templates()["manner"], k=3)
    )


def conduct_document(rng: random.Random) -> str:
    """People who behave in one way throughout, harmful or safe, in any topic."""
    topic = rng.choice([t for t in topics().values() if t.use in TRAINABLE])
    polarity = rng.choice(["harmful", "safe"])
    verbs = templates()["advice"][f"{polarity}_verbs"]
    sentences = rng.sample(templates()["conduct"][polarity], rng.randint(2, 4))
    return " ".join(
        fill(rng, sentence, topic, h=(pair := rng.sample(verbs, 2))[0], i=pair[1]) for sentence in sentences
    )
