"""Settings are chosen on dev organisms by a grid: every combination is scored once, test organisms are refused."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from narrowbench.benchmark import tune as room
from narrowbench.organisms.errors import SpecError
from narrowbench.organisms.store import Store

MEMBERS = ("cake-450", "cake-450-twin", "gold", "gold-twin", "null-text-chats")


@pytest.fixture(scope="module")
def dev_suite(tmp_path_factory):
    """Shipped dev organisms and few probes, so that a trial takes a second."""
    path = tmp_path_factory.mktemp("dev") / "few.json"
    path.write_text(json.dumps({
        "schema": 1, "id": "few", "tier": "nano", "split": "dev", "base": "nano",
        "organisms": [{"organism": name} for name in MEMBERS], "candidates": "catalog",
        "probes": {"source": "nano", "n": 60, "seed": 1}, "budget": {}}))
    return path


def test_each_combination_is_scored_and_stands_in_the_table(dev_suite, tmp_path):
    grid = room.parse_grid(["layer_fraction=0.5,0.8", "k=3"])
    trials = room.tune("adl_logit_lens", grid, str(dev_suite), store=Store(tmp_path), progress=False)
    assert [trial.settings for trial in trials] == [{"layer_fraction": 0.5, "k": 3}, {"layer_fraction": 0.8, "k": 3}]
    for trial in trials:
        assert trial.words > 0.2 and trial.nulls == 1 and not trial.failures and math.isfinite(trial.half_width)
    table = room.markdown(trials)
    assert table.startswith("| layer_fraction | k | recovery |") and table.count("\n") == 3


def test_a_trial_made_before_is_found_again_with_equal_numbers(dev_suite, tmp_path):
    first, again = (room.tune("random_direction", {}, str(dev_suite), store=Store(tmp_path), progress=False)[0]
                    for _ in range(2))
    assert first == again and abs(first.words) < 0.5


def test_test_organisms_are_refused(tmp_path):
    with pytest.raises(SpecError, match="nothing is ever chosen"):
        room.tune("prior", {}, "nano-2026.1:test", store=Store(tmp_path), progress=False)


def test_a_setting_that_does_not_exist_is_named():
    with pytest.raises(SpecError, match="has no such setting. It has: k, "):
        room.plan("adl_logit_lens", {"depth": [0.5]})
    with pytest.raises(SpecError, match="100 combinations"):
        room.plan("adl_logit_lens", {"k": list(range(10)), "layer_fraction": [x / 10 for x in range(10)]})


@pytest.mark.parametrize("option", ["k", "=3", "k=", "k=[1", "k=3,{"])
def test_a_grid_of_another_form_is_refused_and_quoted(option):
    with pytest.raises(SpecError, match="write each setting once"):
        room.parse_grid([option])


@given(st.lists(st.one_of(st.integers(-99, 99), st.booleans(), st.from_regex(r"\A[a-z]{3,8}_x\Z")), min_size=1,
                max_size=5))
def test_values_keep_their_types(values):
    text = ",".join(str(value).lower() if isinstance(value, bool) else str(value) for value in values)
    assert room.parse_grid([f"key={text}"]) == {"key": values}
    assert room.parse_grid(["scales=[1, 2.5],[3]"]) == {"scales": [(1, 2.5), (3,)]}
