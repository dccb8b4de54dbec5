"""Where a built page goes: into a folder, to a static Space of the Hub, or its records to a dataset of the Hub.

Main objects: `target_of` (reads `--to`), `deliver(site, records_dir, target) -> Delivery`.
Example: `deliver(Path("site"), Path("records"), target_of("folder:/srv/board"))`

What is sent is put together first, in a folder of its own, so that a dry run lists exactly what would be sent. Beside
the page's files go a README and `published.json`, the list of what was sent: a later publishing replaces what is on
that list, and touches nothing else.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from ..organisms.errors import NotFoundError, PushError, SpecError
from ..organisms.store import sha256_file
from ..organisms.upload import explained, git_hash
from .levels import FILE as LEVELS
from .levels import levels_of

MANIFEST, README, VIEWER = "published.json", "README.md", "logs"
FOLDERS = frozenset({"assets", "data", "figures", "methods", "organisms", "records"})
SUFFIXES = frozenset({".html", ".css", ".js", ".json", ".jsonl", ".png", ".svg"})
FORMS = {"folder": "folder:PATH", "hub": "hub:ORG/NAME", "hub-dataset": "hub-dataset:ORG/NAME"}
REPO_TYPES = {"hub": "space", "hub-dataset": "dataset"}
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


@dataclass(frozen=True)
class Target:
    """`kind`: folder, hub (a Space that shows the page) or hub-dataset (records). `place`: a path, or ORG/NAME."""

    kind: str
    place: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}"


@dataclass(frozen=True)
class Delivery:
    """What was sent, or in a dry run would be."""

    to: str
    place: str | None
    """The folder or address; None in a dry run."""
    files: dict[str, int]
    """Name -> size in bytes, of everything that is sent."""
    left_out: tuple[str, ...]
    """Files of the page's folder that are not the page's."""

    @property
    def total_bytes(self) -> int:
        """Of all files together."""
        return sum(self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self) | {"left_out": list(self.left_out), "total_bytes": self.total_bytes}


def target_of(text: str) -> Target:
    """Reads the word that `--to` takes; nothing is asked of the Hub or the disk.

    Raises:
        SpecError: another kind of target, or none. PushError: a name that no repository can have.
    """
    kind, _, place = text.partition(":")
    if kind not in FORMS or not place or kind != "folder" and place.count("/") != 1:
        raise SpecError(f"`--to {text}` is no target. Give {', '.join(f'`--to {form}`' for form in FORMS.values())}.")
    if kind != "folder":
        from huggingface_hub.utils import validate_repo_id

        with explained(place, FORMS[kind]):
            validate_repo_id(place)
    return Target(kind, place)


def deliver(site: Path, records_dir: Path, target: Target, dry_run: bool = False, private: bool = False,
            own: Path | None = None) -> Delivery:
    """Sends a built page, or its records, to where `target` says.

    A folder is replaced whole: it is written beside its place, and takes it by its name. The Hub gets one commit.

    Args:
        site: The folder of the page, as `site.build` made it.
        records_dir: Where `levels.json` lies.
        dry_run: Put together what would be sent, list it, and throw it away; asks nothing of the Hub.
        private: Of a Hub repository: nobody else may see it.
        own: Where the page is built, if `site` is a copy of it.

    Raises:
        NotFoundError: there is no page. RecordError: the file of levels is damaged.
        PushError: the target holds something that was not published there, a file of the page is a link, or the Hub
            says no or is not there.
    """
    home = _home(target, own or site) if target.kind == "folder" else None
    held = _held(home) if home else {}
    if home and not dry_run:
        home.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".publish-", dir=home.parent if home and not dry_run else None) as scratch:
        made = Path(scratch) / "made"
        left_out = _pack(target, site, records_dir, made)
        files = {name: path.stat().st_size for name, path in files_in(made).items()}
        place = None
        if home and not dry_run:
            place = str(_replace(home, made, held, Path(scratch) / "old"))
        elif not dry_run:
            from .hub_target import send

            place = send(made, target.place, REPO_TYPES[target.kind], FORMS[target.kind], private)
    return Delivery(str(target), place, files, left_out)


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


def _home(target: Target, site: Path) -> Path:
    """The folder to publish to. Raises PushError if it and the page's own lie in each other."""
    home, own = Path(target.place).expanduser().resolve(), site.resolve()
    if home.is_relative_to(own) or own.is_relative_to(home):
        raise PushError(f"`--to {target}`: that folder holds the page that is built in {site}, or lies in it. Choose "
                        "another one.")
    return home


def _held(folder: Path) -> dict[str, str]:
    """Name -> sha256 of what was published to a folder earlier; empty for a new or empty one.

    Raises:
        PushError: it holds something else, or a file was changed since; nothing of it is ever deleted.
    """
    if folder.exists() and not folder.is_dir():
        raise PushError(f"{folder} is there already and is no folder. Choose another place.")
    here = files_in(folder)
    if not here:
        return {}
    known = listed(here[MANIFEST].read_bytes()) if MANIFEST in here else {}
    foreign = [name for name, path in here.items() if name != MANIFEST and (
        path.is_symlink() or name not in known or sha256_file(path) != known[name]["sha256"])]
    if foreign or not known:
        raise PushError(f"{folder} holds {', '.join(foreign[:3]) or MANIFEST}, which was not published there by "
                        "narrowbench, or was changed since, so nothing of it is replaced. Choose another folder, or "
                        "move it away.")
    return {name: one["sha256"] for name, one in known.items() if name in here}


def _pack(target: Target, site: Path, records_dir: Path, made: Path) -> tuple[str, ...]:
    """Copies what is sent into a new folder; returns the files of the page's folder that are left out."""
    names, left_out = _of_the_page(site)
    if target.kind == "hub-dataset":
        sources = {name.removeprefix("records/"): site / name for name in names if name.startswith("records/")}
        if levels_of(records_dir):
            sources[LEVELS] = records_dir / LEVELS
        _write(made / README, _front({"pretty_name": "narrowbench records", "tags": ["narrowbench", "leaderboard"],
                                      "viewer": False}) + DATASET_TEXT)  # a record's rows have no common columns
    else:
        sources = {name: site / name for name in names}
    if target.kind == "hub":
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


def _replace(home: Path, made: Path, held: dict[str, str], old: Path) -> Path:
    """Gives the finished folder its name; what was published there before goes away with the scratch folder."""
    files = listed((made / MANIFEST).read_bytes())
    if held == {name: one["sha256"] for name, one in files.items()}:
        return home
    if not home.exists():
        made.rename(home)
        return home
    home.rename(old)
    try:
        made.rename(home)
    except OSError:
        old.rename(home)
        raise
    return home
