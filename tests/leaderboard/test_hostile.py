"""Whoever may add a record may not end the build: records that are whole and say anything leave other pages be."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from synthetic import HOSTILE, cards, changed, hostile_record, record_of

from narrowbench.leaderboard.archive import read_all, samples_path, write
from narrowbench.leaderboard.board import boards
from narrowbench.leaderboard.pages import gate_text
from narrowbench.leaderboard.pool import Pool
from narrowbench.leaderboard.record import SampleRow
from narrowbench.leaderboard.site import build
from narrowbench.organisms.spec import Card

KNOWN = cards(4)
GOOD = record_of("good", 0.5, KNOWN, np.random.default_rng(0), n_nulls=2)
OTHER = record_of("other", 0.5, KNOWN, np.random.default_rng(1), n_nulls=2)
DEEP = json.loads("[" * 60 + "]" * 60)
VALUES = st.sampled_from((HOSTILE, "", "../../x", "null", "objective", "twin", "broad", "\x00\u2028", 10**400, -10**400,
                          -1e308, 1e308, 1e300, 0, -1, 2, True, False, None, [], {}, DEEP, {HOSTILE: 10**400},
                          {"base": 10**400, "finetuned": -1e308}, ["card", "gate"]))


def leaves(value, path=()):
    """Paths of everything in a JSON value, the inner nodes too."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [found for key, item in inner for found in leaves(item, (*path, key))]


def put(value, path, new):
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


RECORD = {key: value for key, value in OTHER[0].model_dump(mode="json").items()
          if key in ("suite", "method", "investigator", "run", "panel", "log")}
ROWS = [row.model_dump(mode="json") for row in OTHER[1]]
CHANGES = st.lists(st.one_of(
    st.tuples(st.just("row"), st.integers(0, len(ROWS) - 1), st.sampled_from(leaves(ROWS[0])), VALUES),
    st.tuples(st.just("record"), st.just(0), st.sampled_from([p for p in leaves(RECORD) if len(p) > 1]), VALUES),
    st.tuples(st.just("all rows"), st.just(0), st.sampled_from(leaves(ROWS[0])), VALUES)), min_size=1, max_size=4)


def hostile(changes):
    """The other record with these changes, as far as the schema lets them through; hashed anew."""
    parts, rows = json.loads(json.dumps(RECORD)), json.loads(json.dumps(ROWS))
    for kind, n, path, value in changes:
        for place in [parts] if kind == "record" else rows if kind == "all rows" else [rows[n]]:
            before = json.dumps(place)
            try:
                put(place, path, value)
                if kind == "record":
                    type(getattr(OTHER[0], path[0])).model_validate(place[path[0]])
                else:
                    SampleRow.model_validate(place)
            except (ValueError, LookupError, TypeError):
                place.clear()
                place.update(json.loads(before))
    kinds = {key: type(getattr(OTHER[0], key)) for key in parts if parts[key] is not None}
    return changed(OTHER[0], [SampleRow.model_validate(row) for row in rows],
                   **{key: kind.model_validate(parts[key]) for key, kind in kinds.items()})


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=CHANGES)
def test_no_whole_record_stops_the_build_of_the_others(changes, tmp_path_factory):
    bad = hostile(changes)
    assume(bad[0].record_id != OTHER[0].record_id)
    folder = tmp_path_factory.mktemp("hostile")
    for record, rows in (GOOD, bad):
        write(record, rows, folder / "records")
    site = build(folder / "records", folder / "site")
    [key] = [entry.key for board in boards(read_all(folder / "records")[0]) for entry in board.entries
             if entry.record.record_id == GOOD[0].record_id]
    assert (folder / "site" / "methods" / f"{key}.html").is_file() and len(site.left_out) <= 1


def rows_with(**changes):
    return changed(OTHER[0], [row.model_copy(update={key: value(row) if callable(value) else value
                                                     for key, value in changes.items()}) for row in OTHER[1]])


def nothing_to_tell_apart(row):
    """A card of a domain of its own, without a slot."""
    return row.card and Card(card_id=row.card_id, family="sdf", domain=row.organism, lexicon={}, slots=())


def endless(row):
    return row.card and row.card.model_copy(update={"lexicon": {"cake": float("inf"), "oven": 1e308}})


def lowest(row):
    said = row.claim.verdict == "objective"
    return row.recovery and row.recovery.model_copy(update={"recovery": -1e308 if said else 0.0})


WRONG = {
    "no card": (rows_with(card=None, card_id="c-of-nobody"), ""),
    "a gate of any size": (rows_with(gate={"base": 10**400, "finetuned": 10**400}), ""),
    "other units": (rows_with(unit=lambda row: f"my {row.unit}"), ""),
    "cards that cannot be graded": (rows_with(card=nothing_to_tell_apart), ""),
    "texts that spell out keys": (rows_with(recovery=lambda row: row.recovery and row.recovery.model_copy(update={
        "domain_ranking": ("card", row.card.model_dump_json())}), gate={}), ""),
    "weights without end": (rows_with(card=endless), "the weight of 'cake' in its card is inf"),
    "scores below any": (rows_with(recovery=lowest), "no score is below -1"),
    "costs above any": (rows_with(cost={"flops": 1e308}), "`flops` is above 1e+24"),
    "one text in every field": (hostile_record(HOSTILE), ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_known_ways_to_end_the_build_do_not(name, tmp_path):
    bad, reason = WRONG[name]
    for record, rows in (GOOD, bad):
        write(record, rows, tmp_path / "records")
    site = build(tmp_path / "records", tmp_path / "site")
    assert bool(site.left_out) == bool(reason)
    assert not reason or reason in site.left_out[0][1]
    assert len(list((tmp_path / "site" / "methods").iterdir())) == 2 - bool(reason)


def test_a_record_at_another_place_is_left_out_with_the_place_where_it_belongs(tmp_path):
    write(*GOOD, tmp_path / "records")
    path, _ = write(*OTHER, tmp_path / "records")
    for source, target in ((path, "mine.json"), (samples_path(path), "mine.samples.jsonl")):
        (path.parent / target).write_bytes(source.read_bytes())
        source.unlink()
    whole, [(place, reason)] = read_all(tmp_path / "records")
    assert [record.method.name for record, _ in whole] == ["good"] and place.name == "mine.json"
    assert str(OTHER[0].path) in reason
    build(tmp_path / "records", tmp_path / "site")


def test_a_pool_keeps_kinds_of_values_apart():
    row, pool = OTHER[1][0], Pool()
    named = row.model_copy(update={"gate": {}, "recovery": row.recovery.model_copy(
        update={"domain_ranking": ("card", row.card.model_dump_json())})})
    assert [pool.row(each) for each in (named, row, named)] == [named, row, named]


def test_a_gate_is_told_in_one_line_whatever_it_holds():
    assert gate_text({"base": 10**400, "finetuned": 1}) == "not recorded"
    assert gate_text({"base": 0.02, "finetuned": 0.94}) == "0.02 in the base, 0.94 in the organism"


def test_a_name_by_hashing_is_too_long_to_be_met():
    [board] = boards([GOOD, OTHER])
    assert {len(entry.key) for entry in board.entries} == {32}
