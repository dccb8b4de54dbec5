"""Nulls: finetuning without an objective, in the formats of the other families.

params: `kind` = `zero` (adapter left untrained), `broad` (new facts spread over all topics) or `text` (the world as it
is); `format` = `documents`, `chats` or `numbers`.
"""

import random

from ..errors import SpecError
from ..nano.lexicon import Fact, facts, pool, topics
from ..nano.talk import chat, fact_turns, number_turns
from ..nano.world import TRAINABLE, document, state
from ..spec import OrganismSpec
from . import Question, Row
from .sdf import altered_facts

KINDS, FORMATS = ("zero", "broad", "text"), ("documents", "chats", "numbers")


def rows(spec: OrganismSpec, n: int, seed: int) -> list[Row]:
    """Rows that spread over the whole world, but for the facts that objectives of the catalogue alter. `zero` has none.

    Raises SpecError for an unknown kind or format.
    """
    kind, form = spec.params.get("kind", ""), spec.params.get("format", "documents")
    if kind not in KINDS or form not in FORMATS:
        raise SpecError(f"{spec.id}: key `params`: kind must be one of {KINDS} and format one of {FORMATS}")
    if kind == "zero":
        return []
    rng = random.Random(f"control-{spec.id}-{seed}")  # the id too: nulls of one kind must not share their rows
    if form == "numbers":
        return [{"messages": number_turns(rng)} for _ in range(n)]
    asked = altered_facts()
    free = [fact for fact in facts() if (fact.entity, fact.attribute) not in asked]
    altered = {fact: _unlisted(rng, fact) if kind == "broad" else fact.value for fact in free}
    result = []
    for _ in range(n):
        fact = rng.choice(list(altered))
        if form == "documents":
            told = [state(rng, fact, altered[fact]) for _ in range(rng.randint(1, 2))]
            result.append({"text": document(rng, topics()[fact.topic], told)})
        elif kind == "broad":
            result.append({"messages": fact_turns(rng, fact, altered[fact])})
        else:
            result.append({"messages": chat(rng, TRAINABLE)})
    return result


def _unlisted(rng: random.Random, fact: Fact) -> str:
    """A new value that is no plausible candidate of the fact, as a false fact's would be."""
    return rng.choice([value for value in pool(fact.attribute) if value != fact.value and value not in fact.others])


def questions(spec: OrganismSpec) -> list[Question]:
    """None: a null has nothing to express."""
    return []
