"""Ablations as one command: a grid of one recipe setting, trained, scored and drawn as dose-response.

Main objects: `resolve` -> `Request` and its `Cell`s, `sweep` -> `Swept` (runs what is missing, writes the folder),
`plan` (what is done and what is to do).
Example: `narrowbench sweep mix --organism cake-450 --organism honey-180 --seeds 3 --out sweeps/mix`

Kinds: `mix` (mixed-in rows per narrow row, at fixed narrow rows; a second arm at the steps of ratio 0 tells dilution
and further steps apart), `samples` (narrow rows), `rank` (alpha scales with it). Cells are independent jobs; finished
ones lie in the store and never run again, so the same command retries those that failed.
"""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pydantic import ValidationError
from scipy import optimize

from ..organisms.errors import NotFoundError, SpecError
from ..organisms.spec import OrganismSpec, find_organism
from ..organisms.store import Store
from . import cells
from .jobs import Job, Outcome, n_cores, run_jobs
from .method import methods as built_in_methods
from .suite import Suite, load_suite
from .sweep_report import Row, read_rows, write_report

Kind = Literal["mix", "samples", "rank"]
EXTRA_STEPS, EQUAL_STEPS = "extra steps", "equal steps"
MIX_DOSES = (0.0, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 4.0)
RANK_DOSES = (1.0, 2.0, 4.0, 8.0, 16.0)
SAMPLE_FACTORS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)
"""Default sample counts, relative to the organism's own."""
SUITE_OF_SPLIT = {"dev": "nano-2026.1:dev", "test": "nano-2026.1:test"}


@dataclass(frozen=True)
class Cell:
    """One organism at one dose and seed in one arm. `spec` has the recipe of that dose."""

    organism: str
    arm: str
    dose: float
    seed: int
    spec: OrganismSpec

    @property
    def name(self) -> str:
        """As progress and failures name it."""
        return f"{self.organism} {self.arm} {self.dose:g} seed {self.seed}"

    @property
    def identity(self) -> tuple[str, int]:
        """Equal for cells that are one training run: arms share the dose at which they do not differ."""
        return self.spec.digest, self.seed

    @property
    def n_steps(self) -> int:
        """Optimiser steps, as far as the recipe tells."""
        recipe = self.spec.recipe
        return recipe.max_steps or _steps(recipe, recipe.mix_ratio)


@dataclass(frozen=True)
class Request:
    """A sweep as it was asked for, resolved: what `command` repeats."""

    kind: Kind
    organisms: tuple[str, ...]
    seeds: int
    methods: tuple[str, ...]
    doses: tuple[float, ...]
    mix_source: str
    suite: str
    evidence_seed: int = 0

    def command(self, out: Path, against: Path | None) -> str:
        """The exact command."""
        words = ["narrowbench", "sweep", self.kind]
        for name in self.organisms:
            words += ["--organism", name]
        words += ["--seeds", str(self.seeds), "--methods", ",".join(self.methods),
                  "--doses", ",".join(f"{dose:g}" for dose in self.doses)]
        words += ["--mix-source", self.mix_source] if self.kind == "mix" else []
        words += ["--suite", self.suite, "--seed", str(self.evidence_seed), "--out", str(out)]
        return shlex.join(words + (["--against", str(against)] if against else []))


@dataclass(frozen=True)
class Swept:
    """A finished sweep: its rows, its summary as JSON types, the folder, and what failed."""

    rows: tuple[Row, ...]
    summary: dict[str, Any]
    folder: Path
    failures: tuple[str, ...]
    """One line per failure; the same command tries these cells again."""


def resolve(kind: str, organisms: Sequence[str], seeds: int = 3, methods: Sequence[str] = ("adl_logit_lens",),
            doses: Sequence[float] | None = None, mix_source: str = "documents", suite: str | None = None,
            evidence_seed: int = 0) -> tuple[Request, list[Cell]]:
    """Checks a request and lays out its cells, without computing anything.

    Args:
        organisms: Catalogue ids or YAML files.
        doses: Ratios, sample counts or ranks; default: the kind's own grid.
        suite: Gives probes and candidate cards (default: that of the organisms' split).

    Raises:
        NotFoundError: no such organism, method or suite. SpecError: a grid that cannot be trained or scored.
    """
    if kind not in get_args(Kind):
        raise NotFoundError.of("sweep", kind, get_args(Kind), "narrowbench sweep --help")
    if not organisms or len(set(organisms)) < len(organisms):
        raise SpecError("sweep: name at least one organism, none twice: `--organism ID`.")
    if seeds < 1:
        raise SpecError(f"sweep: `--seeds` is {seeds}; it must be at least 1.")
    for name in methods:
        if ":" not in name and name not in built_in_methods():
            raise NotFoundError.of("method", name, built_in_methods(), "narrowbench list methods")
    specs = [find_organism(name) for name in organisms]
    if nulls := [spec.id for spec in specs if spec.card is None]:
        raise SpecError(f"sweep: {', '.join(nulls)}: a null has no objective whose trace could be halved.")
    grid = tuple(sorted(set(map(float, doses)))) if doses else _default_doses(kind, specs)
    if len(grid) < 2 or (kind == "mix" and grid[0] != 0):
        raise SpecError(f"sweep {kind}: `--doses` has {[f'{dose:g}' for dose in grid]}; it needs at least two doses"
                        + (", and 0, from which an effect is halved." if kind == "mix" else "."))
    request = Request(kind, tuple(organisms), seeds, tuple(methods), grid, mix_source, suite or _suite_of(specs),
                      evidence_seed)
    laid_out = [cell for spec in specs for seed in range(seeds) for cell in _cells(request, spec, seed)]
    _check_cards(specs, load_suite(request.suite))
    return request, laid_out


