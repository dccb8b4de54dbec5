"""A record as a pull request: the folder that is sent: the record, its samples, digests of its logs and a README.

Main objects: `pack(path) -> Submission`, `put(submission, target)`.
Example: `narrowbench submit records/nano-2026.1/my_method-0123456789abcdef.json --to folder:../narrowbench`

Logs are not sent along: they are large, and their digests are enough to find out later whether they are the ones. Only
a record that `verify` accepts is packed.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..organisms.errors import RecordError
from ..organisms.store import write_atomic
from .archive import samples_path
from .record import Record
from .verify import ACCEPTED, verify

ROOT, LOGS, README = "submissions", "logs.json", "README.md"
HOW_TO = """\
To send it, in a clone of your fork of the leaderboard's repository, on a branch of its own:
{put}  git add {place} && git commit -m "Submission: {method} on {suite}" && git push
Then open a pull request with only this folder in it. The workflow `verify` checks it with the code of the main branch;
keep the logs, maintainers may ask for them."""


@dataclass(frozen=True)
class Submission:
    """What is sent, and where it stands in the repository."""

    record: Record
    place: Path
    """Relative to the root of the repository."""
    files: dict[str, str]
    """Name -> text."""

    def how_to(self, record_path: Path, written: bool) -> str:
        """How the pull request is opened; `written`: the folder lies in the clone already."""
        put = "" if written else f"  narrowbench submit {record_path} --to folder:PATH_OF_YOUR_CLONE\n"
        return HOW_TO.format(put=put, place=self.place.as_posix(), method=self.record.method.name,
                             suite=self.record.suite.id)


def pack(path: Path) -> Submission:
    """Everything that is sent for one record.

    Raises:
        RecordError: `verify` does not accept the record; names the first reasons.
    """
    verdict = verify(path)
    if verdict.code != ACCEPTED:
        raise RecordError(f"{path} is not packed, since it would be refused: {'; '.join(verdict.reasons[:3])}. "
                          f"`narrowbench verify {path}` shows all reasons.")
    return of(verdict.record, path)


def of(record: Record, path: Path) -> Submission:
    """The submission of a record that lies at `path`, whatever `verify` says of it."""
    logs = {"run": record.log.model_dump(mode="json"),
            **({"grades": record.panel.log.model_dump(mode="json")} if record.panel else {})}
    name = record.path.name
    files = {name: path.read_text(encoding="utf-8"),
             samples_path(record.path).name: samples_path(path).read_text(encoding="utf-8"),
             LOGS: json.dumps({"schema": 1, "record_id": record.record_id, "logs": logs}, indent=1) + "\n",
             README: _readme(record)}
    return Submission(record, Path(ROOT) / record.path.parent / record.path.stem, files)


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
        if _texts(folder) != submission.files:
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


def _texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir()) if path.is_file()}


def _readme(record: Record) -> str:
    method, who = record.method, record.investigator
    model = "no language model" if who.model == "none/none" else who.model
    return f"""# {_plain(method.label)} on {_plain(record.suite.id)}

A submission to the narrowbench leaderboard, made by `narrowbench submit`. It says `self` of its own verification.

- Suite: {_plain(record.suite.id)}, split {_plain(record.suite.split)}, digest `{record.suite.digest[:16]}`
- Method: {_plain(method.label)}, version {_plain(method.version)}, access {_plain(', '.join(method.access) or 'none')}
- Tuned on: {_plain(method.tuned_on or 'not said')}
- Investigator: {_plain(who.name)}, {_plain(model)}
- Samples: {record.samples.rows}, epochs {record.run.epochs}
- Record: `{record.record_id}`

The command behind it:

    {_plain(record.run.command)}

`{record.path.name}` is the record, `{samples_path(record.path).name}` holds claims and scores, `{LOGS}` the digests of
its logs. Check it with `narrowbench verify {record.path.name}`.
"""


def _plain(text: str) -> str:
    """Text of somebody's own on one line, without what Markdown or HTML would make of it."""
    return "".join(c if c.isprintable() and c not in "<>`[]()*|\\#!" else " " for c in text)
