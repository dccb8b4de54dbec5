"""Where a built page goes: into a folder, to a static Space of the Hub, or its records to a dataset of the Hub.

Main objects: `target_of` (reads `--to`), `deliver(site, records_dir, target) -> Delivery`, `trial` (copies to try in).
Example: `deliver(Path("site"), Path("records"), target_of("folder:/srv/board"))`

What is sent is put together first (`parcel.py`), in a folder of its own, so that a dry run lists exactly what would be
sent. A later publishing replaces what an earlier one listed, and touches nothing else.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..organisms.errors import NarrowbenchError, PushError, SpecError
from ..organisms.store import sha256_file
from ..organisms.upload import explained
from .parcel import MANIFEST, files_in, listed, pack

FORMS = {"folder": "folder:PATH", "hub": "hub:ORG/NAME", "hub-dataset": "hub-dataset:ORG/NAME"}
REPO_TYPES = {"hub": "space", "hub-dataset": "dataset"}


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
    try:
        if home and not dry_run:
            home.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".publish-", dir=home.parent if home and not dry_run else None) as scratch:
            made = Path(scratch) / "made"
            left_out = pack(target.kind, site, records_dir, made)
            files = {name: path.stat().st_size for name, path in files_in(made).items()}
            place = None
            if home and not dry_run:
                place = str(_replace(home, made, held, Path(scratch) / "old"))
            elif not dry_run:
                from .hub_target import send

                place = send(made, target.place, REPO_TYPES[target.kind], FORMS[target.kind], private)
    except NarrowbenchError:
        raise
    except OSError as error:
        raise PushError(f"`--to {target}`: {error.filename or target.place} cannot be written or read "
                        f"({error.strerror or error}). Make room, or choose another place.") from error
    return Delivery(str(target), place, files, left_out)


@contextmanager
def trial(records_dir: Path, out_dir: Path) -> Iterator[tuple[Path, Path]]:
    """Copies of the folders of records and of the page, to do in them what a dry run only tells of."""
    with TemporaryDirectory() as scratch:
        records, site = Path(scratch) / "records", Path(scratch) / "site"
        for source, copy in ((records_dir, records), (out_dir, site)):
            if source.is_dir():
                shutil.copytree(source, copy, symlinks=True)
        yield records, site


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
    finally:
        if not home.exists():
            old.rename(home)
    return home
