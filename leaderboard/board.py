"""From records to what the page shows: one `Board` per suite, its verified rows ranked within slices.

Main objects: `boards(published, levels) -> list[Board]`, `Board`, `Slice` (the methods that sat the same exam).
Example: `boards(archive.read_all(Path("records"))[0], {record_id: "rerun"})[0].slices[0].members[0].rank`

Only rows that the maintainers reran, or that were scored on sealed organisms, are ranked. Ranks are by paired
comparisons, which need shared units: where the shape of some organisms would give them away to methods that read
weights (`Suite.shown_to`), those methods sit a smaller exam and are ranked apart, in a slice of their own.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..graders.averages import MIN_UNITS_BOOTSTRAP
from ..organisms.spec import Card, load_catalog
from .entries import Entry, Published, entries
from .levels import RANKED
from .pairwise import Pairs, compare
from .record import Record, SampleRow
from .stats import smallest_difference

ORACLE_FLOOR = 0.95
PLACE = {"ceiling": 0, "method": 1, "floor": 2}


@dataclass(frozen=True)
class Organism:
    """One organism as the board shows it: any entry's sample of it, and its answer key where it is known."""

    row: SampleRow
    card: Card | None


@dataclass(frozen=True)
class Check:
    """One row that proves the instrument: what it must do, and whether it did."""

    method: str
    rule: str
    passed: bool


@dataclass(frozen=True)
class Slice:
    """Ranked methods that were given the same organisms, best first, and what tells them apart."""

    members: tuple[Entry, ...]
    units: tuple[str, ...]
    withheld: frozenset[str]
    """Organisms that none of them is shown."""
    smallest_difference: float | None
    pairs: Pairs | None
    """In the order of `members`; None below 8 units."""

    @property
    def separable(self) -> bool:
        """Whether there are enough units to tell methods apart at all."""
        return len(self.units) >= MIN_UNITS_BOOTSTRAP

    @property
    def n_pairs(self) -> int:
        """Pairs of its methods."""
        return len(self.members) * (len(self.members) - 1) // 2

    @property
    def n_separated(self) -> int:
        """Pairs that are told apart; none below 8 units."""
        return self.pairs.n_separated() if self.pairs else 0

    @property
    def ties(self) -> list[int]:
        """How many methods have the same rank, the largest group first."""
        return sorted(Counter(member.rank for member in self.members).values(), reverse=True)


@dataclass(frozen=True)
class Board:
    """Everything about one suite."""

    record: Record
    """The newest one: it names the suite and the date."""
    entries: tuple[Entry, ...]
    """All rows: ceilings, methods, floors, each by mean."""
    slices: tuple[Slice, ...]
    """The one with most units first; none if a check failed or no record is verified."""
    organisms: tuple[Organism, ...]
    nulls: tuple[Organism, ...]
    n_units: int
    smallest_difference: float | None
    """Of the first slice; without one, of all methods, as a plan for how many units are needed."""
    checks: tuple[Check, ...]
    n_superseded: int

    @property
    def sound(self) -> bool:
        """False when a check of the instrument failed; then nobody is ranked."""
        return all(check.passed for check in self.checks)

    @property
    def separable(self) -> bool:
        """Whether there are enough units to tell methods apart at all."""
        return self.n_units >= MIN_UNITS_BOOTSTRAP

    @property
    def n_trained_nulls(self) -> int:
        """Nulls that enter detection."""
        return sum(organism.row.trained_null for organism in self.nulls)

    @property
    def trusted(self) -> tuple[Entry, ...]:
        """The first table's rows; all rows where nothing is verified."""
        return self.ranked or self.entries

    @property
    def cards(self) -> tuple[Card, ...]:
        """Answer keys of the organisms that are shown, each once."""
        return tuple({o.card.card_id: o.card for o in self.organisms if o.card}.values())

    @property
    def ranked(self) -> tuple[Entry, ...]:
        """Verified rows and the floors and ceilings among them: the first table. Empty if nothing is verified."""
        return tuple(entry for entry in self.entries if entry.level in RANKED)

    @property
    def unranked(self) -> tuple[Entry, ...]:
        """Rows as their authors ran them: a table of their own."""
        return tuple(entry for entry in self.entries if entry.level not in RANKED)


def boards(published: Sequence[Published], levels: Mapping[str, str] | None = None) -> list[Board]:
    """One board per suite digest, the one with the newest record first.

    Args:
        levels: Record id -> self, regraded, rerun or sealed; a record that is not named is self.
    """
    by_suite: dict[str, list[Published]] = defaultdict(list)
    for pair in sorted(published, key=lambda pair: (pair[0].run.completed, pair[0].record_id)):
        by_suite[pair[0].suite.digest].append(pair)
    return sorted((_board(pairs, levels or {}) for pairs in by_suite.values()),
                  key=lambda b: b.record.run.completed, reverse=True)


