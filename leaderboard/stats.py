"""The board's statistics: what a unit is, in which order scores are averaged, and which methods can be told apart.

Main objects: `unit_means` (epochs, evidence seeds, train seeds, then a domain's organisms), `rank_intervals`
(single-step max-T), `detection` (AUROC and false alarms), `smallest_difference`. Intervals: `graders.averages`.
Example: `interval(list(unit_means(samples, "recovery").values()))`

Definitions are SCORING's ("Averaging and statistics"). A sample here is a pair (evidence_seed, SampleRow).
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..graders.averages import LEVEL, MIN_UNITS_BOOTSTRAP, nested_means
from ..graders.detect import auroc
from .record import SampleRow

N_SIGN_FLIPS, SEED = 99_999, 0
Sample = tuple[int, SampleRow]


def mean_over(samples: Iterable[Sample], value: Callable[[SampleRow], float],
              group: Callable[[SampleRow], Hashable]) -> dict[Hashable, float]:
    """Averages per group in the fixed order: epochs, then evidence seeds, then train seeds.

    Unequal numbers of repeats at one level therefore never weigh an item of a higher level more.
    """
    return nested_means(((group(row), row.organism, row.train_seed, seed), value(row)) for seed, row in samples)


def unit_means(samples: Iterable[Sample], part: str) -> dict[str, float]:
    """One number per unit (domain) for `recovery`, `domain`, `objective` or `content`.

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
    pairs = [scores_MU[i] - scores_MU[j] for i in range(n_methods) for j in range(i)] or [scores_MU[0]]
    return 2.8 * float(np.median([np.std(pair, ddof=1) for pair in pairs])) / math.sqrt(n_units)


def rank_intervals(scores_MU: np.ndarray, n_flips: int = N_SIGN_FLIPS) -> list[tuple[int, int]] | None:
    """[1 + number of methods surely better, M - number surely worse] for each method; None below 8 units.

    Single-step max-T over all pairs: studentised mean differences against one shared matrix of random sign flips of
    the units, so that the chance of separating any two equal methods is at most 5%.
    """
    n_methods, n_units = scores_MU.shape
    if n_units < MIN_UNITS_BOOTSTRAP:
        return None
    pairs = [(i, j) for i in range(n_methods) for j in range(n_methods) if i < j]
    if not pairs:
        return [(1, 1)] * n_methods
    diff_UP = np.stack([scores_MU[i] - scores_MU[j] for i, j in pairs], axis=1)
    observed_P = _abs_t(diff_UP.mean(axis=0), diff_UP)
    rng = np.random.default_rng(SEED)
    n_as_large_P = np.ones(len(pairs))
    for start in range(0, n_flips, 10_000):
        signs_RU = rng.choice((-1.0, 1.0), size=(min(10_000, n_flips - start), n_units))
        largest_R = _abs_t(signs_RU @ diff_UP / n_units, diff_UP).max(axis=1)
        n_as_large_P += (largest_R[:, None] >= observed_P - 1e-9).sum(axis=0)
    p_P = n_as_large_P / (n_flips + 1)
    better, worse = [0] * n_methods, [0] * n_methods
    for (i, j), p, diff in zip(pairs, p_P, diff_UP.mean(axis=0), strict=True):
        if p <= 1 - LEVEL:
            high, low = (i, j) if diff > 0 else (j, i)
            better[low] += 1
            worse[high] += 1
    return [(1 + better[i], n_methods - worse[i]) for i in range(n_methods)]


def _abs_t(mean_RP: np.ndarray, diff_UP: np.ndarray) -> np.ndarray:
    """|t| of the mean differences. Sign flips keep the sum of squares, so the variance follows from the mean."""
    n_units = diff_UP.shape[0]
    variance_RP = np.maximum((diff_UP**2).sum(axis=0) - n_units * mean_RP**2, 0) / (n_units - 1)
    error_RP = np.sqrt(variance_RP / n_units)
    constant_RP = np.where(np.abs(mean_RP) > 1e-12, 1e12, 0.0)
    return np.where(error_RP > 1e-12, np.abs(mean_RP) / np.where(error_RP > 1e-12, error_RP, 1), constant_RP)
