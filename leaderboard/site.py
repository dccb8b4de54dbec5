"""The page: one static folder that opens from disk, built from records and nothing else.

Main objects: `build(records_dir, out_dir) -> Site`. `index.html` shows the suite with the newest record, further suites
get a page each; `methods/` and `organisms/` hold a page for every row and every organism, `data/` what their scripts
draw, `records/` the records themselves, `assets/` style and scripts. No framework, no request to anywhere.
Example: `build(Path("records"), Path("site"))`

Every text on the page may come from a stranger: jinja2 escapes all of it, scripts show it as text, and no page allows
an inline script.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..graders.identify import N_PERMUTATIONS
from ..organisms.errors import RecordError
from .archive import read_all, samples_path
from .board import Board, Organism, boards
from .data import board_data, claims_on, compared, heading, organism_key, readings_of, script, truths_of, word_kinds
from .entries import Entry
from .figures import copy_figures
from .judges import orders
from .levels import names_of
from .pages import TEMPLATE, environment, page_name, slice_name
from .record import Record
from .stats import identified
from .transcripts import write_transcripts
from .variance import variance_components

ASSETS = ("style.css", "tables.css", "dom.js", "ranking.js", "plots.js", "readings.js")
OURS = re.compile(r"[0-9a-f]{12}(-[a-z]+)?\.(html|js)")
"""Names of files in methods/, organisms/ and data/ that a later build may remove."""


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
    found = boards(published, names_of(records_dir) if levels is None else levels)
    names = {board.record.suite.digest: page_name(board, first=i == 0) for i, board in enumerate(found)}
    shared = {
        "suites": [(board, names[board.record.suite.digest]) for board in found],
        "left_out": [(path.name, reason) for path, reason in left_out],
        "figures": copy_figures(figures, out_dir / "figures") if figures else [],
        "logs": logs or {}, "viewer": (out_dir / "logs" / "index.html").is_file()}
    written: set[Path] = set()
    for board in found:
        written |= _write_board(board, names[board.record.suite.digest], out_dir, shared)
    for name in ASSETS:
        _put(out_dir / "assets" / name, (TEMPLATE / name).read_text(encoding="utf-8"))
    for record, _ in published:
        _copy_record(record, records_dir, out_dir / "records")
    for folder in ("methods", "organisms", "data"):
        for path in (out_dir / folder).iterdir():
            if path not in written and OURS.fullmatch(path.name):
                path.unlink()
    return Site(out_dir / "index.html", tuple(left_out))


def _write_board(board: Board, name: str, out_dir: Path, shared: dict) -> set[Path]:
    """The page of a suite, those of its rows and organisms, and their data; returns the files in folders of ours."""
    env, kinds = environment(), {o.row.organism: word_kinds(o.card) for o in (*board.organisms, *board.nulls)}
    key = organism_key(board, "")
    common = shared | {"board": board, "suite": board.record.suite, "page": name, "data": key,
                       "orders": orders(board.trusted), "n_permutations": N_PERMUTATIONS,
                       "heat": [heading(board, o) for o in (*board.organisms, *board.nulls)],
                       "slices": [(part, slice_name(part, board)) for part in board.slices]}
    _put(out_dir / name, env.get_template("index.html").render(**common, root=""))
    texts = {out_dir / "data" / f"{key}-board.js":
             script("board", board_data(board, lambda part: slice_name(part, board))),
             out_dir / "data" / f"{key}-truths.js": script("truths", truths_of(board))}
    for path, text in texts.items():
        _put(path, text)
    template = env.get_template("method.html")
    written = set(texts)
    tested = {entry.key for entry in compared(board)}
    for entry in board.entries:
        told = _write_transcripts(entry, board, out_dir / "data", shared["logs"])
        page = template.render(**common, root="../", entry=entry, transcripts=told.name if told else "",
                               chance=identified(entry.samples, board.cards) if entry.key in tested else {},
                               noise=variance_components(entry.samples))
        written |= _write_entry(entry, page, out_dir, script("readings", readings_of(entry, board, kinds)))
        written |= {told} if told else set()
    template = env.get_template("organism.html")
    for organism in (*board.organisms, *board.nulls):
        page = template.render(**common, root="../", organism=organism, key=organism_key(board, organism.row.organism))
        written |= _write_organism(organism, board, page, out_dir,
                                   script("claims", claims_on(organism, board, kinds[organism.row.organism])))
    return written


def _write_entry(entry: Entry, page: str, out_dir: Path, data: str) -> set[Path]:
    paths = out_dir / "methods" / f"{entry.key}.html", out_dir / "data" / f"{entry.key}-method.js"
    for path, text in zip(paths, (page, data), strict=True):
        _put(path, text)
    return set(paths)


def _write_transcripts(entry: Entry, board: Board, folder: Path, logs: Mapping[str, Path]) -> Path | None:
    """The transcripts of the samples whose claims the page of a row shows; None without their log."""
    record = entry.record
    path = folder / f"{record.record_id[:12]}-transcripts.js"
    rows = {organism_key(board, name): reading.row for name, reading in entry.readings.items()}
    return path if write_transcripts(record, rows, logs.get(record.log.sha256), path, _put) else None


def _write_organism(organism: Organism, board: Board, page: str, out_dir: Path, data: str) -> set[Path]:
    key = organism_key(board, organism.row.organism)
    paths = out_dir / "organisms" / f"{key}.html", out_dir / "data" / f"{key}-organism.js"
    for path, text in zip(paths, (page, data), strict=True):
        _put(path, text)
    return set(paths)


def _copy_record(record: Record, records_dir: Path, folder: Path) -> None:
    """The record and its samples, byte for byte: reading them has proved that they are whole."""
    target = folder / record.path
    target.parent.mkdir(parents=True, exist_ok=True)
    for place in (lambda path: path, samples_path):
        shutil.copyfile(place(records_dir / record.path), place(target))


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
