"""Who is ranked, against whom: verified rows only, over shared units, whatever strangers hand in."""

import numpy as np
import pytest
from scipy import stats
from synthetic import cards, record_of

from narrowbench.leaderboard.archive import write
from narrowbench.leaderboard.board import boards
from narrowbench.leaderboard.pairwise import compare
from narrowbench.leaderboard.plot import draw
from narrowbench.organisms.errors import NotFoundError

KNOWN = cards(24)


@pytest.fixture
def make_record():
    """Records of one random stream, with fewer nulls than a suite has: they are quicker."""
    rng = np.random.default_rng(0)

    def make(name, skill=0.4, known=KNOWN, **told):
        return record_of(name, skill, known, rng, **({"n_nulls": 3} | told))

    return make


def board_of(records, level="rerun", **levels):
    named = {record.record_id: levels.get(record.method.name, level) for record, _ in records}
    [board] = boards(records, named)
    return board


def test_only_verified_rows_are_ranked(make_record):
    records = [make_record(name) for name in ("reran", "sealed", "regraded", "self")]
    board = board_of(records, "rerun", sealed="sealed", regraded="regraded", self="self")
    assert {entry.label for entry in board.ranked} == {"reran", "sealed"}
    assert {entry.label for entry in board.unranked if entry.rank is None} == {"regraded", "self"}
    assert all(entry.rank for entry in board.ranked)
    [nobody] = boards(records)
    assert not nobody.slices and not nobody.ranked and {entry.level for entry in nobody.unranked} == {"self"}


def test_a_newer_run_of_somebody_else_does_not_take_a_verified_rows_place(make_record):
    ours, theirs = make_record("lens", 0.3), make_record("lens", 0.9, day=200)
    [board] = boards([ours, theirs], {ours[0].record_id: "rerun"})
    [verified], [other] = board.ranked, board.unranked
    assert verified.record.record_id == ours[0].record_id and other.record.record_id == theirs[0].record_id
    assert verified.key != other.key and board.n_superseded == 0


def test_an_entry_is_as_verified_as_its_least_verified_record(make_record):
    record, rows = make_record("lens")
    run = record.run.model_copy(update={"evidence_seed": 1})
    second = type(record).of(rows, suite=record.suite, method=record.method, investigator=record.investigator, run=run,
                             panel=None, log=record.log)
    [board] = boards([(record, rows), (second, rows)], {record.record_id: "sealed", second.record_id: "rerun"})
    assert [entry.level for entry in board.entries] == ["rerun"]


def test_methods_that_read_weights_are_ranked_over_the_organisms_they_are_shown(make_record):
    records = [make_record(f"m{n}", n / 4) for n in range(4)]
    records += [make_record(f"w{n}", n / 2, access=("weights",)) for n in range(3)]
    board = board_of(records)
    main, weights = board.slices
    assert [len(part.units) for part in board.slices] == [12, 9]
    assert {entry.label for entry in main.members} == {"m0", "m1", "m2", "m3"}
    assert {entry.label for entry in weights.members} == {"w0", "w1", "w2"}
    assert all(not entry.note and entry.rank for entry in board.entries)
    assert weights.members[0].rank[0] == 1 and {name.split("-")[0] for name in weights.withheld} == {"subliminal"}


def test_a_row_without_some_of_its_organisms_is_incomplete(make_record):
    records = [make_record("whole"), make_record("w1", access=("weights",)), make_record("w2", access=("weights",))]
    part, rows = make_record("w3", access=("weights",))
    kept = rows[2:]
    short = type(part).of(kept, suite=part.suite, method=part.method, investigator=part.investigator, run=part.run,
                          panel=None, log=part.log)
    notes = {entry.label: entry.note for entry in board_of([*records, (short, kept)]).entries}
    assert notes == {"whole": "", "w1": "", "w2": "", "w3": "incomplete: 16 of 18 organisms"}


