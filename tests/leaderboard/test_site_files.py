"""Files of a built page: what an earlier build left goes, what is somebody else's stays, and figures only draw."""

import numpy as np
import pytest
from synthetic import cards, changed, record_of

from narrowbench.leaderboard.archive import samples_path, write
from narrowbench.leaderboard.figures import copy_figures
from narrowbench.leaderboard.site import build
from narrowbench.organisms.errors import RecordError

KNOWN = cards(4)
SVG = ('<?xml version="1.0" encoding="utf-8" standalone="no"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" '
       '"http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">\n<svg xmlns="http://www.w3.org/2000/svg" '
       'xmlns:x="http://www.w3.org/1999/xlink" xmlns:h="http://www.w3.org/1999/xhtml">{}</svg>')


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def two(tmp_path):
    """A folder of two suites' records, and the record of the second."""
    rng = np.random.default_rng(0)
    first, (record, rows) = (record_of(name, 0.5, KNOWN, rng, n_nulls=2) for name in ("a", "b"))
    second = changed(record, rows, suite=record.suite.model_copy(update={"id": "other", "digest": "other"}))
    for each in (first, second):
        write(*each, tmp_path / "records")
    return tmp_path / "records", second[0]


def test_what_an_earlier_build_left_is_removed_and_nothing_else(two, tmp_path):
    records, second = two
    drawn, site = tmp_path / "drawn", tmp_path / "site"
    drawn.mkdir()
    (drawn / "a.png").write_bytes(b"")
    build(records, site, figures=drawn)
    foreign = ("logs/index.html", "figures/mine.png", "records/notes.json", f"records/nano-bench/mine-{'0' * 16}.json",
               "about.html", "suite-mine.html", "data/notes.js")
    for name in foreign:
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text("mine")
    before = files_of(site)
    assert {"figures/a.png", f"records/{second.path.as_posix()}"} < before
    assert len([name for name in before if name.startswith("suite-")]) == 2
    for path in (records / second.path, samples_path(records / second.path)):
        path.unlink()
    build(records, site)
    fresh = tmp_path / "fresh"
    build(records, fresh)
    assert files_of(site) == files_of(fresh) | set(foreign)


def test_a_page_that_is_built_from_its_own_records_loses_none(two, tmp_path):
    records, _ = two
    build(records, tmp_path / "site")
    own = tmp_path / "site" / "records"
    damaged = next(own.rglob("b-*.samples.jsonl"))
    damaged.write_text("")
    before = files_of(own)
    for _ in range(2):
        assert len(build(own, tmp_path / "site").left_out) == 1 and files_of(own) == before


def test_a_damaged_note_of_what_was_built_removes_nothing(two, tmp_path):
    records, _ = two
    build(records, tmp_path / "site")
    (tmp_path / "keep.json").write_text("mine")
    before = files_of(tmp_path)
    for note in ("{", '{"a": 1}', '["../keep.json", "figures/../../keep.json", "index.html", 3]'):
        (tmp_path / "site" / "data" / "built.json").write_text(note)
        build(records, tmp_path / "site")
        assert files_of(tmp_path) == before


@pytest.mark.parametrize("inside", [
    "<script>alert(1)</script>", "<h:script>alert(1)</h:script>", "<foreignObject/>", '<g onload="alert(1)"/>',
    '<a x:href="javascript:alert(1)"/>', '<use x:href="https://e.org/a.svg#a"/>', '<image href="https://e.org/a.png"/>',
    '<animate attributeName="href" values="javascript:alert(1)"/>', '<style>@import "https://e.org"</style>',
    '<style>* {fill: url( "https://e.org/a")}</style>', '<g style="fill: u\\72l(https://e.org/a)"/>',
    '<?xml-stylesheet href="a.css"?>', "<not closed"])
def test_an_svg_that_does_more_than_draw_is_refused(inside, tmp_path):
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "a.svg").write_text(SVG.format(inside))
    with pytest.raises(RecordError, match="a.svg: .*give a PNG"):
        copy_figures(tmp_path / "drawn", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_matplotlib_draws_is_shown_and_a_link_is_not_followed(tmp_path):
    from matplotlib.figure import Figure

    drawn = tmp_path / "drawn"
    drawn.mkdir()
    figure = Figure()
    axes = figure.subplots()
    axes.imshow(np.eye(3))
    axes.set_title("a < b \\ c")
    figure.savefig(drawn / "a.svg")
    (drawn / "b.svg").write_text(SVG.format('<g clip-path="url(#a)"/><use x:href="#a"/>'))
    assert [one.file for one in copy_figures(drawn, tmp_path / "out")] == ["a.svg", "b.svg"]
    (tmp_path / "secret").write_text("key")
    (drawn / "c.png").symlink_to(tmp_path / "secret")
    with pytest.raises(RecordError, match="c.png is a link"):
        copy_figures(drawn, tmp_path / "other")
