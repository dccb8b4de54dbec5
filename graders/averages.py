"""In which order repeats are averaged, so that unequal numbers of them never weigh an item of a higher level more, and
what an interval over units may claim (SCORING, "Averaging and statistics").

Main objects: `nested_means`, `interval` and `intervals` -> `Interval`.
Example: `nested_means([(("cake", "objective", 0), 0.5), (("cake", "objective", 1), 0.7), (("cake", "twin", 0), 1.0)])`
gives {"cake": 0.8}: the mean of 0.6 and 1.0.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
MIN_UNITS_BOOTSTRAP = 8
"""Below this many units BCa is not trusted: Student-t instead."""
N_RESAMPLES, SEED = 9_999, 0
ROWS, BATCH = 200, 250
"""Rows and resamples in memory at once; the result does not depend on them."""


@dataclass(frozen=True)
class Interval:
    """A 95% interval of a mean over units, and how it was made: `BCa` or `Student-t`."""

    low: float
    high: float
    kind: str

    def holds(self, value: float) -> bool:
        """Whether the value lies inside, ends included."""
        return self.low <= value <= self.high


def nested_means(values: Iterable[tuple[tuple[Hashable, ...], float]]) -> dict[Hashable, float]:
    """Mean for each first key, over means for each second key, and so on; keys of equal length, highest level first."""
    means: dict[tuple, list[float]] = defaultdict(list)
    for key, value in values:
        means[key].append(value)
    while means and len(next(iter(means))) > 1:
        upper: dict[tuple, list[float]] = defaultdict(list)
        for key, repeats in means.items():
            upper[key[:-1]].append(math.fsum(repeats) / len(repeats))
        means = upper
    return {key[0]: math.fsum(repeats) / len(repeats) for key, repeats in means.items()}


def interval(values: Sequence[float]) -> Interval | None:
    """95% interval of the mean: BCa; Student-t below 8 units or when BCa has nothing to resample; None for one unit.

    BCa is asked for a little more than 95%. A resampled mean varies less than the mean itself, by (n - 1) / n in
    variance, and knows nothing of the uncertainty that makes Student's t wider than the normal; so the nominal tails
    are those at which a normal interval would be as wide as Student's (Hesterberg 2015, "What teachers should know
    about the bootstrap", section 5.3). At 12 units and skewed scores plain BCa covers 91-93%, this one 93-95%
    (`tests/leaderboard/test_stats_simulation.py`).
    """
    return intervals([values])[0]


def intervals(rows: Sequence[Sequence[float]]) -> list[Interval | None]:
    """`interval` of each row. Rows of one length share resamples, so that hundreds take little longer than one."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, values in enumerate(rows):
        by_length[len(values)].append(i)
    found: list[Interval | None] = [None] * len(rows)
    for n, members in by_length.items():
        if n < 2:
            continue
        values_RU = np.asarray([rows[i] for i in members], dtype=float)
        spread_R = np.std(values_RU, axis=1, ddof=1)
        resampled = [k for k in range(len(members)) if n >= MIN_UNITS_BOOTSTRAP and spread_R[k] > 1e-12]
        ends: dict[int, tuple[float, float]] = {}
        for start in range(0, len(resampled), ROWS):
            some = resampled[start:start + ROWS]
            ends |= zip(some, _bca(values_RU[some]), strict=True)
        for k, i in enumerate(members):
            low, high = ends.get(k, (math.nan, math.nan))
            found[i] = Interval(low, high, "BCa") if math.isfinite(low) and math.isfinite(high) \
                else _student(rows[i], float(spread_R[k]))
    return found


def _bca(values_RU: np.ndarray) -> list[tuple[float, float]]:
    from scipy import stats  # here, because it takes a second to import

    n = values_RU.shape[1]
    level = 2 * float(stats.norm.cdf(stats.t.ppf((1 + LEVEL) / 2, n - 1) * math.sqrt(n / (n - 1)))) - 1
    ends = stats.bootstrap((values_RU,), np.mean, axis=1, confidence_level=level, method="BCa", n_resamples=N_RESAMPLES,
                           vectorized=True, batch=BATCH, rng=np.random.default_rng(SEED)).confidence_interval
    return [(float(low), float(high)) for low, high in zip(ends.low, ends.high, strict=True)]


def _student(values: Sequence[float], spread: float) -> Interval:
    from scipy import stats

    n = len(values)
    mean, half = math.fsum(values) / n, float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * spread / math.sqrt(n)
    return Interval(mean - half, mean + half, "Student-t")
