"""Organisms that ship with the package, so that scoring a method needs no training.

Main objects: `Build` (one shipped organism), `builds()`, `find` (by the key that training it would have), `ship`.
Example: `find(key, Store())` copies a shipped organism into the store and returns it; `ship(grown)` writes the folder.

Layout: `shipped/index.json` and `shipped/<opaque>/` with what `train` writes. Training is not bit-stable across
machines, so a suite pins the hash of these weights, and an organism that was grown anew is another artefact.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from .errors import DamagedArtefactError
from .spec import digest_of
from .store import Artefact, Store, sha256_file, write_atomic

FOLDER = Path(__file__).parent / "shipped"
INDEX, WEIGHTS, PASSPORT = "index.json", "adapter_model.safetensors", "passport.json"
KIND = "organism"


@dataclass(frozen=True)
class Build:
    """One shipped organism. `key` is that of training it: spec, rows, exam, base and seed."""

    organism: str
    seed: int
    key: str
    folder: str
    weights_sha256: str


@cache
def builds(folder: Path | None = None) -> tuple[Build, ...]:
    """All shipped organisms, in the order of the index. `folder`: default the package's."""
    index = (folder or FOLDER) / INDEX
    return tuple(Build(**entry) for entry in json.loads(index.read_text(encoding="utf-8"))) if index.is_file() else ()


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
        entries.append(Build(passport["organism_id"], passport["seed"], artefact.key, opaque,
                             passport["weights_sha256"]))
    entries.sort(key=lambda build: (build.organism, build.seed))
    kept = {build.folder for build in entries}
    for place in folder.iterdir() if folder.is_dir() else ():
        if place.is_dir() and place.name not in kept:
            shutil.rmtree(place)
    lines = ",\n".join(json.dumps(asdict(build)) for build in entries)
    write_atomic(folder / INDEX, f"[\n{lines}\n]\n")
    builds.cache_clear()
    return entries
