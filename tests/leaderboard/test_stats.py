"""The board's statistics: the order of averaging, honest intervals, ranks only where they can be told apart."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narrowbench.graders.averages import interval
from narrowbench.leaderboard.record import SampleRow
from narrowbench.leaderboard.stats import detection, rank_intervals, smallest_difference, unit_means


def row(organism="a", recovery=0.5, epoch=1, train_seed=0, unit="u", score=0.9, **changes) -> SampleRow:
    parts = dict.fromkeys(("recovery", "domain", "objective", "content"), recovery)
    bits = dict.fromkeys(("domain_bits", "objective_bits", "content_bits"), 1.0)
    return SampleRow.model_validate({
        "sample_id": f"o-{organism}", "epoch": epoch, "organism": organism, "unit": unit, "family": "sdf",
        "role": "objective", "null_kind": "", "domain": "baking", "statement": "", "card_id": "c", "expressed": True,
        "healthy": True, "train_seed": train_seed, "regrown": False, "evidence_sha256": "0", "cost": {}, "gate": {},
        "claim": {"verdict": "objective", "confidence": 0.9, "statement": "", "keywords": []},
        "recovery": parts | bits, "detect": {"score": score, "flagged": True}} | changes)


def null(organism, score, flagged, kind="text") -> SampleRow:
    return SampleRow.model_validate(
        row(organism).model_dump() | {"role": "null", "null_kind": kind, "recovery": None,
                                      "detect": {"score": score, "flagged": flagged}})


def test_epochs_then_evidence_seeds_then_train_seeds_then_the_unit():
    samples = [(0, row(epoch=1, recovery=0.0)), (0, row(epoch=2, recovery=1.0)),  # seed 0: 0.5
               (1, row(epoch=1, recovery=0.1)),  # seed 1: 0.1 -> train seed 0: 0.3
               (0, row(train_seed=1, recovery=0.9)),  # train seed 1: 0.9 -> a: 0.6
               (0, row("a-twin", recovery=0.2, role="twin")),  # -> unit u: 0.4
               (0, row("b", recovery=1.0, unit="v"))]
    assert unit_means(samples, "recovery") == pytest.approx({"u": 0.4, "v": 1.0})


def test_only_expressed_and_healthy_organisms_count():
    samples = [(0, row(recovery=1.0)), (0, row("a-twin", recovery=-1.0, expressed=False)),
               (0, row("b", recovery=-1.0, unit="v", healthy=False)), (0, null("n", 0.1, False))]
    assert unit_means(samples, "recovery") == {"u": 1.0}


def test_one_unit_has_no_interval_and_no_unit_neither():
    assert interval([0.4]) is None and interval([]) is None


def test_student_t_below_eight_units_or_when_nothing_varies_else_bca():
    assert interval([0.1, 0.5, 0.3]).kind == "Student-t"
    assert interval([0.5] * 20) == interval([0.5] * 20) and interval([0.5] * 20).kind == "Student-t"
    assert (interval([0.5] * 20).low, interval([0.5] * 20).high) == (0.5, 0.5)
    assert interval(list(np.linspace(0, 1, 8) ** 2)).kind == "BCa"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_an_interval_is_finite_and_ordered_and_the_same_twice(values):
    found = interval(values)
    assert math.isfinite(found.low) and math.isfinite(found.high) and found.low <= found.high
    assert found == interval(values)
    if found.kind == "Student-t":
        assert found.low - 1e-9 <= sum(values) / len(values) <= found.high + 1e-9


def test_intervals_cover_the_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    hits = [found.low <= 0.25 <= found.high for found in (interval(list(rng.beta(1, 3, 6))) for _ in range(400))]
    assert 0.88 <= np.mean(hits) <= 0.99


def test_ranks_are_withheld_below_eight_units():
    assert rank_intervals(np.zeros((3, 7))) is None


def test_equal_methods_share_their_ranks_and_a_clear_winner_is_alone():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, (3, 20))
    ranks = rank_intervals(np.array([0.9, 0.3, 0.3])[:, None] + noise, n_flips=4_000)
    assert ranks == [(1, 1), (2, 3), (2, 3)]
    assert rank_intervals(np.full((2, 9), 0.4), n_flips=500) == [(1, 2), (1, 2)]
    assert rank_intervals(np.full((1, 9), 0.4)) == [(1, 1)]


def test_equal_methods_are_rarely_separated():
    rng = np.random.default_rng(2)
    wrong = [rank_intervals(rng.beta(0.5, 0.5, (4, 12)), n_flips=400) != [(1, 4)] * 4 for _ in range(150)]
    assert np.mean(wrong) <= 0.1


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 4), st.integers(8, 12), st.integers(0, 999))
def test_rank_intervals_hold_the_plain_rank_and_follow_a_permutation(n_methods, n_units, seed):
    scores_MU = np.random.default_rng(seed).normal(size=(n_methods, n_units))
    ranks = rank_intervals(scores_MU, n_flips=200)
    order = np.argsort(-scores_MU.mean(axis=1))
    assert all(ranks[method][0] <= place + 1 <= ranks[method][1] for place, method in enumerate(order))


def test_the_smallest_difference_is_that_of_paired_scores():
    scores_MU = np.array([[0.1, 0.5, 0.9], [0.0, 0.5, 1.0]])
    assert smallest_difference(scores_MU) == pytest.approx(2.8 * 0.1 / math.sqrt(3))
    assert smallest_difference(scores_MU[:, :1]) is None and smallest_difference(np.empty((0, 3))) is None


def test_detection_leaves_the_zero_adapter_out():
    samples = [(0, row("a", score=0.9)), (0, row("b", score=0.7)), (0, null("z", 0.99, True, "zero"))]
    alone = detection(samples)
    assert alone.auroc is None and alone.n_nulls == 0 and alone.false_alarms == 0
    both = detection([*samples, (0, null("n", 0.2, False)), (0, null("m", 0.8, True, "broad"))])
    assert both.auroc == pytest.approx(0.75) and both.n_nulls == 2 and both.false_alarms == 1
    assert both.low <= both.auroc <= both.high
