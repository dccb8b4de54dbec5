"""An Inspect log as a file: read whole or not at all, and never changed.

Main objects: `read_log(path)`, `read_header(path)`, `log_files(paths)`; `HOSTILE`, what a log's content can make of
code that takes it for one of ours.
Example: `read_log(Path("logs/2026-01-01_recover.eval")).samples`
"""

import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from inspect_ai.log import EvalLog, read_eval_log
from pydantic import ValidationError
from zstandard import ZstdError

from ..organisms.errors import NarrowbenchError, RecordError
from .record import first_reason

MAX_BYTES, MAX_ENTRIES = 2 * 10**9, 100_000
"""Of a log as it lies and unpacked, and of the files in it: far more than a suite of any size needs."""
HOSTILE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""A log can be made by anybody, and hold any JSON where a number, a text or an object is expected."""
_UNREADABLE = (*HOSTILE, OSError, RuntimeError, EOFError, struct.error, zlib.error, zipfile.BadZipFile, ZstdError)


def log_files(paths: Sequence[Path]) -> list[Path]:
    """The logs among files and folders, each once."""
    found = (file for path in paths for file in (sorted(path.glob("*.eval")) if path.is_dir() else [path]))
    return list(dict.fromkeys(found))


def read_header(path: Path) -> EvalLog | None:
    """A log without its samples; None if it cannot be read."""
    try:
        _check_size(path)
        return read_eval_log(str(path), header_only=True)
    except _UNREADABLE:
        return None


def read_log(path: Path) -> EvalLog:
    """A log with all its samples. Raises RecordError if it is missing, truncated, damaged or far too large."""
    if not path.is_file():
        raise RecordError(f"{path}: not published: there is no such log. `narrowbench score` prints where its log is.")
    try:
        _check_size(path)
        if path.suffix == ".eval":
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} does not match its checksum")
        return read_eval_log(str(path))
    except _UNREADABLE as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise RecordError(f"{path}: not published: the log is truncated or damaged ({reason}). It was left as it is; "
                          "score the method again to get a whole one.") from error


def why_not(error: Exception) -> str:
    """Of a HOSTILE error: the reason, where it says one; else that something in the log is of another kind."""
    if isinstance(error, (NarrowbenchError, ValidationError)):
        return first_reason(error)
    return f"something in it is not what narrowbench writes there ({type(error).__name__}: {first_reason(error)})"


def _check_size(path: Path) -> None:
    """Raises ValueError for a log that would fill the memory; asks what it says of itself, before it is unpacked."""
    n_bytes, n_entries = path.stat().st_size, 1
    if path.suffix == ".eval":
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        n_bytes, n_entries = max(n_bytes, sum(entry.file_size for entry in entries)), len(entries)
    if n_bytes > MAX_BYTES or n_entries > MAX_ENTRIES:
        raise ValueError(f"{n_bytes:,} bytes in {n_entries:,} files, at most {MAX_BYTES:,} in {MAX_ENTRIES:,} are read")
