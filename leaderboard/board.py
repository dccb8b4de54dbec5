"""From records to what the page shows: one `Board` per suite, its rows ranked, everything computed from samples.

Main objects: `boards(published) -> list[Board]`, `Board`, `Entry` (a method with an investigator), `Reading` (what that
entry said about one organism).
Example: `boards(archive.read_all(Path("records"))[0])[0].entries[0].mean`
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..graders.averages import MIN_UNITS_BOOTSTRAP, Interval, interval
from ..organisms.spec import Card, digest_of, load_catalog
from .record import Record, SampleRow
from .stats import Detection, Sample, detection, mean_over, rank_intervals, smallest_difference, unit_means

PARTS = ("domain", "objective", "content")
Published = tuple[Record, tuple[SampleRow, ...]]
ORACLE_FLOOR = 0.95


@dataclass(frozen=True)
class Reading:
    """What one entry said about one organism. Scores are averages; words are those of the latest record's epoch 1."""

    row: SampleRow
    scores: dict[str, float]
    """recovery and its parts, as far as they are defined; empty for nulls."""


@dataclass(frozen=True)
class Entry:
    """A row of the board: a method with an investigator, over all its evidence seeds."""

    records: tuple[Record, ...]
    readings: dict[str, Reading]
    units: dict[str, float]
    mean: float | None
    interval: Interval | None
    parts: dict[str, float]
    part_intervals: dict[str, Interval | None]
    detection: Detection
    seconds: float
    forward_tokens: float
    note: str = ""
    """Why it is not ranked although its method could be: incomplete, or regrown organisms."""
    rank: tuple[int, int] | None = None

    @property
    def record(self) -> Record:
        """The latest record."""
        return self.records[-1]

    @property
    def role(self) -> str:
        """method, floor or ceiling."""
        return self.record.method.role

    @property
    def label(self) -> str:
        """How people name this row."""
        return self.record.method.label


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
class Board:
    """Everything about one suite."""

    record: Record
    """The newest one: it names the suite and the date."""
    entries: tuple[Entry, ...]
    organisms: tuple[Organism, ...]
    nulls: tuple[Organism, ...]
    n_units: int
    smallest_difference: float | None
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


def boards(published: Sequence[Published]) -> list[Board]:
    """One board per suite digest, the one with the newest record first."""
    by_suite: dict[str, list[Published]] = defaultdict(list)
    for pair in sorted(published, key=lambda pair: (pair[0].run.completed, pair[0].record_id)):
        by_suite[pair[0].suite.digest].append(pair)
    return sorted((_board(pairs) for pairs in by_suite.values()), key=lambda b: b.record.run.completed, reverse=True)


def _board(published: list[Published]) -> Board:
    groups: dict[tuple, list[Published]] = defaultdict(list)
    for pair in published:
        groups[_row_key(pair[0])].append(pair)
    current = [_current(pairs) for pairs in groups.values()]
    entries = [_entry(pairs) for pairs in current]
    seen = {name: reading.row for entry in entries for name, reading in entry.readings.items()}
    units = sorted({unit for entry in entries for unit in entry.units})
    checks = tuple(check for entry in entries for check in _checks(entry))
    entries = _ranked(_noted(entries), units, all(check.passed for check in checks))
    cards = {s.card.card_id: s.card for s in load_catalog().values() if s.card}
    members = sorted(seen.values(), key=lambda row: (row.family, row.unit, row.role, row.organism))
    shown = [Organism(row, row.card or cards.get(row.card_id)) for row in members]
    return Board(
        record=published[-1][0], entries=tuple(entries), n_units=len(units), checks=checks,
        organisms=tuple(o for o in shown if o.row.role != "null"),
        nulls=tuple(o for o in shown if o.row.role == "null"),
        smallest_difference=smallest_difference(_matrix([e for e in entries if _rankable(e)], units)),
        n_superseded=len(published) - sum(len(pairs) for pairs in current))


def _row_key(record: Record) -> tuple[str, ...]:
    """What makes a row of its own: a method with its settings, read by an investigator with its model and options."""
    method, investigator = record.method, record.investigator
    return (method.name, method.version, digest_of(method.settings), investigator.name, investigator.model,
            digest_of(investigator.options))


