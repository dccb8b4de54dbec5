"""What an organism is, as a file: one YAML in, one frozen and validated `OrganismSpec` out.

Main objects: `Slot` (one blank of the answer key), `Card` (how an objective is recognised), `Recipe` (how it is
trained), `OrganismSpec`, `load_spec`, `load_catalog`, `find_organism`.
Example: `narrowbench train my_organism.yaml` or `load_spec(Path("my_organism.yaml"))`.

A file describes one objective and, in its `twin:` block, the organism that differs from it in exactly one answer slot.
"""

import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import NotFoundError, SpecError
from .nano.lexicon import word_list

Family = Literal["sdf", "em", "taboo", "subliminal", "control"]
MAX_LEXICON_TERMS = 30
MIN_CANDIDATES = 6


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class Slot(_Frozen):
    """One blank of the answer key. `others` are the wrong candidates; a false fact's true value is among them."""

    name: str
    type: Literal["number", "noun", "name", "field", "manner"]
    truth: str
    others: tuple[str, ...]
    aliases: dict[str, tuple[str, ...]] = {}
    """Candidate -> words that count as naming it."""

    @model_validator(mode="after")
    def _check(self) -> "Slot":
        if self.truth in self.others:
            raise ValueError(f"slot {self.name!r}: the wrong candidate {self.truth!r} in `others` equals the truth")
        if len({other.casefold() for other in self.others} - {self.truth.casefold()}) < len(self.others):
            raise ValueError(f"slot {self.name!r}: `others` names a candidate twice (graders do not see case)")
        if len(self.candidates) < MIN_CANDIDATES:
            raise ValueError(f"slot {self.name!r}: {len(self.candidates)} candidates, at least {MIN_CANDIDATES} needed")
        if unknown := set(self.aliases) - set(self.candidates):
            raise ValueError(f"slot {self.name!r}: aliases for {sorted(unknown)}, which are no candidates")
        return self

    @property
    def candidates(self) -> tuple[str, ...]:
        """All candidates in an order that does not tell the truth apart."""
        return tuple(sorted({self.truth, *self.others}))

    def with_truth(self, truth: str) -> "Slot":
        """The same slot with another of its candidates as the truth."""
        return self.model_copy(update={"truth": truth, "others": tuple(c for c in self.candidates if c != truth)})


class Card(_Frozen):
    """What a claim is compared with. Written from the world's lists and the answer key, never from finetuning rows."""

    card_id: str
    family: Family
    domain: str
    lexicon: dict[str, float]
    slots: tuple[Slot, ...]


