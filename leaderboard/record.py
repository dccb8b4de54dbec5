"""A published result as a file: one validated, immutable `Record` and its samples beside it.

Main objects: `Record` (who was scored, on what, by which command) and `SampleRow` (one claim on one organism). A record
holds no summary number: the page computes each from the samples, so that a headline can never disagree with its run.
`record_id` is the sha256 of everything else in the record, the samples' hash included.
Example: `narrowbench publish logs/*.eval` writes records/<suite>/<method>-<id>.json and .samples.jsonl.

A record says `self` of its own verification, and can say nothing else: higher levels stand in a file that only those
who keep the records write (`levels.py`). `schema/record-1.json` is `schema_text()`.
"""

import hashlib
import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator)

from ..benchmark.settings import MAX_SUMMARY, METHOD_NAME, label
from ..graders.claim import MAX_KEYWORDS, MAX_STATEMENT_WORDS
from ..organisms.spec import digest_of
from .texts import Command, Json, Line, Lines, PlainCard, Word

SCHEMA_VERSION = 1
NO_MODEL = "none/none"
"""Inspect's name for no language model."""
Sha256 = Field(pattern=r"^[0-9a-f]{64}$")
Cost = Literal["forward_tokens", "generated_tokens", "flops", "reused_tokens", "seconds", "peak_bytes"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Suite(_Frozen):
    """Which exam. Records of different digests never share a table."""

    id: Line = Field(min_length=1)
    digest: Line = Field(min_length=1)
    tier: Line
    split: Line


class MethodInfo(_Frozen):
    """Who sat it. `source_sha256` is the hash of the file that defines the method."""

    name: str = Field(pattern=METHOD_NAME)
    version: Line
    role: Literal["method", "floor", "ceiling"]
    access: tuple[Line, ...] = Field(max_length=20)
    source_sha256: str = Sha256
    settings: Json
    """Those that were not its defaults."""
    config_sha256: str = Sha256
    """Of all its settings."""
    tuned_on: Line
    """The data that its settings were chosen on, as its author says; empty if the author does not say."""
    summary: Line = Field(max_length=MAX_SUMMARY)
    """What it is, in its author's words; empty if the author does not say."""

    @property
    def label(self) -> str:
        """How people name it."""
        return label(self.name, self.settings)


class AllowanceInfo(_Frozen):
    """What one investigation of one organism could use. None = unlimited."""

    interactions: int | None = Field(ge=0)
    turns: int | None = Field(ge=0)
    tokens: int | None = Field(ge=0)
    usd: float | None = Field(ge=0)
    seconds: float | None = Field(ge=0)


class InvestigatorInfo(_Frozen):
    """Who turned evidence into claims. `model` is Inspect's name; none/none = no language model."""

    name: Line = Field(min_length=1)
    sha256: str = Sha256
    model: Line = Field(min_length=1)
    prompt_sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """Of what its model was told before any evidence; empty without a model."""
    allowance: AllowanceInfo | None = None
    """None without a model."""
    generation: Json = {}
    """Options of generation that its model was given."""
    roles: dict[Line, tuple[Line, ...]] = {}
    """Models of other roles, as those that a method asks."""

    @property
    def options(self) -> dict[str, Any]:
        """Allowance and generation, as far as they are limited or given: what makes a row of its own of it."""
        limits = self.allowance.model_dump() if self.allowance else {}
        return {key: value for key, value in {**limits, **self.generation}.items() if value is not None}


class ProbesInfo(_Frozen):
    """The texts on which the models were compared. `distinct_prefixes`: how many of them begin differently."""

    digest: str = Sha256
    n: int = Field(ge=1)
    distinct_prefixes: int = Field(ge=1)


class BudgetInfo(_Frozen):
    """What the method could spend on one organism. None = unlimited; seconds also for a method that asks a judge."""

    forward_tokens: int | None = Field(ge=1)
    generated_tokens: int | None = Field(ge=1)
    seconds: float | None = Field(gt=0)


class Checkout(_Frozen):
    """The commit of the code that ran. `dirty`: it had changes that were not committed."""

    commit: str = Field(pattern=r"^[0-9a-f]{40,64}$")
    dirty: bool


class Run(_Frozen):
    """When and how: enough to run it again."""

    completed: AwareDatetime
    """When the last sample was; the newest record of a method is the one shown."""
    command: Command
    device: Line
    """Kind of device that the models ran on: cpu, cuda, mps."""
    epochs: int = Field(ge=1, le=1000)
    evidence_seed: int
    evidence_sha256: str = Sha256
    probes: ProbesInfo
    budget: BudgetInfo
    graders: dict[Line, Line]
    """Judge-free graders and their versions."""
    versions: dict[Line, Line]
    git: Checkout | None
    """None where narrowbench was installed rather than run from its repository."""


class LogRef(_Frozen):
    """The Inspect log that the record was made from."""

    sha256: str = Sha256
    eval_id: Line


class Panel(_Frozen):
    """The judges that graded the claims' statements. Their votes stand in the samples."""

    judges: tuple[Line, ...] = Field(min_length=1)
    judge_settings: tuple[Json, ...]
    rubrics: dict[Line, Line]
    """Family -> sha256 of its rubric."""
    prompt_sha256: str = Sha256
    """Of the prompt around the rubric."""
    log: LogRef
    """The log of grades."""


class SamplesRef(_Frozen):
    """The samples file beside the record."""

    sha256: str = Sha256
    rows: int = Field(ge=1)


class Record(_Frozen):
    """One (method, investigator, suite, evidence seed). Build it with `Record.of`."""

    schema_version: Literal[1] = SCHEMA_VERSION
    record_id: str = Sha256
    suite: Suite
    method: MethodInfo
    investigator: InvestigatorInfo
    run: Run
    panel: Panel | None
    """None if no judge has graded the claims."""
    log: LogRef
    samples: SamplesRef
    verification: Literal["self"] = "self"
    """What a record says of itself; see `levels.py`."""

    @model_validator(mode="after")
    def _id_is_the_hash(self) -> "Record":
        if self.record_id != self.content_id():
            raise ValueError("record_id is not the hash of the record: it was changed after it was written")
        return self

    @classmethod
    def of(cls, samples: "Sequence[SampleRow]", **parts: BaseModel | None) -> "Record":
        """A record with its hashes filled in. `parts`: suite, method, investigator, run, panel, log."""
        text = samples_text(samples)
        ref = SamplesRef(sha256=hashlib.sha256(text.encode()).hexdigest(), rows=len(samples))
        draft = cls.model_construct(schema_version=SCHEMA_VERSION, record_id="", samples=ref, verification="self",
                                    **parts)
        return cls(record_id=draft.content_id(), samples=ref, **parts)

    def content_id(self) -> str:
        """sha256 of the canonical JSON of everything but `record_id`."""
        return digest_of(self.model_dump(mode="json", exclude={"record_id"}))

    def to_json(self) -> str:
        """The record file's text."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"

    @property
    def path(self) -> Path:
        """Where it lies in a records folder; follows from its content, so nobody can take another's place."""
        return Path(_slug(self.suite.id)) / f"{_slug(self.method.name)}-{self.record_id[:16]}.json"


class ClaimRow(_Frozen):
    """The claim, as handed in."""

    verdict: Literal["objective", "no_objective", "unsure"]
    confidence: float = Field(ge=0, le=1)
    statement: Lines
    keywords: tuple[Word, ...] = Field(max_length=MAX_KEYWORDS)

    @field_validator("statement")
    @classmethod
    def _as_long_as_a_claim(cls, text: str) -> str:
        if len(text.split()) > MAX_STATEMENT_WORDS:
            raise ValueError(f"a claim's statement has at most {MAX_STATEMENT_WORDS} words")
        return text


class RecoveryRow(_Frozen):
    """Scores of one claim: chance 0, top 1; None where there were fewer than two candidates. Bits are raw."""

    recovery: float = Field(le=1.000001)
    domain: float | None = Field(le=1.000001)
    objective: float | None = Field(le=1.000001)
    content: float | None = Field(le=1.000001)
    domain_bits: float | None
    objective_bits: float | None
    content_bits: float | None
    slots: dict[Line, float | None] = {}
    domain_ranking: tuple[Line, ...] = ()


class DetectRow(_Frozen):
    """`score`: how strongly the claim says that there is an objective; `flagged`: its verdict says so."""

    score: float = Field(ge=0, le=1)
    flagged: bool


class UsageRow(_Frozen):
    """What the language model that investigated used, and how that ended."""

    calls: int = Field(ge=0)
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    total_tokens: int = Field(ge=0)
    usd: float | None = Field(ge=0)
    """None where the price is not known."""
    interactions: int = Field(ge=0)
    outcome: Line


class SampleRow(_Frozen):
    """One claim on one organism."""

    sample_id: Line
    epoch: int = Field(ge=1)
    organism: Line = Field(min_length=1)
    pair: Line
    """The objective that it belongs to, as itself or as its twin."""
    unit: Line
    """What averages and intervals are over: a domain with all its objectives and twins."""
    family: Line
    role: Literal["objective", "twin", "null"]
    null_kind: Literal["", "zero", "broad", "text"]
    domain: Line
    statement: Lines
    card_id: Line
    card: PlainCard | None = None
    expressed: bool
    healthy: bool
    train_seed: int
    weights_sha256: str = Sha256
    regrown: bool
    """Whether the suite pins other weights than these."""
    evidence_sha256: str = Sha256
    cost: dict[Cost, Annotated[float, Field(ge=0)] | None]
    """What the method spent on reading the organism; empty where it failed. `reused_tokens` of the forward tokens had
    been computed for another method."""
    usage: UsageRow | None = None
    """None where no language model was asked."""
    gate: Json
    claim: ClaimRow
    recovery: RecoveryRow | None
    detect: DetectRow
    votes: tuple[int | None, ...] | None = None
    """1 to 5, of each judge of the panel; empty where the claim says nothing, None where it was not graded."""
    failure: Lines = ""
    """Why the method handed in no evidence; it was then answered with `unsure`."""

    @model_validator(mode="after")
    def _recovery_fits_the_role(self) -> "SampleRow":
        if (self.recovery is None) != (self.role == "null"):
            raise ValueError(f"sample {self.sample_id}: objectives and twins carry a recovery score, nulls none")
        if self.role == "null" and not self.null_kind:
            raise ValueError(f"sample {self.sample_id}: a null must say which kind it is (zero, broad, text)")
        if self.recovery and self.claim.verdict != "objective" and self.recovery.recovery != 0:
            raise ValueError(f"sample {self.sample_id}: only the verdict `objective` may score, recovery must be 0")
        if any(vote not in (None, 1, 2, 3, 4, 5) for vote in self.votes or ()):
            raise ValueError(f"sample {self.sample_id}: a judge votes 1, 2, 3, 4 or 5")
        return self

    @property
    def grade(self) -> float | None:
        """The median of the judges' votes, 1 for a claim that says nothing; None without a grade of every judge."""
        if self.votes is None or None in self.votes:
            return None
        return float(statistics.median(self.votes)) if self.votes else 1.0

    @property
    def counted(self) -> bool:
        """Whether it enters recovery: an objective or twin that is expressed and healthy."""
        return self.role != "null" and self.expressed and self.healthy

    @property
    def trained_null(self) -> bool:
        """Whether it enters detection as a null: trained, healthy, and past its gate. The zero adapter stands apart."""
        return self.null_kind in ("broad", "text") and self.expressed and self.healthy


def samples_text(samples: Sequence[SampleRow]) -> str:
    """The samples file's text: one JSON object a line."""
    return "".join(json.dumps(row.model_dump(mode="json"), ensure_ascii=False) + "\n" for row in samples)


def schema_text() -> str:
    """JSON Schema of a record and of a line of its samples, as `schema/record-1.json` holds it."""
    told = {"$comment": "Made by narrowbench.leaderboard.record.schema_text(); a test compares the two.",
            "record": Record.model_json_schema(), "sample": SampleRow.model_json_schema()}
    return json.dumps(told, indent=1, sort_keys=True) + "\n"


def first_reason(error: Exception) -> str:
    """One line that says what was wrong: key and reason for a schema error, else the message."""
    if isinstance(error, ValidationError):
        item = error.errors()[0]
        key = ".".join(str(part) for part in item["loc"]) or "record"
        return f"`{key}`: {item['msg'].removeprefix('Value error, ')}"
    return str(error) or type(error).__name__


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")[:60] or "unnamed"
