"""A record as a pull request: packed as the folder that is sent, and put into a clone of the repository.

Main objects: `pack(path) -> Submission`, `put(submission, target)`.
Example: `narrowbench submit records/nano-2026.1/my_method-0123456789abcdef.json --to folder:../narrowbench`

Logs are not sent along: they are large, and their digests are enough to find out later whether they are the ones. Only
a record that `verify` accepts is packed.
"""

import shutil
import tempfile
from pathlib import Path

from ..benchmark.characters import escaped
from ..organisms.errors import RecordError
from ..organisms.store import write_atomic
from .submission import Submission, of, unlike
from .verify import ACCEPTED, verify


def pack(path: Path) -> Submission:
    """Everything that is sent for one record.

    Raises:
        RecordError: `verify` does not accept the record; names the first reasons.
    """
    verdict = verify(path)
    if verdict.code != ACCEPTED:
        reasons = escaped("; ".join(verdict.reasons[:3]))
        raise RecordError(f"{path} is not packed, since it would be refused: {reasons}. "
                          f"`narrowbench verify {path}` shows all reasons.")
    return of(verdict.record, path)


def put(submission: Submission, target: str) -> Path:
    """Writes a submission into a clone of the repository, whole or not at all; returns its folder.

    Args:
        target: `folder:PATH`, the root of the clone.

    Raises:
        RecordError: another kind of target, no such folder, or something else lies at the submission's place.
    """
    kind, _, place = target.partition(":")
    root = Path(place).expanduser()
    if kind != "folder" or not place or not root.is_dir():
        raise RecordError(f"`--to {target}` is no target. Give `--to folder:PATH`, the folder of your clone.")
    folder = root / submission.place
    if folder.exists():
        if not folder.is_dir() or unlike(folder, submission):
            raise RecordError(f"{folder} is there already and holds something else. Remove it to pack it again.")
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".submit-", dir=folder.parent))
    try:
        for name, text in submission.files.items():
            write_atomic(made / name, text)
        made.chmod(0o755)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder
