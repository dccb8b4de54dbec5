"""From a sweep's cells to what a person reads: cells.csv, summary.json, table.md, figures, command.txt.

Main objects: `Row` (one cell under one method), `read_rows`, `analyse` -> `Report` (arms, comparisons), `write_report`,
`redraw`.
Example: `analyse(read_rows(Path("sweeps/mix")))["adl_logit_lens"].arms["extra steps"].trace.ed50`

Trace is recovery (chance 0, top 1). Behaviour is what the finetuning added to the gate, so that 0 means no effect for
both, and half of an effect means the same.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ..organisms.errors import NotFoundError, SpecError
from ..organisms.store import write_atomic
from . import figures
from .curves import Curves, Interval
from .dose import Crossing, Ed50, Matched, Response, earlier_share, match, respond

CELLS, SUMMARY, TABLE, COMMAND = "cells.csv", "summary.json", "table.md", "command.txt"
RAW = ("gate", "rel_norm", "detection")
"""Columns whose plain means stand in the table."""
FALLING = ("mix",)
"""Kinds whose effect dies with the dose; in the others it grows."""
DOSE_LABELS = {"mix": "mixed rows per narrow row", "samples": "narrow rows", "rank": "LoRA rank"}


class Row(BaseModel):
    """One cell under one method: a line of cells.csv."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sweep: Literal["mix", "samples", "rank"]
    organism: str
    unit: str
    arm: str
    dose: float
    seed: int
    method: str
    recovery: float
    domain: float | None
    objective: float | None
    content: float | None
    words: float
    """What the same keywords would recover under the verdict `objective`: trace without the reader's threshold."""
    gate: float
    gate_lower: float
    """One-sided 95% lower bound over the gate's questions."""
    gate_base: float
    expressed: bool
    healthy: bool
    perplexity_ratio: float
    rel_norm: float | None
    detection: float | None
    lexicon_share: float
    verdict: str
    keywords: str
    n_rows: int
    n_steps: int
    train_s: float
    read_s: float
    organism_key: str

    @classmethod
    def of(cls, sweep: str, organism: str, unit: str, arm: str, dose: float, seed: int, method: str,
           found: dict[str, Any]) -> "Row":
        """From a cell's numbers."""
        return cls(sweep=sweep, organism=organism, unit=unit, arm=arm, dose=dose, seed=seed, method=method,
                   **found | {"keywords": " ".join(found["keywords"])})

    @property
    def behaviour(self) -> float:
        """Gate of the organism minus that of the base."""
        return self.gate - self.gate_base


@dataclass(frozen=True)
class Arm:
    """One arm of a sweep under one method."""

    trace: Response
    behaviour: Response
    words: Response
    """Recovery of the keywords alone, whatever the verdict."""
    lexicon_share: Response
    """Trace that no reader stands behind: share of the card's words among the 20 strongest."""
    raw: dict[str, tuple[float, ...]]
    """Column -> mean over its cells at each dose."""
    n_cells: tuple[int, ...]
    n_unhealthy: tuple[int, ...]
    trace_first: float | None
    """Share of resamples in which the trace is halved (rising: is half there) at a smaller dose than the behaviour."""


@dataclass(frozen=True)
class Report:
    """All arms under one method, and each recipe beside another at equal gate ("A against B")."""

    arms: dict[str, Arm]
    matched: dict[str, Matched]


def read_rows(folder: Path) -> tuple[Row, ...]:
    """The rows of a sweep's folder. Raises NotFoundError without one, SpecError naming the line that is none."""
    path = folder / CELLS
    if not path.is_file():
        raise NotFoundError(f"There is no {path}. Name a folder that `narrowbench sweep ... --out FOLDER` wrote.")
    rows = []
    for number, raw in enumerate(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))), start=2):
        try:
            rows.append(Row.model_validate({name: value if value != "" else None for name, value in raw.items()
                                            if name is not None} | {"keywords": raw.get("keywords") or ""}))
        except ValidationError as error:
            key = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise SpecError(f"{path}, line {number}: column {key!r}: {error.errors()[0]['msg']}. Run the sweep again; "
                            "its cells are kept.") from error
    if not rows:
        raise SpecError(f"{path} has no cells. Run the sweep again.")
    return tuple(rows)


