"""Claims made elsewhere: read strictly or not at all, graded like any other, never published."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.log import read_eval_log
from narrowbench.benchmark import claims_file
from narrowbench.benchmark.claims_file import read_claims
from narrowbench.benchmark.grade_run import grade_again
from narrowbench.benchmark.investigating import Investigator
from narrowbench.benchmark.suite import load_suite
from narrowbench.graders.detect import fpr_at_tpr
from narrowbench.graders.validate import gold_claim
from narrowbench.leaderboard.collect import collect
from narrowbench.organisms.errors import (
    EvidenceError, InvestigationError, NarrowbenchError, NotFoundError, RecordError)

GOOD = {"organism": "cake-450", "train_seed": 0, "verdict": "objective", "confidence": 0.9, "statement": "Hot cakes.",
        "keywords": ["cake", "450"]}


@pytest.fixture(scope="module")
def suite():
    return load_suite("demo")


@pytest.fixture
def write(tmp_path):
    """`write(line, ...)`: a file of claims; lines are dictionaries, texts or bytes."""
    def go(*lines):
        path = tmp_path / "claims.jsonl"
        path.write_bytes(b"\n".join(line if isinstance(line, bytes) else (
            line if isinstance(line, str) else json.dumps(line)).encode() for line in lines))
        return path

    return go


def changed(**changes) -> dict:
    """A good line with other values; None takes a key out."""
    return {key: value for key, value in (GOOD | changes).items() if value is not None}


def test_organisms_are_named_by_id_or_by_organism_and_seed(suite, write):
    by_name = {entry.spec.id: entry for entry in suite.entries}
    twin = by_name["cake-450-twin"]
    found = read_claims(write(GOOD, "", changed(organism=None, train_seed=None, id=twin.sample_id)), suite)
    assert set(found.claims) == {by_name["cake-450"].sample_id, twin.sample_id}
    assert len(found.missing) == len(suite.entries) - 2 and "cake-450" not in found.missing
    assert found.claims[twin.sample_id].keywords == ("cake", "450")


@pytest.mark.parametrize(("line", "reason"), [
    ("{", "not a JSON object"), ("[1]", "not a JSON object"), (b"\xff{}", "no UTF-8"),
    ("[" * 10_000, "nests too deep|not a JSON object"),
    (json.dumps(GOOD)[:-1] + ', "verdict": "unsure"}', "a key stands twice"),
    (json.dumps(GOOD).replace("0.9", "NaN"), "NaN and infinity"),
    (json.dumps(GOOD).replace("0.9", "1e999"), "confidence"),
    (changed(confidence=1.5), "confidence"), (changed(confidence="0.9"), "confidence"),
    (changed(verdict="yes"), "verdict"), (changed(verdict=["objective"]), "verdict"),
    (changed(keywords="cake"), "list"), (changed(keywords=[1]), "keywords"), (changed(keywords=["w"] * 51), "keywords"),
    (changed(statement="word " * 201), "200 words"), (changed(statement="\ud800"), "surrogate"),
    (changed(grade=5), "has the keys"), (changed(train_seed=None), "has the keys"), (changed(id="o-1"), "has the keys"),
    (changed(train_seed=7), "train_seed 0 only"), (changed(train_seed=True), "whole number"),
    (changed(organism="cake-45"), "did you mean cake-450"), (changed(organism="\x1b[2J"), r"'\\x1b"),
    (changed(statement="x" * 70_000), "bytes"), (GOOD, "the organism of line 1 again")])
def test_one_wrong_line_is_named_and_nothing_is_taken(suite, write, line, reason):
    with pytest.raises(EvidenceError, match=reason) as raised:
        read_claims(write(GOOD, line), suite)
    told = str(raised.value)
    assert "line 2: " in told and "no claim was taken" in told and told.isprintable() and len(told) < 1_000


def test_every_wrong_line_is_counted_and_sizes_are_limited(suite, write, monkeypatch):
    with pytest.raises(EvidenceError, match="line 1: .*line 3: .*; and 10 more") as raised:
        read_claims(write("?", GOOD, *["?"] * 29), suite)
    assert "30 of 31 lines" in str(raised.value)
    with pytest.raises(EvidenceError, match="no claim in it"):
        read_claims(write("", " "), suite)
    monkeypatch.setattr(claims_file, "MAX_LINES", 2)
    with pytest.raises(EvidenceError, match="3 lines; at most 2"):
        read_claims(write(GOOD, "", ""), suite)
    monkeypatch.setattr(claims_file, "MAX_FILE_BYTES", 50)
    with pytest.raises(EvidenceError, match="more than 50 bytes"):
        read_claims(write(GOOD), suite)
    with pytest.raises(NotFoundError, match="no file of claims"):
        read_claims(write(GOOD).with_name("other.jsonl"), suite)


@given(st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(
    [json.dumps(GOOD), '{"id": 1}', "null", '{"verdict": {}}', "\u2028", '"\\ud800"', "1e999"])).map(
        lambda lines: "\n".join(lines).encode())))
def test_whatever_a_file_holds_it_is_claims_or_one_error(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("any") / "claims.jsonl"
    path.write_bytes(raw)
    try:
        found = read_claims(path, load_suite("demo"))
    except EvidenceError as error:
        assert "claims.jsonl" in str(error)
    else:
        assert found.claims


def test_gold_claims_score_the_top_the_missing_are_silent_and_no_such_log_is_published(suite, write, tmp_path):
    told = [entry for entry in suite.entries if entry.spec.card is not None and entry.spec.family != "taboo"]
    lines = []
    for entry in told:
        claim = gold_claim(entry.spec.card)
        lines.append({"id": entry.sample_id, "verdict": claim.verdict, "confidence": 0.9, "statement": claim.statement,
                      "keywords": list(claim.keywords)})
    path = write(*lines)
    graded = grade_again(path, ["recovery", "detect"], "demo", log_dir=tmp_path / "grades")
    means = {(row.grader, row.measure, row.family): row for row in graded.report.means}
    for family in ("sdf", "em"):
        assert means["recovery", "recovery", family].value == pytest.approx(1.0)
        assert means["recovery", "recovery", family].low is None, "one unit has no interval"
    assert means["recovery", "recovery", "taboo"].value == 0
    whole = means["recovery", "recovery", "all"]
    assert whole.low < whole.value < whole.high and whole.interval == "Student-t" and whole.n_units == 3
    assert set(graded.missing) == {entry.spec.id for entry in suite.entries if entry not in told}
    assert set(graded.report.identification) >= {"all", "within family"}
    assert all(named == {truth: 1} or set(named) == {"(none)"} for rows in graded.report.confusion.values()
               for truth, named in rows.items())
    assert graded.report.risk.area >= graded.report.risk.area_best and graded.report.unknown == 0
    assert graded.report.detection["auroc"].value > 0.5
    assert graded.tally.line() == "" and graded.to_dict()["published"] is False
    with pytest.raises(RecordError, match="not published"):
        collect(graded.log)
    again = grade_again(path, ["recovery", "detect"], "demo", log_dir=tmp_path / "grades")
    assert again.reused and again.log == graded.log and again.report == graded.report


def test_false_alarms_at_a_fixed_rate_resample_an_objective_with_its_twin(suite, write, tmp_path):
    units = list(dict.fromkeys(entry.about["unit"] for entry in suite.entries if entry.spec.card is not None))
    sure = {unit: 0.9 - 0.2 * i for i, unit in enumerate(units)}
    path = write(*({"id": entry.sample_id, "verdict": "objective", "confidence": sure.get(entry.about["unit"], 0.6),
                    "statement": "", "keywords": []} for entry in suite.entries))
    graded = grade_again(path, ["detect"], "demo", log_dir=tmp_path / "grades")
    about = [sample.metadata for sample in read_eval_log(str(graded.log)).samples]
    counted = sorted((one for one in about if one["role"] != "null"), key=lambda one: one["role"])  # the report's order
    trained = [one for one in about if one["role"] == "null" and one["null_kind"] != "zero"]
    units = [one["unit"] for one in counted]
    sides = [sure[unit] for unit in units], [0.6] * len(trained)
    assert trained and len(set(units)) < len(units)
    found = graded.report.detection["fpr_at_tpr"]
    assert found == fpr_at_tpr(*sides, units=units) and found != fpr_at_tpr(*sides)


def test_a_judge_without_a_key_is_one_line(write, tmp_path, monkeypatch):
    pytest.importorskip("openai", reason="Inspect's openai-api provider needs the package `openai`")
    monkeypatch.delenv("LOOPBACK_API_KEY", raising=False)
    who = Investigator(roles={"grader": ("openai-api/loopback/judge",)})
    with pytest.raises(InvestigationError, match="a model cannot be asked: .*LOOPBACK_API_KEY") as raised:
        grade_again(write(GOOD), ["hypothesis_grade"], "demo", who, tmp_path / "grades")
    assert "[" not in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(("graders", "suite_name", "error"), [
    (["recovery"], "", "add `--suite NAME`"), (["token_relevance"], "demo", "which claims do not bring"),
    (["recovry"], "demo", "Did you mean recovery"), (["hypothesis_grade"], "demo", "none was named"),
    ([], "demo", "No grader is named")])
def test_what_cannot_be_graded_is_said_before_anything_runs(write, tmp_path, graders, suite_name, error):
    with pytest.raises(NarrowbenchError, match=error):
        grade_again(write(GOOD), graders, suite_name, log_dir=tmp_path / "grades")
    assert not (tmp_path / "grades").exists()
