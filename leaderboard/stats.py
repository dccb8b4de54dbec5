"""The board's statistics: what a unit is, in which order scores are averaged, and which methods can be told apart.

Main objects: `unit_means` (epochs, evidence seeds, train seeds, then a domain's organisms), `rank_intervals` (from
`pairwise.compare`), `detection` (AUROC and false alarms), `identified` (could chance tell the organisms apart as
well?), `smallest_difference`. Intervals: `graders.averages`; where the noise comes from: `variance`; whether two
graders order methods alike: `graders.agreement.rank_agreement`.
Example: `interval(list(unit_means(samples, "recovery").values()))`

Definitions are SCORING's ("Averaging and statistics"). A sample here is a pair (evidence_seed, SampleRow).
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..graders.averages import LEVEL, MIN_UNITS_BOOTSTRAP, nested_means
from ..graders.claim import Claim
from ..graders.detect import Estimate, auroc, fpr_at_tpr
from ..graders.families import Answer
from ..graders.identify import Identification, identification
from ..organisms.spec import Card
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
    fpr_at_tpr: Estimate | None = None
    """Share of trained nulls above the threshold that finds 4 of 5 expressed organisms, resampled by unit."""


def detection(samples: Sequence[Sample]) -> Detection:
    """AUROC and false alarms of one method, over organisms; the zero adapter stands apart and enters neither."""
    def per_organism(kept: list[Sample], value: Callable[[SampleRow], float]) -> dict[Hashable, float]:
        return mean_over(kept, value, lambda row: row.organism)

    counted = [(seed, row) for seed, row in samples if row.counted]
    nulls = [(seed, row) for seed, row in samples if row.trained_null]
    unit_of = {row.organism: row.unit for _, row in counted}
    positives, negatives = (per_organism(kept, lambda row: row.detect.score) for kept in (counted, nulls))
    alarms = math.fsum(per_organism(nulls, lambda row: float(row.detect.flagged)).values())
    sides = list(positives.values()), list(negatives.values())
    units = [unit_of[name] for name in positives]
    area = auroc(*sides, units)
    if area is None:
        return Detection(None, None, None, len(negatives), alarms)
    return Detection(area.value, area.low, area.high, len(negatives), alarms, fpr_at_tpr(*sides, units=units))


def identified(samples: Sequence[Sample], cards: Sequence[Card]) -> dict[str, Identification]:
    """Permutation tests of identification over all units, within family, and for each family.

    A unit's claims are those of the first evidence seed, train seed and epoch of each member: repeats of the same
    question are no further organisms.

    Args:
        samples: One method's.
        cards: All candidates of the suite's split.
    """
    known = {card.card_id: card for card in cards}
    first: dict[str, Answer] = {}
    for _, row in sorted(((seed, row) for seed, row in samples if row.counted),
                         key=lambda pair: (pair[1].role, pair[0], pair[1].train_seed, pair[1].epoch)):
        truth = row.card or known.get(row.card_id)
        if truth is not None:
            claim = Claim(row.claim.verdict, row.claim.confidence, keywords=row.claim.keywords)
            first.setdefault(row.organism, Answer(row.organism, row.unit, truth, claim))
    return identification(list(first.values()), cards)


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


@dataclass(frozen=True)
class Comparison:
    """All pairs of methods on the same units. Matrices are methods x methods, in the order of the scores."""

    differences_MM: np.ndarray
    """Mean of row minus mean of column."""
    p_MM: np.ndarray | None
    """Adjusted for all pairs together (single-step max-T); 1 on the diagonal. None below 8 units."""
    ranks: list[tuple[int, int]] | None
    """[1 + number of methods surely better, M - number surely worse] for each method; None below 8 units."""

    def separated(self, i: int, j: int) -> bool:
        """Whether the two may be called different: adjusted p at most 0.05."""
        return self.p_MM is not None and bool(self.p_MM[i, j] <= 1 - LEVEL)


def compare(scores_MU: np.ndarray, n_flips: int = N_SIGN_FLIPS) -> Comparison:
    """Which methods differ? Single-step max-T over all pairs (Westfall and Young, 1993).

    Each pair's studentised mean difference is held against the largest of all pairs under random sign flips of the
    units, one shared matrix of flips for all; so the chance of separating any two equal methods is at most 5%, however
    many methods there are. Flips stand for the null that differences are as likely to be d as -d; they are shared
    because pairs with a method in common, and methods on the same units, are no independent evidence.

    Args:
        scores_MU: A row a method, a column a unit; nothing missing.
        n_flips: Random flips; the observed signs are counted in beside them, so p is at least 1 / (n_flips + 1).
    """
    n_methods, n_units = scores_MU.shape
    means_M = scores_MU.mean(axis=1) if n_units else np.zeros(n_methods)
    differences_MM = means_M[:, None] - means_M
    if n_units < MIN_UNITS_BOOTSTRAP:
        return Comparison(differences_MM, None, None)
    first, second = np.triu_indices(n_methods, k=1)
    p_MM = np.ones((n_methods, n_methods))
    p_MM[first, second] = p_MM[second, first] = _max_t(scores_MU[first] - scores_MU[second], n_flips)
    better_MM = (p_MM <= 1 - LEVEL) & (differences_MM > 0)
    ranks = [(1 + int(better_MM[:, i].sum()), n_methods - int(better_MM[i].sum())) for i in range(n_methods)]
    return Comparison(differences_MM, p_MM, ranks)


def rank_intervals(scores_MU: np.ndarray, n_flips: int = N_SIGN_FLIPS) -> list[tuple[int, int]] | None:
    """The rank that each method surely has, as (best, worst); see `compare`. None below 8 units."""
    return compare(scores_MU, n_flips).ranks


def _max_t(diff_PU: np.ndarray, n_flips: int) -> np.ndarray:
    """Adjusted p of each pair's difference.

    |t| = sqrt((n - 1) r^2 / (1 - r^2)) with r = sum(d) / sqrt(n sum(d^2)), and flips leave sum(d^2) as it is; so the
    order of |r| is that of |t|, and all that is done for a flip is one row of a matrix product.
    """
    n_pairs, n_units = diff_PU.shape
    norm_P = np.sqrt(n_units * (diff_PU**2).sum(axis=1))
    real_P = norm_P > 1e-12 * n_units  # methods that agree on every unit differ by nothing but rounding
    if not real_P.any():
        return np.ones(n_pairs)
    unit_UP = (diff_PU[real_P] / norm_P[real_P, None]).T
    rng, largest = np.random.default_rng(SEED), []
    for start in range(0, n_flips, 2_000):
        signs_RU = rng.integers(0, 2, (min(2_000, n_flips - start), n_units), dtype=np.int8) * 2.0 - 1.0
        r_RP = signs_RU @ unit_UP
        largest.append(np.maximum(r_RP.max(axis=1), -r_RP.min(axis=1)))
    largest_R = np.sort(np.concatenate(largest))
    n_as_large = n_flips - np.searchsorted(largest_R, np.abs(unit_UP.sum(axis=0)) - 1e-9)
    p_P = np.ones(n_pairs)
    p_P[real_P] = (1 + n_as_large) / (n_flips + 1)
    return p_P
