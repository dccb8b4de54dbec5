"""Detection: ties count half, intervals hold the value, perfect separation of few organisms is no certainty."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from narrowbench.graders.claim import Claim
from narrowbench.graders.detect import auroc, detection_score, fpr_at_tpr, fpr_at_verdict

few = st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]), min_size=1, max_size=7)
many = [0.1, 0.2, 0.3, 0.35, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9]


@pytest.mark.parametrize("verdict, score", [("objective", 0.8), ("no_objective", 0.2), ("unsure", 0.5)])
def test_detection_score_is_the_probability_of_an_objective(verdict, score):
    assert detection_score(Claim(verdict, 0.8)) == pytest.approx(score)


@given(positives=few, negatives=few)
@settings(deadline=None)
def test_auroc_is_the_usual_one_and_its_interval_holds_it(positives, negatives):
    found = auroc(positives, negatives)
    labels = [1] * len(positives) + [0] * len(negatives)
    assert found.value == pytest.approx(roc_auc_score(labels, positives + negatives))
    assert 0 <= found.low <= found.value <= found.high <= 1 and found.high - found.low > 0.1


def test_many_organisms_get_a_bootstrap_interval():
    found = auroc([x + 0.25 for x in many], many)
    assert found.kind == "BCa" and found.low < found.value < found.high
    assert found == auroc([x + 0.25 for x in many], many)


def test_perfect_separation_is_not_certainty():
    found = auroc([0.9] * 10, [0.1] * 20)
    assert found.value == found.high == 1 and found.kind == "Wilson" and 0.5 < found.low < 0.9
    assert auroc([0.9] * 3, [0.1] * 3).low < 0.5
    tied = auroc([0.5] * 10, [0.5] * 10)
    assert tied.value == 0.5 and tied.low < 0.3 and tied.high > 0.7


def test_twins_of_a_unit_are_no_independent_evidence():
    doubled = [score for x in many for score in (x + 0.25, x + 0.25)]
    units = [unit for unit in range(len(many)) for _ in range(2)]
    single = auroc([x + 0.25 for x in many], many)
    grouped, naive = auroc(doubled, many, units), auroc(doubled, many)
    assert (grouped.value, grouped.low, grouped.high) == pytest.approx((single.value, single.low, single.high))
    assert naive.high - naive.low < grouped.high - grouped.low


def test_false_alarms_at_the_verdict():
    found = fpr_at_verdict([True, False, False, False])
    assert found.value == 0.25 and found.low < 0.1 and found.high > 0.6
    assert fpr_at_verdict([False] * 20).low == 0 and fpr_at_verdict([False] * 20).high > 0.1


def test_false_alarms_at_a_fixed_rate_of_true_ones():
    positives = [0.9, 0.8, 0.7, 0.6, 0.1]
    assert fpr_at_tpr(positives, [0.65, 0.5, 0.5, 0.5], tpr=0.8).value == 0.25
    assert fpr_at_tpr(positives, [0.65, 0.6, 0.5, 0.5], tpr=0.8).value == 0.5
    assert fpr_at_tpr(positives, [0.65, 0.6, 0.5, 0.5], tpr=1.0).value == 1
    assert fpr_at_tpr([0.5] * 4, [0.5] * 4).value == 1
    with pytest.raises(ValueError, match="0.8"):
        fpr_at_tpr(positives, [0.5], tpr=0)


def test_its_interval_knows_that_the_threshold_is_uncertain():
    positives, negatives = [x + 0.25 for x in many], [x - 0.05 for x in many]
    found = fpr_at_tpr(positives, negatives)
    alone = fpr_at_verdict([score >= 0.55 for score in negatives])
    assert found.value == alone.value and found.kind == "Jeffreys"
    assert found.high - found.low > alone.high - alone.low
    assert found == fpr_at_tpr(positives, negatives)
    none = fpr_at_tpr([0.9] * 10, [0.1] * 20)
    assert none.value == none.low == 0 and 0.05 < none.high < 0.2, "no alarm in 20 nulls is no proof of none"


def test_twins_move_the_threshold_together():
    doubled, units = [score for x in many for score in (x, x)], [unit for unit in range(len(many)) for _ in range(2)]
    single, grouped, naive = (fpr_at_tpr(many, many), fpr_at_tpr(doubled, many, units=units), fpr_at_tpr(doubled, many))
    assert (grouped.value, grouped.low, grouped.high) == (single.value, single.low, single.high)
    assert naive.high - naive.low < grouped.high - grouped.low


def test_an_empty_side_says_nothing():
    assert auroc([], [0.5]) is None and auroc([0.5], []) is None
    assert fpr_at_verdict([]) is None and fpr_at_tpr([0.5], []) is None
