"""Organisms that ship with the package, so that scoring a method needs no training.

Main objects: `Build` (one shipped organism), `builds()`, `passport`, `read_index`, `find` (by the key of training it),
`ship`.
Example: `find(key, Store())` copies a shipped organism into the store and returns it; `ship(grown)` writes the folder.

Layout: `shipped/index.json` and `shipped/<opaque>/` with what `train` writes. Training is not bit-stable across
machines, so a suite pins the hash of these weights, and an organism that was grown anew is another artefact.
"""

import json
import shutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from .errors import DamagedArtefactError, NotFoundError
from .spec import digest_of
from .store import Artefact, Store, sha256_file, write_atomic

FOLDER = Path(__file__).parent / "shipped"
INDEX, WEIGHTS, PASSPORT = "index.json", "adapter_model.safetensors", "passport.json"
KIND = "organism"


class Build(BaseModel):
    """One shipped organism: a line of the index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    organism: str
    seed: int = Field(ge=0)
    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    """That of training it: spec, rows, exam, base and seed."""
    folder: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def read_index(folder: Path) -> list[Build]:
    """The index of a folder of shipped adapters. Raises NotFoundError, or DamagedArtefactError if it is no index."""
    path = folder / INDEX
    if not path.is_file():
        raise NotFoundError(f"There is no index of shipped adapters {path}, so nothing is shipped there.")
    try:
        return TypeAdapter(list[Build]).validate_json(path.read_bytes())
    except ValidationError as error:
        wrong = "; ".join(f"entry {'.'.join(map(str, item['loc'])) or '(whole file)'}: {item['msg']}"
                          for item in error.errors())
        raise DamagedArtefactError(f"{path}: {wrong}. Write the index again.") from error


@cache
def builds(folder: Path | None = None) -> tuple[Build, ...]:
    """All shipped organisms, in the order of the index; none where nothing ships. `folder`: default the package's."""
    folder = folder or FOLDER
    return tuple(read_index(folder)) if (folder / INDEX).is_file() else ()


def find(key: str, store: Store, folder: Path | None = None) -> Artefact | None:
    """The shipped organism with this key, from the store, where it is copied when first asked for; None if none ships.

    Raises:
        DamagedArtefactError: the package's copy is not the one that its index names.
    """
    folder = folder or FOLDER
    build = next((build for build in builds(folder) if build.key == key), None)
    if build is None:
        return None
    config, inputs = {"shipped": build.weights_sha256}, {"training": key}
    place = store.key(KIND, config, inputs)
    if found := store.find(KIND, place):
        return found
    source = folder / build.folder
    if not (source / WEIGHTS).is_file() or sha256_file(source / WEIGHTS) != build.weights_sha256:
        raise DamagedArtefactError(f"{source}: the shipped weights of {build.organism} are missing or changed. Install "
                                   "narrowbench again, or grow the organism anew with `narrowbench train --regrow`.")
    return store.save(KIND, place, config, inputs, lambda new: shutil.copytree(source, new, dirs_exist_ok=True))


@cache
def passport(build: Build, folder: Path | None = None) -> dict[str, Any]:
    """The passport of a shipped organism."""
    return json.loads(((folder or FOLDER) / build.folder / PASSPORT).read_text(encoding="utf-8"))


def took(passport: dict[str, Any]) -> bool:
    """Whether an objective is expressed, or a null expresses none."""
    return bool(passport["gate"].get("expressed", passport["gate"].get("passes", False)))


def is_shipped(artefact: Artefact) -> bool:
    """Whether an organism of the store is a copy of the package's own, as `find` makes them."""
    return "shipped" in artefact.manifest["config"]


def ship(grown: Iterable[Artefact], folder: Path | None = None) -> list[Build]:
    """Writes trained organisms and their index into the package. What shipped before and is not among them goes.

    Each folder is named by a hash of its weights' hash: neither organism nor family can be told from it.
    """
    entries, folder = [], folder or FOLDER
    for artefact in grown:
        passport = json.loads((artefact.path / PASSPORT).read_text(encoding="utf-8"))
        opaque = digest_of(["shipped", passport["weights_sha256"]])[:16]
        place = folder / opaque
        if not place.exists():
            shutil.copytree(artefact.path, place, ignore=shutil.ignore_patterns("manifest.json"))
        entries.append(Build(organism=passport["organism_id"], seed=passport["seed"], key=artefact.key, folder=opaque,
                             weights_sha256=passport["weights_sha256"]))
    entries.sort(key=lambda build: (build.organism, build.seed))
    kept = {build.folder for build in entries}
    for place in folder.iterdir() if folder.is_dir() else ():
        if place.is_dir() and place.name not in kept:
            shutil.rmtree(place)
    lines = ",\n".join(build.model_dump_json() for build in entries)
    write_atomic(folder / INDEX, f"[\n{lines}\n]\n")
    builds.cache_clear()
    return entries
