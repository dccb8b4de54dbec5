"""Could chance have told the organisms apart as well? Permutation p of identification, over all and within family.

Main objects: `identification(answers, cards)`, `Identification`, `identification_p` (the test on a matrix).
Example: `identification(answers, cards)["sdf"].p`

The statistic is the mean recovery of the true objectives; the null gives every pair's claims to another pair: over all,
or only within its family, which asks for more than telling families apart. An objective and its twin move together
(objective in objective's place, twin in twin's), so their likeness is no independent evidence.

Shapes by suffix: U pairs of an objective and its twin (rows: whose claims, columns: whose truth), R permutations.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from .families import ALL, Answer
from .recovery import recoveries

WITHIN = "within family"
N_PERMUTATIONS, SEED = 9_999, 0
_DIGITS = 12


@dataclass(frozen=True)
class Identification:
    """One test: the observed mean, its mean under permutation, and p (at least 1 / (permutations + 1))."""

    value: float
    null_mean: float
    p: float
    n_pairs: int


def identification(answers: Sequence[Answer], cards: Sequence, n: int = N_PERMUTATIONS) -> dict[str, Identification]:
    """The tests `all`, `within family`, and one for each family with at least two pairs.

    Args:
        answers: One an organism; nulls are left out.
        cards: The cards of the suite's split.
        n: Random permutations a test.

    Returns:
        Empty if fewer than two pairs are there.
    """
    pairs: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.truth is not None:
            pairs[answer.pair].append(answer)
    if len(pairs) < 2:
        return {}
    score_UU, members = _pair_scores(list(pairs.values()), cards), list(pairs.values())
    families = [pair[0].truth.family for pair in members]
    found = {ALL: identification_p(score_UU, n=n), WITHIN: identification_p(score_UU, families, n)}
    for family in sorted(set(families)):
        index = [i for i, one in enumerate(families) if one == family]
        if len(index) > 1:
            found[family] = identification_p(score_UU[np.ix_(index, index)], n=n)
    return found


def identification_p(score_UU: np.ndarray, groups: Sequence[Hashable] | None = None,
                     n: int = N_PERMUTATIONS) -> Identification:
    """One-sided permutation test of the mean of the diagonal.

    Args:
        score_UU: Row u, column v: what u's claims score against v's truth.
        groups: Permutations stay within a group; None = one group.
        n: Random permutations; the observed order is counted in beside them.

    Raises:
        ValueError: the matrix is not square.
    """
    score_UU = np.asarray(score_UU, dtype=float)
    size = len(score_UU)
    if score_UU.shape != (size, size) or not size:
        raise ValueError(f"scores of shape {score_UU.shape}: claims and truths must be the same pairs")
    labels = [0] * size if groups is None else list(groups)
    group_U = np.array([list(dict.fromkeys(labels)).index(label) for label in labels])
    place_U = np.argsort(group_U, kind="stable")
    # Sorting random keys within a group shuffles the group.
    key_RU = group_U + np.random.default_rng(SEED).random((n, size))
    to_RU = np.empty((n, size), dtype=int)
    to_RU[:, place_U] = np.argsort(key_RU, axis=1)
    value = round(float(np.trace(score_UU)) / size, _DIGITS)
    null_R = np.round(score_UU[np.arange(size), to_RU].mean(axis=1), _DIGITS)
    return Identification(value, float(null_R.mean()), float((1 + (null_R >= value).sum()) / (1 + n)), size)


def _pair_scores(pairs: list[list[Answer]], cards: Sequence) -> np.ndarray:
    """What each pair's claims score against each pair's truths, place by place (objective, twin)."""
    marks = [[recoveries(answer.claim, cards) for answer in pair] for pair in pairs]
    score_UU = np.zeros((len(pairs), len(pairs)))
    for u, by_card in enumerate(marks):
        for v, pair in enumerate(pairs):
            truths = [answer.truth.card_id for answer in pair]
            # A pair with fewer members answers for all of the other's.
            places = [(by_card[i % len(by_card)], truths[i % len(truths)])
                     for i in range(max(len(by_card), len(truths)))]
            score_UU[u, v] = math.fsum(mark[truth].recovery for mark, truth in places) / len(places)
    return score_UU