def analyse(rows: Sequence[Row], others: Sequence[Row] = ()) -> dict[str, Report]:
    """Dose-response of every method and arm; the first arm at the gate of every other one and of those of `others`."""
    reports, rising = {}, rows[0].sweep not in FALLING
    for method in dict.fromkeys(row.method for row in rows):
        mine = [row for row in rows if row.method == method]
        arms = {arm: [row for row in mine if row.arm == arm] for arm in dict.fromkeys(row.arm for row in mine)}
        theirs = [row for row in others if row.method == method]
        further = {f"{row.sweep}: {row.arm}": [other for other in theirs if other.arm == row.arm] for row in theirs}
        matched = {}
        for i, (arm, kept) in enumerate(arms.items()):
            for name, reference in ({} if i else {a: r for a, r in arms.items() if a != arm} | further).items():
                if {row.organism for row in kept} <= {row.organism for row in reference}:
                    matched[f"{arm} against {name}"] = match(
                        *(curves(which, value) for which in (kept, reference)
                          for value in (lambda row: row.recovery, lambda row: row.behaviour)))
        reports[method] = Report({arm: _arm(kept, rising) for arm, kept in arms.items()}, matched)
    return reports


def curves(rows: Sequence[Row], value: Callable[[Row], float]) -> Curves:
    """The rows of one arm and method as curves; a cell that is missing is NaN."""
    doses = sorted({row.dose for row in rows})
    lines = sorted({(row.unit, row.organism, row.seed) for row in rows})
    values_CG = np.full((len(lines), len(doses)), np.nan)
    for row in rows:
        values_CG[lines.index((row.unit, row.organism, row.seed)), doses.index(row.dose)] = value(row)
    return Curves(tuple(doses), tuple(line[1] for line in lines), tuple(line[0] for line in lines), values_CG)


def _arm(rows: Sequence[Row], rising: bool) -> Arm:
    trace, behaviour = curves(rows, lambda row: row.recovery), curves(rows, lambda row: row.behaviour)
    at = {dose: [row for row in rows if row.dose == dose] for dose in trace.doses}
    raw = {name: tuple(_plain_mean([getattr(row, name) for row in kept]) for kept in at.values()) for name in RAW}
    words, lexicon = curves(rows, lambda row: row.words), curves(rows, lambda row: row.lexicon_share)
    return Arm(*(respond(one, rising) for one in (trace, behaviour, words, lexicon)), raw, tuple(map(len, at.values())),
               tuple(sum(not row.healthy for row in kept) for kept in at.values()),
               earlier_share(trace, behaviour, rising))


def _plain_mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else math.nan


def write_report(folder: Path, rows: Sequence[Row], others: Sequence[Row], command: str,
                 failures: Sequence[str] = ()) -> dict[str, Any]:
    """Writes every file of a sweep's folder and returns the summary as JSON types."""
    reports, kind = analyse(rows, others), rows[0].sweep
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(Row.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in rows)
    write_atomic(folder / CELLS, buffer.getvalue())
    summary = {"sweep": kind, "organisms": sorted({row.organism for row in rows}), "command": command,
               "failures": list(failures), "methods": {method: _json(report) for method, report in reports.items()}}
    write_atomic(folder / SUMMARY, json.dumps(summary, indent=1, allow_nan=False))
    write_atomic(folder / TABLE, _markdown(rows, reports, command, failures))
    write_atomic(folder / COMMAND, command + "\n")
    draw(folder, rows, reports)
    return summary


def redraw(folder: Path) -> list[Path]:
    """Draws the figures of a folder again from its cells.csv."""
    rows = read_rows(folder)
    return draw(folder, rows, analyse(rows))


