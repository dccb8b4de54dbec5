"""Tables of a results page: they say what the records say, leave the text alone, and the shipped page is up to date."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic import cards, hostile_record, instrument, record_of
from typer.testing import CliRunner

from narrowbench.cli import app
from narrowbench.leaderboard.archive import write
from narrowbench.leaderboard.board import boards
from narrowbench.leaderboard.levels import grant
from narrowbench.leaderboard.results import TABLES, board_of, filled
from narrowbench.organisms.errors import NotFoundError, RecordError

KNOWN = cards(24)
ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "leaderboard" / "results", ROOT / "docs" / "results-nano.md"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A folder of four verified methods, a floor, and the rows that check the instrument."""
    folder, rng = tmp_path_factory.mktemp("records"), np.random.default_rng(0)
    made = [record_of(name, skill, KNOWN, rng, role, access, n_nulls=6) for name, skill, role, access in (
        ("strong", 0.9, "method", ("activations",)), ("weak", 0.05, "method", ("logits",)),
        ("svd", 0.5, "method", ("weights",)), ("factors", 0.4, "method", ("weights",)), ("sink", 0.0, "floor", ()))]
    made += instrument(KNOWN, rng, 6)
    for record, rows in made:
        write(record, rows, folder)
    grant(folder, [record.record_id for record, _ in made], "rerun", "a test", "made here")
    return folder


def rows_of(table):
    """First cell -> all cells of each row below a header."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]
    return {line[1] if line[0] == "" or "-" in line[0] and line[0][0].isdigit() else line[0]: line for line in lines}


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_whole_markdown(records, name):
    table = TABLES[name](board_of(records))
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert "`strong`" in table or name == "seeds", "no repeated trainings are there"
    assert lines and len({line.count("|") for line in lines}) == 1 and all(line.endswith("|") for line in lines)


def test_the_board_shows_what_the_entries_hold(records):
    board = board_of(records)
    [strong] = [entry for entry in board.entries if entry.label == "strong"]
    row = rows_of(TABLES["board"](board))["`strong`"]
    assert row[0] == "1-1" and row[3].startswith(f"{strong.mean:.2f} [") and row[2] == "`activations`"
    assert row[8] == f"{strong.detection.false_alarms:.3g} of {strong.detection.n_nulls}"
    assert "Methods that read weights: 9 domains" in TABLES["board"](board)
    assert rows_of(TABLES["board"](board))["`sink`"][0] == ""


def test_rungs_are_shares_of_organisms(records):
    for cells in rows_of(TABLES["ladder"](board_of(records))).values():
        if cells[0].startswith("`"):
            detected, family, domain = map(float, cells[1:4])
            assert 0 <= domain <= detected <= 1 and 0 <= family <= detected


def test_a_strangers_row_of_a_known_name_stands_in_no_table(records, tmp_path):
    folder = tmp_path / "records"
    shutil.copytree(records, folder)
    before = {name: table(board_of(folder)) for name, table in TABLES.items()}
    rng = np.random.default_rng(1)
    for name in ("adl_logit_lens", "strong"):
        write(*record_of(name, 1.0, KNOWN, rng, day=300), folder)
    assert {name: table(board_of(folder)) for name, table in TABLES.items()} == before


def test_a_pair_is_told_apart_only_if_both_are_read_as_themselves(records):
    board = board_of(records)
    [strong] = [entry for entry in board.entries if entry.label == "strong"]
    both = {}
    for name, reading in strong.readings.items():
        if reading.row.role != "null":
            both.setdefault(reading.row.pair, []).append(reading.scores["objective"] > 1 - 1e-9)
    assert rows_of(TABLES["twins"](board))["`strong`"][2] == f"{sum(map(all, both.values()))} of {len(both)}"


def test_pairs_are_those_of_the_board(records):
    table = TABLES["pairs"](board_of(records))
    assert "Methods without weight access: 1 of 1 pairs are told apart" in table
    rows = rows_of(table)
    assert rows["`strong`"][2:] == ["`weak`", "–"] and rows["`weak`"][2:] == ["–", "`strong`"]


def test_only_marked_places_change(records, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Results\n\n<!-- table: nulls -->\nold\n<!-- end -->\n\nText stays. <!-- end -->\n")
    run = CliRunner().invoke(app, ["results", str(records), "--page", str(page), "--check"])
    assert run.exit_code == 1 and "old" in page.read_text(), "looking changes nothing"
    assert CliRunner().invoke(app, ["results", str(records), "--page", str(page)]).exit_code == 0
    text = page.read_text()
    assert text.startswith("# Results\n\n<!-- table: nulls -->\n| method |") and "old" not in text
    assert text.endswith("<!-- end -->\n\nText stays. <!-- end -->\n")
    assert CliRunner().invoke(app, ["results", str(records), "--page", str(page), "--check"]).exit_code == 0


def test_unknown_tables_pages_and_suites_are_named(records, tmp_path):
    with pytest.raises(NotFoundError, match="Did you mean pairs"):
        filled("<!-- table: pair -->\n<!-- end -->", board_of(records))
    with pytest.raises(RecordError, match="no record of mine"):
        board_of(records, "mine")
    run = CliRunner().invoke(app, ["results", str(records), "--page", str(tmp_path / "none.md")])
    assert run.exit_code != 0 and "There is no page" in str(run.exception)


def test_a_name_is_no_markdown():
    record, rows = hostile_record("<!-- end --><script>alert(1)</script>|`[x](y)")
    [board] = boards([(record, rows)])
    for name, table in TABLES.items():
        made = table(board)
        lines = [line for line in made.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1, name
        assert all("<script>" not in part for part in made.split("`")[::2]), f"{name}: outside code"
        page = f"<!-- table: {name} -->\nold\n<!-- end -->\nafter\n"
        once = filled(page, board)
        assert filled(once, board) == once and once.endswith("\n<!-- end -->\nafter\n"), "a name ends no table"


def test_the_shipped_page_says_what_the_shipped_records_say():
    text = PAGE.read_text(encoding="utf-8")
    assert filled(text, board_of(RESULTS, "nano-2026.1")) == text, "run `narrowbench results leaderboard/results`"