def _board(published: list[Published], levels: Mapping[str, str]) -> Board:
    found, n_superseded = entries(published, levels)
    verified = [entry for entry in found if entry.level in RANKED]
    trusted = verified or found  # what is expected of a row never depends on what a stranger hands in
    checks = tuple(check for entry in trusted for check in _checks(entry))
    found = _noted(found, trusted)
    slices = _slices([entry for entry in found if entry.level in RANKED]) if all(c.passed for c in checks) else []
    ranks = {member.key: member for part in slices for member in part.members}
    ordered = sorted((ranks.get(entry.key, entry) for entry in found), key=_order)
    seen = {name: reading.row for entry in reversed(ordered) for name, reading in entry.readings.items()}
    seen |= {name: reading.row for entry in trusted for name, reading in entry.readings.items()}
    cards = {s.card.card_id: s.card for s in load_catalog().values() if s.card}
    shown = [Organism(row, row.card or cards.get(row.card_id)) for row in
             sorted(seen.values(), key=lambda row: (row.family, row.unit, row.pair, row.role, row.organism))]
    units = sorted({unit for entry in trusted for unit in entry.units})
    return Board(
        record=published[-1][0], entries=tuple(ordered), slices=tuple(slices), n_units=len(units), checks=checks,
        organisms=tuple(o for o in shown if o.row.role != "null"),
        nulls=tuple(o for o in shown if o.row.role == "null"),
        smallest_difference=slices[0].smallest_difference if slices else smallest_difference(
            _matrix([e for e in found if _comparable(e) and not e.withheld], units)), n_superseded=n_superseded)


def _order(entry: Entry) -> tuple:
    return (PLACE[entry.role], bool(entry.note), bool(entry.withheld),
            math.inf if entry.mean is None else -entry.mean, entry.label)


def _noted(found: list[Entry], trusted: list[Entry]) -> list[Entry]:
    """Says of each entry why it cannot be compared: organisms are missing, or were regrown where others' were not.

    Which organisms an access is shown is read off the trusted rows of that kind: those that read weights may be shown
    fewer (SCORING, "Leaks"), all others are shown every one.
    """
    def counted(entry: Entry) -> set[str]:
        return {name for name, reading in entry.readings.items() if reading.row.counted}

    def wanted_by(rows: list[Entry]) -> frozenset[str]:
        return frozenset().union(*(counted(entry) for entry in rows))

    all_shown = wanted_by(trusted)
    shown = {True: wanted_by([e for e in trusted if _reads_weights(e)]) or all_shown, False: all_shown}
    some_shipped = any(not r.row.regrown for e in trusted for r in e.readings.values() if r.row.counted)

    def note(entry: Entry, wanted: frozenset[str]) -> str:
        have = counted(entry)
        if have != wanted:
            return f"incomplete: {len(have & wanted)} of {len(wanted)} organisms"
        if some_shipped and any(entry.readings[name].row.regrown for name in have):
            return "regrown organisms"
        return ""

    return [replace(entry, note=note(entry, shown[_reads_weights(entry)]),
                    withheld=all_shown - shown[_reads_weights(entry)]) for entry in found]


def _reads_weights(entry: Entry) -> bool:
    return "weights" in entry.record.method.access


def _comparable(entry: Entry) -> bool:
    return entry.role == "method" and not entry.note and entry.mean is not None


def _slices(verified: list[Entry]) -> list[Slice]:
    """Groups by what they were given, ranks each, and puts the one with most units first."""
    groups: dict[frozenset[str], list[Entry]] = defaultdict(list)
    for entry in sorted(verified, key=_order):
        if _comparable(entry):
            groups[entry.withheld].append(entry)
    made = []
    for withheld, members in groups.items():
        units = sorted(members[0].units)
        scores_MU = _matrix(members, units)
        pairs = compare(scores_MU) if len(units) >= MIN_UNITS_BOOTSTRAP else None
        if pairs:
            members = [replace(entry, rank=rank) for entry, rank in zip(members, pairs.ranks(), strict=True)]
        smallest = smallest_difference(scores_MU, pairs.critical_t) if pairs else smallest_difference(scores_MU)
        made.append(Slice(tuple(members), tuple(units), withheld, smallest, pairs))
    return sorted(made, key=lambda part: (-len(part.units), sorted(part.withheld)))


def _matrix(members: list[Entry], units: Sequence[str]) -> np.ndarray:
    return np.array([[entry.units[unit] for unit in units] for entry in members], dtype=float).reshape(
        len(members), len(units))


def _checks(entry: Entry) -> list[Check]:
    """SCORING, "Rows that check the instrument"."""
    name = entry.record.method.name
    if name == "oracle" and entry.parts:
        return [Check("oracle", f"knows the answer, so it must reach {ORACLE_FLOOR} in every part",
                      all(value >= ORACLE_FLOOR for value in entry.parts.values()))]
    if entry.interval is None:
        return []
    low, high = entry.interval.low, entry.interval.high
    if name == "prior":
        return [Check("prior", "sees nothing, so its interval must hold 0", low <= 1e-9 and high >= -1e-9)]
    if name in ("kitchen_sink", "injection"):
        return [Check(name, "games the grader, so its interval must hold 0 or lie below", low <= 1e-9)]
    return []
