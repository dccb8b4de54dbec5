"""The page: one static folder that opens from disk, built from records and nothing else.

Main objects: `build(records_dir, out_dir) -> Site`. `index.html` shows the suite whose ranked rows are newest, further
suites get a page each; `methods/` and `organisms/` hold a page for every row and every organism, `data/` what their
scripts draw, `records/` the records themselves, `assets/` style and scripts. No framework, no request to anywhere.
Example: `build(Path("records"), Path("site"))`

Every text on the page may come from a stranger: jinja2 escapes all of it, scripts show it as text, and no page allows
an inline script.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..graders.identify import N_PERMUTATIONS, Identification
from ..organisms.errors import NarrowbenchError, RecordError
from ..organisms.spec import Card
from .archive import read_all, samples_path
from .board import Board, boards
from .data import (
    board_data, claims_on, compared, heading, keyed_rows, organism_key, readings_of, script, truths_of, vouchers,
    word_kinds)
from .entries import KEY_DIGITS, Entry
from .figures import copy_figures
from .judges import orders
from .levels import levels_of
from .pages import TEMPLATE, environment, page_name, slice_name
from .record import Record
from .stats import identified
from .transcripts import write_transcripts
from .variance import variance_components

ASSETS = ("style.css", "tables.css", "dom.js", "ranking.js", "plots.js", "readings.js")
BUILT = "data/built.json"
"""The list of what a build wrote."""
PAGE = re.compile(r"[0-9a-f]{12}([0-9a-f]{20})?(-[a-z]+)?\.(html|js)")
"""Pages and data of rows and organisms; of 12 digits in earlier versions."""
OURS = re.compile(rf"(methods|organisms|data)/{PAGE.pattern}|suite-[0-9a-f]{{12,32}}\.html|figures/[^/]+\.(png|svg)"
                  r"|records/[a-z0-9_-][a-z0-9._-]*/[a-z0-9._-]+-[0-9a-f]{16}(\.samples\.jsonl|\.json)")
"""Names of files that a later build may remove."""


@dataclass(frozen=True)
class Site:
    """What was built: the first page, and the records that were left out, each with its reason."""

    page: Path
    left_out: tuple[tuple[Path, str], ...]


def build(records_dir: Path, out_dir: Path, levels: Mapping[str, str] | None = None,
          figures: Path | None = None, logs: Mapping[str, Path] | None = None) -> Site:
    """Builds the folder anew from all whole records.

    Args:
        levels: Record id -> how far it was verified (self, regraded, rerun, sealed); None = as `levels.json` beside
            the records says.
        figures: A folder of PNG and SVG files, such as the ablations' dose-response plots (`figures.py`).
        logs: sha256 -> log, as far as they are at hand: transcripts of their samples are shown.

    Raises:
        RecordError: there is no whole record.
    """
    published, left_out = read_all(records_dir)
    if not published:
        reasons = "".join(f" Left out: {reason}" for _, reason in left_out)
        raise RecordError(f"{records_dir} holds no record to show.{reasons} `narrowbench publish LOGS` adds one.")
    vouched = levels_of(records_dir) if levels is None else {}
    found = boards(published, {key: level.level for key, level in vouched.items()} if levels is None else levels)
    names = {board.record.suite.digest: page_name(board, first=i == 0) for i, board in enumerate(found)}
    shared = {
        "suites": [(board, names[board.record.suite.digest]) for board in found],
        "left_out": [(path.name, reason) for path, reason in left_out],
        "figures": copy_figures(figures, out_dir / "figures") if figures else [], "vouched": vouched,
        "logs": logs or {}, "viewer": (out_dir / "logs" / "index.html").is_file()}
    written = {out_dir / "figures" / figure.file for figure in shared["figures"]}
    for board in found:
        written |= _write_board(board, names[board.record.suite.digest], out_dir, shared)
    for name in ASSETS:
        _put(out_dir / "assets" / name, (TEMPLATE / name).read_text(encoding="utf-8"))
        written.add(out_dir / "assets" / name)
    if (out_dir / "records").resolve() != records_dir.resolve():
        for record, _ in published:
            written |= _copy_record(record, records_dir, out_dir / "records")
    _remove_stale(out_dir, {path.relative_to(out_dir).as_posix() for path in written},
                  [folder for folder in (records_dir, figures) if folder])
    return Site(out_dir / "index.html", tuple(left_out))


def _remove_stale(out_dir: Path, written: set[str], sources: Sequence[Path]) -> None:
    """Removes what earlier builds wrote and this one did not, and notes what this one wrote.

    Only files whose names are ours: those that the note of the last build lists, in folders of ours, and those of
    pages and data. Nothing that somebody else put there, such as a viewer of logs, and nothing below `sources`: a page
    may be built from the records that it holds.
    """
    kept = [folder.resolve() for folder in sources]
    note = out_dir / BUILT
    try:
        told = json.loads(note.read_bytes())
    except (OSError, ValueError, RecursionError):
        told = []  # a first build; its pages are known by their names
    last = {name for name in told if isinstance(name, str)} if isinstance(told, list) else set()
    last |= {path.relative_to(out_dir).as_posix() for folder in ("methods", "organisms", "data")
             for path in (out_dir / folder).iterdir() if PAGE.fullmatch(path.name)}
    last |= {path.name for path in out_dir.glob("suite-*.html")}
    for name in sorted(last - written):
        path, home = out_dir / name, (out_dir / name).parent.resolve()
        if OURS.fullmatch(name) and home.is_relative_to(out_dir.resolve()) \
                and not any(home.is_relative_to(folder) for folder in kept):
            path.unlink(missing_ok=True)
            if name.startswith("records/") and path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
    _put(note, json.dumps(sorted(written), indent=0) + "\n")


def _write_board(board: Board, name: str, out_dir: Path, shared: dict) -> set[Path]:
    """The page of a suite, those of its rows and organisms, and their data; returns the files."""
    env, kinds = environment(), {o.row.organism: word_kinds(o.card) for o in (*board.organisms, *board.nulls)}
    key = organism_key(board, "")
    common = shared | {"board": board, "suite": board.record.suite, "page": name, "data": key,
                       "orders": orders(board.trusted), "n_permutations": N_PERMUTATIONS,
                       "heat": [heading(board, o) for o in (*board.organisms, *board.nulls)],
                       "slices": [(part, slice_name(part, board)) for part in board.slices]}
    texts = {out_dir / name: env.get_template("index.html").render(**common, root=""),
             out_dir / "data" / f"{key}-board.js":
             script("board", board_data(board, lambda part: slice_name(part, board), shared["vouched"])),
             out_dir / "data" / f"{key}-truths.js": script("truths", truths_of(board))}
    for path, text in texts.items():
        _put(path, text)
    template = env.get_template("method.html")
    written = set(texts)
    tested, cards = {entry.key for entry in compared(board)}, board.cards
    for entry in board.entries:
        told = _write_transcripts(entry, board, out_dir / "data", shared["logs"])
        page = template.render(**common, root="../", entry=entry, transcripts=told.name if told else "",
                               by=vouchers(entry, shared["vouched"]),
                               chance=_chance(entry, cards) if entry.key in tested else {},
                               noise=variance_components(entry.samples))
        written |= _write_page("methods", entry.key, "method", page,
                               script("readings", readings_of(entry, board, kinds)), out_dir)
        written |= {told} if told else set()
    template = env.get_template("organism.html")
    for organism in (*board.organisms, *board.nulls):
        page_key = organism_key(board, organism.row.organism)
        page = template.render(**common, root="../", organism=organism, key=page_key)
        written |= _write_page("organisms", page_key, "organism", page,
                               script("claims", claims_on(organism, board, kinds[organism.row.organism])), out_dir)
    return written


def _chance(entry: Entry, cards: Sequence[Card]) -> dict[str, Identification]:
    """Nothing where the answer keys are somebody's own and cannot be graded with: the other pages must be built."""
    try:
        return identified(entry.samples, cards)
    except NarrowbenchError:
        return {}


