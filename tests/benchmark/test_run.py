"""Scoring end to end on the tiny model: what is there is reused, a failure costs only itself, damage is named."""

import json
import sys
from pathlib import Path

import pytest
from inspect_ai import eval as inspect_eval
from narrowbench import cli
from narrowbench.benchmark.logs import find_log, read_whole
from narrowbench.benchmark.method import load_method
from narrowbench.benchmark.run import plan, score
from narrowbench.benchmark.task import recover
from narrowbench.leaderboard.archive import read_all
from narrowbench.leaderboard.board import boards
from narrowbench.leaderboard.publish import publish
from narrowbench.organisms.errors import AccessError
from narrowbench.organisms.store import Store

FAILS_ON_ONE = '''
class Fussy:
    name, version, access = "fussy", "1", frozenset({"activations"})

    def collect(self, pair, probes, budget, seed):
        from narrowbench.benchmark.activations import tokenise_probes
        from narrowbench.benchmark.method import Evidence, Token
        from narrowbench.organisms.errors import NonFiniteError

        ids_BT = tokenise_probes(pair.tokenizer, probes.texts, 3)[:4]
        change = (pair.residual("finetuned", ids_BT, [3], [2]) - pair.residual("base", ids_BT, [3], [2])).abs().sum()
        if change == 0:
            raise NonFiniteError("NaN in the finetuned model at layer 3, position 2")
        return Evidence(tokens=(Token(" cake", 1.0, self.name),), detection=float(change))
'''
CURIOUS = FAILS_ON_ONE.replace('frozenset({"activations"})', 'frozenset({"objective"})')


@pytest.fixture
def go(tiny_suite, tiny_store, tmp_path):
    return lambda method, **more: score(method, str(tiny_suite), **{
        "store": tiny_store, "log_dir": tmp_path / "logs", "progress": False, **more})


def method_file(tmp_path, text: str) -> str:
    (tmp_path / "fussy.py").write_text(text)
    return f"{tmp_path / 'fussy.py'}:Fussy"


def test_a_second_run_reuses_the_log_and_another_seed_does_not(go):
    first, again, other = go("random_direction"), go("random_direction"), go("random_direction", seed=1)
    assert not first.reused and again.reused and again.log == first.log and again.rows == first.rows
    assert not other.reused and other.log != first.log
    assert not again.warnings and not again.failures


def test_settings_make_another_log_and_another_row_and_the_defaults_by_name_do_not(go, tmp_path):
    plain, same = go("adl_logit_lens"), go("adl_logit_lens", settings={"k": 5})
    other = go("adl_logit_lens", settings={"k": 2})
    assert same.reused and same.log == plain.log and same.label == "adl_logit_lens"
    assert not other.reused and other.log != plain.log and other.label == "adl_logit_lens (k=2)"
    assert other.to_dict()["settings"] == {"k": 2} and go("adl_logit_lens", settings={"k": 2}).log == other.log
    page = publish([plain.log, other.log], tmp_path / "records", tmp_path / "site")
    assert len(page.written) == 2 and not page.skipped
    [board] = boards(read_all(tmp_path / "records")[0])
    assert sorted(entry.label for entry in board.entries) == ["adl_logit_lens", "adl_logit_lens (k=2)"]
    site = page.page.parent
    assert any("adl_logit_lens (k=2)" in path.read_text() for path in (site / "data").glob("*-board.js"))
    assert any("--method adl_logit_lens --set k=2 --suite" in path.read_text() for path in (site / "methods").iterdir()
               if path.is_file())


