"""Ordinal agreement: a published example, perfect agreement, and what must change nothing."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from narrowbench.graders.agreement import agreement, ordinal_alpha, rank_agreement

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: four observers, twelve units.
OBSERVERS = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
UNITS = list(zip(*[[None if vote == "." else int(vote) for vote in row.split()] for row in OBSERVERS], strict=True))
ratings = st.lists(st.lists(st.sampled_from([1, 2, 3, 4, 5, None]), min_size=3, max_size=3), min_size=2, max_size=12)


def test_the_published_example():
    assert ordinal_alpha(UNITS) == pytest.approx(0.815, abs=5e-4)
    found = agreement(UNITS, n_resamples=499)
    assert found.n_items == 11 and 0.3 < found.low < found.alpha < found.high <= 1
    assert found == agreement(UNITS, n_resamples=499), "seeded"


@given(grades=st.lists(st.integers(1, 5), min_size=1, max_size=20), n_raters=st.integers(2, 4))
def test_perfect_agreement_is_one(grades, n_raters):
    assert ordinal_alpha([[grade] * n_raters for grade in grades]) == pytest.approx(1)


@given(rows=ratings, seed=st.integers(0, 99))
@settings(max_examples=60)
def test_order_of_raters_and_of_items_and_gaps_between_grades_change_nothing(rows, seed):
    before, rng = ordinal_alpha(rows), random.Random(seed)
    order = rng.sample(range(3), 3)
    shuffled = rng.sample([[row[i] for i in order] for row in rows], len(rows))
    stretched = [[None if vote is None else 10.0 ** vote for vote in row] for row in rows]
    if before is None:
        assert ordinal_alpha(shuffled) is None and ordinal_alpha(stretched) is None
    else:
        assert before <= 1 + 1e-12
        assert ordinal_alpha(shuffled) == pytest.approx(before)
        assert ordinal_alpha(stretched) == pytest.approx(before), "only the order of grades counts"


def test_missing_votes_are_left_out_not_filled_in():
    assert ordinal_alpha([[1, 1], [5, 5], [3, None], [None, math.nan]]) == 1
    assert ordinal_alpha([[1, None], [None, 5]]) is None and agreement([]) is None
    assert agreement([[1, 1], [5, 5], [3, None]]).n_items == 2


def test_opposite_raters_disagree_more_than_chance():
    assert ordinal_alpha([[1, 5], [5, 1], [1, 5], [5, 1]]) < 0


def test_no_interval_where_there_is_nothing_to_resample():
    alike, few = agreement([[3, 3]] * 6), agreement([[1, 1], [5, 5]])
    assert (alike.alpha, alike.low, alike.high) == (1, None, None)
    assert (few.alpha, few.low, few.high) == (1, None, None)


def test_graders_that_order_methods_alike_agree_whatever_their_scales():
    scores_MU = np.random.default_rng(0).random((6, 12)) + np.arange(6)[:, None]
    same, opposite = rank_agreement(scores_MU, 1 + 4 * scores_MU, 99), rank_agreement(scores_MU, -scores_MU, 99)
    assert (same.tau, same.low, same.high) == pytest.approx((1, 1, 1)) and (same.n_methods, same.n_units) == (6, 12)
    assert opposite.tau == pytest.approx(-1)


def test_methods_that_lie_close_make_the_order_uncertain():
    rng = np.random.default_rng(1)
    units_U, noise = rng.normal(0, 0.3, 24), rng.normal(0, 0.1, (2, 8, 24))
    first_MU, second_MU = units_U + 0.02 * np.arange(8)[:, None] + noise
    found = rank_agreement(first_MU, second_MU, 499)
    assert -1 <= found.low < found.tau < found.high <= 1 and found.high - found.low > 0.2
    assert found == rank_agreement(first_MU, second_MU, 499), "seeded"


def test_an_order_that_cannot_be_had_is_none():
    few = rank_agreement([[0.1, 0.2], [0.3, 0.4]], [[1, 2], [3, 5]])
    assert (few.tau, few.low, few.high) == (1, None, None)
    assert rank_agreement(np.zeros((3, 9)), np.ones((3, 9))) is None, "all methods tied"
    assert rank_agreement(np.zeros((1, 9)), np.zeros((1, 9))) is None
    with pytest.raises(ValueError, match="same methods"):
        rank_agreement(np.zeros((3, 9)), np.zeros((3, 8)))