def draw(folder: Path, rows: Sequence[Row], reports: dict[str, Report]) -> list[Path]:
    """Writes the figures of a sweep, SVG and PNG, and returns their paths."""
    label, names = DOSE_LABELS[rows[0].sweep], ", ".join(sorted({row.organism for row in rows}))
    written = []
    for method, report in reports.items():
        file = "".join(c if c.isalnum() or c in "-_" else "-" for c in method)
        panels = [figures.Panel(arm, part.trace, part.behaviour, part.words) for arm, part in report.arms.items()]
        title = f"{method} on {names}"
        written += figures.save(figures.dose_response(panels, label, title), folder / f"dose-{file}")
        written += figures.save(figures.trace_at_behaviour(panels, label, title), folder / f"matched-{file}")
    return written


def _markdown(rows: Sequence[Row], reports: dict[str, Report], command: str, failures: Sequence[str]) -> str:
    kind, names = rows[0].sweep, ", ".join(dict.fromkeys(row.organism for row in rows))
    lines = [f"# Sweep `{kind}`: {names}", "", f"    {command}", ""]
    lines += [f"**Failed, tried again by the same command:** {line}" for line in failures]
    for method, report in reports.items():
        lines += [f"## {method}", "", _scope_line(report), ""]
        for arm, part in report.arms.items():
            lines += [f"### {arm}", "", *_arm_table(DOSE_LABELS[kind], part), "", _ed50_line(part), ""]
        for name, matched in report.matched.items():
            lines += [f"### At equal gate: {name}", "", *_matched_table(matched), ""]
    return "\n".join(lines)


def _arm_table(label: str, arm: Arm) -> list[str]:
    head = ["dose", "cells", "trace", "behaviour", "words alone", "lexicon share",
            *(name.replace("_", " ") for name in RAW), "not healthy"]
    lines = [f"Dose: {label}. Trace: recovery. Behaviour: gate minus the base's gate. Words alone: recovery of the "
             "same keywords if the verdict were `objective`.", "",
             "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for g, dose in enumerate(arm.trace.doses):
        cells = [f"{dose:g}", str(arm.n_cells[g]), _with_interval(arm.trace.mean[g], arm.trace.intervals[g]),
                 _with_interval(arm.behaviour.mean[g], arm.behaviour.intervals[g]),
                 _shown(arm.words.mean[g]), _shown(arm.lexicon_share.mean[g]),
                 *(_shown(arm.raw[name][g]) for name in RAW), str(arm.n_unhealthy[g])]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _matched_table(matched: Matched) -> list[str]:
    lines = ["Difference: this recipe's trace minus the other's at the same behaviour; `-`: the other was never there.",
             "", "| dose | behaviour | trace | difference |", "|---|---|---|---|"]
    for g, dose in enumerate(matched.doses):
        difference = matched.difference[g]
        lines.append(f"| {dose:g} | {matched.behaviour[g]:.2f} | {matched.trace[g]:.2f} | "
                     f"{'-' if difference is None else _with_interval(difference, matched.intervals[g])} |")
    mean = matched.mean_difference
    return [*lines, "", "Mean over matched doses: "
            + ("nothing could be matched." if mean is None else _with_interval(mean, matched.mean_interval) + ".")]


def _ed50_line(arm: Arm) -> str:
    first = "" if arm.trace_first is None else \
        f" The trace passes its half first in {100 * arm.trace_first:.0f}% of the resamples."
    return (f"ED50: trace {arm.trace.ed50}, behaviour {arm.behaviour.ed50}, words alone {arm.words.ed50}, lexicon "
            f"share {arm.lexicon_share.ed50}.{first}")


def _scope_line(report: Report) -> str:
    scope = next(iter(report.arms.values())).trace.ed50.scope
    return "In brackets: 95% intervals, " + ("over organisms (objective with twin is one)." if scope == "organisms" else
                                             "over seeds; they speak for these organisms trained anew, not for others.")


def _with_interval(value: float, interval: Interval | None) -> str:
    return _shown(value) + (f" [{interval.low:.2f}, {interval.high:.2f}]" if interval else "")


def _shown(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _json(value: Any) -> Any:
    """Dataclasses as JSON types; ED50s also as people read them; NaN as null."""
    if is_dataclass(value) and not isinstance(value, type):
        body = {field.name: _json(getattr(value, field.name)) for field in fields(value)}
        return body | {"shown": str(value)} if isinstance(value, (Ed50, Crossing)) else body
    if isinstance(value, dict):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
