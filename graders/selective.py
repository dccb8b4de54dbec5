"""Does a method know when it knows? Risk against coverage when only the surest claims are kept.

Main objects: `risk_coverage(confidence, loss) -> RiskCoverage`, `claim_risk(answers, cards)`.
Example: `claim_risk(answers, cards).area`

Coverage is the share of organisms whose claims are kept, surest first; risk is their mean loss. The area under the
curve is read between that of the best order of the same losses and that of a random order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from .detect import detection_score
from .families import Answer
from .recovery import recovery


@dataclass(frozen=True)
class RiskCoverage:
    """The curve, one point for each number of claims kept, and areas under curves."""

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    area: float
    """Mean risk over the points: the lower, the better."""
    area_best: float
    """Had the same claims been ordered by their losses."""
    area_random: float
    """Expected under a random order: the mean loss."""

    @property
    def skill(self) -> float | None:
        """1 for the best order, 0 for a random one, below 0 for worse; None where order cannot matter."""
        room = self.area_random - self.area_best
        return (self.area_random - self.area) / room if room > 1e-12 else None


def risk_coverage(confidence: Sequence[float], loss: Sequence[float]) -> RiskCoverage | None:
    """The risk-coverage curve. Claims of equal confidence enter in random order: their mean loss stands for each.

    Args:
        confidence: The higher, the earlier a claim is kept.
        loss: Of each claim; 0 is perfect.

    Returns:
        None of nothing.

    Raises:
        ValueError: the lengths differ, or a value is not finite.
    """
    if len(confidence) != len(loss) or not all(map(math.isfinite, (*confidence, *loss))):
        raise ValueError(f"{len(confidence)} confidences and {len(loss)} losses: one of each, all finite, a claim")
    if not loss:
        return None
    order = sorted(range(len(loss)), key=lambda i: -confidence[i])
    smoothed = []
    for _, tied in groupby(order, key=lambda i: confidence[i]):
        losses = [loss[i] for i in tied]
        smoothed += [math.fsum(losses) / len(losses)] * len(losses)
    risk = _running_means(smoothed)
    n = len(loss)
    return RiskCoverage(tuple((i + 1) / n for i in range(n)), tuple(risk), math.fsum(risk) / n,
                        math.fsum(_running_means(sorted(loss))) / n, math.fsum(loss) / n)


def claim_risk(answers: Sequence[Answer], cards: Sequence) -> RiskCoverage | None:
    """The curve of claims: sureness is the probability given to "there is an objective", loss is 1 - recovery.

    A null has nothing to recover, so whatever is claimed about it loses 1: a method does well by being surest where it
    is right, and by putting nulls last.
    """
    loss = [1.0 if answer.truth is None else 1.0 - recovery(answer.claim, answer.truth, cards).recovery
            for answer in answers]
    return risk_coverage([detection_score(answer.claim) for answer in answers], loss)


def _running_means(values: Sequence[float]) -> list[float]:
    total, means = 0.0, []
    for n, value in enumerate(values, start=1):
        total += value
        means.append(total / n)
    return means
