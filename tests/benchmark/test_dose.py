"""Dose-response statistics against what can be worked out by hand, and against simulations with a known truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from narrowbench.benchmark.curves import Curves, interval
from narrowbench.benchmark.dose import Crossing, crossing, earlier_share, ed50, match, monotone, respond
from scipy import stats

MIX = (0.0, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 4.0)
ROWS = (20.0, 40.0, 80.0, 160.0, 320.0, 640.0)


def curves(values, organisms=None, units=None, doses=MIX) -> Curves:
    values = np.atleast_2d(np.asarray(values, dtype=float))
    organisms = organisms or ("a",) * len(values)
    return Curves(tuple(doses), tuple(organisms), tuple(units or organisms), values)


def ramp(half: float, top: float = 1.0, doses=MIX) -> list[float]:
    """Falls along a straight line in log(1 + dose) and is at half of `top` at `half`."""
    return [top * (1 - 0.5 * math.log1p(dose) / math.log1p(half)) for dose in doses]


@given(half=st.floats(0.11, 3.9), top=st.floats(0.05, 20))
def test_a_straight_line_gives_its_own_ed50(half, top):
    found = ed50(curves(ramp(half, top)), rising=False).point
    assert found.kind == "at" and found.dose == pytest.approx(half, rel=1e-9)


@given(half=st.floats(20.5, 639.0), top=st.floats(0.05, 20))
def test_a_rising_effect_is_half_there_where_it_says(half, top):
    x = [math.log1p(dose) for dose in ROWS]
    first, last = 0.2 * top, top
    share = (math.log1p(half) - x[0]) / (x[-1] - x[0])  # through (20, first), (half, top / 2), (640, top)
    values = [np.interp(place, [x[0], math.log1p(half), x[-1]], [first, top / 2, last]) for place in x]
    found = ed50(curves(values, doses=ROWS), rising=True).point
    # Between two doses the curve is drawn straight, so the kink at `half` may move within its own cell of the grid.
    assert 0 < share < 1 and found.kind == "at"
    cell = np.searchsorted(ROWS, half)
    assert ROWS[cell - 1] <= found.dose <= ROWS[cell]


def test_a_rising_effect_on_a_straight_line_exactly():
    values = [math.log1p(dose) for dose in ROWS]
    found = ed50(curves(values, doses=ROWS), rising=True).point
    assert found.dose == pytest.approx(math.expm1(math.log1p(640) / 2))


@given(st.lists(st.floats(-1, 1), min_size=8, max_size=8), st.floats(0.01, 100), st.booleans())
def test_no_dose_is_made_up(values, scale, rising):
    """Whatever the data: inside the grid it is a crossing, outside it is said so; the effect's unit is free."""
    weights = np.ones(8)
    fitted = monotone(np.array(values), weights, rising)
    found = crossing(MIX, fitted, rising)
    reference = fitted[-1 if rising else 0]
    if reference <= 0:
        assert found == Crossing("undefined") and math.isnan(found.order)
        return
    if found.kind == "above":
        assert not rising and found.dose == 4.0 and min(fitted) > reference / 2
    elif found.kind == "below":
        first = 0 if rising else 1
        assert found.dose == MIX[first]
        assert fitted[first] > reference / 2 if rising else fitted[first] < reference / 2
    else:
        assert (0.0 if rising else 0.1) <= found.dose <= 4.0
        height = np.interp(math.log1p(found.dose), np.log1p(MIX), fitted)
        assert height == pytest.approx(reference / 2, abs=1e-9 + 1e-6 * reference)
    scaled = crossing(MIX, monotone(scale * np.array(values), weights, rising), rising)
    if reference > 1e-9:
        assert scaled.kind == found.kind or abs(scaled.dose - found.dose) < 1e-6
        assert scaled.dose == pytest.approx(found.dose, rel=1e-6, abs=1e-9)


def test_censoring_is_a_type_and_is_shown():
    flat, dead = [0.9] * 8, [0.9] + [0.1] * 7
    assert str(ed50(curves(flat), False).point) == "> 4" and str(ed50(curves(dead), False).point) == "< 0.1"
    assert str(ed50(curves([0.8] * 6, doses=ROWS), True).point) == "< 20"
    nothing = ed50(curves([-0.1] * 8), False)
    assert nothing.point.kind == "undefined" and nothing.point.dose is None and nothing.low is None
    assert str(nothing) == "undefined"
    assert ed50(curves([0.0] + [0.3] * 7), False).point.kind == "undefined", "the fit must not lend dose 0 an effect"


def test_interval_ends_can_lie_outside_the_grid():
    slow = [ramp(half) for half in (2.0, 3.0, 30.0, 40.0)]
    found = ed50(curves(slow), False)
    assert found.point.kind == "at" or found.point.kind == "above"
    assert found.high == Crossing("above", 4.0) and found.low.kind == "at"
    assert "> 4]" in str(found)


def test_nothing_can_be_resampled_from_one_seed_each():
    found = ed50(curves([ramp(1.0), ramp(2.0)], organisms=("a", "b")), False)
    assert found.low is None and found.high is None and found.scope == "seeds"


def test_an_effect_that_is_not_there_in_many_resamples_has_no_interval():
    noisy = [[0.5] + [0.2] * 7, [-0.45] + [-0.2] * 7, [0.0] * 8]
    assert ed50(curves(noisy), False).low is None


def test_a_missing_cell_is_left_out_and_a_missing_reference_is_no_zero():
    values = np.array([ramp(1.0)] * 3)
    values[0, 3], values[1, 4] = np.nan, np.nan
    assert ed50(curves(values), False).point.dose == pytest.approx(1.0)
    values[:, 0] = np.nan
    assert ed50(curves(values), False).point.kind == "undefined"
    response = respond(curves(values), False)
    assert math.isnan(response.mean[0]) and response.intervals[0] is None


