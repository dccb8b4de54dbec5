"""Logs graded again: the same marks, judges over real HTTP, nothing changed, nothing asked that was not named."""

import json
import sys

import pytest
from inspect_ai.log import EvalError, read_eval_log, write_eval_log
from inspect_ai.model import ModelConfig, ModelOutput
from loopback import completion
from narrowbench import cli
from narrowbench.benchmark.grade_run import grade_again
from narrowbench.benchmark.handed_in import GRADE_KEY, read_handed_in
from narrowbench.benchmark.investigating import Investigator
from narrowbench.benchmark.logs import find_log, scan
from narrowbench.benchmark.outcomes import kind_of_failure, reason
from narrowbench.benchmark.run import score
from narrowbench.benchmark.spending import EMPTY, Purse
from narrowbench.leaderboard.collect import collect
from narrowbench.organisms.errors import (
    DamagedArtefactError, InvestigationError, NarrowbenchError, NotFoundError, RecordError, SpecError)

JUDGE = "openai-api/loopback/judge"
PRICES = {JUDGE: {"input": 10_000.0, "output": 10_000.0}}
"""0.7 dollars a call."""


@pytest.fixture(scope="module")
def oracle(tiny_suite, tiny_store, tmp_path_factory):
    """The oracle's log on the tiny suite, of organisms that are said to have taken their training."""
    logs = tmp_path_factory.mktemp("logs")
    log = read_eval_log(str(score("oracle", str(tiny_suite), store=tiny_store, log_dir=logs, progress=False).log))
    for sample in log.samples:
        sample.metadata |= {"expressed": True, "healthy": True}
    path = logs / "oracle.eval"
    write_eval_log(log, str(path))
    return path


@pytest.fixture
def go(oracle, tiny_suite, tmp_path):
    """`go("recovery", ...)` grades the oracle's log."""
    return lambda *graders, **more: grade_again(more.pop("log", oracle), graders, str(tiny_suite), **{
        "log_dir": tmp_path / "grades", **more})


@pytest.fixture
def judge(serve, monkeypatch):
    """`judge(script, **settings)`: a server that judges, and who asks it."""
    pytest.importorskip("openai", reason="Inspect's openai-api provider needs the package `openai`")

    def go(script, **settings):
        server = serve(script)
        monkeypatch.setenv("LOOPBACK_BASE_URL", server.url)
        return server, Investigator(roles={"grader": (JUDGE,)}, **({"max_samples": 1, "retries": 1} | settings))

    return go


def changed(oracle, tmp_path, change) -> object:
    """A copy of the log in which something is otherwise."""
    log = read_eval_log(str(oracle))
    change(log)
    path = tmp_path / "changed.eval"
    write_eval_log(log, str(path))
    return path


def test_a_log_gets_the_same_marks_again_in_a_log_of_its_own(go, oracle, tmp_path):
    before = oracle.read_bytes()
    graded = go("recovery", "detect", "token_relevance", out=tmp_path / "out" / "grades.eval")
    assert oracle.read_bytes() == before and graded.log == tmp_path / "out" / "grades.eval" and not graded.reused
    old, new = read_eval_log(str(oracle)), read_eval_log(str(graded.log))
    marks = {sample.id: sample.scores["recovery"].value for sample in old.samples if sample.metadata["role"] != "null"}
    assert marks == {sample.id: sample.scores["recovery"].value for sample in new.samples if sample.id in marks}
    assert new.eval.metadata[GRADE_KEY]["source_sha256"] == read_handed_in(oracle).sha256
    rows = {(row.grader, row.measure): row for row in graded.report.means if row.family == "all"}
    assert rows["recovery", "recovery"].value == pytest.approx(1.0) and rows["recovery", "recovery"].n_organisms == 2
    assert rows["detect", "flagged"].value == 1 and rows["token_relevance", "max"].value > 0
    assert all(named == {truth: 1} for rows in graded.report.confusion.values() for truth, named in rows.items())
    with pytest.raises(RecordError, match="not published"):
        collect(graded.log)
    assert find_log(tmp_path / "out", old.eval.metadata["narrowbench"]["inputs_sha256"], set(marks))[0] is None
    assert go("recovery", "detect", "token_relevance").reused and not go("recovery").reused
    with pytest.raises(RecordError, match="never overwritten|overwritten"):
        go("recovery", out=tmp_path / "out" / "grades.eval")
    with pytest.raises(RecordError, match="log of grades"):
        go("recovery", log=graded.log)


