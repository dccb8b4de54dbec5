"""May a pull request be verified as a submission? Looks at the names and modes of what it changes, and at nothing else.

Main object: `submitted(raw)` -> the records in it.
Example: `git diff --no-renames --raw -z BASE HEAD > changes; python -m narrowbench.leaderboard.changes changes`

Records are only ever added, so a submission adds whole folders and touches nothing that is there; only plain files can
be in it, no links.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path, PurePosixPath

from ..organisms.errors import RecordError
from .submission import LOGS, README, ROOT

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,120}")
PLAIN = "100644"


def submitted(raw: bytes) -> list[str]:
    """The paths of the records that a pull request adds.

    Args:
        raw: What `git diff --no-renames --raw -z` prints.

    Raises:
        RecordError: it changes something else, or a submission is not whole.
    """
    parts = raw.decode("utf-8", errors="replace").split("\0")
    folders: dict[PurePosixPath, set[str]] = defaultdict(set)
    for about, name in zip(parts[::2], parts[1::2]):
        _, mode, _, _, status = (about.split() + [""] * 5)[:5]
        path = PurePosixPath(name)
        if status != "A" or mode != PLAIN or len(path.parts) != 4 or path.parts[0] != ROOT \
                or not all(NAME.fullmatch(part) or part == README for part in path.parts):
            raise RecordError(f"a submission only adds plain files to {ROOT}/SUITE/RECORD/, and this changes "
                              f"{ascii(name)[:200]} (status {status or 'unknown'}, mode {mode or 'unknown'}). Pack it "
                              "with `narrowbench submit RECORD --to folder:CLONE`.")
        folders[path.parent].add(path.name)
    for folder, names in folders.items():
        if names != {f"{folder.name}.json", f"{folder.name}.samples.jsonl", LOGS, README}:
            raise RecordError(f"{folder} holds {', '.join(sorted(names))}; a submission holds the record, its samples, "
                              f"{LOGS} and {README}. Pack it with `narrowbench submit RECORD --to folder:CLONE`.")
    if not folders:
        raise RecordError("this adds no submission")
    return [(folder / f"{folder.name}.json").as_posix() for folder in sorted(folders)]


if __name__ == "__main__":
    try:
        print("\n".join(submitted(Path(sys.argv[1]).read_bytes())))
    except RecordError as error:
        sys.exit(f"refused: {error}")
