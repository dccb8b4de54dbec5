"""What panels of judges say of the claims, beside recovery: grades per unit, and whether both put methods in one order.

Main objects: `grades_of` (a row's), `Grades`, `orders(board) -> list[Order]` ("do graders agree on the order?").
Example: `grades_of([(record, rows)]).units["baking"]`: the mean over a domain's claims of the judges' median vote, 1-5
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graders.agreement import RankAgreement, rank_agreement
from ..organisms.spec import digest_of
from .record import Panel, Record, SampleRow
from .stats import mean_over

WELL_GRADED = 4
"""From this grade on, the rubrics call a claim right in the main thing."""
MIN_METHODS = 3
"""Two methods have one order or the other: that is no agreement."""


@dataclass(frozen=True)
class Grades:
    """A panel's grades of one row's claims on expressed and healthy organisms."""

    panel: Panel
    units: dict[str, float]
    """Mean grade, 1 to 5, in the order of averaging that recovery has."""
    well_graded: float
    """Share of claims graded at least 4, averaged alike."""

    @property
    def mean(self) -> float:
        """Over units."""
        return sum(self.units.values()) / len(self.units)


def panel_key(panel: Panel) -> str:
    """Two panels are one if judges, their settings, prompt and rubrics are the same."""
    return digest_of(panel.model_dump(mode="json", exclude={"log"}))


def grades_of(pairs: Sequence[tuple[Record, Sequence[SampleRow]]]) -> Grades | None:
    """Grades by the newest panel among a row's records; None without one, or where nothing that counts was graded.

    Args:
        pairs: The row's records, oldest first.
    """
    panels = [record.panel for record, _ in pairs if record.panel]
    if not panels:
        return None
    key = panel_key(panels[-1])
    graded = [(record.run.evidence_seed, row) for record, rows in pairs if record.panel and
              panel_key(record.panel) == key for row in rows if row.counted and row.grade is not None]
    if not graded:
        return None
    units, good = (mean_over(graded, value, lambda row: row.unit) for value in
                   (lambda row: row.grade, lambda row: float(row.grade >= WELL_GRADED)))
    return Grades(panels[-1], {str(unit): mean for unit, mean in units.items()}, sum(good.values()) / len(good))


@dataclass(frozen=True)
class Order:
    """How alike recovery and one panel order the methods that both have marked."""

    panel: Panel
    n_methods: int
    agreement: RankAgreement | None
    """None for fewer than three methods, or where one of the two gives all of them the same."""


def orders(entries: Sequence[Any]) -> list[Order]:
    """One a panel, over the units that all its methods share.

    Args:
        entries: Rows that may be compared, as of `entries.Entry`; floors and ceilings are left out, which any grader
            puts at the ends.
    """
    by_panel: dict[str, list[Any]] = defaultdict(list)
    for entry in entries:
        if entry.role == "method" and not entry.note and entry.grades and entry.units:
            by_panel[panel_key(entry.grades.panel)].append(entry)
    found = []
    for members in by_panel.values():
        units = sorted(set.intersection(*({*one.units} & {*one.grades.units} for one in members)))
        alike = rank_agreement(*(np.array([[of[unit] for unit in units] for of in some]).reshape(len(members), -1)
                                 for some in ([one.units for one in members], [one.grades.units for one in members]))) \
            if len(members) >= MIN_METHODS else None
        found.append(Order(members[0].grades.panel, len(members), alike))
    return found
