"""Rows of the board: a method with an investigator over all its evidence seeds, everything computed from samples.

Main objects: `entries(published, levels) -> list[Entry]`, `Entry`, `Reading` (what an entry said about one organism),
`Training` (the same of one training of it).
Example: `entries(archive.read_all(Path("records"))[0], {})[0].mean`
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

from ..graders.averages import Interval, intervals
from ..graders.detect import Estimate, fpr_at_verdict
from ..organisms.spec import digest_of
from .archive import age
from .judges import Grades, grades_of
from .levels import LADDER, RANKED
from .record import Record, SampleRow
from .stats import Detection, Sample, detection, mean_over, unit_means

PARTS = ("domain", "objective", "content")
KEY_DIGITS = 32
"""Hexadecimal digits of a name made by hashing."""
COSTS = ("seconds", "forward_tokens", "generated_tokens", "flops", "peak_bytes", "model_tokens", "usd")
"""Of the method, and of the language model that investigated (the last two)."""
Published = tuple[Record, tuple[SampleRow, ...]]
Item = tuple[str, int, str]
"""A question of the exam: an organism, one training of it, and the unit that it counts in."""


@dataclass(frozen=True)
class Training:
    """What one entry said about one training of an organism. Words are those of the latest record's epoch 1."""

    row: SampleRow
    scores: dict[str, float]
    """recovery and its parts, averaged over repeats, as far as they are defined; empty for nulls."""


@dataclass(frozen=True)
class Reading:
    """What one entry said about one organism, over all its trainings."""

    trainings: tuple[Training, ...]
    """By seed."""
    scores: dict[str, float]
    """Averages over the trainings that count, as the units' are; over all of them where none counts."""

    @property
    def row(self) -> SampleRow:
        """Stands for the organism: its first training that counts."""
        return next((one.row for one in self.trainings if one.row.counted), self.trainings[0].row)


@dataclass(frozen=True)
class Entry:
    """A row of the board."""

    records: tuple[Record, ...]
    level: str
    """The lowest of its records'."""
    readings: dict[str, Reading]
    units: dict[str, float]
    mean: float | None
    interval: Interval | None
    parts: dict[str, float]
    part_intervals: dict[str, Interval | None]
    detection: Detection
    fpr: Estimate | None
    """False alarms among trained nulls, at the method's own verdict."""
    samples: tuple[Sample, ...]
    """(evidence seed, row) of all its records."""
    grades: Grades | None
    """Of judges; None if none were asked."""
    cost: dict[str, float]
    """Mean per organism: of a collection of evidence and of an investigation of it, as far as it was recorded."""
    grade_interval: Interval | None = None
    """Of the judges' mean grade."""
    note: str = ""
    """Why it is not ranked although its method could be: incomplete, or regrown organisms."""
    withheld: frozenset[str] = frozenset()
    """Counted organisms that its access is not shown."""
    rank: tuple[int, int] | None = None
    """Within its slice; None also where there are too few units for ranks."""

    @property
    def record(self) -> Record:
        """The latest record."""
        return self.records[-1]

    @cached_property  # asked for once a claim
    def key(self) -> str:
        """A name for files and links: a hash of what makes it a row of its own, whatever its texts are.

        So long that nobody finds texts that give another row's name, and with it the place of its page.
        """
        ranked = self.level in RANKED
        of = digest_of([self.record.suite.digest, list(row_key(self.record, ranked)), ranked])
        return hashlib.sha256(of.encode()).hexdigest()[:KEY_DIGITS]

    @cached_property
    def rows(self) -> list[SampleRow]:
        """One for each organism and training."""
        return [one.row for reading in self.readings.values() for one in reading.trainings]

    @property
    def role(self) -> str:
        """method, floor or ceiling."""
        return self.record.method.role

    @property
    def label(self) -> str:
        """How people name this row."""
        return self.record.method.label

    @property
    def fpr_at_tpr(self) -> Estimate | None:
        """False alarms at the threshold that finds 4 of 5 organisms."""
        return self.detection.fpr_at_tpr

    @property
    def seconds(self) -> float:
        """Mean per organism and evidence collection."""
        return self.cost.get("seconds", 0.0)


def entries(published: Sequence[Published], levels: Mapping[str, str]) -> tuple[list[Entry], int]:
    """The rows of one suite, and how many records newer ones replaced. Records must come oldest first (`archive.age`).

    A row is made of records on one side of the line that `RANKED` draws, so that nobody's own run takes the place of a
    verified one, however new it is.
    """
    groups: dict[tuple, list[Published]] = defaultdict(list)
    for pair in published:
        ranked = levels.get(pair[0].record_id, "self") in RANKED
        groups[(*row_key(pair[0], ranked), ranked)].append(pair)
    current = [_current(pairs) for pairs in groups.values()]
    drafts = [_draft(pairs, levels) for pairs in current]
    found = iter(intervals([values for _, rows in drafts for values in rows]))
    whole = [replace(draft, interval=next(found), part_intervals={part: next(found) for part in PARTS},
                     grade_interval=next(found))
             for draft, _ in drafts]
    return whole, len(published) - sum(len(pairs) for pairs in current)


