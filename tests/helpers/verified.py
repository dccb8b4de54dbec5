"""An honest record of a whole run on a built-in suite, and forgeries of it: for tests of `verify`.

Main objects: `exam` (the run; its record is the fixture `honest`), `plain` (its parts, to change), `honestly_hashed`,
`reasons`, `FIELDS` (every field of a record).
Example: `record, rows = plain(honest); rows[0]["cost"]["seconds"] = 1e6; reasons(place(record, rows))`
"""

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput
from inspect_ai.solver import solver
from pydantic import BaseModel

from narrowbench.benchmark.investigating import load_investigator
from narrowbench.benchmark.method import Evidence, load_method
from narrowbench.benchmark.suite import load_suite
from narrowbench.benchmark.task import QUESTION, detect, recovery
from narrowbench.graders.claim import Claim
from narrowbench.leaderboard import record as room
from narrowbench.leaderboard.consistency import DECLARED
from narrowbench.leaderboard.record import Record, SampleRow
from narrowbench.leaderboard.verify import verify
from narrowbench.organisms import shipped
from narrowbench.organisms.spec import digest_of

SUITE = "nano-2026.1:dev"
EVIDENCE = Evidence(stats={"norm": 0.125}).payload


@solver
def hand_in():
    """Names the domain of every other organism, and calls the rest null."""
    async def solve(state, generate):
        state.store.set("evidence", EVIDENCE)
        word, sure = state.metadata["domain"], state.metadata["role"] != "null"
        claim = Claim("objective", 0.875, "It is about that.", (word, "450")) if sure else Claim("no_objective", 0.75)
        state.output = ModelOutput.from_content("none", claim.to_json())
        return state

    return solve


@task(name="verified_exam")
def exam():
    """Every organism of the suite, as it ships, with the marks of the real scorers."""
    suite = load_suite(SUITE)
    builds = {(build.organism, build.seed): build for build in shipped.builds()}
    samples = []
    for entry in suite.entries:
        build = builds[entry.spec.id, entry.train_seed]
        passport = json.loads((shipped.FOLDER / build.folder / shipped.PASSPORT).read_text())
        card = entry.spec.card
        samples.append(Sample(id=entry.sample_id, input=QUESTION, target=entry.target, metadata=entry.about | {
            "expressed": shipped.took(passport), "healthy": passport["health"]["healthy"], "gate": passport["gate"],
            "weights_sha256": build.weights_sha256, "regrown": False, "evidence_sha256": digest_of(EVIDENCE),
            "cost": {"seconds": 2.0, "forward_tokens": 5000, "generated_tokens": 0}, "error": "",
            "card": card.model_dump(mode="json") if card else None}))
    evidence = digest_of([digest_of(EVIDENCE)] * len(samples))
    about = {"schema": 1, "suite": {"id": suite.id, "digest": suite.digest, "tier": suite.tier, "split": suite.split},
             "method": {"name": "prior", "version": "1", "role": "floor", "access": [], "tuned_on": "dev",
                        "source_sha256": load_method("prior")[1], "settings": {}, "config_sha256": digest_of({}),
                        "summary": ""},
             "investigator": {"name": "reader", "sha256": load_investigator("reader").sha256},
             "graders": {"recovery": "1", "detect": "1"},
             "probes": {"digest": suite.probes.digest, "n": len(suite.probes.texts), "distinct_prefixes": 9},
             "budget": asdict(suite.budget),
             "evidence_sha256": evidence, "evidence_seed": 0, "device": "cpu", "epochs": 1,
             "command": f"narrowbench score --method prior --suite {SUITE} --investigator reader --seed 0",
             "git": {"commit": "0" * 40, "dirty": False}, "versions": {"python": "3.11.7"}}
    return Task(dataset=MemoryDataset(samples), solver=hand_in(), scorer=[recovery(SUITE), detect()],
                metadata={"narrowbench": about})


def honestly_hashed(raw: dict, samples: list[SampleRow]) -> dict:
    """As a forger would: every digest made again."""
    text = room.samples_text(samples)
    raw = raw | {"samples": {"sha256": sha256(text.encode()).hexdigest(), "rows": len(samples)}}
    return raw | {"record_id": digest_of({key: raw[key] for key in raw if key != "record_id"})}


def plain(honest) -> tuple[dict, list[dict]]:
    """Record and rows as JSON types, to be changed."""
    record, rows, _ = honest
    return record.model_dump(mode="json"), [row.model_dump(mode="json") for row in rows]


def reasons(path: Path, *args) -> str:
    """Why `verify` refuses it; empty if it does not."""
    return " | ".join(verify(path, *args).reasons)


def leaves(model: type[BaseModel], where: str) -> list[str]:
    """Every field of a record, down to those that are no object of the schema."""
    found = []
    for name, field in model.model_fields.items():
        inner = [kind for kind in (field.annotation, *getattr(field.annotation, "__args__", ()))
                 if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == room.__name__]
        found += leaves(inner[0], f"{where}.{name}") if inner else [f"{where}.{name}"]
    return found


FIELDS = [*leaves(Record, "record"), *leaves(SampleRow, "sample")]
HASHES = ("record.record_id", "record.samples.sha256", "record.samples.rows", "record.schema_version",
          "record.verification")
"""Made by the forger, or with one value only; they have tests of their own."""


def is_declared(field: str) -> bool:
    """Whether a field, or what holds it, must be taken on trust."""
    return any(field == each.field or field.startswith(f"{each.field}.") for each in DECLARED)


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8)
quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
