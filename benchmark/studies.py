"""What studies of a suite's organisms share: which organisms, results kept in the store, the folder they end in.

Main objects: `Design` (what to measure, on which organisms), `plan`, `run` -> `Study`, `write`; `Estimate`,
`ratio_estimate`.
A study measures something on each organism that is no score (causal effect, static bias). Each organism's result is an
artefact of its own, so a rerun measures only what is missing.
Example: `narrowbench causal --suite demo --out causal` or `run(causal.design("demo"), Store())`
"""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from scipy import stats

from ..organisms.code import code_sha256
from ..organisms.errors import NotFoundError
from ..organisms.spec import digest_of
from ..organisms.store import Artefact, Store, sha256_file, write_atomic
from .shared import kind_of_device
from .suite import Entry, Suite, load_suite

if TYPE_CHECKING:
    from ..organisms.pair import ModelPair

LAYER_FRACTION, K = 0.8, 5
"""Where the methods read: depth and number of positions (`methods/adl_logit_lens.py`)."""
LEVEL, N_RESAMPLES, MIN_ROWS_BOOTSTRAP = 0.95, 4_999, 8
RESULT = "result.json"
ACTIVATIONS = Path(__file__).with_name("activations.py")


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval. The value is None where it is undefined; the interval where it cannot be had."""

    value: float | None
    low: float | None = None
    high: float | None = None


def ratio_estimate(sums_R: np.ndarray, counts_R: np.ndarray, seed: int = 0) -> Estimate:
    """sum(sums) / sum(counts) over rows, with a bootstrap interval (BCa) over rows.

    Below 8 rows, or where the rows do not differ, the interval is Student's t of the linearised ratio; one row has
    none.
    """
    value = float(sums_R.sum() / counts_R.sum())
    n = len(sums_R)
    if n < 2:
        return Estimate(value)
    residual_R = (sums_R - value * counts_R) / counts_R.mean()
    spread = float(residual_R.std(ddof=1))
    if n >= MIN_ROWS_BOOTSTRAP and spread > 1e-12:
        low, high = stats.bootstrap(
            (sums_R, counts_R), lambda s, c, axis: s.sum(axis) / c.sum(axis), paired=True, vectorized=True,
            confidence_level=LEVEL, n_resamples=N_RESAMPLES, method="BCa",
            rng=np.random.default_rng(seed)).confidence_interval
        if math.isfinite(low) and math.isfinite(high):
            return Estimate(value, float(low), float(high))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * spread / math.sqrt(n)
    return Estimate(value, value - half, value + half)


@dataclass(frozen=True)
class Design:
    """A study before it is made. What decides a result's key: kind, settings, code, organism, base, probes, inputs."""

    kind: str
    """Of the artefacts, e.g. `causal`."""
    suite: Suite
    """With the chosen organisms only."""
    settings: dict[str, Any]
    sources: tuple[str, ...]
    """Files of this room that compute the result."""
    inputs: Callable[[Entry], dict[str, str]]
    """Digests of whatever else a result depends on."""
    measure: Callable[["ModelPair", Entry, Store], dict[str, Any]]
    """The result of one organism, as JSON types; the store has what its rows are made from."""


@dataclass(frozen=True)
class Finding:
    """One organism's result."""

    organism: str
    family: str
    role: str
    split: str
    train_seed: int
    expressed: bool
    """An objective or twin that took its training, or a null that passes."""
    healthy: bool
    result: dict[str, Any]
    reused: bool
    """Found in the store."""

    @property
    def label(self) -> str:
        """The organism's name for tables and plots."""
        return f"{self.organism}, seed {self.train_seed}" if self.train_seed else self.organism


