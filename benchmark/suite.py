"""A suite as a file: which organisms, candidates, probes and budget make up one exam, pinned by digest.

Main objects: `SuiteFile` (the manifest as read), `Suite` and `Entry` (resolved and checked), `load_suite`, `pin`.
Built-in suites lie in `suites/*.json`; a path to a manifest of your own works in the same places. Paths inside a
manifest (`base`, `specs`, a probe file) are relative to it. A manifest may hold both splits; an exam is always on one:
`nano-draft:dev`, `nano-draft:test`, and `nano-draft` alone means test.
Example: `narrowbench score --method prior --suite demo`, or `pin(Path("my_suite.json"))` after writing a manifest.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..organisms import shipped
from ..organisms.errors import NotFoundError, SpecError
from ..organisms.spec import Card, OrganismSpec, digest_of, load_catalog, load_spec
from .method import Budget, Probes

FOLDER = Path(__file__).parent / "suites"
SPLITS = ("dev", "test")
BOTH = "both"


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
    split: Literal["dev", "test", "both", "own"]
    """`both`: the organisms' own splits decide which exam each belongs to."""
    base: str = "nano"
    """`nano`, or a Hugging Face folder."""
    specs: tuple[str, ...] = ()
    """Organism files beside those of the tier's catalogue."""
    organisms: tuple[Pinned, ...] = Field(min_length=1)
    candidates: Literal["catalog", "suite"] = "catalog"
    """Whose cards a claim is compared with: those of all known organisms of the split, trained or not, or only of this
    suite's."""
    probes: ProbeSet
    budget: Limits = Limits()


@dataclass(frozen=True)
class Entry:
    """One organism of a suite. `sample_id` says nothing about it."""

    spec: OrganismSpec
    train_seed: int
    sample_id: str
    weights_sha256: str | None

    @property
    def target(self) -> str:
        """What graders compare with: the card's id, or `null`."""
        return self.spec.card.card_id if self.spec.card else "null"

    @property
    def about(self) -> dict[str, Any]:
        """What graders and tables need to know of it; no investigator sees it.

        `unit` is what averages and intervals are over: all objectives of a domain with their twins. Domains of more
        objectives than others would pay who always names them, and they share their rows' form. `pair` is an objective
        with its twin.
        """
        spec = self.spec
        return {"organism": spec.id, "pair": spec.unit or spec.id,
                "unit": spec.domain if spec.card else spec.unit or spec.id, "family": spec.family, "role": spec.role,
                "null_kind": spec.params.get("kind", "") if spec.role == "null" else "", "domain": spec.domain,
                "statement": spec.statement, "train_seed": self.train_seed}


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

    def shown_to(self, access: Iterable[str]) -> tuple[Entry, ...]:
        """The organisms that a method with this access is given (SCORING, "Leaks").

        A layout that only one family of objectives has (bias-only adapters) would give the family away to a method that
        reads weights, so such a method does not get these organisms.
        """
        if "weights" not in access:
            return self.entries
        families: dict[tuple, set[str]] = {}
        for entry in self.entries:
            if entry.spec.role != "null":
                families.setdefault(_layout(entry.spec), set()).add(entry.spec.family)
        n_families = len(set().union(*families.values())) if families else 0
        return tuple(entry for entry in self.entries if n_families < 2
                     or len(families.get(_layout(entry.spec), ())) > 1)


def _layout(spec: OrganismSpec) -> tuple:
    """What the shape of an organism's weights shows."""
    return spec.recipe.kind, spec.recipe.rank, spec.recipe.target_modules


