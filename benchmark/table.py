"""What a person sees of a scored log: one row per organism, the mean over objectives and twins, and what went wrong.

Main objects: `Row`, `rows_of`, `means_of`, `score_table`, `summary_table`, `plan_table`, `stdout`.
Example: `stdout().print(score_table("prior on demo", rows_of(log)))`
"""

import math
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from ..graders.averages import nested_means
from ..graders.claim import Claim

if TYPE_CHECKING:
    from .run import Result
    from inspect_ai.log import EvalLog  # takes a second to import, and most commands print tables without a log

PARTS = ("recovery", "domain", "objective", "content")
N_KEYWORDS = 8
WIDTH_IN_FILES = 120


@dataclass(frozen=True)
class Row:
    """One organism's result in one epoch. Parts and rank are None for nulls, which have nothing to recover."""

    organism: str
    family: str
    role: str
    unit: str
    train_seed: int
    expressed: bool
    healthy: bool
    verdict: str
    domain_rank: int | None
    recovery: float | None
    domain: float | None
    objective: float | None
    content: float | None
    keywords: tuple[str, ...]
    error: str
    epoch: int = 1

    @property
    def counted(self) -> bool:
        """Whether it enters the mean: an objective or twin that took its training and did not break."""
        return self.recovery is not None and self.expressed and self.healthy

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def stdout() -> Console:
    """Where tables go. In a file or pipe, which has no width of its own, lines may be long enough not to fold."""
    own_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if own_width else WIDTH_IN_FILES)


def rows_of(log: "EvalLog") -> list[Row]:
    """The rows of a log with samples, in the suite's order; an organism's epochs one after another."""
    rows = []
    order = {sample_id: i for i, sample_id in enumerate(log.eval.dataset.sample_ids or [])}
    for sample in sorted(log.samples or [], key=lambda sample: (order[sample.id], sample.epoch)):
        about, claim = sample.metadata, Claim.from_json(sample.output.completion)
        marks = (sample.scores or {})["recovery"]
        value = marks.value if isinstance(marks.value, dict) else dict.fromkeys(PARTS)
        ranking = list((marks.metadata or {}).get("domain_ranking", ()))
        rank = ranking.index(about["domain"]) + 1 if about["domain"] in ranking else None
        # NaN is how Inspect stores a part that was left out.
        parts = [None if value[part] is None or math.isnan(value[part]) else value[part] for part in PARTS]
        rows.append(Row(about["organism"], about["family"], about["role"], about["unit"], about["train_seed"],
                        about["expressed"], about["healthy"], claim.verdict, rank, *parts,
                        claim.keywords[:N_KEYWORDS], about.get("error", ""), sample.epoch))
    return rows


def means_of(rows: list[Row]) -> dict[str, float | None]:
    """Mean over units of recovery and each part: over epochs, training seeds, then over the objectives and twins of a
    domain.

    Only organisms that count enter, and a part only where there is one; None if there is none.
    """
    means: dict[str, float | None] = {}
    for part in PARTS:
        units = nested_means(((row.unit, row.organism, row.train_seed), getattr(row, part)) for row in rows
                             if row.counted and getattr(row, part) is not None).values()  # epochs share a key
        means[part] = math.fsum(units) / len(units) if units else None
    return means


def n_units(rows: list[Row]) -> int:
    """Of how many units (domains) the means are."""
    return len({row.unit for row in rows if row.counted})


def flagged_nulls(rows: list[Row]) -> tuple[float, int]:
    """How many nulls were called an objective (a fraction where epochs disagree), of how many."""
    nulls = [repeats for repeats in _by_organism(rows) if repeats[0].role == "null"]
    return math.fsum(sum(row.verdict == "objective" for row in each) / len(each) for each in nulls), len(nulls)


def score_table(title: str, rows: list[Row]) -> Group:
    """What `narrowbench score` prints: marks, one row per organism, and below them the first words of each claim."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("organism", "family", "role", "verdict"):
        table.add_column(name, overflow="fold")
    for name in ("rank", *PARTS):
        table.add_column(name, justify="right", no_wrap=True)
    organisms = _by_organism(rows)
    for repeats in organisms:
        row = repeats[0]
        table.add_row(row.organism, row.family, row.role, "method failed" if row.error else _verdict(repeats),
                      *(format_number(_mean_of(repeats, part)) for part in ("domain_rank", *PARTS)),
                      style="red" if row.error else None)
    table.add_section()
    means = means_of(rows)
    table.add_row(f"mean of {n_units(rows)} units", "", "", "", "",
                  *(format_number(means[part]) for part in PARTS), style="bold")
    words = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for repeats in organisms:
        words.add_row(repeats[0].organism, " ".join(repeats[0].keywords) or "(no words)")
    left_out = [row.organism for row, *_ in organisms if row.role != "null" and not row.counted]
    note = "Chance 0, top 1; rank: place of the true domain; a unit is a domain, with all its objectives, twins and seeds."
    if any(len(repeats) > 1 for repeats in organisms):
        note += " Numbers are means over epochs; words are those of the first."
    if left_out:
        note += f" Not in the mean, because training did not take or broke something: {', '.join(left_out)}."
    return Group(table, "First keywords:", words, "", note)


def summary_table(results: "Sequence[Result]") -> Table:
    """Methods beside floor and ceiling: mean recovery and parts, and how many nulls each one flagged."""
    table = Table(title="Recovery of the objective (chance 0, top 1)", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("method")
    for name in (*PARTS, "units", "nulls flagged"):
        table.add_column(name, justify="right")
    for result in sorted(results, key=lambda result: result.means["recovery"] or 0.0, reverse=True):
        flagged, n_nulls = flagged_nulls(list(result.rows))
        table.add_row(escape(result.label), *(format_number(result.means[part]) for part in PARTS),
                      str(n_units(list(result.rows))), f"{round(flagged, 2):g} of {n_nulls}")
    return table


def _by_organism(rows: list[Row]) -> list[list[Row]]:
    """Each organism's epochs, in the order of the rows."""
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row.organism, row.train_seed), []).append(row)
    return list(found.values())


def _verdict(repeats: list[Row]) -> str:
    """The verdict; where epochs disagree, how often each was given."""
    counts = Counter(row.verdict for row in repeats)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{n} {name}" for name, n in counts.most_common())


def _mean_of(repeats: list[Row], part: str) -> float | int | None:
    values = [value for row in repeats if (value := getattr(row, part)) is not None]
    return values[0] if len(set(values)) == 1 else math.fsum(values) / len(values) if values else None


def plan_table(title: str, steps: list[dict[str, str]]) -> Table:
    """The table of a dry run: per organism, what is there already and what would be done."""
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD)
    for name in ("organism", "training", "evidence"):
        table.add_column(name)
    for step in steps:
        table.add_row(*(escape(step[name]) for name in ("organism", "training", "evidence")))
    return table


def format_number(value: float | int | None) -> str:
    """Two decimals; a dash for nothing."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"
