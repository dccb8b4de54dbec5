"""One run at a time asks models about the same inputs in a folder: another would take its log for a killed run's.

Main object: `alone(log_dir, inputs_sha256, command)`.
Example: `with alone(Path("logs"), inputs_sha256, "narrowbench score ..."): ...`

Inspect writes a log from the first sample on, and nothing in it tells a run that is under way from one that was killed.
So the one that writes holds a lock of the operating system on a small hidden file beside the log. A process that ends,
however it ends, lets go of it. The file stays: one that is deleted could be locked twice, under its old name and anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..organisms.errors import InvestigationError

N_DIGITS = 16


@contextmanager
def alone(log_dir: Path, inputs_sha256: str, command: str) -> Iterator[None]:
    """Holds the lock of these inputs in this folder.

    Args:
        command: What goes on with the run, once nobody else does.

    Raises:
        InvestigationError: another run holds it.
    """
    lock = FileLock(log_dir / f".{inputs_sha256[:N_DIGITS]}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InvestigationError(
            f"another run of the same is under way in {log_dir}, and asks the same questions. Nothing was asked or "
            f"paid for. Wait until it ends, or stop it; then `{command}` takes over what it has done. With another "
            "`--log-dir` it would all be asked, and paid for, again.") from error
    try:
        yield
    finally:
        lock.release()
