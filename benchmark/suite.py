"""A suite as a file: which organisms, candidates, probes and budget make up one exam, pinned by digest.

Main objects: `SuiteFile` (the manifest as read), `Suite` and `Entry` (resolved and checked), `load_suite`, `pin`.
Built-in suites lie in `suites/*.json`; a path to a manifest of your own works in the same places. Paths inside a
manifest (`base`, `specs`, a probe file) are relative to it.
Example: `narrowbench score --method prior --suite demo`, or `pin(Path("my_suite.json"))` after writing a manifest.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..organisms.errors import NotFoundError, SpecError
from ..organisms.spec import Card, OrganismSpec, digest_of, load_catalog, load_spec
from .method import Budget, Probes

FOLDER = Path(__file__).parent / "suites"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pinned(_Frozen):
    """One organism of a manifest. Digests may be left out while a suite is a draft; what is pinned is checked."""

    organism: str
    spec_digest: str | None = None
    train_seed: int = Field(default=0, ge=0)
    weights_sha256: str | None = None
    """Of the shipped build; an organism grown anew with other weights is labelled `regrown`."""


class ProbeSet(_Frozen):
    """Where the probes come from: `nano` (the micro-world's reserved topics) or a text file with one probe a line."""

    source: str = "nano"
    n: int = Field(ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0)
    digest: str | None = None


class Limits(_Frozen):
    """What one method may spend on one organism; left out = unlimited."""

    forward_tokens: int | None = Field(default=None, ge=1)
    generated_tokens: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=None, gt=0)


class SuiteFile(_Frozen):
    """A manifest, as it stands on disk."""

    schema_: Literal[1] = Field(alias="schema")
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")
    tier: Literal["nano", "paper", "own"]
    split: Literal["dev", "test", "own"]
    base: str = "nano"
    """`nano`, or a Hugging Face folder."""
    specs: tuple[str, ...] = ()
    """Organism files beside those of the tier's catalogue."""
    organisms: tuple[Pinned, ...] = Field(min_length=1)
    candidates: Literal["catalog", "suite"] = "catalog"
    """Whose cards a claim is compared with: all known organisms', trained or not, or only this suite's."""
    probes: ProbeSet
    budget: Limits = Limits()


@dataclass(frozen=True)
class Entry:
    """One organism of a suite. `sample_id` says nothing about it."""

    spec: OrganismSpec
    train_seed: int
    sample_id: str
    weights_sha256: str | None


@dataclass(frozen=True)
class Suite:
    """A resolved suite. `digest` covers the manifest and all that it refers to: specs, candidate cards, probes."""

    id: str
    name: str
    """What the user wrote: a built-in name or a path."""
    tier: str
    split: str
    base: Path
    entries: tuple[Entry, ...]
    cards: tuple[Card, ...]
    probes: Probes
    budget: Budget
    digest: str