def test_a_damaged_log_of_grades_is_named_and_left_alone(go):
    first = go("recovery")
    raw = first.log.read_bytes()
    first.log.write_bytes(raw[:len(raw) // 2])
    again = go("recovery")
    assert not again.reused and again.log != first.log and first.log.read_bytes() == raw[:len(raw) // 2]
    assert [first.log.name in line and "damaged" in line for line in again.warnings] == [True]
    assert again.to_dict()["warnings"] == list(again.warnings) and not first.warnings


def test_damaged_unfinished_and_foreign_logs_are_named_with_what_is_wrong(go, oracle, tmp_path):
    raw = oracle.read_bytes()
    torn = tmp_path / "torn.eval"
    torn.write_bytes(raw[:len(raw) // 2])
    with pytest.raises(DamagedArtefactError, match="torn.eval: truncated or damaged"):
        go("recovery", log=torn)
    for change, error in (
            (lambda log: setattr(log, "status", "error"), "did not finish"),
            (lambda log: setattr(log, "invalidated", True), "invalidated"),
            (lambda log: log.eval.metadata.pop("narrowbench"), "not of `narrowbench score`"),
            (lambda log: [setattr(log.eval, key, "other") for key in ("task", "task_registry_name")], "task 'other'"),
            (lambda log: setattr(log.samples[0], "output", ModelOutput.from_content("none", "5/5")), "holds no claim"),
            (lambda log: log.samples[0].metadata.update(family="[red]x"), "does not say its family"),
            (lambda log: setattr(log.samples[0], "target", "c-other"), "is not so in suite"),
            (lambda log: log.eval.metadata["narrowbench"]["suite"].update(digest="0" * 64), "digest 000000000000")):
        with pytest.raises(NarrowbenchError, match=error):
            go("recovery", log=changed(oracle, tmp_path, change))
    with pytest.raises(NotFoundError, match="no file"):
        go("recovery", log=tmp_path / "none.eval")
    with pytest.raises(SpecError, match="add `--suite PATH`"):
        grade_again(oracle, ["recovery"], log_dir=tmp_path / "grades")
    assert not (tmp_path / "grades").exists()


def test_a_judge_that_fails_on_one_claim_costs_that_one_and_the_next_run_asks_only_for_it(go, judge):
    broken = json.dumps(completion()).encode()[:60]
    server, who = judge(lambda request, n: {1: 429}.get(n, completion("GRADE: 4") if n == 2 else broken))
    with pytest.raises(RecordError, match=r"1 failed.*1 failed \(malformed response\).*calls tried again.*`narrowbench "
                                          r"grade .*--model-role grader=openai-api/loopback/judge"):
        go("hypothesis_grade", who=who)
    asked = len(server.requests)
    server.script = lambda request, n: completion("GRADE: 2")
    graded = go("hypothesis_grade", who=who)
    assert len(server.requests) == asked + 1, "nulls are not judged, and one grade was there"
    [whole] = [row for row in graded.report.means if (row.measure, row.family) == ("grade", "all")]
    assert whole.value == 3 and graded.tally.usage[JUDGE]["calls"] == 2 and graded.tally.usd is None
    for sample in read_eval_log(str(graded.log)).samples:
        if sample.metadata["role"] != "null":
            about = sample.scores["hypothesis_grade"].metadata
            assert about["judges"] == [JUDGE] and len(about["rubric_sha256"]) == 64
    assert go("hypothesis_grade", who=who).reused and len(server.requests) == asked + 1


def test_a_judge_without_a_grade_is_counted(go, judge):
    _, who = judge(lambda request, n: completion("I would rather not."))
    graded = go("hypothesis_grade", who=who)
    assert graded.report.unscored["hypothesis_grade"] == {"grader_failed": 2, "null": 1}
    assert "2 without a grade of hypothesis_grade" in graded.tally.line() and not graded.report.means


def test_no_judge_that_only_the_log_names_is_ever_asked(go, judge, oracle, tmp_path, monkeypatch):
    theirs, who = judge(lambda request, n: completion("GRADE: 5"))
    trap = ModelConfig(model="openai-api/loopback/trap", base_url=theirs.url)
    log = changed(oracle, tmp_path, lambda log: setattr(log.eval, "model_roles", {"grader": trap}))
    with pytest.raises(InvestigationError, match="none was named"):
        go("hypothesis_grade", log=log)
    assert not theirs.requests
    ours, who = judge(lambda request, n: completion("GRADE: 3"))
    go("hypothesis_grade", log=log, who=who)
    assert len(ours.requests) == 2 and not theirs.requests
    with pytest.raises(InvestigationError, match="would do nothing"):
        go("recovery", who=who)


def test_max_usd_ends_grading_and_keeps_what_was_graded(go, judge, tmp_path):
    server, who = judge(lambda request, n: completion("GRADE: 4"), prices=PRICES)
    with pytest.raises(RecordError, match=r"2 samples are done and kept, 1 failed.*1 failed \(max usd\)"):
        go("hypothesis_grade", who=who, purse=Purse(0.7))
    assert len(server.requests) == 1
    purse = Purse(10.0)
    graded = go("hypothesis_grade", who=who, purse=purse)
    assert len(server.requests) == 2 and purse.spent == pytest.approx(0.7) and graded.tally.usd == pytest.approx(1.4)
    with pytest.raises(InvestigationError, match="needs the price"):
        go("hypothesis_grade", who=Investigator(roles={"grader": ("openai/x",)}), purse=Purse(1.0))
    with pytest.raises(InvestigationError, match=EMPTY):
        with Purse(0.0).open():
            pass


def test_the_command_plans_grades_and_says_where(oracle, tiny_suite, tmp_path, monkeypatch, capfd):
    prices = tmp_path / "prices.yaml"
    prices.write_text("openai/a: {input: 1, output: 10}\n")
    common = ["narrowbench", "grade", str(oracle), "--suite", str(tiny_suite), "--log-dir", str(tmp_path / "grades")]

    def run(*more):
        monkeypatch.setattr(sys, "argv", [*common, *more])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return (stop.value.code or 0, *capfd.readouterr())

    judged = ["--grader", "hypothesis_grade", "--model-role", "grader=openai/a", "--model-role", "grader=openai/b"]
    code, out, _ = run(*judged, "--prices", str(prices), "--dry-run", "--json")
    priced, unknown = json.loads(out)["models"]
    assert code == 0 and priced["calls"] == unknown["calls"] == 2 and priced["usd"] > 0
    assert unknown["usd"] is None and "price unknown" in unknown["note"] and priced["tokens"] > 2_000
    code, out, _ = run("--grader", "recovery", "--grader", "detect")
    assert code == 0 and "recovery: means over units" in out and "Identification" not in out.split("log: ")[1]
    seen = scan(tmp_path / "grades", "0" * 64, GRADE_KEY)
    assert (seen.whole, seen.begun, seen.warnings) == (None, None, ())
    code, _, err = run(*judged, "--max-usd", "1", "--prices", str(prices))
    assert code == 2 and "needs the price of openai/b" in err
    code, _, err = run("--claims", str(prices))
    assert code == 2 and "Give logs, or one" in err


@pytest.mark.parametrize(("last", "kind", "told"), [
    (f"errors.InvestigationError: {EMPTY}", "max_usd", EMPTY),
    ("inspect_ai.util._limit.LimitExceededError: Cost limit reached. value: $0.7", "max_usd", "Cost limit"),
    ("RetryError[<Future at 0x7 state=finished raised RateLimitError>]", "rate_limit", "RateLimitError"),
    ("RetryError[<Future at 0x7 state=finished raised InternalServerError>]", "server_error", "InternalServerError"),
    ("RetryError[<Future at 0x7 state=finished raised APITimeoutError>]", "timeout", "APITimeoutError"),
    ("Error code: 503 - busy", "server_error", "503"), ("Error code: 408", "timeout", "408"),
    ("BadRequestError('Error code: 400 - bad')", "refused_by_api", "400"),
    ("json.decoder.JSONDecodeError: Expecting value", "malformed_response", "Expecting"),
    ("APIConnectionError('Connection error.')", "connection", "Connection"), ("ZeroDivisionError", "other", "Zero")])
def test_failures_have_kinds_and_a_short_reason(last, kind, told):
    error = EvalError(message="Request: Error code: 429 " + "x" * 9_999, traceback=f"Traceback\n  x\n{last}\n",
                      traceback_ansi="")
    assert kind_of_failure(error) == kind and told in reason(error) and len(reason(error)) <= 160
