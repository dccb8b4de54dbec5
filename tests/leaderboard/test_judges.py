"""Judges' grades on the board: one panel at a time, over units, and whether they order methods as recovery does."""

import numpy as np
import pytest
from synthetic import cards, graded, record_of

from narrowbench.leaderboard.archive import write
from narrowbench.leaderboard.board import boards
from narrowbench.leaderboard.judges import grades_of, orders
from narrowbench.leaderboard.site import build

KNOWN = cards(20)
SKILLS = {"weak": 0.1, "middling": 0.35, "strong": 0.7, "best": 0.95}


@pytest.fixture(scope="module")
def marked():
    """Four methods, marked by the same two judges."""
    rng = np.random.default_rng(0)
    return [graded(*record_of(name, skill, KNOWN, rng, n_nulls=2)) for name, skill in SKILLS.items()]


def entries_of(pairs):
    [board] = boards(pairs, {record.record_id: "rerun" for record, _ in pairs})
    return {entry.label: entry for entry in board.entries}


def test_grades_are_averaged_over_units_as_recovery_is(marked):
    record, rows = marked[3]
    grades = grades_of([(record, rows)])
    by_unit = {}
    for row in rows:
        if row.counted:
            by_unit.setdefault(row.unit, []).append(row.grade)
    assert grades.units == {unit: pytest.approx(np.mean(values)) for unit, values in by_unit.items()}
    assert grades.mean == pytest.approx(np.mean([np.mean(values) for values in by_unit.values()]))
    assert grades.well_graded == pytest.approx(np.mean([np.mean(np.array(v) >= 4) for v in by_unit.values()]))
    entry = entries_of(marked)["best"]
    assert entry.grade_interval.low < grades.mean < entry.grade_interval.high


def test_a_row_without_judges_and_a_claim_without_a_vote_have_no_grade(marked):
    record, rows = record_of("m", 0.5, KNOWN, np.random.default_rng(1), n_nulls=2)
    assert grades_of([(record, rows)]) is None
    record, rows = marked[0]
    gone = rows[0].unit
    some = tuple(row.model_copy(update={"votes": (None, 3)}) if row.unit == gone else row for row in rows)
    assert gone not in grades_of([(record, some)]).units and len(grades_of([(record, some)]).units) == 9


def test_only_the_newest_panel_speaks_for_a_row(marked):
    record, rows = marked[0]
    older = graded(record, rows, ("lab/other",))
    assert grades_of([older, (record, rows)]).units == grades_of([(record, rows)]).units
    assert grades_of([(record, rows), older]).panel.judges == ("lab/other",)


def test_graders_that_agree_have_tau_1_over_the_methods_of_one_panel(marked):
    [order] = orders(list(entries_of(marked).values()))
    assert order.n_methods == 4 and order.agreement.tau == 1.0
    assert order.agreement.n_units == 10 and order.agreement.low <= 1.0 <= order.agreement.high
    mixed = [*marked[:3], graded(*marked[3], ("lab/other",))]
    assert sorted(one.n_methods for one in orders(list(entries_of(mixed).values()))) == [1, 3]


def test_the_page_says_whether_graders_agree_and_when_too_few_were_marked(marked, read_page, tmp_path):
    for n, pairs in enumerate((marked, marked[:2])):
        records = tmp_path / str(n) / "records"
        for record, rows in pairs:
            write(record, rows, records)
        text = read_page(build(records, tmp_path / str(n) / "site", {r.record_id: "rerun" for r, _ in pairs}).page).text
        assert "Do graders agree on the order?" in text and "lab/judge-a, lab/judge-b" in text
        assert ("τ = 1.00" in text) == (n == 0) and ("fewer than 3 were marked by both" in text) == (n == 1)
    row = read_page(tmp_path / "0" / "site" / "index.html").rows[0]
    assert row["label"] == "best" and 1 < row["judges"][1] < row["judges"][0] < row["judges"][2] <= 5
    assert 0 < row["wellGraded"] <= 1
    page = read_page(tmp_path / "0" / "site" / "methods" / f"{row['key']}.html")
    assert "Judges, 1 to 5" in page.text and "at least 4" in page.text
    claims = [claim for reading in page.data["readings"] for claim in reading["trainings"]]
    assert any(claim.get("votes") for claim in claims if claim["scores"])
    assert all("votes" not in claim for claim in claims if not claim["scores"])


def test_without_judges_the_page_does_not_speak_of_them(read_page, tmp_path):
    record, rows = record_of("m", 0.5, KNOWN, np.random.default_rng(1), n_nulls=2)
    write(record, rows, tmp_path / "records")
    page = read_page(build(tmp_path / "records", tmp_path / "site").page)
    assert "graders agree" not in page.text and page.data["board"]["judged"] is False and "judges" not in page.rows[0]