@dataclass(frozen=True)
class Study:
    """All findings of a design, in the suite's order."""

    kind: str
    suite: str
    settings: dict[str, Any]
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; `reused` is left out, so that a rerun writes the same file."""
        found = [{key: value for key, value in asdict(finding).items() if key != "reused"} for finding in self.findings]
        return {"kind": self.kind, "suite": self.suite, "settings": self.settings, "organisms": found}


@dataclass(frozen=True)
class _Cell:
    entry: Entry
    organism: Artefact | None
    config: dict[str, Any]
    inputs: dict[str, str]
    key: str | None
    result: Artefact | None


def choose(suite: str, organisms: Sequence[str] = ()) -> Suite:
    """A suite with only these organisms (none named: all). Raises NotFoundError if one is not in it."""
    chosen = load_suite(suite)
    known = {entry.spec.id for entry in chosen.entries}
    for name in organisms:
        if name not in known:
            raise NotFoundError(f"Suite {chosen.id} has no organism {name!r}; it has {', '.join(sorted(known))}.")
    return replace(chosen, entries=tuple(e for e in chosen.entries if not organisms or e.spec.id in organisms))


def plan(design: Design, store: Store, device: str = "cpu") -> list[dict[str, str]]:
    """What `run` would do, organism by organism, without doing it."""
    from ..organisms.lookup import find_trained

    steps = []
    for entry in design.suite.entries:
        organism = find_trained(entry.spec, design.suite.base, entry.train_seed, store)
        there = organism is not None and _cell(design, entry, organism, store, device).result is not None
        steps.append({"organism": entry.spec.id, "training": "there" if organism else "to train",
                      "result": "there" if there else "to measure"})
    return steps


def run(design: Design, store: Store, device: str = "cpu", progress: bool = True, workers: int | None = 1) -> Study:
    """Trains what is missing (in `workers` processes), measures what is missing, and returns all findings."""
    from .run import grow

    grown = grow(design.suite, store, progress, workers)
    cells = [_cell(design, entry, grown[entry.sample_id], store, device) for entry in design.suite.entries]
    findings, pair = [], None
    with Progress(console=Console(stderr=True), disable=not progress) as bar:
        line = bar.add_task(design.kind, total=len(cells))
        for cell in cells:
            bar.update(line, description=f"{design.kind}: {cell.entry.spec.id}")
            result = cell.result
            if result is None:
                pair = _pair_of(pair, design.suite, cell.organism, device)
                text = json.dumps(design.measure(pair, cell.entry, store), indent=1, allow_nan=False)
                result = store.save(design.kind, cell.key, cell.config, cell.inputs,
                                    lambda folder, text=text: write_atomic(folder / RESULT, text))
            findings.append(_finding(cell, result))
            bar.advance(line)
    return Study(design.kind, design.suite.id, design.settings, tuple(findings))


def _pair_of(pair: "ModelPair | None", suite: Suite, organism: Artefact, device: str) -> "ModelPair":
    from ..organisms.pair import ModelPair

    if pair is None:
        return ModelPair.load(suite.base, organism.path, device=device)
    pair.attach(organism.path)
    return pair


def _cell(design: Design, entry: Entry, organism: Artefact, store: Store, device: str) -> _Cell:
    from ..organisms.adapters import base_digest

    own = [sha256_file(Path(__file__).parent / name) for name in (*design.sources, "studies.py")]
    inputs = {"organism": organism.digest, "base": base_digest(design.suite.base), "probes": design.suite.probes.digest,
              "code": digest_of([*own, code_sha256(ACTIVATIONS)]), **design.inputs(entry)}
    config = {**design.settings, "device": kind_of_device(device)}
    key = store.key(design.kind, config, inputs)
    return _Cell(entry, organism, config, inputs, key, store.find(design.kind, key))


def _finding(cell: _Cell, result: Artefact) -> Finding:
    spec = cell.entry.spec
    passport = json.loads((cell.organism.path / "passport.json").read_text(encoding="utf-8"))
    gate = passport["gate"]
    return Finding(spec.id, spec.family, spec.role, spec.split, cell.entry.train_seed,
                   bool(gate.get("expressed", gate.get("passes"))), bool(passport["health"]["healthy"]),
                   json.loads((result.path / RESULT).read_text(encoding="utf-8")), cell.result is not None)


def write(study: Study, folder: Path, command: str) -> str:
    """Writes table.md, results.csv, results.json, figure.svg, figure.png and command.txt into `folder`.

    Returns:
        The table, as Markdown.
    """
    from . import study_figures, study_tables

    table_of, rows_of, draw = {
        "causal": (study_tables.causal_table, study_tables.causal_rows, study_figures.draw_causal),
        "static_bias": (study_tables.bias_table, study_tables.bias_rows, study_figures.draw_bias)}[study.kind]
    table, rows, lines = table_of(study), rows_of(study), io.StringIO()
    writer = csv.DictWriter(lines, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(folder / "table.md", table)
    write_atomic(folder / "results.csv", lines.getvalue())
    write_atomic(folder / "results.json", json.dumps(study.to_dict(), indent=1, allow_nan=False) + "\n")
    write_atomic(folder / "command.txt", command + "\n")
    draw(study, folder)
    return table
