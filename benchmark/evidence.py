"""Evidence in the store: where a method's reading of each organism of a suite lies.

Main objects: `Reading` (one organism under one method), `Survey` (all of a suite, with the base's background),
`survey`.
What is missing is made by `collecting.collect` and `background.collect_background`.
Example: `survey(load_suite("demo"), *load_method("prior"), seed=0, store=Store()).cells`
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..organisms.errors import AccessError
from ..organisms.spec import digest_of
from ..organisms.store import Artefact, Store
from .background import background_key
from .characters import escaped
from .collecting import CEILING_ACCESS, EVIDENCE, FAILURE, settings_of
from .method import Evidence, Method, code_of
from .shared import kind_of_device
from .strangers import strangers
from .suite import Entry, Suite

MAX_FAILURE = 5_000
"""Characters of a failure that are told."""


@dataclass(frozen=True)
class Reading:
    """One method on one organism, as far as the store has it. Organism and evidence are None while still to be made."""

    entry: Entry
    organism: Artefact | None
    config: dict[str, Any]
    inputs: dict[str, str]
    key: str | None
    evidence: Artefact | None
    failure: str = ""
    """Why the last try to collect failed; empty if none did."""
    stranger: Artefact | None = None
    """Another organism of the suite, for a method that reads one in this one's place (`shuffled_evidence`)."""

    @property
    def attached(self) -> Artefact | None:
        """The organism that the method is given."""
        return self.stranger or self.organism

    @property
    def ready(self) -> bool:
        """Whether there is something to score: evidence, or a failure that scores as nothing recovered."""
        return self.evidence is not None or bool(self.failure)

    @property
    def payload(self) -> dict[str, Any]:
        """What investigators see. After a failure: nothing found, and the failure's message."""
        if self.evidence is not None:
            return read_json(self.evidence.path / EVIDENCE)["payload"]
        return Evidence().payload | {"error": self.failure}

    @property
    def digest(self) -> str:
        """sha256 of the payload."""
        return digest_of(self.payload)

    @property
    def cost(self) -> dict[str, Any]:
        """What collecting took: tokens, FLOPs, seconds, bytes. Empty after a failure."""
        return read_json(self.evidence.path / EVIDENCE)["measured"]["cost"] if self.evidence else {}


@dataclass(frozen=True)
class Survey:
    """All readings of one (method, suite, seed), in the suite's order, and the base's background on its probes."""

    cells: tuple[Reading, ...]
    background: Artefact | None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of an artefact whose hashes the store has verified."""
    return json.loads(path.read_text(encoding="utf-8"))


def shown(failure: str) -> str:
    """What is told of a failure: an error of anybody's code may be of any length and hold any character."""
    text = escaped(failure, allowed="\n\t")
    return text if len(text) <= MAX_FAILURE else text[:MAX_FAILURE] + "..."


def training_of(passport: Mapping[str, Any]) -> dict[str, bool]:
    """Whether training took and broke nothing: `expressed` (of a null: whether it passes its gate) and `healthy`."""
    gate = passport["gate"]
    return {"expressed": bool(gate.get("expressed", gate.get("passes", False))),
            "healthy": bool(passport["health"]["healthy"])}


def survey(suite: Suite, method: Method, source_sha256: str, seed: int, store: Store,
           organisms: Mapping[str, Artefact] | None = None, device: str = "cpu") -> Survey:
    """Looks up, and verifies, what the store has of this method on this suite. Computes nothing.

    Args:
        organisms: Sample id -> trained organism, where the caller has looked them up already.
        device: Where evidence is collected: other devices compute in other number formats, and take other times.

    Raises:
        AccessError: a ranked method asks for the training data or the objective.
        DamagedArtefactError: an artefact does not match its hashes.
    """
    from ..organisms.adapters import base_digest, ends_digest
    from ..organisms.lookup import find_trained

    if method.access & CEILING_ACCESS and getattr(method, "role", "method") != "ceiling":
        raise AccessError(f"method {method.name!r} declares access {sorted(method.access & CEILING_ACCESS)}, which "
                          "only ceilings (`role = \"ceiling\"`, never ranked) may have. Take it out of `access`.")
    base = base_digest(suite.base)
    entries = suite.shown_to(method.access)
    trained = [organisms[entry.sample_id] if organisms is not None else find_trained(
        entry.spec, suite.base, entry.train_seed, store) for entry in entries]
    attached = trained
    if getattr(method, "reads_stranger", False):
        attached = [trained[i] for i in strangers([entry.spec.unit or entry.spec.id for entry in entries], seed)]
    cells = []
    for entry, organism, given in zip(entries, trained, attached, strict=True):
        if organism is None or given is None:
            cells.append(Reading(entry, organism, {}, {}, None, None))
            continue
        config = {"method": method.name, "version": method.version, "settings": settings_of(method), "seed": seed,
                  "budget": asdict(suite.budget), "device": kind_of_device(device)}
        inputs = {"method": source_sha256, "organism": given.digest, "base": base, "probes": suite.probes.digest,
                  "code": code_of(method), "ends": ends_digest(suite.base)}
        if "objective" in method.access and entry.spec.card is not None:
            inputs["card"] = digest_of(entry.spec.card.model_dump(mode="json"))
        key = store.key("evidence", config, inputs)
        evidence = store.find("evidence", key)
        note = store.root / "work" / "evidence" / key / FAILURE
        failure = shown(read_json(note)["error"]) if evidence is None and note.is_file() else ""
        stranger = given if given is not organism else None
        cells.append(Reading(entry, organism, config, inputs, key, evidence, failure, stranger))
    config, inputs = background_key(suite, base, device)
    return Survey(tuple(cells), store.find("background", store.key("background", config, inputs)))
