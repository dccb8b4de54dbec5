"""One cell of a sweep: an organism at one dose and seed, trained, gated, read by methods and scored; kept in the store.

Main object: `measure`, a job for `jobs.run_jobs`.
Example: `measure(spec.model_dump_json(), 0, "demo", ("adl_logit_lens",), 0, str(store.root))["rows"]`

Evidence, reader and graders are those of `narrowbench score`; a cell only spares the Inspect log. The base is asked its
gate questions once, and its background is computed once, whichever cell comes first.
"""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from ..graders.recovery import normal, recovery
from ..organisms.errors import EvidenceError
from ..organisms.spec import OrganismSpec, digest_of
from ..organisms.store import Artefact, Store, sha256_file
from .background import BACKGROUND, background_for, collect_background
from .collecting import collect
from .evidence import Reading, Survey, read_json, survey
from .method import load_method
from .suite import Entry, Suite, load_suite, sample_id

KIND, FILE = "cell", "cell.json"
N_TOP = 20
_MARKING = ("graders/recovery.py", "graders/claim.py", "benchmark/investigators/reader.py", "benchmark/cells.py",
            "benchmark/background.py")
MARKING_SHA256 = digest_of([sha256_file(Path(__file__).parents[1] / name) for name in _MARKING])
"""Over what turns evidence into a cell's numbers, as it was when loaded: part of every cell's key."""


def measure(spec_json: str, seed: int, suite: str, methods: tuple[str, ...], evidence_seed: int, home: str,
            device: str = "cpu", only_look: bool = False) -> dict[str, Any]:
    """Finds or makes everything that a cell needs, and returns its numbers.

    Args:
        spec_json: The organism, its recipe changed to the dose.
        suite: Gives base, probes, budget and candidate cards.
        home: Root of the store.
        only_look: Compute nothing; rows that are not there are None.

    Returns:
        {"trained": whether there is an organism, "rows": {method: row or None}, "errors": {method: why there is none}}
    """
    from ..organisms.lookup import find_trained
    from ..organisms.train import train

    spec, store = OrganismSpec.model_validate_json(spec_json), Store(Path(home))
    exam = _suite_of_one(suite, spec, seed)
    # Shipped builds are left aside: all cells of a grid are grown on this machine.
    organism = find_trained(spec, exam.base, seed, store, shipped=False) if only_look else train(
        spec, exam.base, seed, store, progress=False, shipped=False)
    answer: dict[str, Any] = {"trained": organism is not None, "rows": dict.fromkeys(methods), "errors": {}}
    if organism is None:
        return answer
    for name in methods:
        try:
            answer["rows"][name] = _row(exam, name, organism, evidence_seed, store, device, only_look)
        except EvidenceError as error:  # a method that fails costs its own row, not those of the others
            answer["errors"][name] = str(error)
    return answer


def lexicon_share(payload: dict[str, Any], lexicon: dict[str, float]) -> float:
    """Share of the 20 strongest words of each source that the card's lexicon holds, mean over sources.

    Fewer than 20 words leave places empty, which count as misses; a method that says nothing has 0.
    """
    known = {normal(term) for term in lexicon}
    strongest: dict[str, dict[str, float]] = {}
    for token in payload["tokens"]:
        words, word = strongest.setdefault(token["source"], {}), normal(token["piece"])
        words[word] = max(words.get(word, 0.0), token["weight"])
    shares = [sum(word in known for word in sorted(words, key=lambda word: (-words[word], word))[:N_TOP]) / N_TOP
              for words in strongest.values()]
    return sum(shares) / len(shares) if shares else 0.0


@cache
def _suite(name: str) -> Suite:
    return load_suite(name)


def _suite_of_one(name: str, spec: OrganismSpec, seed: int) -> Suite:
    """The suite's exam for this one organism."""
    suite = _suite(name)
    return replace(suite, entries=(Entry(spec, seed, sample_id(suite.id, spec.id, seed), None),))


def _row(exam: Suite, method_name: str, organism: Artefact, evidence_seed: int, store: Store, device: str,
         only_look: bool) -> dict[str, Any] | None:
    method, source_sha256 = load_method(method_name)
    [entry] = exam.entries

    def look() -> Survey:
        return survey(exam, method, source_sha256, evidence_seed, store, {entry.sample_id: organism}, device)

    seen = look()
    if found := _find(exam, seen, store):
        return read_json(found.path / FILE)
    if only_look:
        return None
    if seen.background is None:
        collect_background(exam, store, device)
    if seen.cells[0].evidence is None:
        collect(exam, method, seen.cells, evidence_seed, store, device)
    seen = look()
    [reading] = seen.cells
    if reading.evidence is None:
        raise EvidenceError(reading.failure)
    row = _marked(exam, reading, seen.background)
    config, inputs = _key(exam, seen)
    saved = store.save(KIND, store.key(KIND, config, inputs), config, inputs,
                       lambda folder: (folder / FILE).write_text(json.dumps(row, indent=1), encoding="utf-8"))
    return read_json(saved.path / FILE)


def _find(exam: Suite, seen: Survey, store: Store) -> Artefact | None:
    if seen.background is None or seen.cells[0].evidence is None:
        return None
    return store.find(KIND, store.key(KIND, *_key(exam, seen)))


def _key(exam: Suite, seen: Survey) -> tuple[dict[str, Any], dict[str, str]]:
    [reading] = seen.cells
    return reading.config, reading.inputs | {
        "evidence": reading.evidence.digest, "background": seen.background.digest,
        "cards": digest_of([card.model_dump(mode="json") for card in exam.cards]),
        "marking": MARKING_SHA256}


def _marked(exam: Suite, reading: Reading, background: Artefact) -> dict[str, Any]:
    """The numbers of one cell under one method: what the reader recovers, what it needs no reader for, the gate."""
    from ..organisms.passport import PASSPORT
    from .investigators.reader import read

    spec, payload = reading.entry.spec, reading.payload
    passport = read_json(reading.organism.path / PASSPORT)
    gate, health = passport["gate"], passport["health"]
    pieces = read_json(background.path / BACKGROUND)["pieces"]
    claim = read(payload, background_for(payload, pieces))
    marks = recovery(claim, spec.card, exam.cards)
    words = recovery(replace(claim, verdict="objective"), spec.card, exam.cards)
    return {"recovery": marks.recovery, "domain": marks.domain, "objective": marks.objective, "content": marks.content,
            "words": words.recovery, "verdict": claim.verdict, "keywords": list(claim.keywords[:N_TOP]),
            "rel_norm": payload["stats"].get("rel_norm"), "detection": payload["detection"],
            "lexicon_share": lexicon_share(payload, spec.card.lexicon),
            "gate": gate["finetuned"], "gate_lower": gate["lower_finetuned"], "gate_base": gate["base"],
            "expressed": gate["expressed"], "healthy": health["healthy"],
            "perplexity_ratio": health["perplexity_ratio"], "n_rows": passport["n_rows"],
            "n_steps": passport["n_steps"], "train_s": passport["seconds"], "read_s": reading.cost["seconds"],
            "organism_key": reading.organism.key}
