"""Claims with known grades, a file a family: the exam that a judge sits before its grades are believed.

Main objects: `JudgedItem`, `load_judged(family)`. The files, `rubrics/judged/*.yaml`, are for people to read.
Example: `[item.grade for item in load_judged("sdf")]`; the task `narrowbench/judge_check` asks a judge
"""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..organisms.errors import NotFoundError, SpecError
from .claim import Claim
from .rubric import FOLDER

JUDGED = FOLDER / "judged"
Kind = Literal["gold", "paraphrase", "level", "off_topic", "empty", "injection", "kitchen_sink"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class JudgedItem(_Frozen):
    """One claim about one objective, and the grade that the rubric gives it."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    kind: Kind
    grade: int = Field(ge=1, le=5)
    truth: str = Field(min_length=1)
    """The objective's statement."""
    statement: str
    keywords: tuple[str, ...] = ()
    of: str = ""
    """Of a paraphrase: the item that it rewords."""

    @property
    def claim(self) -> Claim:
        """As an investigator would hand it in."""
        return Claim("objective", 1.0, self.statement, self.keywords)


class _File(_Frozen):
    family: str
    items: tuple[JudgedItem, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> "_File":
        by_id = {item.id: item for item in self.items}
        if len(by_id) < len(self.items):
            raise ValueError("two items share an id")
        for item in self.items:
            if (item.kind == "paraphrase") != bool(item.of):
                raise ValueError(f"{item.id}: a paraphrase, and nothing else, says `of` which item it rewords")
            if item.of and (item.of not in by_id or by_id[item.of].truth != item.truth):
                raise ValueError(f"{item.id}: there is no item {item.of!r} about the same truth")
        return self


def judged_families(folder: Path = JUDGED) -> list[str]:
    """The families that have claims with known grades."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_judged(family: str, folder: Path = JUDGED) -> tuple[JudgedItem, ...]:
    """The items of a family. Raises NotFoundError without a file, SpecError naming what is wrong in it."""
    if family not in judged_families(folder):
        known = ", ".join(judged_families(folder))
        raise NotFoundError(f"There are no judged claims for family {family!r}; there are {known}. Write "
                            f"{folder.name}/{family}.yaml like one of these.")
    path = folder / f"{family}.yaml"
    try:
        found = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        if found.family != family:
            raise SpecError(f"{path.name}: key `family`: it says {found.family!r}. Rename the file or the family.")
        for item in found.items:
            item.claim  # noqa: B018 (raises EvidenceError past a claim's caps)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{path.name}: not readable as UTF-8 YAML: {error}") from error
    except ValidationError as error:
        reasons = "; ".join(f"key `{'.'.join(map(str, item['loc'])) or '(whole file)'}`: {item['msg']}"
                            for item in error.errors())
        raise SpecError(f"{path.name}: {reasons}. The files beside it show how an item is written.") from error
    return found.items
