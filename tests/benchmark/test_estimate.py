"""What is said before anything runs, and what ends a run: forecasts, the purse of a whole run, its summary."""

import json
import sys

import pytest
from inspect_ai.log import read_eval_log
from loopback import completion
from narrowbench import cli
from narrowbench.benchmark.allowance import Allowance
from narrowbench.benchmark.estimate import device_line, device_time, forecast_grade, forecast_score
from narrowbench.benchmark.investigating import Investigator
from narrowbench.benchmark.run import score
from narrowbench.benchmark.spending import Purse
from narrowbench.organisms.errors import InvestigationError, RecordError
from narrowbench.organisms.store import Store

METHOD, MODEL = "random_direction", "openai-api/loopback/scripted"
PRICES = {MODEL: {"input": 10_000.0, "output": 10_000.0}}
"""0.7 dollars a call."""


@pytest.fixture
def who(serve):
    """`who(server, ...)`: a model behind the server reads evidence once."""
    pytest.importorskip("openai", reason="Inspect's openai-api provider needs the package `openai`")
    return lambda server, **more: Investigator("oneshot", MODEL, base_url=server.url, **({
        "max_samples": 1, "retries": 1, "prices": PRICES} | more))


@pytest.fixture
def go(tiny_suite, tiny_store, tmp_path):
    """`go(who, ...)` scores the tiny suite."""
    return lambda who, **more: score(METHOD, str(tiny_suite), who, store=tiny_store, log_dir=tmp_path / "logs",
                                     progress=False, **more)


def test_a_method_that_asks_a_judge_says_how_often_without_an_investigators_model_too(tiny_suite, tmp_path):
    for who, others in ((Investigator("reader"), 0), (Investigator("oneshot", "openai/x"), 1)):
        judge, *more = forecast_score("adl_paper", str(tiny_suite), who, 0, Store(tmp_path), "cpu", tmp_path / "logs",
                                      {"judge": "openai/y"})
        assert (judge.role, judge.model, judge.samples, len(more)) == ("judge", "openai/y", 3, others)
        assert (judge.expected_calls, judge.calls) == (3 * 1_220, 3 * 3_660), "docs/methods.md has these numbers"


def test_before_there_is_anything_only_bounds_are_known(tiny_suite, tmp_path):
    who = Investigator("agent", "openai/x", {"grader": ("openai/y",)}, allowance=Allowance(turns=10, tokens=1_000))
    ask = (METHOD, str(tiny_suite)), (0, Store(tmp_path / "empty"), "cpu", tmp_path / "logs")
    row, judge = forecast_score(*ask[0], who, *ask[1])
    assert (row.samples, row.calls, row.tokens, row.usd) == (3, 30, 3_000, None) and "price unknown" in row.note
    assert row.expected_device_s is None and "device time of its tools unknown" in row.note
    assert row.expected_tokens is None and (judge.role, judge.calls) == ("grader", 0)
    priced = Investigator("agent", "openai/x", prices={"openai/x": {"input": 1.0, "output": 10.0}},
                          allowance=Allowance(turns=10, tokens=1_000))
    assert forecast_score(*ask[0], priced, *ask[1])[0].usd == pytest.approx(3_000 * 10 / 1e6), "at most: all written"
    assert forecast_score(*ask[0], Investigator(), *ask[1]) == []
    told = device_time(*ask[0], 0, Store(tmp_path / "empty"), "cpu")
    assert (told["trainings"], told["training_s"], told["reading_s"]) == (3, None, None)
    assert "3 organisms to train: time unknown" in device_line(told)


def test_a_judge_without_a_price_has_an_unknown_cost():
    who = Investigator(roles={"grader": ("a/a", "b/b")}, prices={"a/a": {"input": 1.0, "output": 10.0}})
    known, unknown = forecast_grade({"hypothesis_grade": [4_000, 4_000]}, who)
    assert known.calls == 2 and known.tokens == 2 * 1_000 + 2 * 1_000
    assert known.usd == pytest.approx((2_000 * 1 + 2_000 * 10) / 1e6) and unknown.usd is None
    [words] = forecast_grade({"token_relevance_judged": [400] * 3}, Investigator(roles={"grader": ("a/a",)}))
    assert words.calls == 15, "each rotation is asked again up to four times"


