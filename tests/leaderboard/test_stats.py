"""The board's statistics: the order of averaging, honest intervals, ranks only where they can be told apart."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narrowbench.graders.averages import interval
from narrowbench.leaderboard.pairwise import CHUNK, SEED, compare
from narrowbench.leaderboard.record import SampleRow
from narrowbench.leaderboard.stats import (
    detection, identified, rank_intervals, smallest_difference, unit_means)
from narrowbench.leaderboard.variance import variance_components
from narrowbench.organisms.spec import load_catalog


def row(organism="a", recovery=0.5, epoch=1, train_seed=0, unit="u", score=0.9, **changes) -> SampleRow:
    parts = dict.fromkeys(("recovery", "domain", "objective", "content"), recovery)
    bits = dict.fromkeys(("domain_bits", "objective_bits", "content_bits"), 1.0)
    return SampleRow.model_validate({
        "sample_id": f"o-{organism}", "epoch": epoch, "organism": organism, "unit": unit, "family": "sdf",
        "pair": organism.removesuffix("-twin"),
        "role": "objective", "null_kind": "", "domain": "baking", "statement": "", "card_id": "c", "expressed": True,
        "healthy": True, "train_seed": train_seed, "regrown": False, "evidence_sha256": "0" * 64,
        "weights_sha256": "0" * 64, "cost": {}, "gate": {},
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
    assert smallest_difference(scores_MU, 4.0) == pytest.approx(4.84 * 0.1 / math.sqrt(3))


def test_the_critical_t_is_that_at_which_pairs_are_told_apart_and_grows_with_their_number():
    rng, n_units = np.random.default_rng(0), 20
    alone = compare(rng.normal(size=(2, n_units)), n_flips=9_999).critical_t
    assert alone == pytest.approx(2.09, abs=0.15), "Student's t at 19 degrees of freedom"
    many = compare(rng.normal(size=(18, n_units)), n_flips=9_999)
    assert many.critical_t > alone + 1
    scores_MU = rng.normal(size=(18, n_units)) + np.linspace(0, 2, 18)[:, None]
    pairs = compare(scores_MU, n_flips=9_999)
    for i in range(18):
        for j in range(i):
            d = scores_MU[i] - scores_MU[j]
            t = abs(d.mean()) / (d.std(ddof=1) / math.sqrt(n_units))
            assert pairs.separated(i, j) == (t > pairs.critical_t) or abs(t - pairs.critical_t) < 0.02


def test_detection_leaves_the_zero_adapter_out():
    samples = [(0, row("a", score=0.9)), (0, row("b", score=0.7)), (0, null("z", 0.99, True, "zero"))]
    alone = detection(samples)
    assert alone.auroc is None and alone.n_nulls == 0 and alone.false_alarms == 0
    both = detection([*samples, (0, null("n", 0.2, False)), (0, null("m", 0.8, True, "broad"))])
    assert both.auroc == pytest.approx(0.75) and both.n_nulls == 2 and both.false_alarms == 1
    assert both.low <= both.auroc <= both.high


def test_adjusted_p_is_that_of_the_largest_studentised_difference_under_the_same_flips():
    rng = np.random.default_rng(3)
    scores_MU = rng.random((4, 12)) + np.array([0, 0.1, 0.3, 0.5])[:, None]
    found = compare(scores_MU, n_flips=1_000)
    rng = np.random.default_rng(SEED)
    signs_RU = np.concatenate([rng.choice((-1.0, 1.0), size=(min(CHUNK, 1_000 - start), 12))
                               for start in range(0, 1_000, CHUNK)])
    first, second = np.triu_indices(4, k=1)
    diff_PU = scores_MU[first] - scores_MU[second]

    def t(diff):
        return np.abs(diff.mean(axis=-1)) / (diff.std(axis=-1, ddof=1) / math.sqrt(12))

    largest_R = np.array([t(signs * diff_PU).max() for signs in signs_RU])
    expected_P = [(1 + (largest_R >= one - 1e-9).sum()) / 1_001 for one in t(diff_PU)]
    assert found.p_MM[first, second] == pytest.approx(expected_P)
    assert found.p_MM == pytest.approx(found.p_MM.T) and (np.diag(found.p_MM) == 1).all()
    assert found.difference_MM == pytest.approx(scores_MU.mean(axis=1)[:, None] - scores_MU.mean(axis=1))


def test_ranks_follow_from_the_separated_pairs():
    rng = np.random.default_rng(4)
    scores_MU = np.array([0.9, 0.5, 0.5, 0.1])[:, None] + rng.normal(0, 0.15, (4, 20))
    found = compare(scores_MU, n_flips=2_000)
    for i, (best, worst) in enumerate(found.ranks()):
        others = [j for j in range(4) if found.separated(i, j)]
        assert best == 1 + sum(found.difference_MM[j, i] > 0 for j in others)
        assert worst == 4 - sum(found.difference_MM[j, i] < 0 for j in others)
    assert rank_intervals(scores_MU, n_flips=2_000) == found.ranks()


def test_a_difference_that_is_the_same_on_every_unit_is_as_sure_as_units_allow():
    found = compare(np.array([[0.2] * 8, [0.5] * 8, [0.2] * 8]))
    assert found.p_MM[0, 1] == pytest.approx(2 / 2**8, abs=2e-3) and found.separated(0, 1)
    assert found.p_MM[0, 2] == 1, "equal on every unit"


def test_false_alarms_at_a_fixed_rate_of_true_ones_count_units_once():
    twice = [sample for i, score in enumerate((0.9, 0.8, 0.6, 0.3)) for sample in (
        (0, row(f"o{i}", unit=f"u{i}", score=score)), (0, row(f"o{i}-twin", unit=f"u{i}", role="twin", score=score)))]
    nulls = [(0, null(f"n{i}", score, False)) for i, score in enumerate((0.1, 0.2, 0.4, 0.5, 0.7))]
    found = detection([*twice, *nulls]).fpr_at_tpr
    assert found.value == pytest.approx(3 / 5), "0.3 finds 4 of 5"
    single = detection([*(sample for sample in twice if sample[1].role == "objective"), *nulls]).fpr_at_tpr
    assert (found.low, found.high) == pytest.approx((single.low, single.high))


def test_identification_takes_each_organism_once_and_knows_chance():
    cards = [spec.card for spec in load_catalog().values() if spec.card and spec.split == "dev"]
    chosen = [card for card in cards if card.family == "sdf"][:10]

    def claimed(card, keywords, **changes):
        claim = {"verdict": "objective", "confidence": 0.9, "statement": "word " * 200, "keywords": keywords}
        return row(card.card_id, card_id=card.card_id, unit=card.card_id, claim=claim, **changes)

    def words(card):
        return [card.slots[0].truth, card.slots[1].truth, *list(card.lexicon)[:3]]

    knowing = [(0, claimed(card, words(card), epoch=epoch)) for card in chosen for epoch in (1, 2)]
    found = identified(knowing, cards)
    assert found["all"].n_pairs == len(chosen) and found["all"].p < 0.01 < found["all"].value - found["all"].null_mean
    constant = identified([(0, claimed(card, ["cake"])) for card in chosen], cards)
    assert constant["all"].p == 1
    assert identified([(0, null("n", 0.1, False))], cards) == {}


def repeated(spread_unit, spread_train, spread_evidence, spread_epoch, n_units=300, n_epochs=2, n_seeds=2):
    rng = np.random.default_rng(7)
    for u in range(n_units):
        unit = rng.normal(0, spread_unit)
        for role, shift in (("objective", 0.3), ("twin", -0.3)):
            for train_seed in range(3):
                trained = unit + shift + rng.normal(0, spread_train)
                for seed in range(n_seeds):
                    seen = trained + rng.normal(0, spread_evidence)
                    for epoch in range(1, n_epochs + 1):
                        yield seed, row(f"o{u}-{role}", recovery=(seen + rng.normal(0, spread_epoch)) / 10, role=role,
                                        unit=f"u{u}", epoch=epoch, train_seed=train_seed)


def test_variance_is_found_where_it_is():
    found = variance_components(repeated(0.5, 0.4, 0.3, 0.2))
    parts = (found.units, found.train_seeds, found.evidence_seeds, found.epochs)
    assert [100 * part for part in parts] == pytest.approx([0.25, 0.16, 0.09, 0.04], rel=0.15)
    assert found.n_units == 300


def test_what_was_never_repeated_has_no_variance_of_its_own():
    found = variance_components(repeated(0.5, 0.4, 0.3, 0, n_epochs=1, n_seeds=1))
    assert found.epochs is None and found.evidence_seeds is None
    assert 100 * found.train_seeds == pytest.approx(0.16 + 0.09, rel=0.15), "evidence is part of training then"


def test_two_training_seeds_or_two_units_say_nothing():
    samples = list(repeated(0.5, 0.4, 0.3, 0.2, n_units=4))
    assert variance_components(samples) is not None
    assert variance_components([s for s in samples if s[1].train_seed < 2]) is None
    assert variance_components([s for s in samples if s[1].unit in ("u0", "u1")]) is None
    assert variance_components([(0, null("n", 0.5, True))]) is None
