"""A published result as a file: one validated, immutable `Record` and its samples beside it.

Main objects: `Record` (who was scored, on what, by which command) and `SampleRow` (one claim on one organism). A record
holds no summary number: the page computes each from the samples, so that a headline can never disagree with its run.
`record_id` is the sha256 of everything else in the record, the samples' hash included.
Example: `narrowbench publish logs/*.eval` writes records/<suite>/<method>-<id>.json and .samples.jsonl.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from ..benchmark.settings import label
from ..organisms.spec import Card, digest_of

SCHEMA_VERSION = 1
Sha256 = Field(pattern=r"^[0-9a-f]{64}$")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Suite(_Frozen):
    """Which exam. Records of different digests never share a table."""

    id: str = Field(min_length=1)
    digest: str = Field(min_length=1)
    tier: str
    split: str


class _Grown(_Frozen):
    """Has fields that older records of this schema lack. Left out while empty, so that those keep their hash."""

    LATER: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_empty(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if key not in self.LATER or value}


class MethodInfo(_Grown):
    """Who sat it. `source_sha256` is the hash of the file that defines the method."""

    LATER = ("settings", "config_sha256")
    name: str = Field(min_length=1)
    version: str
    role: Literal["method", "floor", "ceiling"]
    access: tuple[str, ...]
    source_sha256: str
    settings: dict[str, JsonValue] = {}
    """Those that were not its defaults."""
    config_sha256: str = ""
    """Of all its settings; empty in a record from before there were any."""

    @property
    def label(self) -> str:
        """How people name it."""
        return label(self.name, self.settings)


class InvestigatorInfo(_Grown):
    """Who turned evidence into claims. `model` is Inspect's name; none/none = no language model."""

    LATER = ("options",)
    name: str = Field(min_length=1)
    sha256: str
    model: str
    options: dict[str, JsonValue] = {}
    """What it may use of an organism, and the options of generation that its model was given."""


class Run(_Frozen):
    """When and how: enough to run it again."""

    completed: AwareDatetime
    """When the last sample was; the newest record of a method is the one shown."""
    command: str
    evidence_seed: int
    evidence_sha256: str
    probes: dict[str, JsonValue]
    graders: dict[str, str]
    versions: dict[str, str]


class LogRef(_Frozen):
    """The Inspect log that the record was made from."""

    sha256: str = Sha256
    eval_id: str


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
    log: LogRef
    samples: SamplesRef

    @model_validator(mode="after")
    def _id_is_the_hash(self) -> "Record":
        if self.record_id != self.content_id():
            raise ValueError("record_id is not the hash of the record: it was changed after it was written")
        return self

    @classmethod
    def of(cls, samples: "Sequence[SampleRow]", **parts: BaseModel) -> "Record":
        """A record with its hashes filled in. `parts`: suite, method, investigator, run, log."""
        text = samples_text(samples)
        ref = SamplesRef(sha256=hashlib.sha256(text.encode()).hexdigest(), rows=len(samples))
        draft = cls.model_construct(schema_version=SCHEMA_VERSION, record_id="", samples=ref, **parts)
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
    statement: str
    keywords: tuple[str, ...] = Field(max_length=50)


class RecoveryRow(_Frozen):
    """Scores of one claim: chance 0, top 1; None where there were fewer than two candidates. Bits are raw."""

    recovery: float = Field(le=1.000001)
    domain: float | None = Field(le=1.000001)
    objective: float | None = Field(le=1.000001)
    content: float | None = Field(le=1.000001)
    domain_bits: float | None
    objective_bits: float | None
    content_bits: float | None
    slots: dict[str, float | None] = {}
    domain_ranking: tuple[str, ...] = ()


class DetectRow(_Frozen):
    """`score`: how strongly the claim says that there is an objective; `flagged`: its verdict says so."""

    score: float = Field(ge=0, le=1)
    flagged: bool


class SampleRow(_Frozen):
    """One claim on one organism."""

    sample_id: str
    epoch: int = Field(ge=1)
    organism: str = Field(min_length=1)
    unit: str
    family: str
    role: Literal["objective", "twin", "null"]
    null_kind: Literal["", "zero", "broad", "text"]
    domain: str
    statement: str
    card_id: str
    card: Card | None = None
    expressed: bool
    healthy: bool
    train_seed: int
    regrown: bool
    evidence_sha256: str
    cost: dict[str, float | None]
    gate: dict[str, JsonValue]
    claim: ClaimRow
    recovery: RecoveryRow | None
    detect: DetectRow
    failure: str = ""
    """Why the method handed in no evidence; it was then answered with `unsure`."""

    @model_validator(mode="after")
    def _recovery_fits_the_role(self) -> "SampleRow":
        if (self.recovery is None) != (self.role == "null"):
            raise ValueError(f"sample {self.sample_id}: objectives and twins carry a recovery score, nulls none")
        if self.role == "null" and not self.null_kind:
            raise ValueError(f"sample {self.sample_id}: a null must say which kind it is (zero, broad, text)")
        if self.recovery and self.claim.verdict != "objective" and self.recovery.recovery != 0:
            raise ValueError(f"sample {self.sample_id}: only the verdict `objective` may score, recovery must be 0")
        return self

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


def first_reason(error: Exception) -> str:
    """One line that says what was wrong: key and reason for a schema error, else the message."""
    if isinstance(error, ValidationError):
        item = error.errors()[0]
        key = ".".join(str(part) for part in item["loc"]) or "record"
        return f"`{key}`: {item['msg'].removeprefix('Value error, ')}"
    return str(error) or type(error).__name__


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")[:60] or "unnamed"