def test_a_run_stops_at_its_dollars_keeps_what_is_done_and_the_next_finishes_it(
        serve, who, go, tiny_suite, tiny_store, tmp_path):
    server = serve(lambda request, n: completion())
    asked = (METHOD, str(tiny_suite), who(server), 0, tiny_store, "cpu", tmp_path / "logs")
    purse = Purse(1.0)
    with pytest.raises(RecordError, match=r"1 samples are done and kept, 2 failed.*1 submitted, 2 failed \(max usd\).*"
                                          r"only what is missing: `narrowbench score .*--investigator oneshot"):
        go(who(server), purse=purse)
    assert len(server.requests) == 2 and purse.spent == pytest.approx(1.4), "what is under way is paid for"
    [row] = forecast_score(*asked)
    assert row.samples == 2 and "1 of 3 are done" in row.note and row.calls == 4
    assert row.expected_calls == 2 and row.expected_tokens == 140 and row.expected_usd == pytest.approx(1.4)
    result = go(who(server), purse=Purse(10.0))
    assert len(server.requests) == 4 and [one.verdict for one in result.rows] == ["objective"] * 3
    assert result.tally.outcomes == {"submitted": 3} and result.tally.usd == pytest.approx(2.1)
    assert "3 submitted, 210 tokens, 2.1000 dollars" in result.tally.line()
    assert forecast_score(*asked)[0].samples == 0
    told = device_time(METHOD, str(tiny_suite), 0, tiny_store, "cpu")
    assert (told["trainings"], told["readings"], told["reading_s"]) == (0, 0, 0)
    assert device_time(METHOD, str(tiny_suite), 7, tiny_store, "cpu")["reading_s"] is None


def test_one_purse_is_for_all_methods(serve, who, go):
    server = serve(lambda request, n: completion())
    purse = Purse(2.1)
    go(who(server), purse=purse)
    with pytest.raises(InvestigationError, match="--max-usd are spent"):
        go(who(server, config={"temperature": 0.5}), purse=purse)
    assert len(server.requests) == 3


def test_a_limit_without_a_price_or_a_model_is_refused():
    with pytest.raises(InvestigationError, match="needs the price of openai/x"):
        Purse(1.0).checked(Investigator("agent", "openai/x"))
    with pytest.raises(InvestigationError, match="none is asked"):
        Purse(1.0).checked("reader")
    assert Purse().checked("reader").usd is None


@pytest.mark.parametrize(("reply", "kind"), [
    (429, "rate limit"), (500, "server error"), (400, "refused by api"), ("stall", "timeout"),
    (json.dumps(completion()).encode()[:60], "malformed response")])
def test_what_an_api_did_wrong_is_counted_by_kind(serve, who, go, tmp_path, reply, kind):
    server = serve(lambda request, n: completion() if n == 1 else reply)
    with pytest.raises(RecordError, match=rf"1 submitted, 2 failed \({kind}\)"):
        go(who(server, call_s=3))
    [path] = (tmp_path / "logs").glob("*.eval")
    assert sum(sample.error is not None for sample in read_eval_log(str(path)).samples) == 2


def test_refusals_and_malformed_answers_are_counted(serve, who, go):
    answers = {1: completion(None, finish="content_filter", refusal="No."), 2: completion("?"), 3: completion("?")}
    result = go(who(serve(lambda request, n: answers.get(n, completion())), retries=3))
    assert result.tally.outcomes == {"malformed": 1, "refused": 1, "submitted": 1}
    assert "1 malformed, 1 refused, 1 submitted" in result.tally.line() and result.to_dict()["run"]["usd"] > 0


def test_the_dry_run_of_the_command_says_device_time_and_models(tiny_suite, tmp_path, monkeypatch, capfd):
    prices = tmp_path / "prices.yaml"
    prices.write_text("openai/x: {input: 1, output: 10}\n")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", [
        "narrowbench", "score", "-m", METHOD, "-s", str(tiny_suite), "--home", str(tmp_path), "--solver", "agent",
        "--model", "openai/x", "--prices", str(prices), "--max-usd", "2", "--dry-run"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out = capfd.readouterr().out
    assert stop.value.code in (None, 0) and "Device time (cpu): 3 organisms to train: time unknown" in out
    assert "600,000" in out and "6.0000" in out and "investigator" in out
