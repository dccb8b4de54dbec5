"""Logs in, page out: each log becomes a record if it may, and the page is built from all records there are.

Main objects: `publish(logs, records_dir, out_dir, vouch) -> PublishResult`, `rehearse` (the same for nothing), `Vouch`.
Example: `narrowbench publish logs/*.eval`

A log of judges' grades among the logs goes into the record of the log that was graded. `vouch` raises the records above
`self` (`levels.py`); it is for those who keep the records, and ran what they vouch for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .. import benchmark
from ..organisms.code import code_sha256
from ..organisms.errors import RecordError
from ..organisms.store import sha256_file
from .against_suite import check_published
from .archive import published_logs, read, remember, write
from .collect import record_of
from .grades import read_grades, source_of
from .levels import grant
from .log_file import read_header, read_log
from .record import Record
from .site import build
from .targets import Delivery, Target, deliver, trial

ROOM = Path(benchmark.__file__).parent


@dataclass(frozen=True)
class Vouch:
    """That these logs were made here: to which level it raises their records, and who says so."""

    level: str
    by: str
    reason: str


@dataclass(frozen=True)
class PublishResult:
    """What became of each log. `skipped` and `left_out` pair a log, or an older record, with the reason."""

    page: Path | None
    """None when there is no record at all, so nothing to show."""
    written: tuple[Path, ...]
    reused: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...]
    left_out: tuple[tuple[Path, str], ...]
    not_raised: tuple[tuple[Path, str], ...] = ()
    """Records that were vouched for and keep their level, with the reason."""


def publish(logs: Sequence[Path], records_dir: Path, out_dir: Path, vouch: Vouch | None = None) -> PublishResult:
    """Adds a record for each log that may be published, then builds the page.

    A log that fails is named in `skipped` and the others go on. Records are only ever added; publishing a log twice
    finds its record again.

    Raises:
        RecordError: there is no such level to give, or the file of levels is damaged.
    """
    written, reused, skipped, raised, not_raised = [], [], [], [], []
    known = published_logs(records_dir)
    runs, graded = _sorted_out(logs, known)
    for log in runs:
        try:
            record, new, path = _add(log, graded, records_dir, known)
        except RecordError as error:
            skipped.append((log, str(error)))
            continue
        (written if new else reused).append(path)
        if vouch is None:
            continue
        if reason := not_rerun(record) if vouch.level == "rerun" else "":
            not_raised.append((path, f"{path}: stays at its level: {reason}."))
        else:
            raised.append(record.record_id)
    skipped += [(path, f"{path}: not published: the log that it grades is not among those given.")
                for paths in graded.values() for path in paths]
    remember(records_dir, known)
    if vouch is not None and raised:
        grant(records_dir, raised, vouch.level, vouch.by, vouch.reason)
    try:
        site = build(records_dir, out_dir, logs={sha256_file(log): log for log in runs if log.is_file()})
    except RecordError as error:
        if written or reused:
            raise
        return PublishResult(None, (), (), tuple(skipped), ((records_dir, str(error)),))
    return PublishResult(site.page, tuple(written), tuple(reused), tuple(skipped), site.left_out, tuple(not_raised))


def rehearse(logs: Sequence[Path], records_dir: Path, out_dir: Path, target: Target,
             vouch: Vouch | None = None) -> tuple[PublishResult, Delivery | None]:
    """What `publish` would do, and `deliver` would send to a target, tried on copies of both folders.

    Returns:
        Both results, with the paths that files would have; nothing is delivered where there is no page.

    Raises:
        As `publish` and `deliver`.
    """
    with trial(records_dir, out_dir) as (records, site):
        result = publish(logs, records, site, vouch)
        sent = deliver(site, records, target, dry_run=True, own=out_dir) if result.page else None
        copies = {records: records_dir, site: out_dir}
        return PublishResult(**{one.name: _told(getattr(result, one.name), copies) for one in fields(result)}), sent


def _told(value: Any, copies: dict[Path, Path]) -> Any:
    """A part of a result, with each copy's path changed to that of the folder itself."""
    if isinstance(value, tuple):
        return tuple(_told(item, copies) for item in value)
    for copy, source in copies.items():
        if isinstance(value, str):
            value = value.replace(str(copy), str(source))
        elif isinstance(value, Path) and value.is_relative_to(copy):
            return source / value.relative_to(copy)
    return value


def _sorted_out(logs: Sequence[Path], known: dict[str, str]) -> tuple[list[Path], dict[str, list[Path]]]:
    """Logs of runs, and sha256 of a run's log -> logs of judges' grades of it, the newest first."""
    runs, graded = [], {}
    for log in logs:
        seen = not log.is_file() or sha256_file(log) in known
        header = None if seen else read_header(log)
        if header is not None and (source := source_of(header)):
            graded.setdefault(source, []).insert(0, log)
        else:
            runs.append(log)
    return runs, graded


def _add(path: Path, graded: dict[str, list[Path]], records_dir: Path,
         known: dict[str, str]) -> tuple[Record, bool, Path]:
    """The record of a log, whether it is new, and where it lies; grades that were taken in are taken out of `graded`,
    and the log is noted in `known`."""
    sha256 = sha256_file(path) if path.is_file() else ""
    of_this = graded.pop(sha256, None)
    if of_this is None and sha256 in known and (records_dir / known[sha256]).is_file():
        place = records_dir / known[sha256]
        record = read(place)[0]
        if record.log.sha256 == sha256:  # else the note is wrong, and the log is read again
            return record, False, place
    log = read_log(path)
    record, samples = record_of(path, log, read_grades(of_this[0]) if of_this else None)
    try:
        check_published(record, samples)
    except RecordError as error:
        raise RecordError(f"{path}: {error}.") from error
    place, new = write(record, samples, records_dir)
    known[sha256] = place.relative_to(records_dir).as_posix()
    return record, new, place


def not_rerun(record: Record) -> str:
    """Why a record cannot count as a rerun of the package's own code; empty if it can.

    Whoever vouches has run it; this only sees to it that what ran is what is installed here.
    """
    method, investigator = record.method, record.investigator
    if record.run.git is not None and record.run.git.dirty:
        return "its code had changes that were not committed. Commit them first, then score it again"
    methods = {path.stem: path for path in (ROOM / "methods").glob("*.py")}
    investigators = {path.stem: path for path in (ROOM / "investigators").glob("*.py")}
    if method.name not in methods:
        return f"{method.name} is no method of the package"
    if sha256_file(methods[method.name]) != method.source_sha256:
        return f"the source of {method.name} is not the one that is installed here. Score it again"
    if investigator.name not in investigators:
        return f"{investigator.name} is no investigator of the package"
    source = investigators[investigator.name]
    if investigator.sha256 not in (sha256_file(source), code_sha256(source)):
        return f"the source of {investigator.name} is not the one that is installed here. Score it again"
    return ""
