"""What the parts of a record must say of each other, whatever the suite: digests, epochs, command, rules of access.

Main objects: `contradictions(record, rows)`, `DECLARED` (what must be taken on trust).
Example: `contradictions(record, rows)` -> [] where all parts agree.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from .. import graders
from ..benchmark.method import ACCESS, Evidence
from ..benchmark.settings import words
from ..graders import VERSIONS
from ..organisms.spec import digest_of
from .record import NO_MODEL, InvestigatorInfo, Record, SampleRow

CEILING_ACCESS = {"data", "objective"}
RUBRICS = Path(graders.__file__).parent / "rubrics"
BUDGET = ("forward_tokens", "generated_tokens", "seconds")
"""Costs that the harness always measures, and that a suite's budget may limit."""
AHEAD = timedelta(days=1)
"""How far clocks and time zones may be apart."""
LIMITS = ("interactions", "turns", "tokens", "usd", "seconds")
ONCE = ("--method", "--suite", "--investigator", "--seed", "--device", "--epochs", "--model", "--model-base-url",
        "--temperature", "--max-tokens", "--prices", *(f"--{name}" for name in LIMITS))
REPEATED = ("--set", "--model-role", "-M")


@dataclass(frozen=True)
class Declared:
    """A field that neither the samples nor the suite prove, and why it must be taken on trust without the log."""

    field: str
    reason: str


DECLARED = (
    Declared("record.method.version", "the author's word; the digest of the file tells versions apart"),
    Declared("record.method.role", "the author's word; of a method of the package a rerun shows it"),
    Declared("record.method.access", "the harness allowed no more when it ran; only a rerun shows that it did"),
    Declared("record.method.source_sha256", "of a file that need not be public; a rerun compares it with the package"),
    Declared("record.method.config_sha256", "of all settings, the defaults of the class included"),
    Declared("record.method.tuned_on", "nobody can see what somebody tuned on"),
    Declared("record.method.summary", "the author's word; of a method of the package a rerun shows it"),
    Declared("record.investigator.sha256", "of the version that ran; a rerun compares it with the package"),
    Declared("record.investigator.prompt_sha256", "of the version that ran"),
    Declared("record.investigator.allowance", "the log has it; the command has it where it is not the default"),
    Declared("record.investigator.generation", "the log has it; the command has temperature and max_tokens"),
    Declared("record.investigator.roles", "the log has the models; the command has the roles"),
    Declared("record.run.completed", "clocks can be set"),
    Declared("record.run.probes.distinct_prefixes", "counted with the base's tokenizer, which this room does not load"),
    Declared("record.run.versions", "of somebody else's machine"),
    Declared("record.run.git", "of somebody else's machine"),
    Declared("record.panel.judges", "the log of grades names them"),
    Declared("record.panel.judge_settings", "the log of grades has them"),
    Declared("record.panel.prompt_sha256", "of the version that graded"),
    Declared("record.panel.log", "names the log of grades"),
    Declared("record.log", "names the log; `--logs` looks for it"),
    Declared("sample.claim.statement", "what was handed in; only judges read it"),
    Declared("sample.claim.keywords", "what was handed in; its scores are made again from it"),
    Declared("sample.weights_sha256", "of weights grown elsewhere; of those that ship, the suite and the package know"),
    Declared("sample.expressed", "of weights grown elsewhere; of those that ship, the passport says so"),
    Declared("sample.healthy", "of weights grown elsewhere; of those that ship, the passport says so"),
    Declared("sample.gate", "of weights grown elsewhere; of those that ship, the passport has it"),
    Declared("sample.evidence_sha256", "names evidence that only the log holds"),
    Declared("sample.cost", "measured on somebody else's machine; only the suite's budget is checked"),
    Declared("sample.usage", "counted by the provider; only the allowance is checked"),
    Declared("sample.votes", "the log of grades has them"))


def contradictions(record: Record, rows: Sequence[SampleRow]) -> list[str]:
    """Everything in which parts of a record disagree, one line each."""
    first = {row.sample_id: row for row in rows if row.epoch == 1}
    found = [*_command(record), *_rules(record), *_panel(record, rows)]
    if record.run.evidence_sha256 != digest_of([row.evidence_sha256 for row in first.values()]):
        found.append("run.evidence_sha256 is not that of the samples' evidence")
    if sorted((row.sample_id, row.epoch) for row in rows) != sorted(
            (name, epoch) for name in first for epoch in range(1, record.run.epochs + 1)):
        found.append(f"not every organism is there once in each of {record.run.epochs} epochs")
    for row in rows:
        found += [f"sample {row.sample_id}: {line}"
                  for line in (*_failure(row), *_cost(row), *_use(row, record.investigator))]
        same = first.get(row.sample_id, row)
        if any(getattr(row, key) != getattr(same, key) for key in ("evidence_sha256", "cost", "weights_sha256",
                                                                   "failure", "gate")):
            found.append(f"sample {row.sample_id}: its epochs read different evidence")
    return found


