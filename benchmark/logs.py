"""Inspect logs already in a folder: find a whole one of exactly these inputs, and name those that cannot be used.

Main objects: `scan` -> `Seen` (what a folder has of a run), `find_log` and `find_unfinished` (of an exam),
`read_whole`.
Example: `seen = scan(Path("logs"), inputs_sha256)`; `seen.whole`, `seen.begun`, `seen.warnings`

A damaged or unfinished log is never deleted, and never used as if it were whole.
"""

import struct
import zipfile
import zlib
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

from inspect_ai.log import EvalLog, read_eval_log
from zstandard import ZstdError

from ..organisms.errors import DamagedArtefactError

SCORED = "narrowbench"
"""The key of a log's metadata under which `narrowbench score` says what it is of."""
UNREADABLE = (OSError, ValueError, LookupError, RuntimeError, EOFError, struct.error, zlib.error, zipfile.BadZipFile,
              ZstdError)
"""What reading a file that ends early or has changed bytes can raise, down to the compressed stream."""


@dataclass(frozen=True)
class Seen:
    """What a folder has of a run with exactly these inputs."""

    whole: EvalLog | None
    """The newest log that is whole."""
    unfinished: tuple[Path, ...]
    """Logs of runs that did not finish, newest first."""
    warnings: tuple[str, ...]
    """A line for each log, of any inputs, that cannot be used."""

    @property
    def begun(self) -> Path | None:
        """The newest unfinished log whose samples can be read."""
        return next((path for path in self.unfinished if _is_readable(path)), None)


def scan(log_dir: Path, inputs_sha256: str, key: str = SCORED,
         fits: Callable[[EvalLog], bool] | None = None) -> Seen:
    """Reads the header of every log in a folder once.

    Args:
        key: Under which a log's metadata say what it is of; logs without it are somebody else's.
        fits: Whether a whole log of these inputs is what is looked for; one that is not is named.
    """
    whole, unfinished, warnings = None, [], []
    for path in sorted(log_dir.glob("*.eval"), reverse=True):
        try:
            header = read_eval_log(str(path), header_only=True)
            about = (header.eval.metadata or {}).get(key)
            if not isinstance(about, dict):
                continue
            same = about.get("inputs_sha256") == inputs_sha256 and not header.invalidated
            if header.status != "success":
                warnings.append(f"{path}: this run did not finish (status {header.status!r}): not used, left as it is")
                unfinished += [path] if same else []
            elif whole is None and same:
                log = read_whole(path)
                if fits is None or fits(log):
                    whole = log
                else:
                    warnings.append(f"{path}: not every organism of the exam once an epoch, with all marks: not used")
        except (*UNREADABLE, DamagedArtefactError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            warnings.append(f"{path}: truncated or damaged ({reason}): not used, left as it is")
    return Seen(whole, tuple(unfinished), tuple(warnings))


def find_log(log_dir: Path, inputs_sha256: str, sample_ids: Set[str]) -> tuple[EvalLog | None, list[str]]:
    """The newest whole log whose inputs are exactly these, and a line for each log that cannot be used.

    Args:
        sample_ids: All samples of the exam: a run of some of them (`--limit`), or one without marks, is not the exam.
    """
    seen = scan(log_dir, inputs_sha256, fits=lambda log: _is_the_exam(log, sample_ids))
    return seen.whole, list(seen.warnings)


def find_unfinished(log_dir: Path, inputs_sha256: str) -> Path | None:
    """The newest readable log of exactly these inputs whose run did not finish; damaged ones are passed by."""
    return scan(log_dir, inputs_sha256).begun


def _is_readable(path: Path) -> bool:
    try:
        read_eval_log(str(path))
    except UNREADABLE:
        return False
    return True


def _is_the_exam(log: EvalLog, sample_ids: Set[str]) -> bool:
    epochs = log.eval.metadata[SCORED].get("epochs", 1)
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