def row_key(record: Record, ranked: bool) -> tuple[str, ...]:
    """What makes a row of its own: a method with its settings, read by an investigator with its models and options.

    Where nobody vouches, the method's source counts too: whoever takes another's name must not take the place of his
    row by being newer.
    """
    method, investigator = record.method, record.investigator
    return (method.name, method.version, digest_of(method.settings), investigator.name, investigator.model,
            digest_of(investigator.options), digest_of({key: list(names) for key, names in investigator.roles.items()}),
            investigator.prompt_sha256, "" if ranked else method.source_sha256)


def _current(pairs: list[Published]) -> list[Published]:
    """The newest record of each evidence seed, as far as method and investigator are those of the newest record."""
    last = pairs[-1][0]
    same = [p for p in pairs if (p[0].method.source_sha256, p[0].investigator.sha256, p[0].run.graders)
            == (last.method.source_sha256, last.investigator.sha256, last.run.graders)]
    newest = {record.run.evidence_seed: (record, rows) for record, rows in same}
    return sorted(newest.values(), key=lambda pair: age(pair[0]))


def _draft(pairs: list[Published], levels: Mapping[str, str]) -> tuple[Entry, list[list[float]]]:
    """An entry without its intervals, which are made for all entries at once, and the units they are made from."""
    samples: list[Sample] = [(record.run.evidence_seed, row) for record, rows in pairs for row in rows]
    readings = _readings(samples)
    units = unit_means(samples, "recovery")
    parts = {part: unit_means(samples, part) for part in PARTS}
    nulls = [(seed, row) for seed, row in samples if row.trained_null]
    grades = grades_of(pairs)
    flagged = _per_organism(nulls, lambda row: float(row.detect.flagged))
    entry = Entry(
        records=tuple(record for record, _ in pairs),
        level=min((levels.get(record.record_id, "self") for record, _ in pairs), key=LADDER.index),
        readings=readings, units=units, mean=mean_or_none(units.values()), interval=None,
        parts={part: mean_or_none(values.values()) for part, values in parts.items() if values}, part_intervals={},
        detection=detection(samples), fpr=fpr_at_verdict(flagged), cost=_costs(samples), samples=tuple(samples),
        grades=grades)
    return entry, [list(values.values()) for values in (units, *parts.values(), grades.units if grades else {})]


def _readings(samples: list[Sample]) -> dict[str, Reading]:
    shown = {_training(row): row for _, row in samples if row.epoch == 1}
    counting = {_training(row) for _, row in samples if row.counted}
    kept = [(seed, row) for seed, row in samples if row.counted or _training(row) not in counting]
    scores: dict[Hashable, dict[str, float]] = defaultdict(dict)
    for part in ("recovery", *PARTS):
        known = [(seed, row) for seed, row in kept if getattr(row.recovery, part, None) is not None]
        for key, mean in mean_over(known, lambda row, part=part: getattr(row.recovery, part), _training).items():
            scores[key][part] = mean
    trainings: dict[str, list[Training]] = {organism: [] for organism, _ in shown}
    for key, row in sorted(shown.items(), key=lambda one: one[0][1]):
        trainings[row.organism].append(Training(row, scores[key]))
    return {organism: Reading(tuple(some), _averages([one for one in some if _training(one.row) in counting] or some))
            for organism, some in trainings.items()}


def _training(row: SampleRow) -> tuple[str, int]:
    return row.organism, row.train_seed


def _averages(trainings: Sequence[Training]) -> dict[str, float]:
    found = {}
    for part in ("recovery", *PARTS):
        if values := [one.scores[part] for one in trainings if part in one.scores]:
            found[part] = math.fsum(values) / len(values)
    return found


def _per_organism(samples: list[Sample], value) -> list[float]:
    return list(mean_over(samples, value, lambda row: row.organism).values())


def mean_or_none(values: Collection[float]) -> float | None:
    """None of nothing."""
    return fmean(values) if values else None


def _costs(samples: list[Sample]) -> dict[str, float]:
    """Means over organisms and evidence seeds; of what an investigation costs, over its epochs too."""
    first = [row for _, row in samples if row.epoch == 1]
    spent = {key: [row.cost.get(key) for row in first] for key in COSTS}
    used = [row.usage for _, row in samples if row.usage]
    spent |= {"model_tokens": [usage.total_tokens for usage in used], "usd": [usage.usd for usage in used]}
    known = {key: [float(value) for value in values if value is not None] for key, values in spent.items()}
    return {key: sum(values) / len(values) for key, values in known.items() if values}
