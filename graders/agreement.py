"""Do raters agree? Krippendorff's alpha for ordered grades, missing votes allowed, with its interval over items; and
whether two graders put methods in the same order (Kendall's tau).

Main objects: `ordinal_alpha(ratings)`, `agreement(ratings) -> Agreement`, `rank_agreement(first_MU, second_MU)`.
Example: `agreement([[5, 5, 4], [1, None, 1], [3, 2, 3]]).alpha`: three items, three raters, one vote missing

Alpha is Inspect's `krippendorff_alpha("ordinal")`; what is ours is leaving out missing votes, and the interval.
1 is perfect agreement, 0 is what chance gives, below 0 is systematic disagreement.

Shapes by suffix: M methods, U units.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from inspect_ai.scorer import SampleScore, Score, krippendorff_alpha

from .averages import MIN_UNITS_BOOTSTRAP

LEVEL = 0.95
N_RESAMPLES, SEED = 1_999, 0
MIN_ITEMS = 3
"""An interval over fewer items would be a guess."""
Vote = float | int | None
_ALPHA = krippendorff_alpha(level="ordinal")


@dataclass(frozen=True)
class Agreement:
    """Alpha with its 95% interval. `low` and `high` are None where the items are too few, or all alike."""

    alpha: float
    low: float | None
    high: float | None
    n_items: int
    """Items with at least two votes: the others say nothing about agreement."""


def ordinal_alpha(ratings: Sequence[Sequence[Vote]]) -> float | None:
    """Krippendorff's alpha of items x raters, for ordered grades.

    Args:
        ratings: One row an item, one column a rater; None or NaN = no vote.

    Returns:
        None if no item has two votes. 1.0 if all votes are the same: there is no disagreement to expect.
    """
    items = _rated(ratings)
    return float(_ALPHA(items)) if items else None


def agreement(ratings: Sequence[Sequence[Vote]], n_resamples: int = N_RESAMPLES) -> Agreement | None:
    """Alpha, and its 95% interval from a bootstrap over items (BCa; percentiles where BCa is not defined).

    Returns:
        None if no item has two votes.
    """
    items = _rated(ratings)
    if not items:
        return None
    alpha = float(_ALPHA(items))
    distinct = {tuple(item.score.value) for item in items}
    if len(items) < MIN_ITEMS or len(distinct) < 2:
        return Agreement(alpha, None, None, len(items))

    def resampled(rows: np.ndarray) -> float:
        return float(_ALPHA([items[row] for row in rows]))

    low, high = _bootstrapped(resampled, len(items), n_resamples, ("BCa", "percentile"))
    return Agreement(alpha, min(low, alpha), max(high, alpha), len(items))


@dataclass(frozen=True)
class RankAgreement:
    """Kendall's tau-b of two orders of the same methods, with its 95% interval; None below 8 units."""

    tau: float
    low: float | None
    high: float | None
    n_methods: int
    n_units: int


def rank_agreement(first_MU: np.ndarray, second_MU: np.ndarray, n_resamples: int = N_RESAMPLES) -> RankAgreement | None:
    """Do two graders order methods alike? Kendall's tau-b between the means that they give, tied means allowed.

    The interval says what other units would have shown of the same methods: units are resampled for both graders
    together. It is that of percentiles: tau moves in steps, and in simulations BCa covers 0.73-0.87, percentiles
    0.93-0.99.

    Args:
        first_MU: One grader's scores, a row a method, a column a unit.
        second_MU: The other's, of the same methods and units; the scale may differ.

    Returns:
        None for fewer than two methods, no unit, or a grader who gives all methods the same mean.

    Raises:
        ValueError: the two do not have the same methods and units.
    """
    first_MU, second_MU = np.asarray(first_MU, dtype=float), np.asarray(second_MU, dtype=float)
    if first_MU.shape != second_MU.shape or first_MU.ndim != 2:
        raise ValueError(f"scores of shapes {first_MU.shape} and {second_MU.shape}: both graders must have marked the "
                         "same methods on the same units. Leave out what one of them did not mark.")
    n_methods, n_units = first_MU.shape
    if n_methods < 2 or n_units < 1:
        return None
    from scipy import stats  # here, because it takes a second to import

    def tau_of(rows: np.ndarray) -> float:
        # Sums in another order must not break ties.
        means = (np.round(scores_MU[:, rows].mean(axis=1), 9) for scores_MU in (first_MU, second_MU))
        return float(stats.kendalltau(*means).statistic)

    tau = tau_of(np.arange(n_units))
    if not math.isfinite(tau):
        return None
    if n_units < MIN_UNITS_BOOTSTRAP:
        return RankAgreement(tau, None, None, n_methods, n_units)
    # Where resampled means are all tied, neither order says anything about the other.
    low, high = _bootstrapped(lambda rows: float(np.nan_to_num(tau_of(rows))), n_units, n_resamples, ("percentile",))
    return RankAgreement(tau, min(low, tau), max(high, tau), n_methods, n_units)


def _bootstrapped(statistic: Callable[[np.ndarray], float], n: int, n_resamples: int,
                  kinds: Sequence[str]) -> tuple[float, float]:
    """95% bootstrap interval of a statistic of resampled row numbers, of the first kind that is defined."""
    from scipy import stats  # here, because it takes a second to import

    for method in kinds:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            low, high = stats.bootstrap(
                (np.arange(n),), statistic, vectorized=False, confidence_level=LEVEL, method=method,
                n_resamples=n_resamples, rng=np.random.default_rng(SEED)).confidence_interval
        if math.isfinite(low) and math.isfinite(high):
            break
    return float(low), float(high)


def _rated(ratings: Sequence[Sequence[Vote]]) -> list[SampleScore]:
    """The items with at least two votes, as Inspect's metric takes them."""
    votes = [[float(vote) for vote in row if vote is not None and not math.isnan(vote)] for row in ratings]
    return [SampleScore(score=Score(value=row)) for row in votes if len(row) > 1]
