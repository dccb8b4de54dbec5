"""What is sent when a page is published: its files and nothing else, a README for the Hub, and the list of all of them.

Main objects: `pack(kind, site, records_dir, made)` (puts it together), `listed` (reads the list, `published.json`).
Example: `pack("hub", Path("site"), Path("records"), Path("made"))`
"""

import json
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from ..organisms.errors import NotFoundError, PushError
from ..organisms.store import sha256_file
from ..organisms.upload import git_hash
from .levels import FILE as LEVELS
from .levels import levels_of

MANIFEST, README, VIEWER = "published.json", "README.md", "logs"
FOLDERS = frozenset({"assets", "data", "figures", "methods", "organisms", "records"})
SUFFIXES = frozenset({".html", ".css", ".js", ".json", ".jsonl", ".png", ".svg"})
SPACE_TEXT = """\
The page of a narrowbench leaderboard: `index.html`, one static folder without a server. All that it shows is computed
from the records under `records/`. Made by `narrowbench publish`, which replaces what `published.json` lists.
"""
DATASET_TEXT = """\
Records of a narrowbench leaderboard: `SUITE/METHOD-ID.json` says who was scored on what, by which command; beside it
`SUITE/METHOD-ID.samples.jsonl` holds every claim and every score, one organism a line. `levels.json`, where there is
one, says which records were run again by those who keep them; all others are their authors' word.

`narrowbench verify SUITE/METHOD-ID.json` checks a record, `narrowbench site FOLDER` builds the page from this folder.
Made by `narrowbench publish`, which replaces what `published.json` lists.
"""


def pack(kind: str, site: Path, records_dir: Path, made: Path) -> tuple[str, ...]:
    """Copies what is sent into a new folder; returns the files of the page's folder that are left out.

    Args:
        kind: folder, hub (a Space that shows the page) or hub-dataset (the records alone).

    Raises:
        NotFoundError: there is no page. RecordError: the file of levels is damaged.
        PushError: a file of the page is a link.
    """
    names, left_out = _of_the_page(site)
    if kind == "hub-dataset":
        sources = {name.removeprefix("records/"): site / name for name in names if name.startswith("records/")}
        if levels_of(records_dir):
            sources[LEVELS] = records_dir / LEVELS
        _write(made / README, _front({"pretty_name": "narrowbench records", "tags": ["narrowbench", "leaderboard"],
                                      "viewer": False}) + DATASET_TEXT)  # a record's rows have no common columns
    else:
        sources = {name: site / name for name in names}
    if kind == "hub":
        _write(made / README, _front({
            "title": "narrowbench", "emoji": "📊", "colorFrom": "gray", "colorTo": "blue", "sdk": "static",
            "app_file": "index.html", "pinned": False}) + SPACE_TEXT)
    for name, source in sources.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, made / name)
    files = {name: {"sha256": sha256_file(path), "git": git_hash(path)} for name, path in files_in(made).items()}
    _write(made / MANIFEST, json.dumps({"schema": 1, "by": "narrowbench", "files": files}, indent=1) + "\n")
    return tuple(left_out)


def _of_the_page(site: Path) -> tuple[list[str], list[str]]:
    """Names of the files that make up the page, and of those that lie beside them."""
    if not (site / "index.html").is_file():
        raise NotFoundError(f"{site} holds no page. `narrowbench site RECORDS --out {site}` builds it.")
    viewer = (site / VIEWER / "index.html").is_file()
    names: tuple[list[str], list[str]] = [], []
    for name, path in files_in(site).items():
        ours = _is_of_the_page(PurePosixPath(name), viewer)
        if ours and path.is_symlink():
            raise PushError(f"{path} is a link, and what it leads to may be nobody else's business. Put the file "
                            "itself there, or remove the link.")
        names[not ours].append(name)
    return names


def _is_of_the_page(name: PurePosixPath, viewer: bool) -> bool:
    """Logs only as part of Inspect's viewer, which somebody must have bundled there on purpose."""
    first, *rest = name.parts
    if any(part.startswith(".") for part in name.parts):
        return False
    if first == VIEWER and rest:
        return viewer
    return name.suffix in SUFFIXES and first in FOLDERS if rest else name.suffix == ".html"


def _front(head: dict[str, Any]) -> str:
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def files_in(folder: Path) -> dict[str, Path]:
    """Name -> file, at any depth; links too."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))
            if path.is_symlink() or not path.is_dir()}


def listed(manifest: bytes) -> dict[str, dict[str, str]]:
    """Name -> `sha256` and `git` hash of each file that a manifest lists; empty if it is none of ours."""
    try:
        told = json.loads(manifest)
        if told["by"] != "narrowbench":
            return {}
        return {name: {"sha256": str(one["sha256"]), "git": str(one["git"])} for name, one in told["files"].items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # what any bytes can be
        return {}
