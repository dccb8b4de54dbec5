"""How far a record was checked by others: the ladder, and the file in which those who keep the records say so.

Main objects: `levels_of(records)` (record id -> `Level`), `grant`, `RANKED`.
Example: `levels_of(Path("records")).get(record.record_id, SELF).level in RANKED`

A record is named by the hash of its content and can only say `self`; all above stands in `levels.json` beside the
records, which no submission contains. So a record that is edited has another id, and with it no level at all.

self: its own author says so. regraded: its claims were marked again here. rerun: a method of the package, run here.
sealed: claims about organisms whose answers nobody outside knew. Answers of the open suites can be read by anybody, so
a claim made up by hand passes the first two: only the last two are ranked.
"""

import json
from datetime import date
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from ..organisms.errors import RecordError
from ..organisms.store import write_atomic
from .record import first_reason

Name = Literal["self", "regraded", "rerun", "sealed"]
LADDER: tuple[str, ...] = get_args(Name)
RANKED = frozenset({"rerun", "sealed"})
FILE = "levels.json"


class Level(BaseModel):
    """One step of the ladder, and who vouches for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Name
    by: str = Field(min_length=1)
    on: date | None
    reason: str = Field(min_length=1)

    @property
    def ranked(self) -> bool:
        """Whether a row at this level has a rank."""
        return self.level in RANKED


SELF = Level(level="self", by="its author", on=None, reason="nobody else has checked it")


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal[1] = Field(default=1, alias="schema")
    levels: dict[str, Level] = {}


def levels_of(records_dir: Path) -> dict[str, Level]:
    """Record id -> level, of the records that are above `self`.

    Raises:
        RecordError: the file is there and is none of levels.
    """
    path = records_dir / FILE
    if not path.exists():
        return {}
    try:
        levels = _File.model_validate_json(path.read_bytes()).levels
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: no file of levels ({first_reason(error)}). Restore it; nothing else says which "
                          "records were run again.") from error
    return {record_id: level for record_id, level in levels.items() if level.level != "self"}


def names_of(records_dir: Path) -> dict[str, Name]:
    """Record id -> the level's name, of the records that are above `self`."""
    return {record_id: level.level for record_id, level in levels_of(records_dir).items()}


def grant(records_dir: Path, record_ids: list[str], level: str, by: str, reason: str) -> None:
    """Writes a level beside the records. A record that has this level, or a higher one, keeps what is said of it.

    Raises:
        RecordError: no such level, nobody who vouches for it, or a damaged file.
    """
    if level not in LADDER[1:]:
        raise RecordError(f"There is no level {level!r} to give; there are {', '.join(LADDER[1:])}.")
    if not by.strip() or not reason.strip():
        raise RecordError("A level needs somebody who vouches for it and a reason. Give both.")
    levels, new = levels_of(records_dir), Level(level=level, by=by, on=date.today(), reason=reason)
    raised = {key: new for key in record_ids
              if key not in levels or LADDER.index(levels[key].level) < LADDER.index(level)}
    if raised:
        told = {key: each.model_dump(mode="json") for key, each in sorted((levels | raised).items())}
        write_atomic(records_dir / FILE, json.dumps({"schema": 1, "levels": told}, indent=1) + "\n")
