"""Do raters agree? Krippendorff's alpha for ordered grades, missing votes allowed, with its interval over items.

Main objects: `ordinal_alpha(ratings)`, `agreement(ratings) -> Agreement`.
Example: `agreement([[5, 5, 4], [1, None, 1], [3, 2, 3]]).alpha`: three items, three raters, one vote missing

Alpha is Inspect's `krippendorff_alpha("ordinal")`; what is ours is leaving out missing votes, and the interval.
1 is perfect agreement, 0 is what chance gives, below 0 is systematic disagreement.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from inspect_ai.scorer import SampleScore, Score, krippendorff_alpha

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
    from scipy import stats  # here, because it takes a second to import

    def resampled(rows: np.ndarray) -> float:
        return float(_ALPHA([items[row] for row in rows]))

    for method in ("BCa", "percentile"):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            low, high = stats.bootstrap(
                (np.arange(len(items)),), resampled, vectorized=False, confidence_level=LEVEL, method=method,
                n_resamples=n_resamples, rng=np.random.default_rng(SEED)).confidence_interval
        if math.isfinite(low) and math.isfinite(high):
            break
    return Agreement(alpha, min(float(low), alpha), max(float(high), alpha), len(items))


def _rated(ratings: Sequence[Sequence[Vote]]) -> list[SampleScore]:
    """The items with at least two votes, as Inspect's metric takes them."""
    votes = [[float(vote) for vote in row if vote is not None and not math.isnan(vote)] for row in ratings]
    return [SampleScore(score=Score(value=row)) for row in votes if len(row) > 1]
