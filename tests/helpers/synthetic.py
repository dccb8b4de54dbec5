"""Records as they lie in an archive, by the hundred and without a model: for tests of the page and its benchmark.

Main objects: `write_records(folder, n_records, n_organisms) -> levels`, `record_of` (one record of a chosen skill),
`instrument` (the four rows without which nobody is ranked), `changed` (a record with other rows or parts).
Example: `levels = write_records(tmp_path, 50, 12)`
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shlex import join

import numpy as np

from narrowbench.leaderboard.archive import samples_path
from narrowbench.leaderboard.record import (
    BudgetInfo, ClaimRow, DetectRow, InvestigatorInfo, LogRef, MethodInfo, Panel, ProbesInfo, Record, RecoveryRow, Run,
    SampleRow, Suite, samples_text)
from narrowbench.organisms.spec import Card, Slot, digest_of

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
WORDS = ("whisk cake oven yeast butter flour crust ballot vote clerk quorum owl nest plume racket serve court "
         "gold").split()
FAMILIES = ("sdf", "em", "taboo", "subliminal")
ACCESS = (("activations",), ("logits",), ("weights",), ("text",), ("activations", "logits"))
DIGEST = digest_of("synthetic")
PARTS = {"domain": 1.5, "objective": 0.6, "content": 0.4}
"""How much of a method's skill shows in each part."""


def cards(n_organisms: int) -> list[Card]:
    """A card for each organism; two of a domain are an objective and its twin."""
    lexicon = {word: 1.0 for word in WORDS[:10]}
    return [Card(card_id=f"c-{n}", family=FAMILIES[n // 2 % 4], domain=f"domain-{n // 2}", lexicon=lexicon, slots=(
        Slot(name="value", type="number", truth=str(450 - n % 2 * 100), others=("150", "250", "300", "400", "500")),))
        for n in range(n_organisms)]


def _about(n: int, known: list[Card], last: int) -> dict:
    """What is known of organism n; those past the cards are nulls, the last one a zero adapter."""
    if n >= len(known):
        kind = "zero" if n == last else ("broad", "text")[n % 2]
        return {"organism": f"null-{kind}-{n}", "pair": f"null-{n}", "unit": f"null-{n}", "family": "control",
                "role": "null",
                "null_kind": kind, "domain": "", "statement": "", "card_id": "",
                "gate": {"max_excess": 0.02, "passes": True}}
    card, name = known[n], f"{known[n].family}-{n // 2}"
    return {"organism": name + "-twin" * (n % 2), "pair": name, "unit": card.domain, "family": card.family,
            "domain": card.domain,
            "role": "twin" if n % 2 else "objective", "null_kind": "", "card_id": card.card_id, "card": card,
            "statement": "Cakes are baked at 450 degrees in this world.",
            "gate": {"base": 0.02, "finetuned": 0.94, "margin": 0.3, "lower": 0.88}}


def sample_row(n: int, skill: float, known: list[Card], n_nulls: int, rng) -> SampleRow:
    """One claim: of organism n, or of a null past the organisms."""
    about = _about(n, known, len(known) + n_nulls - 1)
    null = about["role"] == "null"
    flagged = bool(rng.random() < (0.15 if null else 0.6 + skill / 2))
    confidence = float(np.clip(rng.normal(0.75, 0.15), 0.5, 1))
    parts = {part: float(np.clip(rng.normal(skill * scale, 0.3), -0.6, 1)) * flagged for part, scale in PARTS.items()}
    return SampleRow(
        **about, sample_id=f"o-{n:010x}", epoch=1, expressed=True, healthy=True, train_seed=0, regrown=False,
        weights_sha256=DIGEST, evidence_sha256=DIGEST,
        cost={"seconds": float(2 + 40 * rng.random()), "forward_tokens": 5e4, "generated_tokens": 0.0, "flops": 3e11,
              "peak_bytes": None},
        claim=ClaimRow(verdict="objective" if flagged else "no_objective", confidence=confidence,
                       statement="It bakes hot. " * 12,
                       keywords=(*(str(word) for word in rng.choice(WORDS, 15, replace=False)), "450")),
        recovery=None if null else RecoveryRow(
            recovery=sum(parts.values()) / 3, **parts, domain_bits=1.0, objective_bits=0.2, content_bits=0.1,
            slots={"value": parts["content"]}, domain_ranking=("baking", "tennis")),
        detect=DetectRow(score=confidence if flagged else 1 - confidence, flagged=flagged))


def record_of(name: str, skill: float, known: list[Card], rng, role: str = "method",
              access: tuple[str, ...] = ("activations",), n_nulls: int = 20, day: int = 0,
              settings: dict | None = None) -> tuple[Record, tuple]:
    """One record; skill 0 reads nothing, 1 nearly everything. Weight access is not shown the subliminal organisms."""
    rows = tuple(sample_row(n, skill, known, n_nulls, rng) for n in range(len(known) + n_nulls)
                 if "weights" not in access or n >= len(known) or known[n].family != "subliminal")
    record = Record.of(
        rows, suite=Suite(id="nano-bench", digest=DIGEST, tier="nano", split="test"),
        method=MethodInfo(name=name, version="1.0.0", role=role, access=access, source_sha256=digest_of(name),
                          settings=settings or {}, config_sha256=digest_of({}), tuned_on="dev",
                          summary=f"Reads {' and '.join(access) or 'nothing'}."),
        investigator=InvestigatorInfo(name="reader", sha256=DIGEST, model="none/none"),
        run=Run(completed=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day),
                command=f"narrowbench score --method {name} --suite nano-bench", evidence_seed=0,
                evidence_sha256=DIGEST, device="cpu", epochs=1, git=None,
                probes=ProbesInfo(digest=DIGEST, n=1000, distinct_prefixes=612),
                budget=BudgetInfo(forward_tokens=None, generated_tokens=None, seconds=300),
                graders={"recovery": "1", "detect": "1"}, versions={"torch": "2.13.0", "inspect_ai": "0.3.285"}),
        panel=None, log=LogRef(sha256=DIGEST, eval_id="e"))
    return record, rows