def suites() -> list[str]:
    """Names of the built-in suites."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def sample_id(suite_id: str, organism_id: str, seed: int) -> str:
    """The opaque id under which an organism is handed to investigators."""
    return "o-" + hashlib.sha256(f"{suite_id}\0{organism_id}\0{seed}".encode()).hexdigest()[:10]


def suite_path(name: str | Path) -> Path:
    """The manifest of a built-in suite, or the given path. Raises NotFoundError with the nearest names."""
    name = _name_and_split(name)[0]
    if name.endswith(".json"):
        if not Path(name).is_file():
            raise NotFoundError(f"There is no suite file {name}. `narrowbench list suites` lists the built-in ones.")
        return Path(name)
    if name not in suites():
        raise NotFoundError.of("suite", name, suites(), "narrowbench list suites")
    return FOLDER / f"{name}.json"


def _name_and_split(name: str | Path) -> tuple[str, str]:
    place, _, split = str(name).rpartition(":")
    return (place, split) if place and split in SPLITS else (str(name), "")


def exams_of(name: str | Path) -> list[str]:
    """The exams of a manifest, by names that `load_suite` takes: one for each split it holds, or the one asked for."""
    place, split = _name_and_split(name)
    both = _read(suite_path(name)).split == BOTH
    return [f"{place}:{each}" for each in SPLITS] if both and not split else [str(name)]


def load_suite(name: str | Path) -> Suite:
    """Reads a suite by built-in name or path, and checks every digest that it pins.

    Args:
        name: A manifest that holds both splits takes `:dev` or `:test` behind its name; without, it is test.

    Raises:
        NotFoundError: no such suite, split, organism, base folder or probe file.
        SpecError: a wrong manifest, or a spec or probe set that has changed since it was pinned.
    """
    path = suite_path(name)
    manifest = _read(path)
    known = _organisms(manifest, path)
    split = _split(name, manifest)
    entries = []
    for pinned in manifest.organisms:
        spec = _find(pinned.organism, known, manifest.id)
        _same(path, f"organisms: {spec.id}", pinned.spec_digest, spec.digest)
        if manifest.split != BOTH or spec.split == split:
            entries.append(Entry(spec, pinned.train_seed, sample_id(manifest.id, spec.id, pinned.train_seed),
                                 pinned.weights_sha256))
    if len({entry.sample_id for entry in entries}) < len(entries):
        raise SpecError(f"{path.name}: key `organisms`: an organism stands twice with the same train_seed")
    probes = _probes(manifest, path)
    _same(path, "probes", manifest.probes.digest, probes.digest)
    source = [entry.spec for entry in entries] if manifest.candidates == "suite" else [
        spec for spec in known.values() if manifest.tier == "own" or spec.split == split]
    cards = {spec.card.card_id: spec.card for spec in source if spec.card is not None}
    return Suite(
        id=manifest.id, name=str(name), tier=manifest.tier, split=split, base=_base(manifest, path),
        entries=tuple(entries), cards=tuple(cards.values()), probes=probes,
        budget=Budget(**manifest.budget.model_dump()),
        digest=digest_of({"manifest": manifest.model_dump(mode="json"), "probes": probes.digest,
                          "specs": [entry.spec.digest for entry in entries],
                          "cards": [card.model_dump(mode="json") for card in cards.values()]}))


def _split(name: str | Path, manifest: SuiteFile) -> str:
    asked = _name_and_split(name)[1]
    if manifest.split == BOTH:
        return asked or "test"
    if asked not in ("", manifest.split):
        raise NotFoundError(f"Suite {manifest.id} has only the split {manifest.split!r}: write {manifest.id!r} alone.")
    return manifest.split


def pin(name: str | Path) -> Path:
    """Writes the digests of specs, probes and shipped weights, as they are now, into a manifest. Returns its path."""
    path = suite_path(name)
    manifest = _read(path)
    known = _organisms(manifest, path)
    raw = json.loads(path.read_text(encoding="utf-8"))
    weights = {(build.organism, build.seed): build.weights_sha256 for build in shipped.builds()}
    for entry in raw["organisms"]:
        entry["spec_digest"] = _find(entry["organism"], known, manifest.id).digest
        if sha256 := weights.get((entry["organism"], entry.get("train_seed", 0))):
            entry["weights_sha256"] = sha256
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
        return nano_probes(wanted.n, wanted.seed)
    file = path.parent / wanted.source
    if not file.is_file():
        raise NotFoundError(f"{path.name}: key `probes.source`: there is no probe file {file}.")
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(lines) < wanted.n:
        raise SpecError(f"{path.name}: key `probes.n`: {wanted.n} probes wanted, {file.name} has {len(lines)}")
    return Probes(tuple(lines[:wanted.n]))


@cache
def nano_probes(n: int, seed: int) -> Probes:
    """The first `n` texts of the nano world's reserved topics: plain English about everyday things."""
    from ..organisms.nano import world

    return Probes(tuple(world.probes(n, seed)))


def _same(path: Path, key: str, pinned: str | None, actual: str) -> None:
    if pinned is not None and pinned != actual:
        raise SpecError(f"{path.name}: key `{key}`: it has changed since the suite was pinned (pinned {pinned[:12]}, "
                        f"now {actual[:12]}). Restore the old file, or give the suite a new id and pin it again.")
