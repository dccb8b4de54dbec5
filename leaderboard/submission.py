"""What a pull request of a record holds: the record, its samples, digests of its logs and a README.

Main objects: `Submission`, `of(record, path)`, `unlike(folder, submission)`.
Example: `unlike(path.parent, of(record, path))` -> [] where the folder holds exactly that
"""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from .archive import samples_path
from .record import NO_MODEL, Record

ROOT, LOGS, README = "submissions", "logs.json", "README.md"
HOW_TO = """\
To send it, in a clone of your fork of the leaderboard's repository, on a branch of its own:
{put}  git add {place} && git commit -m {title} && git push
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
        put = f"  narrowbench submit {shlex.quote(str(record_path))} --to folder:PATH_OF_YOUR_CLONE\n"
        title = shlex.quote(f"Submission: {self.record.method.name} on {self.record.suite.id}")
        return HOW_TO.format(put="" if written else put, place=shlex.quote(self.place.as_posix()), title=title)


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


def unlike(folder: Path, submission: Submission) -> list[str]:
    """In what a folder differs from a submission, one line each; nothing of it is read that is larger than it."""
    wanted = {name: text.encode() for name, text in submission.files.items()}
    found = []
    for path in sorted(folder.iterdir()):
        text = wanted.pop(path.name, None)
        if text is None:
            found.append(f"{path.name} is no part of a submission")
        elif path.is_symlink() or not path.is_file() or path.stat().st_size != len(text) or path.read_bytes() != text:
            found.append(f"{path.name} is not what `narrowbench submit` of this version writes for this record")
    return [*found, *(f"{name} is missing" for name in wanted)]


def _readme(record: Record) -> str:
    method, who = record.method, record.investigator
    model = "no language model" if who.model == NO_MODEL else who.model
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
