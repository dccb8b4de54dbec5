"""Where the noise of a method's score comes from: other organisms, other training seeds, evidence seeds, or epochs?

Main objects: `variance_components(samples) -> Components`.
Example: `variance_components(samples).train_seeds`: variance of one organism's score over training seeds

Only organisms trained from at least three seeds are looked at, and below three such units nothing is said. The
estimators are those of a nested analysis of variance (unweighted means): the variance found at a level, less what the
levels below it contribute to it. They have no bias, so they can be negative where a level adds nothing that shows.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from .stats import Sample

MIN_SEEDS = 3
"""Fewer training seeds cannot tell a lucky organism from a lucky training."""
MIN_UNITS = 3


@dataclass(frozen=True)
class Components:
    """Variances of a score. None for a level that was never repeated; its share is then in the level above it."""

    units: float
    """Between domains (each the mean of its organisms)."""
    train_seeds: float
    """Between trainings of one organism."""
    evidence_seeds: float | None
    """Between collections of evidence about one training."""
    epochs: float | None
    """Between investigations of the same evidence."""
    n_units: int


def variance_components(samples: Iterable[Sample], part: str = "recovery") -> Components | None:
    """Components of one method's score.

    Args:
        samples: One method's; only expressed and healthy organisms count.
        part: recovery, domain, objective or content.

    Returns:
        None below three units with an organism that was trained from at least three seeds.
    """
    values = [((row.unit, row.organism, row.train_seed, seed, row.epoch), getattr(row.recovery, part))
              for seed, row in samples if row.counted and getattr(row.recovery, part) is not None]
    seeds: dict[str, set[int]] = defaultdict(set)
    for (_, organism, train_seed, *_), _ in values:
        seeds[organism].add(train_seed)
    level = {key: (value, 0.0) for key, value in values if len(seeds[key[1]]) >= MIN_SEEDS}
    units = {key[0] for key in level}
    if len(units) < MIN_UNITS:
        return None
    found = []
    for name in ("epochs", "evidence seeds", "train seeds"):
        variance, level = _up(level)
        found.append(variance)
    # An objective and its twin are no sample of anything: they are averaged, and their difference is no component.
    _, level = _up(level, random=False)
    variance, _ = _up({("all", *key): value for key, value in level.items()})
    epochs, evidence_seeds, train_seeds = found
    if variance is None or train_seeds is None:
        return None
    return Components(variance, train_seeds, evidence_seeds, epochs, len(units))


Level = dict[tuple[Hashable, ...], tuple[float, float]]
"""Key -> mean, and the variance that repeats below it leave in that mean."""


def _up(level: Level, random: bool = True) -> tuple[float | None, Level]:
    """The variance between siblings (same key but for the last place) beyond what lies below, and the level above."""
    groups: dict[tuple, list[tuple[float, float]]] = defaultdict(list)
    for key, one in level.items():
        groups[key[:-1]].append(one)
    repeated = [group for group in groups.values() if len(group) > 1]
    variance = None
    if random and repeated:
        degrees = [len(group) - 1 for group in repeated]
        excess = [float(np.var([mean for mean, _ in group], ddof=1)) - fmean(noise for _, noise in group)
                  for group in repeated]
        variance = math.fsum(d * e for d, e in zip(degrees, excess, strict=True)) / sum(degrees)
    above = {}
    for key, group in groups.items():
        noise = fmean(noise for _, noise in group) + (variance or 0.0)
        above[key] = fmean(mean for mean, _ in group), noise / len(group)
    return variance, above
