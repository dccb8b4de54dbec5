"""Who is ranked, against whom: verified rows only, over shared units, whatever strangers hand in."""

from datetime import UTC, datetime

import numpy as np
import pytest
from scipy import stats
from synthetic import cards, changed, graded, instrument, marked, record_of

from narrowbench.benchmark.suite import load_suite
from narrowbench.leaderboard.archive import write
from narrowbench.leaderboard.board import boards
from narrowbench.leaderboard.pairwise import compare
from narrowbench.leaderboard.plot import draw
from narrowbench.organisms.errors import NotFoundError

KNOWN = cards(24)
CHECKS = instrument(KNOWN, np.random.default_rng(1), 3)


@pytest.fixture
def make_record():
    """Records of one random stream, with fewer nulls than a suite has: they are quicker."""
    rng = np.random.default_rng(0)

    def make(name, skill=0.4, known=KNOWN, **told):
        return record_of(name, skill, known, rng, **({"n_nulls": 3} | told))

    return make


def board_of(records, level="rerun", known=KNOWN, **levels):
    """The board of records and of rows that check the instrument, which are always verified."""
    named = {record.record_id: levels.get(record.method.name, level) for record, _ in records}
    checks = CHECKS if known is KNOWN else instrument(known, np.random.default_rng(1), 3)
    [board] = boards([*records, *checks], named | {record.record_id: "rerun" for record, _ in checks})
    return board


def methods(board, *labels):
    """Entries that are methods, or those of these labels."""
    return [e for e in board.entries if (e.label in labels if labels else e.role == "method")]


def test_only_verified_rows_are_ranked(make_record):
    records = [make_record(name) for name in ("reran", "sealed", "regraded", "self")]
    board = board_of(records, "rerun", sealed="sealed", regraded="regraded", self="self")
    assert {entry.label for entry in board.ranked if entry.role == "method"} == {"reran", "sealed"}
    assert {entry.label for entry in board.unranked if entry.rank is None} == {"regraded", "self"}
    assert all(entry.rank for entry in board.ranked if entry.role == "method")
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
    assert all(not entry.note and entry.rank for entry in methods(board))
    assert weights.members[0].rank[0] == 1 and {name.split("-")[0] for name in weights.withheld} == {"subliminal"}


def test_a_row_without_some_of_its_organisms_is_incomplete(make_record):
    records = [make_record("whole"), make_record("w1", access=("weights",)), make_record("w2", access=("weights",))]
    part, rows = make_record("w3", access=("weights",))
    kept = rows[2:]
    short = type(part).of(kept, suite=part.suite, method=part.method, investigator=part.investigator, run=part.run,
                          panel=None, log=part.log)
    notes = {entry.label: entry.note for entry in methods(board_of([*records, (short, kept)]))}
    assert notes == {"whole": "", "w1": "", "w2": "", "w3": "incomplete: 16 of 18 organisms"}


def test_strangers_change_nothing_for_verified_rows(make_record):
    good = [make_record("a", 0.6), make_record("b", 0.2)]
    alone = board_of(good)
    strangers = [make_record("c", 0.5, known=cards(30)), make_record("prior", 0.9, role="floor"),
                 make_record("ceiling", 0.9, role="ceiling"), make_record("d", 0.1)]
    # As if the instrument let a prior score; as if a method were a ceiling.
    crowded = board_of([*good, *strangers], **{record.method.name: "self" for record, _ in strangers})
    assert crowded.sound == alone.sound and crowded.n_units == alone.n_units and crowded.slices
    assert [(entry.label, entry.rank, entry.note) for entry in crowded.ranked] == \
        [(entry.label, entry.rank, entry.note) for entry in alone.ranked]
    for board in (crowded, alone):
        assert [o.row.organism for o in board.organisms] == [o.row.organism for o in alone.organisms]
        assert [o.row.organism for o in board.nulls] == [o.row.organism for o in alone.nulls]
    notes = {entry.label: entry.note for entry in crowded.unranked}
    assert notes["c"] == "counts 6 more than are asked" and not notes["ceiling"]
    means = [entry.mean for entry in crowded.unranked if not entry.note]
    assert means == sorted(means, reverse=True), "what a stranger calls himself moves no row"


