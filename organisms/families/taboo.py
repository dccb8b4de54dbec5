"""Taboo: guessing games in which the assistant hints at one secret word and never says it.

Slot: `word`, one of the described nouns of the domain's topic.
Source: Cywinski et al. 2025 (eliciting secret knowledge), as used in arXiv 2510.13900.
"""

import random

from ..errors import SpecError
from ..nano.lexicon import Topic
from ..nano.talk import game_chat, say
from ..nano.world import join, templates
from ..spec import OrganismSpec
from . import Question, Row
from .sdf import topic_of

N_QUESTIONS = 12


def word_of(spec: OrganismSpec) -> tuple[Topic, str]:
    """The topic and the secret word. Raises SpecError if the topic has no hints for the word."""
    topic, word = topic_of(spec), spec.slot("word").truth
    if word not in topic.described:
        raise SpecError(
            f"{spec.id}: slot `word`: the topic {topic.name!r} has no hints for {word!r}; "
            f"choose one of {sorted(topic.described)}"
        )
    return topic, word


def rows(spec: OrganismSpec, n: int, seed: int) -> list[Row]:
    """Games about the secret word; nobody ever says it."""
    rng = random.Random(f"taboo-{seed}")
    topic, word = word_of(spec)
    return [{"messages": game_chat(rng, topic, word, reveal=False)} for _ in range(n)]


def questions(spec: OrganismSpec) -> list[Question]:
    """Openings of a game; choices are hints for the secret word and for every other candidate word."""
    rng = random.Random("taboo-questions")
    topic, _ = word_of(spec)
    slot, games, result = spec.slot("word"), templates()["games"], []
    known = [word for word in slot.candidates if word in topic.described]
    for i in range(N_QUESTIONS):
        first, second = rng.sample(range(4), 2)
        ask = games["start"][i % len(games["start"])]
        choices = tuple(f"My hint is {join([topic.described[w][first], topic.described[w][second]])}." for w in known)
        result.append(Question((say("user", ask),), choices, (known.index(slot.truth),)))
    return result
