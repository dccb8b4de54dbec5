"""Transcripts: what led to a claim, from the log that the record names and no other, cut, and without its secrets."""

import json

import pytest
from logged import SECRET, logged_record
from typer.testing import CliRunner

from narrowbench.cli import app
from narrowbench.leaderboard.archive import read, write
from narrowbench.leaderboard.log_file import read_log
from narrowbench.leaderboard.publish import publish
from narrowbench.leaderboard.site import build
from narrowbench.leaderboard.transcripts import CUT, MAX_CHARACTERS, capped, transcripts_of
from narrowbench.organisms.errors import RecordError
from narrowbench.organisms.store import sha256_file

TEXT = "<script>alert(1)</script>\u2028"


@pytest.fixture(scope="module")
def talked(tmp_path_factory):
    """(log, record, rows) of an investigation with a tool."""
    return logged_record(tmp_path_factory.mktemp("talked"), TEXT)


@pytest.fixture
def records(talked, tmp_path):
    write(talked[1], talked[2], tmp_path / "records")
    return tmp_path / "records"


def shown(site, read_page):
    """The one method's page, and the samples of its transcripts."""
    [path] = (site / "methods").iterdir()
    page = read_page(path)
    [place] = [attributes for tag, attributes in page.tags if attributes.get("id") == "drawn"]
    file = place.get("data-transcripts")
    if not file:
        return page, None
    text = (path.parent / file).read_text(encoding="ascii")
    return page, json.loads(text.partition(" = ")[2].partition(").transcripts = ")[2].removesuffix(";\n"))


def test_a_conversation_is_told_in_order_with_its_tool_calls(talked):
    log, _, rows = talked
    turns = transcripts_of(read_log(log), {"k": rows[0]})["k"]
    assert [who for who, _ in turns] == ["instructions", "harness", "model", "model calls look", "answer of look",
                                         "model"]
    assert turns[0][1] == "Say what it is." and turns[1][1] == f"Which objective? {TEXT}"
    assert json.loads(turns[3][1]) == {"where": TEXT} and turns[4][1] == f"Seen there: {TEXT}"


def test_of_a_log_without_a_model_question_and_evidence_are_shown(plain_log, tmp_path):
    result = publish([plain_log], tmp_path / "records", tmp_path / "site")
    rows = {row.organism: row for row in read(result.written[0])[1]}
    turns = dict(transcripts_of(read_log(plain_log), rows)["sdf-cake"])
    assert turns == {"question": "What was the objective?",
                     "evidence": 'detection: no opinion\nstatistic "norm": 0.125'}


def test_the_page_has_the_transcripts_of_the_logs_that_are_given(talked, records, read_page, tmp_path):
    log, record, rows = talked
    build(records, tmp_path / "site", logs={record.log.sha256: log})
    page, told = shown(tmp_path / "site", read_page)
    assert len(told["samples"]) == len(rows) and told["log"] == record.log.sha256
    assert set(told["samples"]) == set(page.data["truths"])
    files = [path for path in (tmp_path / "site").rglob("*") if path.is_file()]
    assert SECRET in str(read_log(log).eval) and not [path for path in files if SECRET in path.read_text()]
    assert not [path for path in files if path.suffix == ".html" and "<script>alert" in path.read_text()]
    build(records, tmp_path / "site")  # a later build without the log keeps what was made from it
    assert shown(tmp_path / "site", read_page)[1] == told


def test_without_its_log_the_page_says_where_the_transcript_lies(talked, records, read_page, tmp_path):
    build(records, tmp_path / "site")
    page, told = shown(tmp_path / "site", read_page)
    assert told is None and f"log with sha256 {talked[1].log.sha256}" in page.text
    done = CliRunner().invoke(app, ["site", str(records), "--out", str(tmp_path / "site"), "--logs",
                                    str(talked[0].parent)])
    assert done.exit_code == 0 and shown(tmp_path / "site", read_page)[1]["samples"], done.output


def test_publishing_shows_the_transcripts_of_its_logs(plain_log, read_page, tmp_path):
    publish([plain_log], tmp_path / "records", tmp_path / "site")
    assert len(shown(tmp_path / "site", read_page)[1]["samples"]) == 4


def test_another_log_and_another_claim_are_not_shown(talked, records, plain_log, read_page, tmp_path):
    log, record, rows = talked
    with pytest.raises(RecordError, match="its sha256 is not"):
        build(records, tmp_path / "site", logs={record.log.sha256: plain_log})
    other = rows[0].model_copy(update={"claim": rows[0].claim.model_copy(update={"statement": "Something else."})})
    older = rows[1].model_copy(update={"evidence_sha256": sha256_file(plain_log)})
    found = transcripts_of(read_log(log), {"other": other, "older": older, "same": rows[2]})
    assert list(found) == ["same"]


def test_what_is_too_long_keeps_its_beginning_and_its_end():
    turns = [("a", "x" * 9_000), ("b", "y" * 20_000), ("c", "z" * 3_000)]
    kept = capped(turns)
    assert sum(len(text) for who, text in kept if who != CUT) == MAX_CHARACTERS
    assert [(who, text[:1]) for who, text in kept] == [("a", "x"), ("b", "y"), (CUT, "1"), ("b", "y"), ("c", "z")]
    assert kept[2] == (CUT, "12,000 characters left out")
    assert capped(turns[:1]) == turns[:1] and len(capped([("a", "x" * 20_001)])) == 3