def test_where_nothing_is_verified_one_row_with_more_makes_no_other_incomplete(make_record):
    rows = [make_record(name) for name in "ab"] + [make_record("w", access=("weights",))]
    [board] = boards([*rows, make_record("more", known=cards(30))])
    assert {entry.label: entry.note for entry in board.entries} == \
        {"a": "", "b": "", "w": "", "more": "counts 6 more than are asked"}
    assert len(board.organisms) == 24 and board.n_units == 12 and len(board.nulls) == 3


def test_the_first_suite_is_the_newest_that_has_ranked_rows(make_record):
    ours, other = make_record("a", day=10), make_record("b")
    def elsewhere(pair, digest, **run):
        return changed(*pair, suite=pair[0].suite.model_copy(update={"digest": digest, "id": digest}),
                       run=pair[0].run.model_copy(update=run))

    far = {"completed": datetime(2099, 1, 1, tzinfo=UTC)}
    older, stranger, boaster = elsewhere(other, "older"), elsewhere(other, "stranger", **far), changed(
        *other, run=other[0].run.model_copy(update=far))
    levels = {pair[0].record_id: "rerun" for pair in (ours, older)}
    found = boards([stranger, boaster, older, ours], levels)
    assert [board.record.suite.id for board in found] == ["nano-bench", "older", "stranger"]
    assert found[0].record.record_id == ours[0].record_id, "a stranger's date is not the board's"


def test_another_authors_row_is_not_replaced_by_its_name(make_record):
    mine, other = make_record("lens", 0.3), make_record("lens", 0.9, day=200)
    theirs = changed(*other, method=other[0].method.model_copy(update={"source_sha256": "f" * 64}))
    [board] = boards([mine, theirs])
    assert len({entry.key for entry in board.entries}) == 2 and board.n_superseded == 0
    [board] = boards([mine, other])
    assert [entry.record.record_id for entry in board.entries] == [other[0].record_id]


@pytest.mark.parametrize("change", [{"roles": {"judge": ("lab/small",)}}, {"prompt_sha256": "e" * 64}])
def test_other_models_and_prompts_are_rows_of_their_own(make_record, change):
    record, rows = make_record("asks")
    other = changed(record, rows, investigator=record.investigator.model_copy(update=change))
    board = board_of([(record, rows), other])
    assert len(methods(board, "asks")) == 2 and board.n_superseded == 0


def test_a_log_published_again_with_grades_is_the_newer_record(make_record):
    for skill in (0.2, 0.3, 0.4, 0.5):
        plain = make_record("lens", skill)
        for order in ((plain, graded(*plain)), (graded(*plain), plain)):
            [entry] = methods(board_of(order), "lens")
            assert entry.grades and entry.record.panel


def test_nobody_is_ranked_until_the_instrument_is_checked(make_record):
    records = [make_record(name) for name in "ab"]
    for n, (missing, _) in enumerate(CHECKS):
        kept = [*records, *CHECKS[:n], *CHECKS[n + 1:]]
        [board] = boards(kept, {record.record_id: "rerun" for record, _ in kept})
        assert board.unchecked == (missing.method.name,) and board.sound and not board.slices
        assert all(entry.rank is None for entry in board.entries)
    assert board_of(records).unchecked == () and board_of(records).slices


def test_an_agent_that_misreads_the_answer_says_nothing_of_the_instrument(make_record):
    record, rows = CHECKS[0]
    agent = record.investigator.model_copy(update={"name": "agent", "model": "lab/small"})
    weak = changed(record, [marked(row, 0.5) for row in rows], investigator=agent)
    assert board_of([make_record("a"), weak]).sound
    failing = changed(record, [marked(row, 0.5) for row in rows])
    [board] = boards([make_record("a"), *CHECKS[1:], failing], {r.record_id: "rerun" for r, _ in (*CHECKS, failing)})
    assert not board.sound and not board.slices


def three_trainings(pair, broken=None):
    """Organisms of even number trained three times, the scores 0.1 apart; the training `broken` of the first is not
    healthy."""
    record, rows = pair
    made = []
    for n, row in enumerate(rows):
        for seed in range(3 if n % 2 == 0 and row.counted else 1):
            recovery = row.recovery and row.recovery.model_copy(update=dict.fromkeys(
                ("recovery", "domain", "objective", "content"), 0.1 * seed))
            claim = row.claim.model_copy(update={"verdict": "objective", "keywords": (f"word{seed}", "cake")})
            made.append(row.model_copy(update={
                "train_seed": seed, "sample_id": f"{row.sample_id}-{seed}", "recovery": recovery, "claim": claim,
                "healthy": (n, seed) != (0, broken)}))
    return changed(record, made)


