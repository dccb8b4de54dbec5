"""verify, a record's own parts: every change of an honest record is found, or its field is declared."""

import copy
import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verified import FIELDS, HASHES, SUITE, is_declared, json_values, plain, quick, reasons

from narrowbench.leaderboard import record as room
from narrowbench.leaderboard.against_log import find_logs
from narrowbench.leaderboard.archive import samples_path
from narrowbench.leaderboard.consistency import DECLARED
from narrowbench.leaderboard.verify import verify
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
