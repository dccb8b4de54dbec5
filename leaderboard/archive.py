"""A folder of records that only ever grows: records are added and read back, never replaced and never deleted.

Main objects: `write`, `read`, `read_all`. Layout: `<suite>/<method>-<id>.json`, its samples beside it in
`<method>-<id>.samples.jsonl`; `levels.json` (`levels.py`) and `logs.json` (which logs were published) on top.
Example: `published, left_out = read_all(Path("records"))`
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..organisms.errors import RecordError
from ..organisms.store import write_atomic
from .pool import Pool
from .record import SCHEMA_VERSION, Record, SampleRow, first_reason, samples_text

MAX_RECORD_BYTES, MAX_SAMPLES_BYTES = 1_000_000, 100_000_000
LOGS = "logs.json"


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
        except RecordError as error:
            left_out.append((path, str(error)))
        else:
            whole.append((record, tuple(pool.row(row) for row in rows)))
    return sorted(whole, key=lambda pair: (pair[0].run.completed, pair[0].record_id)), left_out


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
