"""Evidence in the store: where a method's reading of each organism of a suite lies, and how a missing one is collected.

Main objects: `Reading` (one organism under one method), `Survey` (all of a suite, with the base's background),
`survey`, `collect`, `collect_background`.
Example: `survey(load_suite("demo"), *load_method("prior"), seed=0, store=Store()).cells`

A method that fails costs only its own cell: the failure is kept as a note in the evidence's work folder, scored as
nothing recovered, and tried again by the next run.
"""

import json
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..organisms.errors import AccessError, EvidenceError
from ..organisms.spec import digest_of
from ..organisms.store import Artefact, Store, library_versions, sha256_file, write_atomic
from .method import Evidence, Method
from .suite import Entry, Suite

BACKGROUND_TOKENS, BACKGROUND_PROBES, BACKGROUND_BATCH = 16, 512, 32
PREFIX_TOKENS = 5
MIN_PROBABILITY = 1e-5
SHARED_CODE = ("activations.py", "probe_sources.py", "readout.py", "patchscope.py")
"""What methods share: part of every evidence key, as the method's own file is."""
CEILING_ACCESS = frozenset({"data", "objective"})
EVIDENCE, BACKGROUND, FAILURE = "evidence.json", "background.json", "failure.json"


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


def survey(suite: Suite, method: Method, source_sha256: str, seed: int, store: Store,
           organisms: Mapping[str, Artefact] | None = None) -> Survey:
    """Looks up, and verifies, what the store has of this method on this suite. Computes nothing.

    Args:
        organisms: Sample id -> trained organism, where the caller has looked them up already.

    Raises:
        AccessError: a ranked method asks for the training data or the objective.
        DamagedArtefactError: an artefact does not match its hashes.
    """
    from ..organisms.adapters import base_digest
    from ..organisms.train import find_trained

    if method.access & CEILING_ACCESS and getattr(method, "role", "method") != "ceiling":
        raise AccessError(f"method {method.name!r} declares access {sorted(method.access & CEILING_ACCESS)}, which "
                          "only ceilings (`role = \"ceiling\"`, never ranked) may have. Take it out of `access`.")
    base = base_digest(suite.base)
    shared = digest_of([sha256_file(Path(__file__).parent / name) for name in SHARED_CODE])
    cells = []
    for entry in suite.shown_to(method.access):
        organism = organisms[entry.sample_id] if organisms is not None else find_trained(
            entry.spec, suite.base, entry.train_seed, store)
        if organism is None:
            cells.append(Reading(entry, None, {}, {}, None, None))
            continue
        config = {"method": method.name, "version": method.version, "settings": _settings(method), "seed": seed,
                  "budget": asdict(suite.budget)}
        inputs = {"method": source_sha256, "organism": organism.digest, "base": base, "probes": suite.probes.digest,
                  "shared": shared}
        key = store.key("evidence", config, inputs)
        evidence = store.find("evidence", key)
        note = store.root / "work" / "evidence" / key / FAILURE
        failure = read_json(note)["error"] if evidence is None and note.is_file() else ""
        cells.append(Reading(entry, organism, config, inputs, key, evidence, failure))
    config, inputs = _background_key(suite, base)
    return Survey(tuple(cells), store.find("background", store.key("background", config, inputs)))


def collect(suite: Suite, method: Method, cells: Iterable[Reading], seed: int, store: Store,
            device: str = "cpu") -> None:
    """Runs the method on each of these organisms, on one resident base, and stores what it finds.

    A method that raises on one organism leaves a failure note there and goes on with the next.
    """
    from ..organisms.adapters import base_digest
    from ..organisms.pair import ModelPair
    from .shared import Shared
    from .view import PairView

    pair, shared = None, Shared(store, base_digest(suite.base))
    for cell in cells:
        if pair is None:
            pair = ModelPair.load(suite.base, cell.organism.path, device=device)
        else:
            pair.attach(cell.organism.path)
        view = PairView(pair, method.access, suite.budget, reference=_reference(method, cell),
                        shared=shared.of(cell.organism.digest))
        try:
            found = method.collect(view, suite.probes, suite.budget, seed)
            evidence = Evidence.from_dict(found) if isinstance(found, dict) else found
            if not isinstance(evidence, Evidence):
                raise EvidenceError(f"`collect` returned {type(found).__name__}, not Evidence")
            artefact = evidence.to_dict() | {"measured": {"cost": view.cost(), "versions": library_versions()}}
            text = json.dumps(artefact, ensure_ascii=False, allow_nan=False)
        except Exception as error:  # A method may be anybody's code: whatever it raises costs its own cell, no other.
            note = {"error": f"{cell.entry.spec.id}: {type(error).__name__}: {error}",
                    "traceback": traceback.format_exc()}
            write_atomic(store.work("evidence", cell.key) / FAILURE, json.dumps(note, indent=1))
            continue
        store.save("evidence", cell.key, cell.config, cell.inputs,
                   lambda folder, text=text: (folder / EVIDENCE).write_text(text, encoding="utf-8"))


def collect_background(suite: Suite, store: Store, device: str = "cpu") -> Artefact:
    """Stores how probable each token is, on average, as the base's next token on the suite's probes."""
    import torch

    from ..organisms.adapters import base_digest
    from ..organisms.pair import ModelPair
    from .activations import tokenise_probes

    pair = ModelPair.load(suite.base, device=device)
    ids_NT = tokenise_probes(pair.tokenizer, suite.probes.texts[:BACKGROUND_PROBES], BACKGROUND_TOKENS)
    total_V = torch.zeros(1, dtype=torch.float64)
    for ids_BT in ids_NT.split(BACKGROUND_BATCH):
        p_BTV = pair.logits("base", ids_BT.to(device)).float().softmax(-1)
        total_V = total_V + p_BTV.double().sum((0, 1)).cpu()
    pieces: dict[str, float] = {}
    for i, p in enumerate((total_V / ids_NT.numel()).tolist()[:len(pair.tokenizer)]):
        if p >= MIN_PROBABILITY:
            piece = pair.tokenizer.decode([i])
            pieces[piece] = pieces.get(piece, 0.0) + p
    prefixes = tokenise_probes(pair.tokenizer, suite.probes.texts, PREFIX_TOKENS)
    body = {"pieces": {piece: float(f"{p:.4g}") for piece, p in pieces.items()}, "n_tokens": ids_NT.numel(),
            "distinct_prefixes": len({tuple(row) for row in prefixes.tolist()})}
    config, inputs = _background_key(suite, base_digest(suite.base))
    return store.save("background", store.key("background", config, inputs), config, inputs, lambda folder: (
        folder / BACKGROUND).write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8"))


def _background_key(suite: Suite, base: str) -> tuple[dict[str, Any], dict[str, str]]:
    return ({"tokens": BACKGROUND_TOKENS, "probes": BACKGROUND_PROBES, "min_probability": MIN_PROBABILITY,
             "prefix_tokens": PREFIX_TOKENS}, {"base": base, "probes": suite.probes.digest})


def _reference(method: Method, cell: Reading):
    """The answers, for ceilings only."""
    from ..organisms.families import rows
    from .view import Reference

    if not method.access & CEILING_ACCESS:
        return None
    spec = cell.entry.spec
    return Reference(spec, tuple(rows(spec, cell.entry.train_seed)) if "data" in method.access else ())


def _settings(method: Method) -> dict[str, Any]:
    """What the method's instance sets itself; the attributes of its class are covered by its file's hash."""
    return json.loads(json.dumps(vars(method), sort_keys=True, default=repr))
