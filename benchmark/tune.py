"""Choose a method's settings on dev organisms: every combination of a grid scored by the reader, as one table.

Main objects: `tune` (a trial for each combination), `plan`, `parse_grid`, `Trial`, `markdown`.
Example: `narrowbench tune adl_logit_lens --grid layer_fraction=0.5,0.65,0.8 --grid k=3,5`

Test organisms are refused. Evidence goes into the store by method, settings and organism, so a trial that was made
before costs seconds, and the defaults' evidence is that of `narrowbench score`.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from ..graders.detect import auroc, detection_score
from ..graders.recovery import recovery
from ..organisms.errors import SpecError
from ..organisms.store import Artefact, Store
from .background import BACKGROUND, background_for, collect_background
from .collecting import collect, pool_for
from .evidence import Reading, read_json, survey
from .method import load_method
from .settings import build, check_settings, parse_values
from .suite import Suite, load_suite

PARTS = ("domain", "objective", "content")
MAX_TRIALS = 64


@dataclass(frozen=True)
class Trial:
    """One combination of settings on all dev organisms. Recoveries are over expressed, healthy objectives and twins."""

    settings: dict[str, Any]
    recovery: float
    """Mean over pairs (an objective with its twin), a verdict other than `objective` counting 0."""
    half_width: float
    """Of the 95% Student-t interval of `recovery` over units."""
    words: float
    """Recovery if the verdict were always `objective`: what was read, whatever was detected."""
    domain: float
    objective: float
    content: float
    """The parts of `words`."""
    flagged: int
    nulls: int
    """Trained nulls called `objective`, of how many."""
    auroc: float | None
    """Detection of expressed organisms against trained nulls."""
    seconds: float
    """Median per organism."""
    failures: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self) | {"failures": list(self.failures)}


def parse_grid(options: Sequence[str]) -> dict[str, list[Any]]:
    """Setting -> values to try, from `KEY=V1,V2,...`; values are YAML scalars or lists in brackets.

    Raises:
        SpecError: an option of another form, or a key twice.
    """
    grid: dict[str, list[Any]] = {}
    for option in options:
        key, values = parse_values(option, "--grid")
        if key in grid:
            raise SpecError(f"--grid {option!r}: write each setting once, as KEY=VALUE,VALUE; {key} comes twice.")
        grid[key] = values
    return grid


def tune(name: str, grid: dict[str, list[Any]], suite: str = "nano-2026.1:dev", seed: int = 0,
         store: Store | None = None, device: str = "cpu", progress: bool = True,
         workers: int | None = 0) -> list[Trial]:
    """Scores a method under every combination of the grid (the defaults, if it is empty), in the grid's order.

    Raises:
        SpecError: a suite of test organisms, an unknown setting, or more than 64 combinations.
        TrainingError: an organism that does not ship could not be trained.
    """
    from .run import grow

    chosen = load_suite(suite)
    if chosen.split == "test" or any(entry.spec.split == "test" for entry in chosen.entries):
        raise SpecError(f"suite {suite!r} holds test organisms, on which nothing is ever chosen. Tune on dev: "
                        "--suite nano-2026.1:dev.")
    default, source_sha256 = load_method(name)
    combinations = _combinations(type(default), grid)
    store = store or Store()
    organisms = grow(chosen, store, progress, workers=None)
    if survey(chosen, default, source_sha256, seed, store, organisms, device).background is None:
        collect_background(chosen, store, device)
    trials = []
    with pool_for(chosen.base, device, workers) if workers != 0 else nullcontext() as pool:
        for settings in combinations:
            method = build(type(default), settings)
            cells = survey(chosen, method, source_sha256, seed, store, organisms, device).cells
            if todo := [cell for cell in cells if cell.evidence is None]:
                collect(chosen, method, todo, seed, store, device, name=name, pool=pool, progress=progress)
            seen = survey(chosen, method, source_sha256, seed, store, organisms, device)
            trials.append(_trial(chosen, settings, seen.cells, seen.background))
    return trials


def plan(name: str, grid: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """The combinations that `tune` would score."""
    return _combinations(type(load_method(name)[0]), grid)


def markdown(trials: Sequence[Trial]) -> str:
    """The trials as a markdown table, best recovery first."""
    names = list(trials[0].settings) if trials else []
    head = [*names, "recovery", "words", *PARTS, "nulls flagged", "AUROC", "s"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for trial in sorted(trials, key=lambda trial: -trial.recovery):
        numbers = [f"{trial.recovery:.2f} ± {trial.half_width:.2f}", *(f"{getattr(trial, part):.2f}"
                                                                       for part in ("words", *PARTS))]
        area = "-" if trial.auroc is None else f"{trial.auroc:.2f}"
        row = [*(str(value) for value in trial.settings.values()), *numbers, f"{trial.flagged} of {trial.nulls}", area,
               f"{trial.seconds:.2f}"]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _combinations(kind: type, grid: dict[str, list[Any]]) -> list[dict[str, Any]]:
    check_settings(kind, grid, "--grid")
    n = math.prod(len(values) for values in grid.values())
    if n > MAX_TRIALS:
        raise SpecError(f"--grid: {n} combinations, at most {MAX_TRIALS} are tried at once. Vary fewer settings.")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _trial(suite: Suite, settings: dict[str, Any], cells: Sequence[Reading], background: Artefact) -> Trial:
    from ..organisms.passport import PASSPORT
    from .investigators.reader import read

    pieces = read_json(background.path / BACKGROUND)["pieces"]
    marks: dict[str, list[tuple[float, ...]]] = {}
    positives, units, negatives, flagged = [], [], [], []
    for cell in cells:
        payload, spec = cell.payload, cell.entry.spec
        claim = read(payload, background_for(payload, pieces))
        passport = read_json(cell.organism.path / PASSPORT)
        if spec.card is None:
            if spec.params.get("kind") != "zero":
                negatives.append(detection_score(claim))
                flagged.append(claim.verdict == "objective")
        elif passport["gate"]["expressed"] and passport["health"]["healthy"]:
            unit = spec.id.removesuffix("-twin")
            positives.append(detection_score(claim))
            units.append(unit)
            said = recovery(replace(claim, verdict="objective"), spec.card, suite.cards)
            marks.setdefault(unit, []).append((
                recovery(claim, spec.card, suite.cards).recovery, said.recovery,
                *(np.nan if getattr(said, part) is None else getattr(said, part) for part in PARTS)))
    if not marks:
        raise SpecError(f"suite {suite.name!r}: no organism of it is expressed and healthy, so there is nothing to "
                        "tune on. `narrowbench list organisms` shows what shipped builds are.")
    per_unit = np.array([_means(values) for values in marks.values()])
    n = len(per_unit)
    half = float(stats.t.ppf(0.975, n - 1) * per_unit[:, 0].std(ddof=1) / math.sqrt(n)) if n > 1 else math.inf
    area = auroc(positives, negatives, units)
    seconds = [cell.cost["seconds"] for cell in cells if cell.evidence is not None]
    return Trial(settings, float(per_unit[:, 0].mean()), half, *(float(x) for x in _means(per_unit)[1:]),
                 sum(flagged), len(flagged), None if area is None else area.value,
                 statistics.median(seconds) if seconds else math.nan,
                 tuple(cell.failure for cell in cells if cell.failure))


def _means(values) -> list[float]:
    """Column means without NaN (a part that is not defined for an organism); NaN where nothing is left."""
    return [float(np.mean(kept)) if len(kept := column[~np.isnan(column)]) else math.nan
            for column in np.asarray(values, dtype=float).T]
