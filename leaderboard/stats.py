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

from ..graders.averages import MIN_UNITS_BOOTSTRAP, nested_means
from ..graders.claim import Claim
from ..graders.detect import Estimate, auroc, fpr_at_tpr
from ..graders.families import Answer
from ..graders.identify import Identification, identification
from ..organisms.spec import Card
from .pairwise import N_SIGN_FLIPS, compare
from .record import SampleRow

Sample = tuple[int, SampleRow]
POWER_Z = 0.84
"""Normal quantile of 4 in 5: how far beyond the critical value a difference must lie to be found that often."""


def mean_over(samples: Iterable[Sample], value: Callable[[SampleRow], float],
              group: Callable[[SampleRow], Hashable]) -> dict[Hashable, float]:
    """Averages per group in the fixed order: epochs, then evidence seeds, then train seeds.

    Unequal numbers of repeats at one level therefore never weigh an item of a higher level more.
    """
    return nested_means(((group(row), row.organism, row.train_seed, seed), value(row)) for seed, row in samples)


def unit_means(samples: Iterable[Sample], part: str) -> dict[str, float]:
    """One number per unit (domain) for `recovery`, `domain`, `objective` or `content`.

    Only expressed and healthy organisms count; a pair of which one member counts is that member. A constant answer then
    no longer earns 0 there; `Board.lone_pairs` names such pairs, and the page says so.
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
    """Permutation tests of identification over all objectives, within family, and for each family.

    An organism's claim is that of its first evidence seed, train seed and epoch: repeats of the same question are no
    further organisms.

    Args:
        samples: One method's.
        cards: All candidates of the suite's split; an organism whose card is none of them is left out.
    """
    known = {card.card_id: card for card in cards}
    first: dict[str, Answer] = {}
    for _, row in sorted(((seed, row) for seed, row in samples if row.counted),
                         key=lambda one: (one[1].role, one[0], one[1].train_seed, one[1].epoch)):
        truth = known.get(row.card_id)
        if truth is not None:
            claim = Claim(row.claim.verdict, row.claim.confidence, keywords=row.claim.keywords)
            first.setdefault(row.organism, Answer(row.organism, row.pair, truth, claim))
    return identification(list(first.values()), cards)


def smallest_difference(scores_MU: np.ndarray, critical_t: float = 1.96) -> float | None:
    """The difference between two methods that this many units would show in 4 of 5 tries: (t + 0.84) sd / sqrt(n).

    sd is that of the paired differences, the median over pairs of methods; with one method, that of its own scores.
    None with fewer than two units or no method, or where nothing could show one.

    Args:
        critical_t: What a paired t has to exceed: `Pairs.critical_t`, or 1.96 for one comparison alone.
    """
    n_methods, n_units = scores_MU.shape
    if n_units < 2 or n_methods < 1:
        return None
    pairs_UP = scores_MU.T if n_methods == 1 else np.concatenate(
        [(scores_MU[i] - scores_MU[:i]).T for i in range(1, n_methods)], axis=1)
    found = (critical_t + POWER_Z) * float(np.median(np.std(pairs_UP, axis=0, ddof=1))) / math.sqrt(n_units)
    return found if math.isfinite(found) else None


def rank_intervals(scores_MU: np.ndarray, n_flips: int = N_SIGN_FLIPS) -> list[tuple[int, int]] | None:
    """[1 + number of methods surely better, M - number surely worse] for each method; None below 8 units."""
    return compare(scores_MU, n_flips).ranks() if scores_MU.shape[1] >= MIN_UNITS_BOOTSTRAP else None