def test_a_truncated_log_is_named_not_used_and_not_deleted(go):
    first = go("prior")
    whole = first.log.read_bytes()
    first.log.write_bytes(whole[:len(whole) // 2])
    again = go("prior")
    assert not again.reused and again.log != first.log and again.rows == first.rows
    assert [first.log.name in line and "not used" in line for line in again.warnings] == [True]
    assert first.log.read_bytes() == whole[:len(whole) // 2]


def exam(log: Path) -> tuple[str, set[str]]:
    whole = read_whole(log)
    return whole.eval.metadata["narrowbench"]["inputs_sha256"], {str(sample.id) for sample in whole.samples}


def test_no_damage_to_a_log_makes_it_usable(go):
    log = go("prior").log
    raw, inputs, ids = log.read_bytes(), *exam(log)
    assert find_log(log.parent, inputs, ids)[0] is not None
    for at in (0, len(raw) // 5, len(raw) // 2, 4 * len(raw) // 5, len(raw) - 30):
        log.write_bytes(raw[:at] + bytes(byte ^ 0xFF for byte in raw[at:at + 20]) + raw[at + 20:])
        found, [warning] = find_log(log.parent, inputs, ids)
        assert found is None and log.name in warning
    assert find_log(log.parent, "0" * 64, ids)[0] is None


@pytest.mark.parametrize("part", [{"limit": 1}, {"epochs": 2}, {"score": False}])
def test_a_log_of_a_part_of_the_exam_is_not_taken_for_the_exam(go, tiny_suite, tiny_store, tmp_path, monkeypatch, part):
    inputs, ids = exam(go("prior").log)
    monkeypatch.setenv("NARROWBENCH_HOME", str(tiny_store.root))
    [log] = inspect_eval(recover(str(tiny_suite), "prior"), model=None, display="none", log_dir=str(tmp_path), **part)
    assert log.status == "success"
    found, [warning] = find_log(tmp_path, inputs, ids)
    assert found is None and "not used" in warning


def test_a_method_that_fails_on_one_organism_loses_only_that_cell(go, tmp_path, tiny_suite, tiny_store):
    name = method_file(tmp_path, FAILS_ON_ONE)
    result = go(name)
    by_role = {row.role: row for row in result.rows}
    assert [line.startswith("my-null: NonFiniteError: NaN in the finetuned model at layer 3, position 2")
            for line in result.failures] == [True]
    assert by_role["objective"].verdict == by_role["twin"].verdict == "objective"
    assert by_role["null"].verdict == "unsure", "a failure earns no credit for finding nothing"
    evidence = {step["organism"]: step["evidence"] for step in plan(name, str(tiny_suite), store=tiny_store)}
    assert evidence["my-cake"] == "there" and evidence["my-null"].startswith("to collect again")
    method_file(tmp_path, FAILS_ON_ONE.replace("change == 0", "False"))
    mended = go(name)
    assert not mended.failures and not mended.reused


def test_a_method_may_not_see_the_answers_unless_it_is_a_ceiling(go, tmp_path):
    with pytest.raises(AccessError, match="only ceilings"):
        go(method_file(tmp_path, CURIOUS))


def test_the_plan_says_what_would_be_done_and_does_nothing(tiny_suite, tmp_path):
    store = Store(tmp_path / "empty")
    steps = plan("prior", str(tiny_suite), store=store)
    assert [step["organism"] for step in steps] == ["my-cake", "my-cake-twin", "my-null"]
    assert {step["training"] for step in steps} == {"to train"} and not any((tmp_path / "empty").rglob("*.safetensors"))


def test_the_command_prints_the_table_the_means_and_the_log(tiny_suite, tiny_store, tmp_path, monkeypatch, capfd):
    args = ["narrowbench", "score", "-m", "oracle", "-s", str(tiny_suite), "--home", str(tiny_store.root), "--quiet",
            "--log-dir", str(tmp_path / "logs")]
    monkeypatch.setenv("COLUMNS", "160")
    for more in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", args + more)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code in (None, 0)
        out = capfd.readouterr().out
        if more:
            result = json.loads(out)
            assert result["reused"] and [row["recovery"] for row in result["organisms"]] == [1.0, 1.0, None]
            assert result["means"]["recovery"] is None, "a random model does not express what it was trained on"
        else:
            assert all(name in out for name in ("my-cake-twin", "Not in the mean", "my-null", "no_objective", "mean"))
            assert out.splitlines()[-1].startswith("log: ") and out.splitlines()[-1].endswith(".eval")


def test_loading_a_method_gives_the_hash_of_its_file(tmp_path):
    first = load_method(method_file(tmp_path, FAILS_ON_ONE))[1]
    assert load_method(method_file(tmp_path, FAILS_ON_ONE + "\n"))[1] != first