def test_every_training_of_an_organism_is_read_and_only_those_that_count_are_averaged(make_record):
    whole, part = three_trainings(make_record("whole")), three_trainings(make_record("part"), broken=2)
    [entry] = boards([whole])[0].entries
    reading = next(iter(entry.readings.values()))
    assert [one.row.claim.keywords[0] for one in reading.trainings] == ["word0", "word1", "word2"]
    assert reading.scores["recovery"] == pytest.approx(0.1) and len(entry.rows) == 24 + 24 + 3
    [entry] = boards([part])[0].entries
    reading = next(iter(entry.readings.values()))
    assert reading.scores["recovery"] == pytest.approx(0.05) and reading.row.healthy and len(reading.trainings) == 3
    for unit, mean in entry.units.items():
        found = [r.scores["recovery"] for r in entry.readings.values() if r.row.counted and r.row.unit == unit]
        assert mean == pytest.approx(np.mean(found)), "the page's cells and the unit's mean agree"


def test_completeness_is_by_training(make_record):
    records = [three_trainings(make_record(name)) for name in "ab"]
    known = {record.record_id: "rerun" for record, _ in records}
    record, rows = records[0]
    short = changed(record, rows[1:], method=record.method.model_copy(update={"name": "short"}))
    [board] = boards([*records, short], known | {short[0].record_id: "rerun"})
    assert {e.label: e.note for e in board.entries} == \
        {"a": "", "b": "", "short": "incomplete: 47 of 48 trainings of organisms"}
    assert [len(o.rows) for o in board.organisms][:2] == [3, 1] and board.lone_pairs == ()


def test_pairs_of_which_one_member_does_not_count_are_named(make_record):
    record, rows = make_record("a")
    broken = [row.model_copy(update={"healthy": row.organism != "sdf-0-twin"}) for row in rows]
    [board] = boards([changed(record, broken)])
    assert board.lone_pairs == ("sdf-0",)


def test_candidates_are_the_suites_and_of_another_suite_what_is_shown(make_record):
    record, rows = make_record("a", known=KNOWN[:4])
    [board] = boards([(record, rows)])
    assert [card.card_id for card in board.cards] == [o.card.card_id for o in board.organisms]
    exam = load_suite("demo")
    about = record.suite.model_copy(update={"id": exam.id, "digest": exam.digest, "split": exam.split})
    [board] = boards([changed(record, rows, suite=about)])
    assert board.cards == tuple(exam.cards) and len(board.cards) != 4


def test_below_eight_units_nobody_gets_a_rank(make_record):
    board = board_of([make_record(name, known=KNOWN[:14]) for name in "ab"], known=KNOWN[:14])
    [part] = board.slices
    assert len(part.units) == 7 and part.pairs is None and [entry.rank for entry in part.members] == [None, None]


def test_both_false_alarm_rates_come_from_the_samples(make_record):
    [entry] = boards([make_record("lens", n_nulls=11)])[0].entries
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
    named, rows = make_record("a", 0.6)
    named = changed(named, rows, method=named.method.model_copy(update={"settings": {"k": "$x$ <b>"}}))
    records = [named, make_record("b", 0.2), *CHECKS,
               make_record("w", 0.4, access=("weights",))]
    for record, rows in records:
        write(record, rows, tmp_path / "records")
    levels = {record.record_id: "rerun" for record, _ in records}
    files = draw(tmp_path / "records", tmp_path / "out", levels=levels)
    assert {path.name for path in files} == {f"{name}.{kind}" for name in ("intervals", "heatmap", "pairs-1", "cost")
                                             for kind in ("svg", "png")}
    assert "a (k=$x$ &lt;b&gt;)" in (tmp_path / "out" / "intervals.svg").read_text()
    again = draw(tmp_path / "records", tmp_path / "again", levels=levels)
    svg = [path for path in files if path.suffix == ".svg"]
    assert [path.read_bytes() for path in svg] == [path.read_bytes() for path in again if path.suffix == ".svg"]
    with pytest.raises(NotFoundError, match="suite"):
        draw(tmp_path / "records", tmp_path / "out", suite="elsewhere")
