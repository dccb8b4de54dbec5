"""The linter's look at the adapters that the package ships: all there, unchanged, nameless, each once, small enough.

Main object: `lint_shipped(folder, specs)`.
`organisms/shipped/index.json` is a list of {organism, seed, key, folder, weights_sha256}; each folder has an opaque
name and holds `adapter_model.safetensors`, `adapter_config.json`, `passport.json` and perhaps the model card.
Example: `lint_shipped(Path("organisms/shipped"), load_catalog())`
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

from .errors import DamagedArtefactError
from .leaks import LeakTerms, leak_terms, leaks_in_file, leaks_in_text
from .findings import Finding
from .passport import ADAPTER_CONFIG, CARD, PASSPORT, WEIGHTS
from .shipped import INDEX, Build, read_index
from .spec import OrganismSpec
from .store import sha256_file

FILES = (ADAPTER_CONFIG, WEIGHTS, PASSPORT)
MAX_TOTAL_BYTES = 30_000_000
REBUILD = "Ship it again from the store."


class _Passport(BaseModel):
    """Of a passport only what the index and the catalogue say too."""

    organism_id: str
    seed: int
    spec_digest: str
    weights_sha256: str


def lint_shipped(folder: Path, specs: Mapping[str, OrganismSpec]) -> list[Finding]:
    """Findings on shipped adapters. `specs`: the catalogue they belong to. Raises as `read_index` does."""
    index, terms = read_index(folder), leak_terms(specs.values())
    found = [*_once(index), *_unlisted(folder, index)]
    for entry in index:
        missing = [name for name in FILES if not (folder / entry.folder / name).is_file()]
        if missing:
            found.append(Finding(entry.organism, "shipped", f"its folder {entry.folder} lacks {', '.join(missing)}. "
                                 f"{REBUILD}"))
        else:
            found += [*_unchanged(folder / entry.folder, entry, specs), *_nameless(folder / entry.folder, entry, terms)]
    n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if n_bytes > MAX_TOTAL_BYTES:
        found.append(Finding("(catalogue)", "shipped", f"the shipped adapters take {n_bytes / 1e6:.1f} MB, more than "
                             f"{MAX_TOTAL_BYTES / 1e6:.0f} MB. Ship fewer, or train at a smaller rank."))
    return found


def _once(index: list[Build]) -> Iterator[Finding]:
    """The same weights, folder, key or (organism, seed) may be listed once only."""
    def parts(entry: Build) -> dict[str, object]:
        return {"weights": entry.weights_sha256, "folder": entry.folder, "store key": entry.key,
                "organism and seed": (entry.organism, entry.seed)}

    first: dict[tuple[str, object], Build] = {}
    for entry in index:
        for what, value in parts(entry).items():
            if (other := first.setdefault((what, value), entry)) is not entry:
                yield Finding(entry.organism, "shipped", f"its {what} ({value}) is that of {other.organism}, seed "
                              f"{other.seed}; an adapter is used once. Remove one entry of {INDEX}, or train again.")


def _unlisted(folder: Path, index: list[Build]) -> Iterator[Finding]:
    expected = {INDEX, *(f"{entry.folder}/{name}" for entry in index for name in (*FILES, CARD))}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    for name in sorted(there - expected):
        yield Finding("(catalogue)", "shipped", f"{name} is listed nowhere in {INDEX}. Remove it, or list its folder.")


def _unchanged(folder: Path, entry: Build, specs: Mapping[str, OrganismSpec]) -> Iterator[Finding]:
    sha256 = sha256_file(folder / WEIGHTS)
    if sha256 != entry.weights_sha256:
        yield Finding(entry.organism, "shipped", f"the weights in {folder.name} have sha256 {sha256[:12]}, the index "
                      f"says {entry.weights_sha256[:12]}. {REBUILD}")
    try:
        passport = _Passport.model_validate_json((folder / PASSPORT).read_bytes())
    except ValidationError as error:
        yield Finding(entry.organism, "shipped", f"the passport in {folder.name} cannot be read: "
                      f"{error.errors()[0]['msg']}. {REBUILD}")
        return
    if entry.organism not in specs:
        yield Finding(entry.organism, "shipped", "the catalogue has no such organism. Remove its entry and folder "
                      f"{folder.name}.")
        return
    said = {"organism": (passport.organism_id, entry.organism), "seed": (passport.seed, entry.seed),
            "spec digest": (passport.spec_digest, specs[entry.organism].digest),
            "weights": (passport.weights_sha256, sha256)}
    for what, (its, ours) in said.items():
        if its != ours:
            yield Finding(entry.organism, "shipped", f"the passport in {folder.name} names the {what} {_short(its)}, "
                          f"not {_short(ours)}: the organism has changed since. Train and ship it again.")


def _nameless(folder: Path, entry: Build, terms: LeakTerms) -> Iterator[Finding]:
    """The folder is handed to methods, so neither its name nor any file but passport and card may name an organism."""
    leaks = [f"folder name: {term}" for term in leaks_in_text(folder.name, terms)]
    for name in (ADAPTER_CONFIG, WEIGHTS):
        try:
            leaks += [f"{name}: {leak}" for leak in leaks_in_file(folder / name, terms)]
        except DamagedArtefactError as error:
            yield Finding(entry.organism, "shipped", f"{error} {REBUILD}")
    if leaks:
        yield Finding(entry.organism, "leak", f"its shipped files in {folder.name} give names away: {'; '.join(leaks)}."
                      f" {REBUILD}")


def _short(value: object) -> str:
    return str(value)[:12] if len(str(value)) == 64 else str(value)
