"""Which commit of narrowbench runs, where it runs from its repository.

Main object: `checkout()`.
Example: `checkout()` -> `{"commit": "0a1b...", "dirty": False}`, or None where it was installed as a package.
"""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROOMS = ("organisms", "graders", "benchmark")
"""What results depend on."""


@cache
def checkout(root: Path = ROOT) -> dict[str, Any] | None:
    """Commit, and whether the rooms that results depend on differ from it, new files included; asked once a process,
    so that it is that of the code that runs.

    Args:
        root: Of the package. None comes back if it is not the root of a repository, or there is no git.
    """
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", *ROOMS)
    return None if commit is None or changes is None else {"commit": commit, "dirty": bool(changes)}


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