def test_seeds_then_organisms_then_units():
    """Three seeds of one organism weigh no more than one of its twin, and the pair no more than a lone organism."""
    values = [[1.0] * 8] * 3 + [[0.0] * 8] + [[0.8] * 8]
    found = respond(curves(values, organisms=("a", "a", "a", "a-twin", "b"), units=("a", "a", "a", "a", "b")), False)
    assert found.mean[0] == pytest.approx((0.5 + 0.8) / 2)
    assert found.members["a"][0] == 1.0 and found.members["a-twin"][0] == 0.0


def test_intervals_speak_for_other_organisms_from_three_units_on():
    units = [0.2, 0.5, 0.9]
    found = interval(curves([[v] * 8 for v in units], organisms=("a", "b", "c")), 0)
    expected = stats.t.interval(0.95, 2, loc=np.mean(units), scale=stats.sem(units))
    assert (found.low, found.high) == pytest.approx(expected)
    assert (found.kind, found.scope) == ("Student-t", "organisms")
    many = np.linspace(0, 1, 9)
    assert interval(curves([[v] * 8 for v in many], organisms=tuple("abcdefghi")), 0).kind == "BCa"


def test_intervals_of_two_organisms_come_from_their_seeds():
    a, b = np.array([0.5, 0.6, 0.7]), np.array([0.1, 0.1, 0.4])
    found = interval(curves([[v] * 8 for v in [*a, *b]], organisms=("a",) * 3 + ("b",) * 3), 2)
    pooled = (a.var(ddof=1) + b.var(ddof=1)) / 2
    half = stats.t.ppf(0.975, 4) * math.sqrt(pooled * (0.25 / 3 + 0.25 / 3))
    middle = (a.mean() + b.mean()) / 2
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half))
    assert found.scope == "seeds"
    assert interval(curves([[0.5] * 8, [0.7] * 8], organisms=("a", "b")), 0) is None


def test_which_of_two_curves_falls_first():
    rng = np.random.default_rng(1)
    def noisy(half):
        return curves(np.array([ramp(half)] * 4) + rng.normal(0, 0.03, (4, 8)))
    trace, behaviour = noisy(0.4), noisy(2.0)
    assert earlier_share(trace, behaviour, False) == 1.0 and earlier_share(behaviour, trace, False) == 0.0
    assert earlier_share(trace, trace, False) == 0.5
    with pytest.raises(ValueError, match="different rows"):
        earlier_share(trace, curves([ramp(1.0)] * 3), False)


def test_equal_gate_finds_the_trace_that_a_recipe_takes_away_beyond_its_behaviour():
    """Reference: trace = behaviour. The recipe leaves 0.3 less trace than that, whatever it does to behaviour."""
    fall = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.1])
    gate = np.array([0.9, 0.88, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5])
    jitter = np.array([[-0.01], [0.0], [0.01]])
    found = match(curves(gate - 0.3 + jitter), curves(gate + 0 * jitter),
                  curves(fall + jitter), curves(fall + 0 * jitter))
    assert found.difference == pytest.approx([-0.3] * 8)
    assert -0.4 < found.mean_interval.low < -0.31 and -0.29 < found.mean_interval.high < -0.2
    assert found.mean_interval.scope == "seeds"


def test_equal_gate_takes_no_value_from_where_the_reference_never_was():
    gate = np.linspace(0.9, 0.2, 8)
    narrow = np.linspace(0.9, 0.6, 8)
    found = match(curves(gate), curves(gate), curves(narrow), curves(narrow))
    assert [value is None for value in found.difference] == [True] + [g < 0.6 - 0.02 for g in gate[1:]]
    assert found.difference[0] is None, "a dose at which both are the same cells is no comparison"
    apart = match(curves(gate), curves(gate), curves(narrow), curves(narrow + 5))
    assert apart.mean_difference is None and apart.mean_interval is None
    with pytest.raises(ValueError, match="no reference curves for"):
        match(curves(gate), curves(gate), curves(narrow, organisms=("b",)), curves(narrow, organisms=("b",)))


def test_bad_shapes_are_refused():
    with pytest.raises(ValueError, match="ascending"):
        curves([[1.0, 2.0]], doses=(1.0, 0.5))
    with pytest.raises(ValueError, match="shape"):
        curves([[1.0, 2.0, 3.0]], doses=(1.0, 2.0))


@pytest.mark.slow
@pytest.mark.parametrize("organisms", [2, 5])
def test_intervals_hold_the_truth_about_as_often_as_they_say(organisms):
    """Simulated sweeps of three seeds: two organisms (scope: their seeds), or five (scope: other organisms)."""
    rng, n_trials, held = np.random.default_rng(7), 300, {"ed50": 0, "mean": 0}
    offsets = np.linspace(-0.1, 0.1, 2) if organisms == 2 else None
    truth = np.array(ramp(0.8))
    expected = crossing(MIX, truth, False).dose
    for _ in range(n_trials):
        shift = offsets if organisms == 2 else rng.normal(0, 0.15, organisms)
        names = tuple(name for i in range(organisms) for name in (str(i),) * 3)
        values = np.array([truth * (1 + shift[int(name)]) + rng.normal(0, 0.08, 8) for name in names])
        sample = curves(values, organisms=names)
        found, middle = ed50(sample, False, n_resamples=300), interval(sample, 4)
        held["ed50"] += found.low.order <= expected <= found.high.order
        held["mean"] += middle.low <= truth[4] <= middle.high
    assert 0.92 <= held["mean"] / n_trials <= 0.98
    assert 0.90 <= held["ed50"] / n_trials <= 0.995