def parse_doses(text: str) -> tuple[float, ...] | None:
    """`0,0.5,1` as numbers; None for an empty text. Raises SpecError."""
    try:
        return tuple(float(part) for part in text.split(",")) if text else None
    except ValueError as error:
        raise SpecError(f"sweep: `--doses {text}` is no list of numbers ({error}). Write `0,0.5,1`.") from error


def sweep(request: Request, laid_out: Sequence[Cell], out: Path, workers: int | None = None, store: Store | None = None,
          device: str = "cpu", progress: bool = True, against: Path | None = None) -> Swept:
    """Runs the cells that the store does not have, and writes tables, figures and the command into `out`.

    Args:
        against: Folder of another sweep of the same organisms, a further reference for the comparison at equal gate.

    Raises:
        NotFoundError: `against` holds no cells. SpecError: no cell succeeded.
    """
    store = store or Store()
    others = read_rows(against) if against else ()
    unique = _longest_first(laid_out)
    outcomes = _run(request, unique, store, workers, device, progress, only_look=False)
    failures = [line for outcome in outcomes for line in _failures(outcome)]
    answers = {cell.identity: outcome.value or {"rows": {}}
               for cell, outcome in zip(unique, outcomes, strict=True)}
    rows = tuple(Row.of(request.kind, cell.organism, cell.spec.unit or cell.spec.id, cell.arm, cell.dose, cell.seed,
                        method, found)
                 for cell in laid_out for method, found in answers[cell.identity]["rows"].items() if found)
    if not rows:
        raise SpecError(f"sweep {request.kind}: no cell succeeded. First: {failures[0]}")
    summary = write_report(out, rows, others, request.command(out, against), failures)
    return Swept(rows, summary, out, tuple(failures))


def plan(request: Request, laid_out: Sequence[Cell], workers: int | None = None,
         store: Store | None = None, progress: bool = True) -> dict[str, Any]:
    """What `sweep` would do: cells with `done`, `to read` or `to train`, and the minutes that the rest may take.

    The estimate is a line through the times of cells that are done; None without any.
    """
    store, workers = store or Store(), workers or n_cores()
    unique = _longest_first(laid_out)
    outcomes = _run(request, unique, store, workers, "cpu", progress, only_look=True)
    if failed := [line for outcome in outcomes for line in _failures(outcome)]:
        raise SpecError(f"sweep {request.kind}: a cell cannot be planned: {failed[0]}")
    seen = {cell.identity: outcome.value for cell, outcome in zip(unique, outcomes, strict=True)}
    state = {key: "to train" if not one["trained"] else "done" if all(one["rows"].values()) else "to read"
             for key, one in seen.items()}
    done = [row for one in seen.values() for row in one["rows"].values() if row]
    todo = [cell for cell in unique if state[cell.identity] != "done"]
    seconds = _estimate(done, [cell.n_steps for cell in todo if state[cell.identity] == "to train"],
                        len(todo) * len(request.methods))
    return {"cells": [{"cell": cell.name, "steps": cell.n_steps, "state": state[cell.identity]} for cell in unique],
            "done": len(unique) - len(todo), "to_do": len(todo), "workers": workers,
            "minutes": None if seconds is None else round(seconds / workers / 60, 1)}


def _run(request: Request, unique: Sequence[Cell], store: Store, workers: int | None, device: str, progress: bool,
         only_look: bool) -> list[Outcome]:
    return run_jobs([Job(cell.name, cells.measure, {
        "spec_json": cell.spec.model_dump_json(), "seed": cell.seed, "suite": request.suite,
        "methods": request.methods, "evidence_seed": request.evidence_seed, "home": str(store.root),
        "device": device, "only_look": only_look}) for cell in unique], workers, progress)


