"""The manifest of a suite as it stands on disk: its schema, its name, its place.

Main objects: `SuiteFile`, `suites`, `suite_path`, `exams_of`, `read_manifest`.
Example: `read_manifest(suite_path("nano-2026.1")).frozen`
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..organisms.errors import NotFoundError, SpecError

FOLDER = Path(__file__).parent / "suites"
SPLITS = ("dev", "test")
BOTH = "both"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pinned(_Frozen):
    """One organism of a manifest. Digests may be left out while a suite is a draft; what is pinned is checked."""

    organism: str
    spec_digest: str | None = None
    train_seed: int = Field(default=0, ge=0)
    data_digest: str | None = None
    """Of the finetuning rows of the shipped build; `narrowbench check catalog` compares it with the passport."""
    weights_sha256: str | None = None
    """Of the shipped build; an organism grown anew with other weights is labelled `regrown`."""


class ProbeSet(_Frozen):
    """Where the probes come from: `nano` (the micro-world's reserved topics) or a text file with one probe a line."""

    source: str = "nano"
    n: int = Field(ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0)
    digest: str | None = None


class Limits(_Frozen):
    """What one method may spend on one organism; left out = unlimited."""

    forward_tokens: int | None = Field(default=None, ge=1)
    generated_tokens: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=None, gt=0)


class Frozen(_Frozen):
    """What scores depend on besides organisms and probes, as it was when the suite was frozen."""

    base: str
    """`organisms.adapters.base_digest`."""
    cards: str
    """Digest of all candidate cards, of both splits."""
    graders: dict[str, str]
    """Judge-free graders and their versions."""
    reader: str
    """sha256 of the investigator `reader`, which no test organism was read with before."""


class SuiteFile(_Frozen):
    """A manifest, as it stands on disk."""

    schema_: Literal[1] = Field(alias="schema")
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")
    tier: Literal["nano", "paper", "own"]
    split: Literal["dev", "test", "both", "own"]
    """`both`: the organisms' own splits decide which exam each belongs to."""
    base: str = "nano"
    """`nano`, or a Hugging Face folder."""
    specs: tuple[str, ...] = ()
    """Organism files beside those of the tier's catalogue."""
    organisms: tuple[Pinned, ...] = Field(min_length=1)
    candidates: Literal["catalog", "suite"] = "catalog"
    """Whose cards a claim is compared with: those of all known organisms of the split, trained or not, or only of this
    suite's."""
    probes: ProbeSet
    budget: Limits = Limits()
    frozen: Frozen | None = None
    """None while the suite is a draft."""


def suites() -> list[str]:
    """Names of the built-in suites."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def suite_path(name: str | Path) -> Path:
    """The manifest of a built-in suite, or the given path. Raises NotFoundError with the nearest names."""
    name = name_and_split(name)[0]
    if name.endswith(".json"):
        if not Path(name).is_file():
            raise NotFoundError(f"There is no suite file {name}. `narrowbench list suites` lists the built-in ones.")
        return Path(name)
    if name not in suites():
        raise NotFoundError.of("suite", name, suites(), "narrowbench list suites")
    return FOLDER / f"{name}.json"


def name_and_split(name: str | Path) -> tuple[str, str]:
    """A name without its split, and the split; "" where none is given."""
    place, _, split = str(name).rpartition(":")
    return (place, split) if place and split in SPLITS else (str(name), "")


def exams_of(name: str | Path) -> list[str]:
    """The exams of a manifest, by names that `load_suite` takes: one for each split it holds, or the one asked for."""
    place, split = name_and_split(name)
    both = read_manifest(suite_path(name)).split == BOTH
    return [f"{place}:{each}" for each in SPLITS] if both and not split else [str(name)]


def read_manifest(path: Path) -> SuiteFile:
    """Raises SpecError with file, key and reason for anything that is no manifest."""
    try:
        return SuiteFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        reasons = "; ".join(f"key `{'.'.join(str(part) for part in item['loc']) or '(whole file)'}`: {item['msg']}"
                            for item in error.errors())
        raise SpecError(f"{path.name}: {reasons}. `narrowbench list suites` shows suites that work.") from error
