"""Settings that belong together, as a file: method, investigator, what it may use, how often, and graders afterwards.

Main objects: `Preset`, `load_preset`, `presets`. Built-in ones lie in `presets/*.yaml`; the path of a file of your own
works in the same place. `order.order_of` puts a preset and the options of a command line together.
Example: `load_preset("paper").epochs`; `narrowbench score --preset paper --suite nano-2026.1 --model PROVIDER/NAME ...`
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..graders.similarity import TFIDF
from ..organisms.errors import InvestigationError, NotFoundError, SpecError

FOLDER = Path(__file__).parent / "presets"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GraderRun(_Frozen):
    """A grader to run on each log, as `narrowbench grade` would."""

    grader: str
    embedder: str = TFIDF
    """Of steering_similarity."""

    @field_validator("grader")
    @classmethod
    def _exists(cls, name: str) -> str:
        from .grade_task import GRADERS

        if name not in GRADERS:
            raise ValueError(f"there is no grader {name!r}; there are {', '.join(GRADERS)}")
        return name


class Role(_Frozen):
    """A model that the user must name with `--model-role`, because nobody is asked by accident."""

    use: str
    """What it does, for the message when it is missing."""
    setting: str = ""
    """The method's setting that its name goes to; empty = a role of Inspect's, for graders."""


class Preset(_Frozen):
    """A preset, as it stands in its file. Raises ValidationError on what is none."""

    name: str
    about: str
    source: str = ""
    method: str
    settings: dict[str, Any] = {}
    """Of the method, where they are not its defaults."""
    investigator: str = "reader"
    allowance: dict[str, float | int | None] = {}
    """What one investigation may use, by the names of `allowance.Allowance`."""
    generation: dict[str, Any] = {}
    """Of the model that investigates, as Inspect names it."""
    epochs: int = Field(default=1, ge=1)
    graders: tuple[GraderRun, ...] = ()
    roles: dict[str, Role] = {}

    @field_validator("allowance")
    @classmethod
    def _is_an_allowance(cls, given: dict[str, float | int | None]) -> dict[str, float | int | None]:
        from .allowance import Allowance

        try:
            Allowance(**given)
        except (TypeError, InvestigationError) as error:
            raise ValueError(str(error)) from error
        return given

    @field_validator("generation")
    @classmethod
    def _is_generation(cls, given: dict[str, Any]) -> dict[str, Any]:
        from .model_roles import generation

        try:
            return generation(given, "generation")
        except InvestigationError as error:
            raise ValueError(str(error)) from error


def presets() -> list[str]:
    """Names of the built-in presets: the files in `presets/`."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_preset(name: str) -> Preset:
    """A preset by built-in name, or by the path of its file.

    Raises:
        NotFoundError: no such preset or file. SpecError: the file is none; names file, key and reason.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise NotFoundError.of("preset", name, presets(), "narrowbench list presets")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Preset.model_validate({"name": path.stem} | (raw if isinstance(raw, dict) else {}))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise SpecError(f"{path.name}: key `{where}`: {first['msg']}. A preset names `about` and `method`; "
                        "benchmark/presets/paper.yaml shows all keys.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpecError(f"{path.name}: cannot be read as YAML ({error}).") from error