def test_strangers_change_nothing_for_verified_rows(make_record):
    good = [make_record("a", 0.6), make_record("b", 0.2), make_record("prior", 0.0, role="floor")]
    alone = board_of(good)
    more_organisms = make_record("c", 0.5, known=cards(30))
    bad_floor = make_record("prior", 0.9, role="floor")  # as if the instrument let a prior score
    [crowded] = boards([*good, more_organisms, bad_floor], {record.record_id: "rerun" for record, _ in good})
    assert crowded.sound == alone.sound and crowded.n_units == alone.n_units
    assert [(entry.label, entry.rank, entry.note) for entry in crowded.ranked] == \
        [(entry.label, entry.rank, entry.note) for entry in alone.ranked]


def test_below_eight_units_nobody_gets_a_rank(make_record):
    board = board_of([make_record(name, known=KNOWN[:14]) for name in "ab"])
    [part] = board.slices
    assert len(part.units) == 7 and part.pairs is None and [entry.rank for entry in part.members] == [None, None]


def test_both_false_alarm_rates_come_from_the_samples(make_record):
    [entry] = board_of([make_record("lens", n_nulls=11)]).entries
    nulls = [reading.row for reading in entry.readings.values() if reading.row.trained_null]
    found = sorted((r.row.detect.score for r in entry.readings.values() if r.row.counted), reverse=True)
    threshold = found[int(np.ceil(0.8 * len(found))) - 1]
    assert entry.fpr.value == pytest.approx(np.mean([row.detect.flagged for row in nulls]))
    assert entry.fpr_at_tpr.value == pytest.approx(np.mean([row.detect.score >= threshold for row in nulls]))
    assert entry.fpr.low <= entry.fpr.value <= entry.fpr.high


def test_two_methods_are_compared_as_a_paired_permutation_test_does():
    scores_MU = np.random.default_rng(3).normal(size=(2, 12)) + np.array([[0.5], [0.0]])
    exact = stats.permutation_test((scores_MU[0], scores_MU[1]), lambda a, b, axis: np.mean(a - b, axis=axis),
                                   permutation_type="samples", n_resamples=np.inf, vectorized=True).pvalue
    pairs = compare(scores_MU)
    assert pairs.p_MM[0, 1] == pairs.p_MM[1, 0] == pytest.approx(exact, abs=0.006)
    assert pairs.difference_MM[0, 1] == pytest.approx(np.mean(scores_MU[0] - scores_MU[1]))


def test_more_methods_make_every_p_larger_or_equal():
    scores_MU = np.random.default_rng(4).normal(size=(6, 15))
    few, many = compare(scores_MU[:3], 2_000).p_MM, compare(scores_MU, 2_000).p_MM
    assert (many[:3, :3] >= few - 1e-12).all() and (np.diag(many) == 1).all() and np.allclose(many, many.T)


def test_figures_are_drawn_twice_and_say_no_names_as_formulae(make_record, tmp_path):
    records = [make_record("a", 0.6, settings={"a $x$ <b>": 1}), make_record("b", 0.2), make_record("prior", 0.0, role="floor"),
               make_record("w", 0.4, access=("weights",))]
    for record, rows in records:
        write(record, rows, tmp_path / "records")
    levels = {record.record_id: "rerun" for record, _ in records}
    files = draw(tmp_path / "records", tmp_path / "out", levels=levels)
    assert {path.name for path in files} == {f"{name}.{kind}" for name in ("intervals", "heatmap", "pairs-1", "cost")
                                             for kind in ("svg", "png")}
    assert "a $x$ &lt;b&gt;" in (tmp_path / "out" / "intervals.svg").read_text()
    again = draw(tmp_path / "records", tmp_path / "again", levels=levels)
    svg = [path for path in files if path.suffix == ".svg"]
    assert [path.read_bytes() for path in svg] == [path.read_bytes() for path in again if path.suffix == ".svg"]
    with pytest.raises(NotFoundError, match="suite"):
        draw(tmp_path / "records", tmp_path / "out", suite="elsewhere")
