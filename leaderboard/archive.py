"""A folder of records that only ever grows: records are added and read back, never replaced and never deleted.

Main objects: `write`, `read`, `read_all`, `age` (which of two records is newer). Layout: `<suite>/<method>-<id>.json`,
its samples beside it in `<method>-<id>.samples.jsonl`; `levels.json` (`levels.py`) and `logs.json` (which logs were
published) on top.
Example: `published, left_out = read_all(Path("records"))`
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..organisms.errors import RecordError
from ..organisms.store import write_atomic
from .pool import Pool
from .record import SCHEMA_VERSION, Record, SampleRow, first_reason, samples_text

MAX_RECORD_BYTES, MAX_SAMPLES_BYTES = 1_000_000, 100_000_000
LOGS = "logs.json"
LOWEST_SCORE, LARGEST_NUMBER = -1.000001, 1e24
"""Twice two candidates are the fewest, and misleading words earn -1 there. Sums of larger numbers would overflow."""


def age(record: Record) -> tuple[datetime, bool, str]:
    """Sorts records, oldest first. A log that was published again with its judges' grades is as old as before, and
    the record with grades is the newer one."""
    return record.run.completed, record.panel is not None, record.record_id


def samples_path(record_path: Path) -> Path:
    """The samples file that lies beside a record file."""
    return record_path.with_suffix(".samples.jsonl")


def write(record: Record, samples: Sequence[SampleRow], records_dir: Path) -> tuple[Path, bool]:
    """Adds a record to a folder that only ever grows.

    Returns:
        The record's path, and whether it is new (an identical record is left as it is).

    Raises:
        RecordError: something else already lies at that path; it is neither replaced nor deleted.
    """
    path = records_dir / record.path
    if path.exists():
        if read(path) != (record, tuple(samples)):
            raise RecordError(f"{path} holds another record. Records are never replaced: move it away to publish this.")
        return path, False
    write_atomic(samples_path(path), samples_text(samples))
    write_atomic(path, record.to_json())
    return path, True


def read(path: Path) -> tuple[Record, tuple[SampleRow, ...]]:
    """Reads a record and its samples. Raises RecordError if a byte of either was changed, or the schema is unknown."""
    try:
        if path.stat().st_size > MAX_RECORD_BYTES or samples_path(path).stat().st_size > MAX_SAMPLES_BYTES:
            raise RecordError(f"{path}: more than {MAX_RECORD_BYTES} bytes, or {MAX_SAMPLES_BYTES} of samples, are no "
                              "record.")
        if not (path.is_file() and samples_path(path).is_file()):  # a pipe or a device would never end
            raise RecordError(f"{path}: it or its samples are no file. Move it away and publish its log again.")
        text = path.read_bytes().decode()
        raw: Any = json.loads(text)
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if version != SCHEMA_VERSION:
            raise RecordError(f"{path}: schema_version {version!r} is unknown; this version reads {SCHEMA_VERSION}.")
        record = Record.model_validate(raw)
        lines = samples_path(path).read_bytes().decode()
        samples = tuple(SampleRow.model_validate_json(line) for line in lines.removesuffix("\n").split("\n"))
        changed = text != record.to_json() or lines != samples_text(samples) or len(samples) != record.samples.rows \
            or hashlib.sha256(lines.encode()).hexdigest() != record.samples.sha256
    except RecordError:
        raise
    except (OSError, ValueError, RecursionError) as error:  # what any bytes at all can make of JSON and its schema
        raise RecordError(f"{path}: not a whole record ({first_reason(error)}). Move it away and publish its log "
                          "again.") from error
    if changed:
        raise RecordError(f"{path}: the record or its samples were changed after they were written. Move both away "
                          "and publish the log again.")
    return record, samples


def read_all(records_dir: Path) -> tuple[list[tuple[Record, tuple[SampleRow, ...]]], list[tuple[Path, str]]]:
    """All whole records below a folder, oldest first, and (path, reason) for each that was left out."""
    pool, whole, left_out = Pool(), [], []
    for path in sorted(records_dir.glob("*/*.json")):
        try:
            record, rows = read(path)
            _check_shown(record, rows, path, records_dir)
        except RecordError as error:
            left_out.append((path, str(error)))
        else:
            whole.append((record, tuple(pool.row(row) for row in rows)))
    return sorted(whole, key=lambda pair: age(pair[0])), left_out


def _check_shown(record: Record, rows: Sequence[SampleRow], path: Path, records_dir: Path) -> None:
    """Raises RecordError if a record is whole but cannot be shown beside others."""
    if path != records_dir / record.path:
        raise RecordError(f"{path}: its place follows from its content, and is {record.path}. Move it and its samples "
                          "there.")
    for row in rows:
        if wrong := next(_absurd(row), None):
            raise RecordError(f"{path}: sample {row.sample_id[:80]}: {wrong}. Nothing measures that; publish its log "
                              "again.")


def _absurd(row: SampleRow) -> Iterator[str]:
    """Numbers that the schema allows and no run can have."""
    marks = row.recovery
    for name in ("recovery", "domain", "objective", "content") if marks else ():
        value = getattr(marks, name)
        if value is not None and value < LOWEST_SCORE:
            yield f"`recovery.{name}` is {value:.4g}, and no score is below -1"
    for term, weight in row.card.lexicon.items() if row.card else ():
        if not abs(weight) < LARGEST_NUMBER:
            yield f"the weight of {term[:80]!r} in its card is {weight:.4g}"
    spent = {**row.cost, **(row.usage.model_dump(exclude={"outcome"}) if row.usage else {})}
    for name, value in spent.items():
        if value is not None and value > LARGEST_NUMBER:
            yield f"`{name}` is above {LARGEST_NUMBER:.0e}"


def published_logs(records_dir: Path) -> dict[str, str]:
    """sha256 of a log -> the record, below the folder, that was made from it here. Empty where nothing is noted.

    Only `remember` writes the note, so that a record that somebody sent cannot stand in for the log that it names.
    """
    try:
        noted = json.loads((records_dir / LOGS).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}  # it only saves reading the logs again
    return {key: value for key, value in noted.items() if isinstance(value, str)} if isinstance(noted, dict) else {}


def remember(records_dir: Path, logs: dict[str, str]) -> None:
    """Notes which logs were published, as of `published_logs`."""
    if logs and logs != published_logs(records_dir):
        write_atomic(records_dir / LOGS, json.dumps(logs, indent=1, sort_keys=True) + "\n")