def _rules(record: Record) -> Iterator[str]:
    method, investigator = record.method, record.investigator
    if unknown := sorted(set(method.access) - ACCESS):
        yield f"method.access names {unknown[0]!r}, which is no access"
    if method.role != "ceiling" and CEILING_ACCESS & set(method.access):
        yield "only a ceiling may read training data or the objective"
    if record.run.completed > datetime.now(UTC) + AHEAD:
        yield f"run.completed is {record.run.completed:%Y-%m-%d %H:%M}, which has not come yet"
    if record.run.graders != VERSIONS:
        yield f"run.graders are {record.run.graders}, and this version marks with {VERSIONS}"
    asks = investigator.model != NO_MODEL
    if asks != (investigator.allowance is not None) or asks != bool(investigator.prompt_sha256):
        yield "an investigator has a prompt and an allowance if it asks a model, and only then"
    if not asks and (investigator.generation or record.run.epochs > 1):
        yield "without a model there is nothing to generate or to repeat"


def _failure(row: SampleRow) -> Iterator[str]:
    if row.failure:
        if row.evidence_sha256 != digest_of(Evidence().payload | {"error": row.failure}):
            yield "`failure` is not the one that its evidence tells of"
        if row.claim.verdict != "unsure" or row.claim.keywords:
            yield "the method failed, and a claim is made all the same"


def _cost(row: SampleRow) -> Iterator[str]:
    """What was not measured keeps within any budget, so it must be there."""
    if not row.failure and (lacking := [key for key in BUDGET if row.cost.get(key) is None]):
        yield f"`cost` lacks {', '.join(lacking)}"


def _use(row: SampleRow, investigator: InvestigatorInfo) -> Iterator[str]:
    """A claim that was handed in was handed in within the allowance; what was cut off may have gone past it by one
    answer."""
    allowance, used = investigator.allowance, row.usage
    if (used is None) != (investigator.model == NO_MODEL):
        yield "`usage` is there if a model investigated, and only then"
    if used is None or allowance is None:
        return
    limits = [("interactions", used.interactions)]
    if used.outcome == "submitted":
        limits += [("turns", used.calls), ("tokens", used.total_tokens), ("usd", used.usd)]
    for name, count in limits:
        limit = getattr(allowance, name)
        if limit is not None and count is not None and count > limit:
            yield f"the investigator used {count:,} {name} of {limit:,}"


def _panel(record: Record, rows: Sequence[SampleRow]) -> Iterator[str]:
    panel = record.panel
    graded = {row.family for row in rows if row.votes is not None}
    if panel is None:
        if graded:
            yield "there are judges' votes and no judges"
        return
    if any((row.votes is None) != (row.role == "null") for row in rows):
        yield "judges grade every objective and twin, and no null"
    if any(row.votes and len(row.votes) != len(panel.judges) for row in rows):
        yield "a claim has more or fewer votes than there are judges"
    known = {family: sha256((RUBRICS / f"{family}.md").read_bytes()).hexdigest() for family in graded
             if family in {path.stem for path in RUBRICS.glob("*.md")}}
    if panel.rubrics != known:
        yield "panel.rubrics are not those of this version for the families that were graded"


def _command(record: Record) -> Iterator[str]:
    """The command says by itself how the record came to be: it must tell the same."""
    given = _parsed(record.run.command)
    if given is None:
        yield "run.command is no `narrowbench score`"
        return
    method, who, run = record.method, record.investigator, record.run
    told = {key: given.get(key, [default])[0] for key, default in (
        ("--investigator", "reader"), ("--seed", "0"), ("--epochs", "1"), ("--model", ""), ("--device", "cpu"))}
    asked = "" if who.model == NO_MODEL else who.model
    name, suite = given.get("--method", [""])[0], given.get("--suite", ["demo"])[0]
    checks: dict[str, bool] = {
        "method.name": name == method.name or ":" in name or name.endswith(".py"),
        "method.settings": given.get("--set", []) == words(method.settings),
        "suite": suite.endswith(".json") or suite in (record.suite.id, f"{record.suite.id}:{record.suite.split}"),
        "investigator.name": told["--investigator"] == who.name, "investigator.model": told["--model"] == asked,
        "investigator.roles": {word.partition("=")[0] for word in given.get("--model-role", [])} == set(who.roles),
        "run.evidence_seed": told["--seed"] == str(run.evidence_seed),
        "run.epochs": told["--epochs"] == str(run.epochs),
        "run.device": told["--device"].partition(":")[0] == run.device}
    limits: dict[str, Any] = who.allowance.model_dump() if who.allowance else {}
    limits |= {"temperature": who.generation.get("temperature"), "max-tokens": who.generation.get("max_tokens")}
    for key, value in limits.items():
        if f"--{key}" in given:
            checks[f"investigator's {key}"] = given[f"--{key}"][0] == str(value)
    for what, same in checks.items():
        if not same:
            yield f"run.command does not agree with {what}"


def _parsed(command: str) -> dict[str, list[str]] | None:
    """Option -> its words; None for anything but `narrowbench score` with options that it has."""
    parts = shlex.split(command)
    if parts[:2] != ["narrowbench", "score"] or len(parts) % 2:
        return None
    given: dict[str, list[str]] = {}
    for flag, word in zip(parts[2::2], parts[3::2], strict=True):
        if flag not in ONCE + REPEATED or flag in ONCE and flag in given:
            return None
        given.setdefault(flag, []).append(word)
    return given