def _current(pairs: list[Published]) -> list[Published]:
    """The newest record of each evidence seed, as far as method and investigator are those of the newest record."""
    last = pairs[-1][0]
    same = [p for p in pairs if (p[0].method.source_sha256, p[0].investigator.sha256, p[0].run.graders)
            == (last.method.source_sha256, last.investigator.sha256, last.run.graders)]
    newest = {record.run.evidence_seed: (record, rows) for record, rows in same}
    return sorted(newest.values(), key=lambda pair: pair[0].run.completed)


def _entry(pairs: list[Published]) -> Entry:
    samples: list[Sample] = [(record.run.evidence_seed, row) for record, rows in pairs for row in rows]
    units = unit_means(samples, "recovery")
    parts = {part: unit_means(samples, part) for part in PARTS}
    return Entry(
        records=tuple(record for record, _ in pairs), readings=_readings(samples), units=units,
        mean=_mean(units), interval=interval(list(units.values())),
        parts={part: _mean(values) for part, values in parts.items() if values},
        part_intervals={part: interval(list(values.values())) for part, values in parts.items()},
        detection=detection(samples), seconds=_cost(samples, "seconds"),
        forward_tokens=_cost(samples, "forward_tokens"))


def _readings(samples: list[Sample]) -> dict[str, Reading]:
    means = {part: mean_over([(seed, row) for seed, row in samples if getattr(row.recovery, part, None) is not None],
                             lambda row, part=part: getattr(row.recovery, part), lambda row: row.organism)
             for part in ("recovery", *PARTS)}
    shown = {row.organism: row for _, row in samples if row.epoch == 1}
    return {organism: Reading(row, {part: values[organism] for part, values in means.items() if organism in values})
            for organism, row in shown.items()}


def _noted(entries: list[Entry]) -> list[Entry]:
    """Says of each entry why it cannot be compared: organisms are missing, or were regrown where others' were not."""
    wanted = {name for entry in entries for name, reading in entry.readings.items() if reading.row.counted}
    some_shipped = any(not r.row.regrown for e in entries for r in e.readings.values() if r.row.counted)

    def note(entry: Entry) -> str:
        have = {name for name, reading in entry.readings.items() if reading.row.counted}
        if have != wanted:
            return f"incomplete: {len(have)} of {len(wanted)} organisms"
        if some_shipped and any(entry.readings[name].row.regrown for name in have):
            return "regrown organisms"
        return ""

    return [replace(entry, note=note(entry)) for entry in entries]


def _rankable(entry: Entry) -> bool:
    return entry.role == "method" and not entry.note and entry.mean is not None


def _ranked(entries: list[Entry], units: list[str], sound: bool) -> list[Entry]:
    """Ceilings, methods and floors in that order, each by mean; methods get their rank, or an interval of ranks."""
    place = {"ceiling": 0, "method": 1, "floor": 2}
    ordered = sorted(entries, key=lambda entry: (place[entry.role], bool(entry.note),
                                                 math.inf if entry.mean is None else -entry.mean, entry.label))
    ranked = [entry for entry in ordered if _rankable(entry)] if sound else []
    if not ranked:
        return ordered
    means = [round(entry.mean, 9) for entry in ranked]
    simple = [(1 + sum(m > mine for m in means),) * 2 for mine in means]
    ranks = rank_intervals(_matrix(ranked, units)) or simple
    by_id = {id(entry): rank for entry, rank in zip(ranked, ranks, strict=True)}
    return [replace(entry, rank=by_id.get(id(entry))) for entry in ordered]


def _matrix(entries: list[Entry], units: list[str]) -> np.ndarray:
    return np.array([[entry.units[unit] for unit in units] for entry in entries], dtype=float).reshape(
        len(entries), len(units))


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


def _mean(units: dict[str, float]) -> float | None:
    return sum(units.values()) / len(units) if units else None


def _cost(samples: list[Sample], key: str) -> float:
    """Mean per organism and evidence collection."""
    values = [row.cost.get(key) or 0.0 for _, row in samples if row.epoch == 1]
    return sum(values) / len(values) if values else 0.0
