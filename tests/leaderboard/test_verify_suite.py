"""verify, a record against its suite: who is asked, what may be spent, and which suite it is."""

import shlex
from dataclasses import replace

import pytest
from inspect_ai.log import read_eval_log, write_eval_log
from verified import EVIDENCE, SUITE, honestly_hashed, plain, reasons

from narrowbench.benchmark.settings import words as setting_words
from narrowbench.benchmark.suite import load_suite
from narrowbench.leaderboard.against_log import find_logs
from narrowbench.leaderboard.against_suite import differences
from narrowbench.leaderboard.publish import publish
from narrowbench.leaderboard.record import Record, SampleRow
from narrowbench.organisms.spec import digest_of


def test_a_method_that_reads_weights_is_not_asked_for_what_it_is_not_given(honest, place):
    suite = load_suite(SUITE)
    shown = {entry.sample_id for entry in suite.shown_to({"weights"})}
    assert 0 < len(shown) < len(suite.entries)
    record, rows = plain(honest)
    record["method"]["access"] = ["weights"]
    assert "none of these" in reasons(place(record, rows))
    rows = [row for row in rows if row["sample_id"] in shown]
    record["run"]["evidence_sha256"] = digest_of([row["evidence_sha256"] for row in rows])
    assert reasons(place(record, rows)) == ""


def test_what_spends_more_than_allowed_is_refused(honest, place):
    record, rows = plain(honest)
    rows[0]["cost"]["seconds"] = 1e6
    assert "the suite allows" in reasons(place(record, rows))
    record, rows = plain(honest)
    allowance = {"interactions": 5, "turns": 30, "tokens": 1000, "usd": None, "seconds": None}
    record["investigator"] |= {"model": "a/b", "prompt_sha256": "1" * 64, "allowance": allowance}
    record["run"]["command"] += " --model a/b"
    use = {"calls": 3, "input_tokens": 900, "output_tokens": 90, "total_tokens": 990, "usd": None, "interactions": 5,
           "outcome": "submitted"}
    for row in rows:
        row["usage"] = use
    assert reasons(place(record, rows)) == ""
    for key, value, outcome in (("interactions", 6, "limit"), ("total_tokens", 1001, "submitted"),
                                ("calls", 31, "submitted")):
        rows[0]["usage"] = use | {key: value, "outcome": outcome}
        assert "the investigator used" in reasons(place(record, rows)), key


@pytest.mark.parametrize("name, settings, allowed", [
    ("adl_paper", {"judge": "openai/x"}, True), ("mine", {"judge": "openai/x"}, True), ("mine", {}, False),
    ("mine", {"judge": ""}, False), ("prior", {"judge": "openai/x"}, False), ("adl_paper", {"k": 3}, False)])
def test_only_a_method_that_asked_a_judge_may_take_its_time(honest, place, name, settings, allowed):
    record, rows = plain(honest)
    record["method"] |= {"name": name, "settings": settings}
    words = "".join(f" --set {shlex.quote(word)}" for word in setting_words(settings))
    record["run"]["command"] = f"narrowbench score --method {name}{words} --suite {SUITE}"
    rows[0]["cost"]["seconds"] = 1e6
    found = reasons(place(record, rows))
    assert (found == "") is allowed and (allowed or "1,000,000 seconds, the suite allows 300" in found)
    suite = load_suite(SUITE)
    tight = replace(suite, budget=replace(suite.budget, forward_tokens=4_000))
    rows = [SampleRow.model_validate(row) for row in rows]
    assert any("forward tokens" in line for line in differences(Record.model_validate(
        honestly_hashed(record, rows)), rows, tight)), "tokens are limited all the same"


def test_another_suite_needs_its_manifest(honest, place):
    record, rows = plain(honest)
    record["suite"]["id"] = "mine"
    assert "`--suite PATH`" in reasons(place(record, rows))
    name = SUITE.partition(":")[0]
    record["suite"] |= {"id": name, "digest": "0" * 64}
    assert f"not that of {name} in this version" in reasons(place(record, rows))


def test_an_incomplete_run_of_a_built_in_suite_is_not_published(honest, tmp_path):
    log = read_eval_log(str(next(iter(find_logs(honest[2]).values()))))
    log.samples = log.samples[:5]
    log.eval.dataset.sample_ids = [sample.id for sample in log.samples]
    log.results.total_samples = log.results.completed_samples = 5
    about = log.eval.metadata["narrowbench"]
    about["evidence_sha256"] = digest_of([digest_of(EVIDENCE)] * 5)
    write_eval_log(log, str(tmp_path / "few.eval"))
    result = publish([tmp_path / "few.eval"], tmp_path / "records", tmp_path / "site")
    assert not result.written and "it holds 5 samples" in result.skipped[0][1]
