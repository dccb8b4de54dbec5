"""Thousands of records in memory at once: what their rows share is held once.

Main object: `Pool`, with which `archive.read_all` needs a third of the memory: organisms' cards, gates, words and
statements repeat from record to record.
Example: `pool = Pool(); rows = tuple(pool.row(row) for row in rows)`
"""

from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from pydantic import BaseModel

from .record import ClaimRow, DetectRow, RecoveryRow, SampleRow

Kept = TypeVar("Kept")


class Pool:
    """One object for each distinct value. Rows were validated when they were read and are only put together again."""

    def __init__(self) -> None:
        # A table for each kind of value: texts are anybody's, and may spell out the key of another kind.
        self._kept: dict[str, dict[Hashable, Any]] = defaultdict(dict)

    def one(self, kind: str, key: Hashable, make: Callable[[], Kept]) -> Kept:
        kept = self._kept[kind]
        if key not in kept:
            kept[key] = make()
        return kept[key]

    def row(self, row: SampleRow) -> SampleRow:
        """An equal row of shared parts."""
        claim = self._made(ClaimRow, row.claim, keywords=tuple(self._text(word) for word in row.claim.keywords),
                           statement=self._text(row.claim.statement))
        recovery = row.recovery and self._made(
            RecoveryRow, row.recovery, slots={self._text(key): value for key, value in row.recovery.slots.items()},
            domain_ranking=self.one("domains", row.recovery.domain_ranking, lambda: row.recovery.domain_ranking))
        texts = {name: self._text(value) for name, value in row.__dict__.items() if isinstance(value, str)}
        return self._made(
            SampleRow, row, **texts, claim=claim, recovery=recovery, detect=self._made(DetectRow, row.detect),
            card=row.card and self.one("card", row.card.model_dump_json(), lambda: row.card),
            gate=self.one("gate", repr(row.gate), lambda: row.gate),
            cost={self._text(key): value for key, value in row.cost.items()})

    def _text(self, text: str) -> str:
        return self._kept["text"].setdefault(text, text)

    def _made(self, kind: type[Kept], model: BaseModel, **changes: Any) -> Kept:
        # The set of fields that were given is as large as the fields themselves; all rows of a kind give the same ones.
        given = self.one("given", (kind, frozenset(model.model_fields_set)), lambda: set(model.model_fields_set))
        return kind.model_construct(_fields_set=given, **(model.__dict__ | changes))
