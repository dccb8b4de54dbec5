"""Can a record be believed? It is compared with its suite, its scores made again; with logs, made again from them.

Main objects: `verify(path, logs, suite) -> Verdict`, `take_in` (an accepted one into a folder of records).
Example: `narrowbench verify records/nano-2026.1/*.json --logs logs`, or `verify(path).reasons`

Nothing that was submitted is executed, and no bytes make this crash: a record is refused with reasons. What no check
can prove is listed in `consistency.DECLARED`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..benchmark.manifest import suites
from ..benchmark.suite import load_suite
from ..organisms.errors import RecordError
from .against_suite import differences, suite_of
from .archive import MAX_RECORD_BYTES, read, write
from .consistency import DECLARED, contradictions
from .levels import SELF, Level, levels_of
from .record import Record
from .submission import of, unlike

ACCEPTED, REFUSED, UNREADABLE = 0, 1, 2
MAX_REASONS = 20


@dataclass(frozen=True)
class Verdict:
    """What became of one record. `code`: 0 accepted, 1 refused, 2 there is no record to read."""

    path: Path
    code: int
    reasons: tuple[str, ...] = ()
    """Why it is refused; the first few."""
    record: Record | None = None
    level: Level = SELF
    with_logs: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {"path": str(self.path), "accepted": self.code == ACCEPTED, "code": self.code,
                "reasons": list(self.reasons), "record_id": self.record and self.record.record_id,
                "suite": self.record and self.record.suite.id, "method": self.record and self.record.method.label,
                "level": self.level.model_dump(mode="json"), "ranked": self.level.ranked, "logs": self.with_logs,
                "declared": [] if self.with_logs else [each.field for each in DECLARED]}


def verify(path: Path, logs: Mapping[str, Path] | None = None, suite: str = "") -> Verdict:
    """Checks one record.

    Args:
        logs: sha256 -> log, as of `against_log.find_logs`; None = without the logs.
        suite: The manifest of a suite that is not built in.

    Raises:
        NotFoundError, SpecError: the manifest given is missing or wrong.
    """
    exam = load_suite(suite) if suite else None
    if reason := _unreadable(path):
        return Verdict(path, UNREADABLE, (reason,))
    try:
        record, rows = read(path)
        # A submission brings its own folders, so that what lies in them vouches for nothing.
        level = SELF if _submitted(path) else levels_of(path.absolute().parent.parent).get(record.record_id, SELF)
    except RecordError as error:
        return Verdict(path, REFUSED, (str(error),))
    exam = exam or suite_of(record)
    found = [*_place(path, record), *contradictions(record, rows)]
    if _submitted(path):
        found += unlike(path.absolute().parent, of(record, path))
    found += [_no_suite(record)] if exam is None else differences(record, rows, exam)
    if logs is not None:
        from .against_log import log_differences

        found += log_differences(record, rows, dict(logs), exam)
    shown = found[:MAX_REASONS] + ([f"and {len(found) - MAX_REASONS} more"] if len(found) > MAX_REASONS else [])
    return Verdict(path, REFUSED if found else ACCEPTED, tuple(shown), record, level, logs is not None)


def take_in(verdict: Verdict, records_dir: Path) -> Path:
    """Adds an accepted record to a folder of records, where it may lie already; returns its place there.

    Raises:
        RecordError: another record lies there, or it was changed since it was verified.
    """
    record, rows = read(verdict.path)
    if record != verdict.record:
        raise RecordError(f"{verdict.path}: it was changed while it was verified. Verify it again.")
    return write(record, rows, records_dir)[0]


def _unreadable(path: Path) -> str:
    """Why a file holds no JSON at all; empty if it does."""
    try:
        if not path.is_file():
            return f"{path}: there is no such file. `narrowbench publish` prints where records are."
        if path.stat().st_size > MAX_RECORD_BYTES:
            return f"{path}: more than {MAX_RECORD_BYTES} bytes are no record."
        json.loads(path.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        return f"{path}: it cannot be read as JSON ({str(error) or type(error).__name__})."
    return ""


def _submitted(path: Path) -> bool:
    """Whether a record lies in a folder of its own, as `narrowbench submit` packs it."""
    return path.absolute().parent.name == path.stem


def _place(path: Path, record: Record) -> list[str]:
    """A record lies in its suite's folder; a submission has a folder of its own in there."""
    wanted, here = record.path, path.absolute()
    home = here.parent.parent if _submitted(path) else here.parent
    if here.name != wanted.name or home.name != wanted.parent.name:
        return [f"it lies at {home.name}/{here.name}; by its content its place is {wanted.as_posix()}"]
    return []


def _no_suite(record: Record) -> str:
    told = record.suite
    if told.id in suites():
        return (f"its suite digest {told.digest[:12]} is not that of {told.id} in this version, so its organisms, "
                "cards or probes are others. Verify it with the version that made it, or score again")
    return f"suite {told.id!r} is not built in: give its manifest with `--suite PATH`"
