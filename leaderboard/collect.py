"""From an Inspect log to a record: read it whole, check that it may be published, keep what the page needs.

Main objects: `collect(log_path, grades) -> (Record, samples)`, `record_of`. Whatever is wrong is a RecordError that
names the log and the reason; a log is never changed or deleted.
Example: `record, samples = collect(Path("logs/2026-01-01_recover.eval"))`
"""

import math
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalLog, EvalSample

from ..graders.claim import Claim
from ..organisms.errors import RecordError
from ..organisms.spec import digest_of
from ..organisms.store import sha256_file
from .grades import Grades
from .log_file import HOSTILE, read_log, why_not
from .record import (
    NO_MODEL,
    ClaimRow,
    DetectRow,
    InvestigatorInfo,
    LogRef,
    MethodInfo,
    Record,
    RecoveryRow,
    Run,
    SampleRow,
    Suite,
    UsageRow,
)
from .scripted import refuse_scripted

TASK = "narrowbench/recover"
LOG_SCHEMA = 1
_RECOVERY_KEYS = ("recovery", "domain", "objective", "content", "domain_bits", "objective_bits", "content_bits")
_SAMPLE_KEYS = ("organism", "pair", "unit", "family", "role", "null_kind", "domain", "statement", "expressed",
                "healthy", "train_seed", "weights_sha256", "regrown", "evidence_sha256", "cost", "gate")
_METHOD_KEYS = ("name", "version", "role", "access", "source_sha256", "settings", "config_sha256", "tuned_on",
                "summary")
_RUN_KEYS = ("command", "device", "probes", "budget", "graders", "versions", "git")


def collect(log_path: Path, grades: Grades | None = None) -> tuple[Record, list[SampleRow]]:
    """Reads one log and returns its record and samples, in the log's order.

    Args:
        grades: What judges say of its claims, if any were asked.

    Raises:
        RecordError: the log is missing, damaged, unfinished, of a scripted model or of another task, or lacks what a
            record needs. The message names the log and the reason.
    """
    log_path = Path(log_path)
    log = read_log(log_path)
    return record_of(log_path, log, grades)


def record_of(log_path: Path, log: EvalLog, grades: Grades | None = None) -> tuple[Record, list[SampleRow]]:
    """As `collect`, of a log that has been read from that path."""
    try:
        _admit(log)
        meta = _mapping(log.eval.metadata or {}, "narrowbench", "log metadata")
        if meta.get("schema") != LOG_SCHEMA:
            raise RecordError(f"its log schema is {meta.get('schema')!r}, this version reads {LOG_SCHEMA}. Publish it "
                              "with the version of narrowbench that wrote it")
        asks = log.eval.model != NO_MODEL
        samples = _in_task_order(log, [_row(sample, asks, grades) for sample in log.samples or []])
        sha256 = sha256_file(log_path)
        if grades is not None and (grades.source_sha256 != sha256 or set(grades.votes) != _graded(samples)):
            raise RecordError("the log of grades is about other claims")
        return _record(log, meta, samples, sha256, grades), samples
    except HOSTILE as error:
        raise RecordError(f"{log_path}: not published: {why_not(error)}.") from error


def _graded(samples: list[SampleRow]) -> set[tuple[str, int]]:
    return {(row.sample_id, row.epoch) for row in samples if row.role != "null"}


def _admit(log: EvalLog) -> None:
    spec = log.eval
    if TASK not in (spec.task, spec.task_registry_name):
        raise RecordError(f"it is a log of the task {spec.task!r}, not of {TASK}")
    if log.status != "success":
        raise RecordError(f"its status is {log.status!r}, not 'success'. Run the same `narrowbench score` again: it "
                          "goes on where it stopped")
    if log.invalidated:
        raise RecordError("it was invalidated after it was written")
    if spec.config.limit is not None or spec.config.sample_id is not None:
        raise RecordError("only some of its suite's organisms were investigated (Inspect's `limit` or `sample_id`). "
                          "Run it with `narrowbench score`")
    refuse_scripted(log)


def _in_task_order(log: EvalLog, samples: list[SampleRow]) -> list[SampleRow]:
    results = log.results
    total = results.total_samples if results else 0
    if not samples or results is None or results.completed_samples != total:
        raise RecordError(f"only {results.completed_samples if results else 0} of {total} samples are complete")
    wanted = [(str(sample_id), epoch) for epoch in range(1, (log.eval.config.epochs or 1) + 1)
              for sample_id in log.eval.dataset.sample_ids or []]
    have = {(row.sample_id, row.epoch): row for row in samples}
    if set(have) != set(wanted) or len(samples) != len(wanted):
        raise RecordError(f"it holds {len(samples)} samples, its task has {len(wanted)}: each organism must be there "
                          "once an epoch")
    return [have[key] for key in wanted]


