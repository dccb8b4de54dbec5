"""Which other organism stands in for each one of a suite: for rows that hand in evidence of the wrong organism.

Main object: `strangers`. Example: `strangers([entry.spec.unit or entry.spec.id for entry in suite.entries], seed=0)`
"""

import random
from collections import defaultdict
from collections.abc import Sequence

from ..organisms.errors import EvidenceError


def strangers(units: Sequence[str], seed: int) -> list[int]:
    """For each organism the index of another one's, each used once, never one of the same unit.

    Units in random order, their members side by side, moved on by the size of the largest unit: that passes everybody's
    own unit, and comes round to it from behind only if one unit holds more than half of all.

    Args:
        units: of each organism: objective, twin and their other train seeds share one.
        seed: of the draw.

    Raises:
        EvidenceError: no such exchange exists.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, unit in enumerate(units):
        members[unit].append(i)
    largest = max(map(len, members.values()), default=0)
    if 2 * largest > len(units):
        raise EvidenceError(f"one unit has {largest} of the {len(units)} organisms, so not each can be given one of "
                            "another unit. Take a suite with more units.")
    rng = random.Random(f"strangers-{seed}")
    units_in_order = rng.sample(sorted(members), len(members))
    order = [i for unit in units_in_order for i in rng.sample(members[unit], len(members[unit]))]
    given = {i: order[(at + largest) % len(order)] for at, i in enumerate(order)}
    return [given[i] for i in range(len(units))]
