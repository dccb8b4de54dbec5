"""From records to what the page shows: one `Board` per suite, its verified rows ranked within slices.

Main objects: `boards(published, levels) -> list[Board]`, `Board`, `Slice` (the methods that sat the same exam).
Example: `boards(archive.read_all(Path("records"))[0], {record_id: "rerun"})[0].slices[0].members[0].rank`

Only rows that those who keep the board reran, or that were scored on sealed organisms, are ranked. Ranks are by paired
comparisons, which need shared units: where the shape of some organisms would give them away to methods that read
weights (`Suite.shown_to`), those methods sit a smaller exam and are ranked apart, in a slice of their own.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..graders.averages import MIN_UNITS_BOOTSTRAP
from ..organisms.spec import Card
from .against_suite import suite_of
from .archive import age
from .entries import Entry, Published, entries
from .exam import Check, Organism, exam_of, instrument_checks, items_of, noted, shown_organisms
from .levels import RANKED
from .pairwise import Pairs, compare
from .record import Record
from .stats import smallest_difference

PLACE = {"ceiling": 0, "method": 1, "floor": 2}


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
    """The newest of those that are trusted: it names the suite and the date."""
    entries: tuple[Entry, ...]
    """All rows: ceilings, methods, floors, each by mean."""
    slices: tuple[Slice, ...]
    """The one with most units first; none if a check failed or is missing, or no record is verified."""
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
        return all(check.passed is not False for check in self.checks)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Rows that would check the instrument and are missing; then nobody is ranked either."""
        return tuple(check.method for check in self.checks if check.passed is None)

    @property
    def lone_pairs(self) -> tuple[str, ...]:
        """Objectives that count without their twin, or the other way round: there a constant answer can score."""
        pairs: dict[str, set[bool]] = defaultdict(set)
        for organism in self.organisms:
            pairs[organism.row.pair].add(organism.row.counted)
        return tuple(sorted(pair for pair, found in pairs.items() if len(found) > 1))

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
        """All candidates of the suite's split; of a suite that is not built in, the answer keys of what is shown."""
        exam = suite_of(self.record)
        return tuple(exam.cards if exam else {o.card.card_id: o.card for o in self.organisms if o.card}.values())

    @property
    def ranked(self) -> tuple[Entry, ...]:
        """Verified rows and the floors and ceilings among them: the first table. Empty if nothing is verified."""
        return tuple(entry for entry in self.entries if entry.level in RANKED)

    @property
    def unranked(self) -> tuple[Entry, ...]:
        """Rows as their authors ran them: a table of their own."""
        return tuple(entry for entry in self.entries if entry.level not in RANKED)


def boards(published: Sequence[Published], levels: Mapping[str, str] | None = None) -> list[Board]:
    """One board per suite digest: those with ranked rows first, then by their newest trusted record.

    So nobody's own record decides which suite people see first, whatever date it bears.

    Args:
        levels: Record id -> self, regraded, rerun or sealed; a record that is not named is self.
    """
    by_suite: dict[str, list[Published]] = defaultdict(list)
    for pair in sorted(published, key=lambda pair: age(pair[0])):
        by_suite[pair[0].suite.digest].append(pair)
    return sorted((_board(pairs, levels or {}) for pairs in by_suite.values()),
                  key=lambda board: (bool(board.ranked), age(board.record)), reverse=True)


def _board(published: list[Published], levels: Mapping[str, str]) -> Board:
    found, n_superseded = entries(published, levels)
    verified = any(entry.level in RANKED for entry in found)
    trusted = [entry for entry in found if entry.level in RANKED] or found
    exam = exam_of(trusted, verified)  # what is expected of a row never depends on what a stranger hands in
    found = noted(found, exam)
    trusted = [entry for entry in found if entry.level in RANKED] or found
    checks = instrument_checks(trusted)
    slices = _slices(trusted) if verified and all(check.passed for check in checks) else []
    ranks = {member.key: member for part in slices for member in part.members}
    ordered = sorted((ranks.get(entry.key, entry) for entry in found), key=lambda entry: _order(entry, verified))
    shown = shown_organisms([entry for entry in ordered if entry.level in RANKED] or ordered, exam.shown)
    units = sorted({unit for _, _, unit in exam.counted})
    plan = [entry for entry in trusted if _comparable(entry) and not entry.withheld]
    return Board(
        record=max((record for entry in trusted for record in entry.records), key=age), entries=tuple(ordered),
        slices=tuple(slices), n_units=len(units), checks=checks,
        organisms=tuple(o for o in shown if o.row.role != "null"),
        nulls=tuple(o for o in shown if o.row.role == "null"),
        smallest_difference=slices[0].smallest_difference if slices else smallest_difference(_matrix(plan, units)),
        n_superseded=n_superseded)


def _order(entry: Entry, verified: bool) -> tuple:
    # Where others vouch for rows, one that nobody vouches for does not choose its place by what it calls itself.
    place = PLACE[entry.role] if entry.level in RANKED or not verified else PLACE["method"]
    return (place, bool(entry.note), bool(entry.withheld), math.inf if entry.mean is None else -entry.mean, entry.label)


def _comparable(entry: Entry) -> bool:
    return entry.role == "method" and not entry.note and entry.mean is not None


def _slices(verified: list[Entry]) -> list[Slice]:
    """Groups by what they were given, ranks each, and puts the one with most units first."""
    groups: dict[frozenset[str], list[Entry]] = defaultdict(list)
    for entry in sorted(verified, key=lambda entry: _order(entry, True)):
        if _comparable(entry):
            groups[entry.withheld].append(entry)
    made = []
    for withheld, members in groups.items():
        units = sorted({unit for *_, unit in items_of(members[0], counted=True)})
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
