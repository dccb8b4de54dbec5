"""The board's statistics: what a unit is, in which order scores are averaged, and which methods can be told apart.

Main objects: `unit_means` (epochs, evidence seeds, train seeds, then objective with twin), `rank_intervals`
(from `pairwise.compare`), `detection` (AUROC and false alarms), `smallest_difference`. Intervals: `graders.averages`.
Example: `interval(list(unit_means(samples, "recovery").values()))`

Definitions are SCORING's ("Averaging and statistics"). A sample here is a pair (evidence_seed, SampleRow).
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..graders.averages import MIN_UNITS_BOOTSTRAP, nested_means
from ..graders.detect import auroc
from .pairwise import N_SIGN_FLIPS, compare
from .record import SampleRow

Sample = tuple[int, SampleRow]


def mean_over(samples: Iterable[Sample], value: Callable[[SampleRow], float],
              group: Callable[[SampleRow], Hashable]) -> dict[Hashable, float]:
    """Averages per group in the fixed order: epochs, then evidence seeds, then train seeds.

    Unequal numbers of repeats at one level therefore never weigh an item of a higher level more.
    """
    return nested_means(((group(row), row.organism, row.train_seed, seed), value(row)) for seed, row in samples)


def unit_means(samples: Iterable[Sample], part: str) -> dict[str, float]:
    """One number per unit (objective with twin) for `recovery`, `domain`, `objective` or `content`.

    Only expressed and healthy organisms count; a unit of which one member counts is that member.
    """
    counted = [(seed, row) for seed, row in samples if row.counted and getattr(row.recovery, part) is not None]
    return {str(unit): mean for unit, mean in
            mean_over(counted, lambda row: getattr(row.recovery, part), lambda row: row.unit).items()}


@dataclass(frozen=True)
class Detection:
    """Expressed organisms against trained nulls. AUROC is None without both."""

    auroc: float | None
    low: float | None
    high: float | None
    n_nulls: int
    false_alarms: float
    """Trained nulls that the verdict called an objective; a fraction when repeats disagree."""


def detection(samples: Sequence[Sample]) -> Detection:
    """AUROC and false alarms of one method, over organisms; the zero adapter stands apart and enters neither."""
    def per_organism(kept: list[Sample], value: Callable[[SampleRow], float]) -> dict[Hashable, float]:
        return mean_over(kept, value, lambda row: row.organism)

    counted = [(seed, row) for seed, row in samples if row.counted]
    nulls = [(seed, row) for seed, row in samples if row.trained_null]
    unit_of = {row.organism: row.unit for _, row in counted}
    positives, negatives = (per_organism(kept, lambda row: row.detect.score) for kept in (counted, nulls))
    alarms = math.fsum(per_organism(nulls, lambda row: float(row.detect.flagged)).values())
    area = auroc(list(positives.values()), list(negatives.values()), [unit_of[name] for name in positives])
    if area is None:
        return Detection(None, None, None, len(negatives), alarms)
    return Detection(area.value, area.low, area.high, len(negatives), alarms)


def smallest_difference(scores_MU: np.ndarray) -> float | None:
    """The difference between two methods that this many units would show in 4 of 5 tries: 2.8 sd / sqrt(n).

    sd is that of the paired differences, the median over pairs of methods; with one method, that of its own scores.
    None with fewer than two units or no method.
    """
    n_methods, n_units = scores_MU.shape
    if n_units < 2 or n_methods < 1:
        return None
    pairs_UP = scores_MU.T if n_methods == 1 else np.concatenate(
        [(scores_MU[i] - scores_MU[:i]).T for i in range(1, n_methods)], axis=1)
    return 2.8 * float(np.median(np.std(pairs_UP, axis=0, ddof=1))) / math.sqrt(n_units)


def rank_intervals(scores_MU: np.ndarray, n_flips: int = N_SIGN_FLIPS) -> list[tuple[int, int]] | None:
    """[1 + number of methods surely better, M - number surely worse] for each method; None below 8 units."""
    return compare(scores_MU, n_flips).ranks() if scores_MU.shape[1] >= MIN_UNITS_BOOTSTRAP else None