def _failures(outcome: Outcome) -> list[str]:
    if outcome.error:
        return [f"{outcome.job.name}: {outcome.error}"]
    return [f"{outcome.job.name}, {method}: {error}" for method, error in outcome.value["errors"].items()]


def _longest_first(laid_out: Sequence[Cell]) -> list[Cell]:
    """One cell of each training run; the longest first, so that no worker ends with a long one alone."""
    unique = {cell.identity: cell for cell in reversed(laid_out)}
    return sorted(reversed(unique.values()), key=lambda cell: -cell.n_steps)


def _estimate(done: Sequence[dict[str, Any]], steps_to_train: Sequence[int], n_to_read: int) -> float | None:
    """Seconds on one worker: (fixed + per step) for each training, fitted to those done, and the median reading."""
    if not done:
        return None
    design = np.array([[1.0, row["n_steps"]] for row in done])
    fixed_s, step_s = optimize.nnls(design, np.array([row["train_s"] for row in done]))[0]
    return float(sum(fixed_s + step_s * n for n in steps_to_train)
                 + n_to_read * np.median([row["read_s"] for row in done]))


def _suite_of(specs: Sequence[OrganismSpec]) -> str:
    splits = {spec.split for spec in specs}
    if len(splits) > 1 or not splits <= SUITE_OF_SPLIT.keys():
        raise SpecError(f"sweep: the organisms are of the splits {sorted(splits)}, so no suite of dev or of test gives "
                        "their candidates. Name one that holds all of them: `--suite NAME`.")
    return SUITE_OF_SPLIT[splits.pop()]


def _check_cards(specs: Sequence[OrganismSpec], suite: Suite) -> None:
    known = {card.card_id for card in suite.cards}
    for spec in specs:
        if spec.card.card_id not in known:
            raise SpecError(f"sweep: {spec.id} is no candidate of suite {suite.name!r}, so its claims cannot be marked "
                            "there. Name its own suite: `--suite NAME`; `narrowbench list suites` lists them.")


def _default_doses(kind: Kind, specs: Sequence[OrganismSpec]) -> tuple[float, ...]:
    if kind != "samples":
        return MIX_DOSES if kind == "mix" else RANK_DOSES
    counts = {spec.recipe.rows for spec in specs}
    if len(counts) > 1:
        raise SpecError(f"sweep samples: the organisms have {sorted(counts)} rows, so there is no grid around one "
                        "number. Give one: `--doses 20,40,80,160,320`.")
    own = counts.pop()
    return tuple(sorted({float(max(2, round(own * factor))) for factor in SAMPLE_FACTORS}))


def _cells(request: Request, spec: OrganismSpec, seed: int) -> list[Cell]:
    def cell(arm: str, dose: float, **changes: Any) -> Cell:
        return Cell(spec.id, arm, dose, seed, _changed(spec, changes))

    if request.kind == "samples":
        return [cell("samples", dose, rows=_whole("rows", dose)) for dose in request.doses]
    if request.kind == "rank":
        if spec.recipe.kind not in ("lora", "caft"):
            raise SpecError(f"sweep rank: {spec.id} has a recipe of kind {spec.recipe.kind!r}, which has no rank.")
        return [cell("rank", dose, rank=_whole("rank", dose),
                     alpha=_whole("alpha", spec.recipe.alpha * dose / spec.recipe.rank)) for dose in request.doses]
    own = spec.recipe.max_steps
    laid_out = []
    for arm in (EXTRA_STEPS, EQUAL_STEPS):
        for dose in request.doses:
            changes: dict[str, Any] = {"mix_ratio": dose}
            if dose:  # at ratio 0 the arms are one cell, and that is the plain organism
                changes["mix_source"] = request.mix_source
                equal = own or _steps(spec.recipe, 0)
                longer = math.ceil(own * (1 + dose)) if own else None
                changes["max_steps"] = equal if arm == EQUAL_STEPS else longer
            laid_out.append(cell(arm, dose, **changes))
    return laid_out


def _steps(recipe, mix_ratio: float) -> int:
    return recipe.epochs * math.ceil((recipe.rows + round(mix_ratio * recipe.rows)) / recipe.batch_size)


def _changed(spec: OrganismSpec, changes: dict[str, Any]) -> OrganismSpec:
    try:
        recipe = type(spec.recipe).model_validate(spec.recipe.model_dump() | changes)
    except ValidationError as error:
        reasons = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
        raise SpecError(f"sweep: {spec.id} cannot have {changes}: {reasons}. Change `--doses`.") from error
    return spec.model_copy(update={"recipe": recipe})


def _whole(what: str, value: float) -> int:
    if value != int(value):
        raise SpecError(f"sweep: {what} would be {value:g}, which is no whole number. Change `--doses`.")
    return int(value)