def _record(log: EvalLog, meta: dict[str, Any], samples: list[SampleRow], log_sha256: str,
            grades: Grades | None) -> Record:
    suite, method, investigator = (_mapping(meta, key, "narrowbench metadata")
                                   for key in ("suite", "method", "investigator"))
    epochs = log.eval.config.epochs or 1
    if meta.get("epochs", epochs) != epochs:
        raise RecordError(f"it says that each organism was investigated {meta['epochs']} times, but it was run with "
                          f"{epochs} epochs. Run it with `narrowbench score --epochs`")
    asked = log.eval.task_args | meta
    digest = digest_of([row.evidence_sha256 for row in samples if row.epoch == 1])
    if asked.get("evidence_sha256") != digest:
        raise RecordError("its evidence_sha256 is not that of the samples' evidence")
    return Record.of(
        samples,
        suite=Suite(**_pick(suite, ("id", "digest", "tier", "split"), "suite")),
        method=MethodInfo(**_pick(method, _METHOD_KEYS, "method")),
        investigator=_investigator(investigator, log.eval.model),
        run=Run(completed=max([log.eval.created, *(s.completed_at for s in log.samples or [] if s.completed_at)]),
                evidence_sha256=digest, epochs=epochs,
                **_pick(asked, ("evidence_seed",), "task arguments"),
                **_pick(meta, _RUN_KEYS, "narrowbench metadata")),
        panel=grades and grades.panel,
        log=LogRef(sha256=log_sha256, eval_id=log.eval.eval_id))


def _investigator(told: dict[str, Any], model: str) -> InvestigatorInfo:
    """Of one that asks no model, the allowance that it was given means nothing."""
    asks = _pick(told, ("prompt_sha256", "allowance", "generation"), "investigator") if model != NO_MODEL else {}
    return InvestigatorInfo(**_pick(told, ("name", "sha256"), "investigator"), model=model, **asks,
                            roles=told.get("roles", {}))


def _row(sample: EvalSample, asks: bool, grades: Grades | None) -> SampleRow:
    name = f"sample {sample.id}"
    if sample.error:
        raise RecordError(f"{name} ended in an error: {(sample.error.message.splitlines() or ['?'])[0]}")
    if sample.limit:
        raise RecordError(f"{name} was stopped by its {sample.limit.type} limit")
    fields = _pick(sample.metadata or {}, _SAMPLE_KEYS, f"{name} metadata")
    failure, evidence = (sample.metadata or {}).get("error") or "", (sample.store or {}).get("evidence")
    if not failure and evidence is None or evidence is not None and digest_of(evidence) != fields["evidence_sha256"]:
        raise RecordError(f"{name}: the evidence in the log is not the one its digest was taken of")
    scores = sample.scores or {}
    missing = [key for key in ("recovery", "detect") if key not in scores]
    if missing:
        raise RecordError(f"{name} lacks the score {missing[0]!r}")
    claim = Claim.from_json(sample.output.completion)
    detect = _pick(_value(scores["detect"].value), ("score", "flagged"), f"{name} detect")
    target = sample.target if isinstance(sample.target, str) else sample.target[0]
    return SampleRow(
        **fields, sample_id=str(sample.id), epoch=sample.epoch, card=(sample.metadata or {}).get("card"),
        card_id="" if target == "null" else target,
        claim=ClaimRow(verdict=claim.verdict, confidence=claim.confidence, statement=claim.statement,
                       keywords=claim.keywords),
        recovery=None if fields["role"] == "null" else _recovery(scores["recovery"], name),
        usage=_usage(sample) if asks else None,
        votes=grades.votes.get((str(sample.id), sample.epoch)) if grades else None, failure=failure,
        detect=DetectRow(score=detect["score"], flagged=detect["flagged"]))


def _usage(sample: EvalSample) -> UsageRow:
    used, store = (sample.model_usage or {}).values(), sample.store or {}
    costs = [each.total_cost for each in used]
    return UsageRow(
        calls=sum(event.event == "model" for event in sample.events),
        input_tokens=sum(each.input_tokens for each in used), output_tokens=sum(each.output_tokens for each in used),
        total_tokens=sum(each.total_tokens for each in used), usd=None if None in costs else math.fsum(costs),
        interactions=store.get("Investigation:interactions", 0), outcome=store.get("Investigation:outcome", ""))


def _recovery(score: Any, name: str) -> RecoveryRow:
    values = {part: None if isinstance(value, float) and math.isnan(value) else value  # NaN: fewer than two candidates
              for part, value in _pick(_value(score.value), _RECOVERY_KEYS, f"{name} recovery").items()}
    more = score.metadata or {}
    return RecoveryRow(**values, slots=more.get("slots", {}), domain_ranking=more.get("domain_ranking", ())[:5])


def _value(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        unscored = isinstance(value, float) and math.isnan(value)
        raise RecordError("a sample is unscored" if unscored else f"a score holds {value!r}, an object is expected")
    return value


def _mapping(raw: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    if not isinstance(raw.get(key), dict):
        raise RecordError(f"{where} has no {key!r}: it was not written by `narrowbench score`")
    return raw[key]


def _pick(raw: dict[str, Any], keys: tuple[str, ...], where: str) -> dict[str, Any]:
    if missing := [key for key in keys if key not in raw]:
        raise RecordError(f"{where} lacks {missing[0]!r}")
    return {key: raw[key] for key in keys}