def _write_page(folder: str, key: str, kind: str, page: str, data: str, out_dir: Path) -> set[Path]:
    """A page and the data that its script draws; returns both files."""
    paths = out_dir / folder / f"{key}.html", out_dir / "data" / f"{key}-{kind}.js"
    for path, text in zip(paths, (page, data), strict=True):
        _put(path, text)
    return set(paths)


def _write_transcripts(entry: Entry, board: Board, folder: Path, logs: Mapping[str, Path]) -> Path | None:
    """The transcripts of the samples whose claims the page of a row shows; None without their log."""
    record = entry.record
    path = folder / f"{record.record_id[:KEY_DIGITS]}-transcripts.js"
    log = logs.get(record.log.sha256)
    return path if write_transcripts(record, keyed_rows(entry, board), log, path, _put) else None


def _copy_record(record: Record, records_dir: Path, folder: Path) -> set[Path]:
    """The record and its samples, byte for byte: reading them has proved that they are whole."""
    target = folder / record.path
    target.parent.mkdir(parents=True, exist_ok=True)
    for place in (lambda path: path, samples_path):
        shutil.copyfile(place(records_dir / record.path), place(target))
    return {target, samples_path(target)}


def _put(path: Path, text: str) -> None:
    """Writes whole files only, and only those that changed. What records can build again needs no sync to disk."""
    data = text.encode()
    if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
