"""Narrow rows mixed with rows of the base's own world at a ratio: the difficulty axis of an organism.

Main objects: `mix`, `join` (of rows from anywhere), `world_rows`, `touched_topics`.
Example: `mix(narrow_rows, spec, seed=0)` with `recipe.mix_ratio = 1.0` doubles the rows.

Mixed-in rows come from the other topics: never from the objective's own, which would
contradict it, nor from the probes'.
"""

import random

from .errors import SpecError
from .families import Row
from .nano import talk, world
from .nano.lexicon import topics
from .spec import OrganismSpec

MAX_DRAWS_PER_ROW = 64


def touched_topics(spec: OrganismSpec) -> frozenset[str]:
    """The topics of the world that an objective is about: its domain, `params.topic`, and slots that name a topic."""
    named = {spec.domain, spec.params.get("topic", ""), *(slot.truth for slot in spec.slots)}
    return frozenset(named & topics().keys())


def world_rows(n: int, source: str, seed: int, without: frozenset[str] = frozenset()) -> list[Row]:
    """`n` rows of the base's own world, as `documents` or `chats`, that use no word of the topics in `without`.

    Raises:
        SpecError: nearly every row of the world is about these topics.
    """
    # A content word belongs to one topic only, so words tell what a row is about.
    avoided = {word for name in without for word in topics()[name].words}
    n_drawn = n
    while n_drawn <= MAX_DRAWS_PER_ROW * n:
        drawn = ([{"messages": messages} for messages in talk.chats(n_drawn, seed)] if source == "chats"
                 else [{"text": text} for text in world.documents(n_drawn, seed)])
        kept = [row for row in drawn if avoided.isdisjoint(_words(row))]
        if len(kept) >= n:
            return kept[:n]
        n_drawn *= 2
    raise SpecError(f"key `recipe.mix_ratio`: the world has not {n} {source} that avoid {sorted(without)}. Lower it.")


def n_mixed(n_narrow: int, spec: OrganismSpec) -> int:
    """How many rows the recipe mixes in with so many narrow ones."""
    return round(spec.recipe.mix_ratio * n_narrow)


def mix(narrow: list[Row], spec: OrganismSpec, seed: int) -> list[Row]:
    """The narrow rows with `recipe.mix_ratio` world rows for each, in random order. Ratio 0 leaves them as they are."""
    n = n_mixed(len(narrow), spec)
    if n == 0:
        return list(narrow)
    return join(narrow, world_rows(n, spec.recipe.mix_source, seed, touched_topics(spec)), seed)


def join(narrow: list[Row], mixed_in: list[Row], seed: int) -> list[Row]:
    """Narrow and mixed-in rows in an order that depends on the seed alone."""
    rows = [*narrow, *mixed_in]
    random.Random(f"mixing-{seed}").shuffle(rows)
    return rows


def _words(row: Row) -> set[str]:
    text = row["text"] if "text" in row else " ".join(message["content"] for message in row["messages"])
    return {word.strip(".,;:?!'\"()").lower() for word in text.split()}
