"""Thousands of records in memory at once: what their rows share is held once.

Main object: `load(records_dir) -> (published, left_out)`, which reads like `archive.read_all` and needs a third of the
memory: organisms' cards, gates, words and statements repeat from record to record.
Example: `published, left_out = load(Path("records"))`
"""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from ..organisms.errors import RecordError
from .archive import read
from .entries import Published
from .record import ClaimRow, DetectRow, RecoveryRow, SampleRow

Kept = TypeVar("Kept")


def load(records_dir: Path) -> tuple[list[Published], list[tuple[Path, str]]]:
    """All whole records below a folder, oldest first, and (path, reason) for each that was left out."""
    pool, whole, left_out = _Pool(), [], []
    for path in sorted(records_dir.glob("*/*.json")):
        try:
            record, rows = read(path)
        except RecordError as error:
            left_out.append((path, str(error)))
        else:
            whole.append((record, tuple(pool.row(row) for row in rows)))
    return sorted(whole, key=lambda pair: (pair[0].run.completed, pair[0].record_id)), left_out


class _Pool:
    """One object for each distinct value. Rows were validated when they were read and are only put together again."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Any] = {}

    def one(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def row(self, row: SampleRow) -> SampleRow:
        """An equal row of shared parts."""
        claim = self._made(ClaimRow, row.claim, keywords=tuple(self._text(word) for word in row.claim.keywords),
                           statement=self._text(row.claim.statement))
        recovery = row.recovery and self._made(
            RecoveryRow, row.recovery, slots={self._text(key): value for key, value in row.recovery.slots.items()},
            domain_ranking=self.one(row.recovery.domain_ranking, lambda: row.recovery.domain_ranking))
        texts = {name: self._text(value) for name, value in row.__dict__.items() if isinstance(value, str)}
        return self._made(
            SampleRow, row, **texts, claim=claim, recovery=recovery, detect=self._made(DetectRow, row.detect),
            card=row.card and self.one(("card", row.card.model_dump_json()), lambda: row.card),
            gate=self.one(("gate", repr(row.gate)), lambda: row.gate),
            cost={self._text(key): value for key, value in row.cost.items()})

    def _text(self, text: str) -> str:
        return self._kept.setdefault(text, text)

    def _made(self, kind: type[Kept], model: BaseModel, **changes: Any) -> Kept:
        # The set of fields that were given is as large as the fields themselves; all rows of a kind give the same ones.
        given = self.one((kind, frozenset(model.model_fields_set)), lambda: set(model.model_fields_set))
        return kind.model_construct(_fields_set=given, **(model.__dict__ | changes))
