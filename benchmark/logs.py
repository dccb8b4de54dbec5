"""Inspect logs already in a folder: find a whole one of exactly these inputs, and name those that cannot be used.

Main objects: `find_log`, `find_unfinished`, `read_whole`. A damaged or unfinished log is never used and never deleted.
Example: `log, warnings = find_log(Path("logs"), inputs_sha256)`
"""

import struct
import zipfile
import zlib
from collections.abc import Set
from pathlib import Path

from inspect_ai.log import EvalLog, read_eval_log
from zstandard import ZstdError

from ..organisms.errors import DamagedArtefactError

UNREADABLE = (OSError, ValueError, LookupError, RuntimeError, EOFError, struct.error, zlib.error, zipfile.BadZipFile,
              ZstdError)
"""What reading a file that ends early or has changed bytes can raise, down to the compressed stream."""


def find_log(log_dir: Path, inputs_sha256: str, sample_ids: Set[str]) -> tuple[EvalLog | None, list[str]]:
    """The newest whole log whose inputs are exactly these, and a line for each log that cannot be used.

    Args:
        sample_ids: All samples of the exam: a run of some of them (`--limit`), or one without marks, is not the exam.
    """
    found, warnings = None, []
    for path in sorted(log_dir.glob("*.eval"), reverse=True):
        try:
            header = read_eval_log(str(path), header_only=True)
            about = (header.eval.metadata or {}).get("narrowbench")
            if not isinstance(about, dict):
                continue
            if header.status != "success":
                warnings.append(f"{path}: this run did not finish (status {header.status!r}): not used, left as it is")
            elif found is None and about.get("inputs_sha256") == inputs_sha256 and not header.invalidated:
                log = read_whole(path)
                if _is_the_exam(log, sample_ids, about.get("epochs", 1)):
                    found = log
                else:
                    warnings.append(f"{path}: not every organism of the exam once an epoch, with all marks: not used")
        except (*UNREADABLE, DamagedArtefactError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            warnings.append(f"{path}: truncated or damaged ({reason}): not used, left as it is")
    return found, warnings


def find_unfinished(log_dir: Path, inputs_sha256: str) -> Path | None:
    """The newest readable log of exactly these inputs whose run did not finish; damaged ones are passed by."""
    for path in sorted(log_dir.glob("*.eval"), reverse=True):
        try:
            header = read_eval_log(str(path), header_only=True)
            about = (header.eval.metadata or {}).get("narrowbench")
            if header.status != "success" and not header.invalidated and isinstance(about, dict) \
                    and about.get("inputs_sha256") == inputs_sha256:
                read_eval_log(str(path))
                return path
        except UNREADABLE:
            continue
    return None


def _is_the_exam(log: EvalLog, sample_ids: Set[str], epochs: int) -> bool:
    wanted = [(sample_id, epoch) for sample_id in sorted(sample_ids) for epoch in range(1, epochs + 1)]
    return (sorted((str(sample.id), sample.epoch) for sample in log.samples) == wanted
            and all({"recovery", "detect"} <= set(sample.scores or {}) for sample in log.samples))


def read_whole(path: Path) -> EvalLog:
    """A finished log with its samples. Raises DamagedArtefactError, or one of `UNREADABLE`, if it is not whole."""
    with zipfile.ZipFile(path) as archive:
        if bad := archive.testzip():
            raise DamagedArtefactError(f"{bad} does not match its checksum")
    log = read_eval_log(str(path))
    if log.results is None or not log.samples or log.results.completed_samples != log.results.total_samples:
        raise DamagedArtefactError("samples are missing")
    return log
