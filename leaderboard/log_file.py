"""An Inspect log as a file: read whole or not at all, and never changed.

Main objects: `read_log(path)`, `read_header(path)`, `log_files(paths)`.
Example: `read_log(Path("logs/2026-01-01_recover.eval")).samples`
"""

import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from inspect_ai.log import EvalLog, read_eval_log
from zstandard import ZstdError

from ..organisms.errors import RecordError

_UNREADABLE = (OSError, ValueError, LookupError, RuntimeError, EOFError, struct.error, zlib.error, zipfile.BadZipFile,
               ZstdError)


def log_files(paths: Sequence[Path]) -> list[Path]:
    """The logs among files and folders, each once."""
    found = (file for path in paths for file in (sorted(path.glob("*.eval")) if path.is_dir() else [path]))
    return list(dict.fromkeys(found))


def read_header(path: Path) -> EvalLog | None:
    """A log without its samples; None if it cannot be read."""
    try:
        return read_eval_log(str(path), header_only=True)
    except _UNREADABLE:
        return None


def read_log(path: Path) -> EvalLog:
    """A log with all its samples. Raises RecordError if it is missing, truncated or damaged."""
    if not path.is_file():
        raise RecordError(f"{path}: not published: there is no such log. `narrowbench score` prints where its log is.")
    try:
        if path.suffix == ".eval":
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} does not match its checksum")
        return read_eval_log(str(path))
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RecordError(f"{path}: not published: the log is truncated or damaged ({reason}). It was left as it is; "
                          "score the method again to get a whole one.") from error