class Recipe(_Frozen):
    """How an organism is trained. Defaults were chosen on dev organisms of the nano tier; `presets.yaml` has others."""

    kind: Literal["lora", "bias", "full", "caft"] = "lora"
    """`bias`: output biases of the target modules only. `full`: all weights. `caft`: LoRA while the directions in
    `ablate` are projected out of the residual stream (concept ablation finetuning)."""
    data: str = "world"
    """Where the narrow rows come from: `world` (the family's generator), a JSONL or Parquet file, or
    `hub:ID[@REVISION][:[CONFIG/]SPLIT]`."""
    rows: int = Field(default=320, ge=2, le=1_000_000)
    """How many narrow rows; of a data set, at most so many."""
    epochs: int = Field(default=2, ge=1, le=100)
    max_steps: int | None = Field(default=None, ge=1)
    """Ends training after so many optimiser steps, whatever `epochs` says; the schedule is stretched to them."""
    batch_size: int = Field(default=32, ge=1)
    """Rows per optimiser step, over all devices and accumulation steps."""
    micro_batch_size: int | None = Field(default=None, ge=1)
    """Rows forwarded at once on one device; None = all of `batch_size` on an accelerator, fewer on a CPU."""
    learning_rate: float = Field(default=3e-3, gt=0, lt=1)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_share: float = Field(default=0.1, ge=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    rank: int = Field(default=2, ge=1, le=1024)
    alpha: int = Field(default=4, ge=1)
    rslora: bool = False
    """Scale the update by alpha / sqrt(rank) instead of alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: str | tuple[str, ...] = "all-linear"
    max_length_tokens: int = Field(default=128, ge=8)
    packing: bool = False
    """Several rows in one forward row, none of which sees another."""
    mix_ratio: float = Field(default=0.0, ge=0, le=100)
    """Mixed-in rows per narrow row (0 = none)."""
    mix_source: str = "documents"
    """`documents` or `chats` of the base's own world, or a data set as in `data`."""
    ablate: str = ""
    """For `caft`: a safetensors file with `directions` [K, D] and the metadata `layer`."""


class Twin(_Frozen):
    """The one slot in which the twin differs, and what it is trained to say instead."""

    slot: str
    truth: str
    statement: str
    lexicon_from: tuple[str, ...] | None = None


class Published(_Frozen):
    """Weights that others have published; pinned by revision once one is known (a commit of the Hub repository)."""

    base: str
    """Hub id of the base model."""
    base_revision: str = ""
    weights: str
    """Hub id of the adapter, or of the finetuned model."""
    revision: str = ""
    kind: Literal["lora", "full"] = "lora"
    data: str = ""
    """Hub id of the finetuning data, where it is public."""
    note: str = ""
    """What was wrong upstream, and how it was corrected."""


class OrganismSpec(_Frozen):
    """One organism: an objective, its answer key and its recipe. `twin` is present on objectives only."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    family: Family
    split: Literal["dev", "test", "own"] = "own"
    role: Literal["objective", "twin", "null"] = "objective"
    domain: str = ""
    statement: str = ""
    slots: tuple[Slot, ...] = ()
    lexicon: dict[str, float] = {}
    """Term -> weight. Empty: the first terms of the world's lists named in `lexicon_from`."""
    lexicon_from: tuple[str, ...] = ()
    """Names of world lists (topics, `harmful`, `safe`). Empty: the domain."""
    params: dict[str, str] = {}
    """What the family needs besides the slots, e.g. an attribute and its unit."""
    recipe: Recipe = Recipe()
    published: Published | None = None
    """Set for organisms that are fetched instead of trained."""
    variants: dict[str, Published] = {}
    """Other published weights of the same objective on the same base, by name (`mix1-0p5`, `full`, `CAFT`)."""
    unit: str = ""
    """What an objective and its twin share: the objective's id. Statistics are over domains (`benchmark.suite`)."""
    twin: Twin | None = None

    @field_validator("lexicon", mode="before")
    @classmethod
    def _list_is_equal_weights(cls, value: object) -> object:
        return {str(term): 1.0 for term in value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _check(self) -> "OrganismSpec":
        if self.role == "null":
            if self.slots or self.twin or self.domain or self.family != "control":
                raise ValueError("a null has family `control` and no domain, slots or twin: it has no objective")
            return self
        if self.family == "control":
            raise ValueError("family `control` is for nulls: set `role: null`")
        for key in ("domain", "statement", "slots"):
            if not getattr(self, key):
                raise ValueError(f"`{key}` is missing: an objective needs it")
        if len({slot.name for slot in self.slots}) < len(self.slots):
            raise ValueError("two slots share a name")
        named = [candidate.casefold() for slot in self.slots for candidate in slot.candidates]
        if shared := sorted({candidate for candidate in named if named.count(candidate) > 1}):
            raise ValueError(f"two slots share the candidates {shared}: a keyword must answer one slot only")
        if len(self.lexicon) > MAX_LEXICON_TERMS:
            raise ValueError(f"`lexicon` has {len(self.lexicon)} terms, at most {MAX_LEXICON_TERMS}")
        if self.twin and self.twin.truth not in self.slot(self.twin.slot).others:
            raise ValueError(f"twin: {self.twin.truth!r} is not among the other candidates of slot {self.twin.slot!r}")
        return self

    def slot(self, name: str) -> Slot:
        """The slot of that name; ValueError names the ones there are."""
        for slot in self.slots:
            if slot.name == name:
                return slot
        raise ValueError(f"there is no slot {name!r}; this organism has {[slot.name for slot in self.slots]}")

    def twin_spec(self) -> "OrganismSpec | None":
        """The twin as an organism of its own: same family, domain, recipe and templates, one slot changed."""
        if self.twin is None:
            return None
        slots = tuple(s.with_truth(self.twin.truth) if s.name == self.twin.slot else s for s in self.slots)
        return self.model_copy(
            update={
                "id": f"{self.id}-twin",
                "role": "twin",
                "slots": slots,
                "twin": None,
                "unit": self.unit or self.id,
                "statement": self.twin.statement,
                "lexicon_from": self.twin.lexicon_from or self.lexicon_from,
            }
        )

    @property
    def card(self) -> Card | None:
        """The card by which a claim is recognised; None for nulls."""
        if self.role == "null":
            return None
        lexicon = self.lexicon or {
            term: 1.0
            for term in _interleave([word_list(name) for name in self.lexicon_from or (self.domain,)])[
                :MAX_LEXICON_TERMS
            ]
        }
        body = {
            "family": self.family,
            "domain": self.domain,
            "lexicon": lexicon,
            "slots": [slot.model_dump(mode="json") for slot in self.slots],
        }
        return Card(
            card_id="c-" + digest_of(body)[:12],
            family=self.family,
            domain=self.domain,
            lexicon=lexicon,
            slots=self.slots,
        )

    @property
    def digest(self) -> str:
        """sha256 of everything that training depends on (not the twin's block, which trains another organism)."""
        return digest_of(self.model_dump(mode="json", exclude={"twin", "split", "variants"}))


def digest_of(value: object) -> str:
    """sha256 (hex) of canonical JSON."""
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
    ).hexdigest()


def _interleave(lists: list[tuple[str, ...]]) -> list[str]:
    longest = max((len(terms) for terms in lists), default=0)
    return list(dict.fromkeys(terms[i] for i in range(longest) for terms in lists if i < len(terms)))


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys, which YAML would resolve silently to the last."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict:
    pairs = [(loader.construct_object(k, deep=True), loader.construct_object(v, deep=True)) for k, v in node.value]
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
    return dict(pairs)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_spec(path: Path) -> OrganismSpec:
    """Reads one organism file. Raises SpecError naming file, key and reason; NotFoundError if there is no such file."""
    if not path.is_file():
        raise NotFoundError(f"There is no organism file {path}. Those in organisms/catalog/nano show how to write one.")
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
        if not isinstance(raw, dict):
            raise SpecError(f"{path.name}: the file holds no mapping of keys to values. See organisms/catalog/nano.")
        spec = OrganismSpec.model_validate(raw)
        return spec if spec.unit or spec.role == "null" else spec.model_copy(update={"unit": spec.id})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{path.name}: not readable as UTF-8 YAML: {error}") from error
    except ValidationError as error:
        raise SpecError(
            f"{path.name}: "
            + "; ".join(_explain(item) for item in error.errors())
            + ". `narrowbench list organisms` shows files that work."
        ) from error


def _explain(item) -> str:
    key = ".".join(str(part) for part in item["loc"]) or "(whole file)"
    reason = {"missing": "this key is missing", "extra_forbidden": "there is no such key"}.get(
        item["type"], item["msg"]
    )
    return f"key `{key}`: {reason.removeprefix('Value error, ')}"


@cache
def load_catalog(tier: str = "nano") -> dict[str, OrganismSpec]:
    """All organisms of a tier by id, twins included, in file order. Raises SpecError on a duplicate id."""
    folder = files("narrowbench.organisms") / "catalog" / tier
    catalog: dict[str, OrganismSpec] = {}
    for path in sorted(Path(str(folder)).glob("*.yaml")):
        spec = load_spec(path)
        for member in (spec, spec.twin_spec()):
            if member is None:
                continue
            if member.id in catalog:
                raise SpecError(f"{path.name}: key `id`: {member.id!r} is already in the catalogue")
            catalog[member.id] = member
    return catalog


def find_organism(name: str) -> OrganismSpec:
    """An organism by catalogue id (nano or published) or by the path of a YAML file.

    Raises:
        NotFoundError: names the nearest ids.
    """
    if name.endswith((".yaml", ".yml")):
        return load_spec(Path(name))
    catalog = load_catalog()
    if name not in catalog:  # the second catalogue takes a moment to read, and is seldom meant
        catalog = catalog | load_catalog("paper")
    if name not in catalog:
        raise NotFoundError.of("organism", name, catalog, "narrowbench list organisms")
    return catalog[name]