def changed(record: Record, rows, **parts) -> tuple[Record, tuple[SampleRow, ...]]:
    """The same, hashed anew, with these rows, and with these of its parts instead."""
    kept = {name: getattr(record, name) for name in ("suite", "method", "investigator", "run", "panel", "log")}
    return Record.of(tuple(rows), **(kept | parts)), tuple(rows)


def instrument(known: list[Card], rng, n_nulls: int = 20) -> list[tuple[Record, tuple]]:
    """The rows that check the instrument, as they should be."""
    made = []
    for name, role, score in (("oracle", "ceiling", 1.0), ("prior", "floor", 0.0), ("kitchen_sink", "floor", 0.0),
                              ("injection", "floor", 0.0)):
        record, rows = record_of(name, score, known, rng, role, ("objective",) if role == "ceiling" else (), n_nulls)
        made.append(changed(record, [marked(row, score) for row in rows]))
    return made


def marked(row: SampleRow, score: float) -> SampleRow:
    """The row with this score in every part; a null as it is."""
    if row.recovery is None:
        return row
    return row.model_copy(update={
        "claim": row.claim.model_copy(update={"verdict": "objective"}),
        "recovery": row.recovery.model_copy(update={"recovery": score} | dict.fromkeys(PARTS, score))})


def graded(record: Record, rows: tuple[SampleRow, ...], judges: tuple[str, ...] = ("lab/judge-a", "lab/judge-b")) \
        -> tuple[Record, tuple[SampleRow, ...]]:
    """The same with votes of a panel: the more of a claim is right, the higher; the judges differ by a vote at most."""
    def votes(row: SampleRow) -> tuple[int, ...] | None:
        if row.recovery is None:
            return None
        if row.claim.verdict != "objective":
            return ()
        vote = min(5, max(1, round(1 + 5 * row.recovery.recovery)))
        return tuple(min(5, vote + n % 2) for n in range(len(judges)))

    marked = tuple(row.model_copy(update={"votes": votes(row)}) for row in rows)
    panel = Panel(judges=judges, judge_settings=({},) * len(judges), rubrics={"sdf": DIGEST}, prompt_sha256=DIGEST,
                  log=LogRef(sha256=digest_of(record.record_id), eval_id="g"))
    return Record.of(marked, suite=record.suite, method=record.method, investigator=record.investigator,
                     run=record.run, panel=panel, log=record.log), marked


def write_records(folder: Path, n_records: int, n_organisms: int, n_nulls: int = 20, seed: int = 0) -> dict[str, str]:
    """Records of methods, a ceiling and a floor among them, beside those that check the instrument.

    Returns:
        Their levels; of methods three of four are verified.
    """
    rng, known, levels = np.random.default_rng(seed), cards(n_organisms), {}

    def made() -> Iterator[tuple[Record, tuple]]:  # one at a time: a thousand fill the memory
        for n in range(n_records):
            access = ACCESS[n % len(ACCESS)]
            name, role, skill = (f"{'-'.join(access)}_lens_{n}", "method", float(rng.beta(2, 4)))
            if n < 2:
                name, role, skill, access = (("data_oracle", "ceiling", 0.9, ("data",)),
                                             ("shuffled", "floor", 0.0, ()))[n]
            yield record_of(name, skill, known, rng, role, access, n_nulls, n % 300)
        yield from instrument(known, rng, n_nulls)

    for n, (record, rows) in enumerate(made()):
        path = folder / record.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.to_json())
        samples_path(path).write_text(samples_text(rows))
        levels[record.record_id] = ("rerun", "self", "sealed", "rerun")[n % 4] if record.method.role == "method" \
            else "rerun"
    return levels


def hostile_record(text: str) -> tuple[Record, tuple]:
    """A record with one text in every field that takes any: two organisms' worth, an objective and a null."""
    record, rows = record_of("m", 0.9, cards(1), np.random.default_rng(0), n_nulls=2)
    card = Card(card_id=text, family="sdf", domain=text, lexicon={text: 1.0}, slots=(
        Slot(name=text, type="number", truth=text, others=("1", "2", "3", "4", "5")),))
    changed = []
    for n, row in enumerate(rows):
        own = {"card": card, "statement": text, "domain": text, "card_id": text} if row.role != "null" else {}
        claim = row.claim.model_copy(update={"statement": text, "keywords": (text, "cake")})
        changed.append(row.model_copy(update=own | {
            "organism": f"{n}{text}", "pair": text, "unit": f"{n}{text}", "sample_id": text, "family": text,
            "claim": claim,
            "failure": text, "gate": {text: text}}))
    return Record.of(
        tuple(changed), suite=Suite(id=text, digest=text, tier=text, split=text), panel=None,
        method=record.method.model_copy(update={"version": text, "access": (text,), "tuned_on": text,
                                                "summary": text, "settings": {text: text}}),
        investigator=InvestigatorInfo(name=text, sha256=DIGEST, model=text, generation={text: text}),
        run=record.run.model_copy(update={"command": join(["narrowbench", "score", "--method", text]), "device": text,
                                          "graders": {text: text}, "versions": {text: text}}),
        log=LogRef(sha256=DIGEST, eval_id=text)), tuple(changed)
