"""Which methods of one slice can be told apart: single-step max-T over all their pairs.

Main objects: `compare(scores_MU) -> Pairs` (mean differences and adjusted p), `Pairs.ranks`.
Example: `compare(np.array([[0.9] * 20, [0.3] * 20])).p_MM[0, 1]`

Westfall and Young (1993), single step: the largest studentised mean difference over all pairs, under random sign flips
of the units that all pairs share. The chance of separating any two equal methods is then at most 5% if each difference
is as likely to be d as -d. Where it is not (methods of equal mean and very unequal shape) it was 8-24% in simulations
of 12 to 40 units (docs/scoring.md, "What intervals and ranks are worth").
"""

import math
from dataclasses import dataclass

import numpy as np

from ..graders.averages import LEVEL

N_SIGN_FLIPS, SEED = 99_999, 0
MIN_SIGN_FLIPS, MAX_COMPARISONS = 9_999, 5_000_000_000
"""Above about 300 methods there are fewer flips, never below 9,999: pairs times flips is what takes the time."""
CHUNK = 256
TIE = 1 - 1e-5
"""Statistics this close count as equal, for float32 sums; a tie counts against separation."""


@dataclass(frozen=True)
class Pairs:
    """`difference_MM[i, j]` = mean of i minus mean of j; `p_MM` adjusted for all pairs, 1 on the diagonal."""

    difference_MM: np.ndarray
    p_MM: np.ndarray
    critical_t: float
    """A paired t above this tells two methods apart, whichever pair it is: 1.96 and more, the more pairs there are."""

    def separated(self, i: int, j: int) -> bool:
        """Whether the two are told apart at 5% over all pairs."""
        return bool(self.p_MM[i, j] <= 1 - LEVEL)

    def n_separated(self) -> int:
        """Pairs that are told apart."""
        return int(np.triu(self.p_MM <= 1 - LEVEL, k=1).sum())

    def ranks(self) -> list[tuple[int, int]]:
        """[1 + number of methods surely better, M - number surely worse] for each method."""
        sure_MM = self.p_MM <= 1 - LEVEL
        better_M, worse_M = ((sure_MM & side_MM).sum(axis=1) for side_MM in
                             (self.difference_MM < 0, self.difference_MM > 0))
        return [(1 + int(better), len(better_M) - int(worse)) for better, worse in zip(better_M, worse_M, strict=True)]


def compare(scores_MU: np.ndarray, n_flips: int = N_SIGN_FLIPS) -> Pairs:
    """All pairs of methods over the units they share.

    Args:
        scores_MU: One row a method, one column a unit; no gaps.
        n_flips: Random sign flips of the units, the same for every pair.
    """
    scores_MU = np.asarray(scores_MU, dtype=float)
    n_methods, n_units = scores_MU.shape
    mean_M = scores_MU.mean(axis=1)
    difference_MM = mean_M[:, None] - mean_M[None, :]
    n_pairs = n_methods * (n_methods - 1) // 2
    n_flips = min(n_flips, max(MIN_SIGN_FLIPS, MAX_COMPARISONS // max(1, n_pairs)))
    inverse_MM = _inverse_squares(scores_MU)
    # Flips keep a pair's sum of squares, so |t| rises with mean^2 / sum of squares: that ratio stands for it.
    largest_R = np.sort(_largest(scores_MU, inverse_MM, n_flips))
    observed_MM = difference_MM**2 * inverse_MM
    n_as_large_MM = n_flips - np.searchsorted(largest_R, observed_MM * TIE)
    p_MM = (1 + n_as_large_MM) / (n_flips + 1)
    np.fill_diagonal(p_MM, 1.0)
    return Pairs(difference_MM, p_MM, _t_of(float(np.quantile(largest_R, LEVEL)), n_units))


def _t_of(ratio: float, n_units: int) -> float:
    """Student's t of n differences whose mean squared is this share of their sum of squares."""
    left = 1 - n_units * ratio
    return math.sqrt((n_units - 1) * n_units * ratio / left) if left > 1e-12 else math.inf


def _inverse_squares(scores_MU: np.ndarray) -> np.ndarray:
    """1 / sum of squared differences of each pair, and 0 for methods that agree on every unit."""
    squares_MM = np.stack([((scores_MU - row_U)**2).sum(axis=1) for row_U in scores_MU])
    return np.where(squares_MM > 1e-12, 1 / np.where(squares_MM > 1e-12, squares_MM, 1), 0.0)


def _largest(scores_MU: np.ndarray, inverse_MM: np.ndarray, n_flips: int) -> np.ndarray:
    """The largest statistic over all pairs, for each of the random flips."""
    n_methods, n_units = scores_MU.shape
    rng = np.random.default_rng(SEED)
    inverse_MM = inverse_MM.astype(np.float32)
    found = []
    for start in range(0, n_flips, CHUNK):
        signs_RU = rng.choice((-1.0, 1.0), size=(min(CHUNK, n_flips - start), n_units))
        mean_MR = np.ascontiguousarray((signs_RU @ scores_MU.T / n_units).T, dtype=np.float32)
        largest_R = np.zeros(mean_MR.shape[1], dtype=np.float32)
        for i in range(n_methods - 1):
            ratio_PR = mean_MR[i + 1:] - mean_MR[i]
            np.square(ratio_PR, out=ratio_PR)
            ratio_PR *= inverse_MM[i, i + 1:, None]
            np.maximum(largest_R, ratio_PR.max(axis=0), out=largest_R)
        found.append(largest_R)
    return np.concatenate(found).astype(float)