def suites() -> list[str]:
    """Names of the built-in suites."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def sample_id(suite_id: str, organism_id: str, seed: int) -> str:
    """The opaque id under which an organism is handed to investigators."""
    return "o-" + hashlib.sha256(f"{suite_id}\0{organism_id}\0{seed}".encode()).hexdigest()[:10]


def suite_path(name: str | Path) -> Path:
    """The manifest of a built-in suite, or the given path. Raises NotFoundError with the nearest names."""
    if str(name).endswith(".json"):
        if not Path(name).is_file():
            raise NotFoundError(f"There is no suite file {name}. `narrowbench list suites` lists the built-in ones.")
        return Path(name)
    if str(name) not in suites():
        raise NotFoundError.of("suite", str(name), suites(), "narrowbench list suites")
    return FOLDER / f"{name}.json"


def load_suite(name: str | Path) -> Suite:
    """Reads a suite by built-in name or path, and checks every digest that it pins.

    Raises:
        NotFoundError: no such suite, organism, base folder or probe file.
        SpecError: a wrong manifest, or a spec or probe set that has changed since it was pinned.
    """
    path = suite_path(name)
    manifest = _read(path)
    known = _organisms(manifest, path)
    entries = []
    for pinned in manifest.organisms:
        spec = _find(pinned.organism, known, manifest.id)
        _same(path, f"organisms: {spec.id}", pinned.spec_digest, spec.digest)
        entries.append(Entry(spec, pinned.train_seed, sample_id(manifest.id, spec.id, pinned.train_seed),
                             pinned.weights_sha256))
    if len({entry.sample_id for entry in entries}) < len(entries):
        raise SpecError(f"{path.name}: key `organisms`: an organism stands twice with the same train_seed")
    probes = _probes(manifest, path)
    _same(path, "probes", manifest.probes.digest, probes.digest)
    source = known.values() if manifest.candidates == "catalog" else [entry.spec for entry in entries]
    cards = {spec.card.card_id: spec.card for spec in source if spec.card is not None}
    return Suite(
        id=manifest.id, name=str(name), tier=manifest.tier, split=manifest.split, base=_base(manifest, path),
        entries=tuple(entries), cards=tuple(cards.values()), probes=probes,
        budget=Budget(**manifest.budget.model_dump()),
        digest=digest_of({"manifest": manifest.model_dump(mode="json"), "probes": probes.digest,
                          "specs": [entry.spec.digest for entry in entries],
                          "cards": [card.model_dump(mode="json") for card in cards.values()]}))


def pin(name: str | Path) -> Path:
    """Writes the digests of specs and probes, as they are now, into a manifest. Returns its path."""
    path = suite_path(name)
    manifest = _read(path)
    known = _organisms(manifest, path)
    raw = json.loads(path.read_text(encoding="utf-8"))
    for entry in raw["organisms"]:
        entry["spec_digest"] = _find(entry["organism"], known, manifest.id).digest
    raw["probes"]["digest"] = _probes(manifest, path).digest
    path.write_text(json.dumps(raw, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _read(path: Path) -> SuiteFile:
    try:
        return SuiteFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        reasons = "; ".join(f"key `{'.'.join(str(part) for part in item['loc']) or '(whole file)'}`: {item['msg']}"
                            for item in error.errors())
        raise SpecError(f"{path.name}: {reasons}. `narrowbench list suites` shows suites that work.") from error


def _organisms(manifest: SuiteFile, path: Path) -> dict[str, OrganismSpec]:
    known = {} if manifest.tier == "own" else dict(load_catalog(manifest.tier))
    for name in manifest.specs:
        spec = load_spec(path.parent / name)
        for member in (spec, spec.twin_spec()):
            if member is not None and known.setdefault(member.id, member) is not member:
                raise SpecError(f"{path.name}: key `specs`: {name}: the id {member.id!r} is already taken")
    return known


def _find(organism_id: str, known: dict[str, OrganismSpec], suite_id: str) -> OrganismSpec:
    if organism_id not in known:
        raise NotFoundError.of(f"organism of suite {suite_id}", organism_id, known, "narrowbench list organisms")
    return known[organism_id]


def _base(manifest: SuiteFile, path: Path) -> Path:
    if manifest.base == "nano":
        from ..organisms.nano import base_folder
        return base_folder()
    folder = path.parent / manifest.base
    if not (folder / "config.json").is_file():
        raise NotFoundError(f"{path.name}: key `base`: {folder} is no Hugging Face model folder (it has no "
                            "config.json). Save the base there, or write `nano`.")
    return folder


def _probes(manifest: SuiteFile, path: Path) -> Probes:
    wanted = manifest.probes
    if wanted.source == "nano":
        from ..organisms.nano import world
        return Probes(tuple(world.probes(wanted.n, wanted.seed)))
    file = path.parent / wanted.source
    if not file.is_file():
        raise NotFoundError(f"{path.name}: key `probes.source`: there is no probe file {file}.")
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(lines) < wanted.n:
        raise SpecError(f"{path.name}: key `probes.n`: {wanted.n} probes wanted, {file.name} has {len(lines)}")
    return Probes(tuple(lines[:wanted.n]))


def _same(path: Path, key: str, pinned: str | None, actual: str) -> None:
    if pinned is not None and pinned != actual:
        raise SpecError(f"{path.name}: key `{key}`: it has changed since the suite was pinned (pinned {pinned[:12]}, "
                        f"now {actual[:12]}). Restore the old file, or give the suite a new id and pin it again.")
