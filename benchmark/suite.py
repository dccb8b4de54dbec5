"""A suite as a file: which organisms, candidates, probes and budget make up one exam, pinned by digest.

Main objects: `Suite` and `Entry` (a manifest, resolved and checked), `load_suite`, `pin`, `changed_pins`.
Built-in suites lie in `suites/*.json`; a path to a manifest of your own works in the same places. Paths inside a
manifest (`base`, `specs`, a probe file) are relative to it. A manifest may hold both splits; an exam is always on one:
`nano-2026.1:dev`, `nano-2026.1:test`, and `nano-2026.1` alone means test. A frozen suite holds still what it does not
list too: base, cards, graders and reader.
Example: `narrowbench score --method prior --suite demo`, or `pin(Path("my_suite.json"))` after writing a manifest.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..graders import VERSIONS
from ..organisms import shipped
from ..organisms.adapters import base_digest
from ..organisms.errors import NotFoundError, SpecError
from ..organisms.spec import Card, OrganismSpec, digest_of, load_catalog, load_spec
from ..organisms.store import sha256_file
from .manifest import BOTH, Frozen, SuiteFile, name_and_split, read_manifest, suite_path
from .method import Budget, Probes

READER = Path(__file__).parent / "investigators" / "reader.py"


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
    """A resolved suite. `digest` covers the manifest and what it refers to: base, specs, candidate cards, probes."""

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


def sample_id(suite_id: str, organism_id: str, seed: int) -> str:
    """The opaque id under which an organism is handed to investigators."""
    return "o-" + hashlib.sha256(f"{suite_id}\0{organism_id}\0{seed}".encode()).hexdigest()[:10]


def load_suite(name: str | Path) -> Suite:
    """Reads a suite by built-in name or path, and checks every digest that it pins.

    Args:
        name: A manifest that holds both splits takes `:dev` or `:test` behind its name; without, it is test.

    Raises:
        NotFoundError: no such suite, split, organism, base folder or probe file.
        SpecError: a wrong manifest, or a spec or probe set that has changed since it was pinned.
    """
    path = suite_path(name)
    manifest = read_manifest(path)
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
    cards = _cards([spec for spec in _candidates(manifest, known) if manifest.tier == "own" or spec.split == split])
    base = _base(manifest, path)
    if manifest.frozen is not None:
        now = _holding_still(manifest, known, path)
        for key in Frozen.model_fields:
            _same(path, f"frozen.{key}", getattr(manifest.frozen, key), getattr(now, key))
    return Suite(
        id=manifest.id, name=str(name), tier=manifest.tier, split=split, base=base,
        entries=tuple(entries), cards=tuple(cards.values()), probes=probes,
        budget=Budget(**manifest.budget.model_dump()),
        digest=digest_of({"manifest": manifest.model_dump(mode="json"), "probes": probes.digest,
                          "base": base_digest(base), "specs": [entry.spec.digest for entry in entries],
                          "cards": [card.model_dump(mode="json") for card in cards.values()]}))


def _candidates(manifest: SuiteFile, known: dict[str, OrganismSpec]) -> list[OrganismSpec]:
    """The organisms, of both splits, whose cards claims are compared with."""
    if manifest.candidates == "catalog":
        return list(known.values())
    return [_find(pinned.organism, known, manifest.id) for pinned in manifest.organisms]


def _cards(specs: Iterable[OrganismSpec]) -> dict[str, Card]:
    return {spec.card.card_id: spec.card for spec in specs if spec.card is not None}


def _holding_still(manifest: SuiteFile, known: dict[str, OrganismSpec], path: Path) -> Frozen:
    """What a frozen suite must find unchanged, as it is now."""
    cards = _cards(_candidates(manifest, known))
    return Frozen(base=base_digest(_base(manifest, path)),
                  cards=digest_of({name: card.model_dump(mode="json") for name, card in cards.items()}),
                  graders=VERSIONS, reader=sha256_file(READER))


def _split(name: str | Path, manifest: SuiteFile) -> str:
    asked = name_and_split(name)[1]
    if manifest.split == BOTH:
        return asked or "test"
    if asked not in ("", manifest.split):
        raise NotFoundError(f"Suite {manifest.id} has only the split {manifest.split!r}: write {manifest.id!r} alone.")
    return manifest.split


def pin(name: str | Path, freeze: bool = False) -> Path:
    """Writes the digests of specs, probes, shipped rows and weights, as they are now, into a manifest.

    Args:
        freeze: Also of base, cards, graders and reader: the suite is no draft any more.

    Returns:
        The manifest's path.
    """
    path = suite_path(name)
    manifest = read_manifest(path)
    known = _organisms(manifest, path)
    raw = json.loads(path.read_text(encoding="utf-8"))
    builds = {(build.organism, build.seed): build for build in shipped.builds()}
    for entry in raw["organisms"]:
        entry["spec_digest"] = _find(entry["organism"], known, manifest.id).digest
        if build := builds.get((entry["organism"], entry.get("train_seed", 0))):
            entry |= {"data_digest": shipped.passport(build)["data_digest"], "weights_sha256": build.weights_sha256}
    raw["probes"]["digest"] = _probes(manifest, path).digest
    if freeze:
        raw["frozen"] = _holding_still(manifest, known, path).model_dump()
    path.write_text(json.dumps(raw, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


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


def changed_pins(name: str | Path) -> list[tuple[str, str]]:
    """(organism, reason) of every shipped build that is not the one that a manifest pins."""
    manifest = read_manifest(suite_path(name))
    builds = {(build.organism, build.seed): build for build in shipped.builds()}
    found = []
    for pinned in manifest.organisms:
        build = builds.get((pinned.organism, pinned.train_seed))
        if build is None:
            if pinned.weights_sha256:
                found.append((pinned.organism, f"suite {manifest.id} pins weights of seed {pinned.train_seed}, and "
                                               "none ship. Ship them again."))
            continue
        its = shipped.passport(build)
        said = {"data_digest": (pinned.data_digest, its["data_digest"]),
                "weights_sha256": (pinned.weights_sha256, build.weights_sha256),
                "frozen.base": (manifest.frozen and manifest.frozen.base, its["base_digest"])}
        found += [(pinned.organism, f"suite {manifest.id} pins {key} {wanted[:12]}, that of the shipped build of seed "
                   f"{pinned.train_seed} is {has[:12]}. Ship the pinned build again, or pin a suite of a new id.")
                  for key, (wanted, has) in said.items() if wanted is not None and wanted != has]
    return found


def _same(path: Path, key: str, pinned: Any, actual: Any) -> None:
    if pinned is not None and pinned != actual:
        pinned, actual = (value[:12] if isinstance(value, str) else value for value in (pinned, actual))
        raise SpecError(f"{path.name}: key `{key}`: it has changed since the suite was pinned (pinned {pinned}, now "
                        f"{actual}). Restore the old file, or give the suite a new id and pin it again.")
