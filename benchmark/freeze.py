"""Grow a suite whole, compare it with what ships, and ship it: the last step before a suite is scored without training.

Main objects: `grow_all` (all exams of a manifest), `growth_table`, `agreement` (a regrown suite beside the shipped
one), `freeze` (ship and pin).
Example: `narrowbench train --suite nano-2026.1`, or for maintainers `python -m narrowbench.benchmark.freeze next.json`
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ..organisms import shipped
from ..organisms.store import Artefact, Store
from ..organisms.lookup import find_trained
from .run import grow
from .manifest import exams_of, suite_path
from .suite import Entry, load_suite, pin


@dataclass(frozen=True)
class Grown:
    """One organism of a grown suite, as its passport describes it."""

    organism: str
    split: str
    family: str
    role: str
    seed: int
    took: bool
    """Expressed; of a null, that it passes."""
    healthy: bool
    gate: float
    """The finetuned model's own gate; of a null, the largest excess of any objective's."""
    base: float
    seconds: float
    shipped: bool
    agrees: bool | None
    """Beside a shipped build: whether the gates differ by no more than chance allows. None = nothing to compare."""


def grow_all(name: str, store: Store, workers: int | None = None, regrow: bool = False,
             progress: bool = True) -> list[Grown]:
    """Grows every exam of a manifest and says what became of each organism.

    Args:
        regrow: Train everything on this machine, although builds ship with the package.

    Raises:
        TrainingError: some trainings failed; the rest is stored, and the same command goes on.
    """
    return [_described(entry, artefact) for entry, artefact in _artefacts(name, store, workers, not regrow, progress)]


def growth_plan(name: str, store: Store, regrow: bool = False) -> list[dict[str, str]]:
    """What `grow_all` would do, organism by organism, without doing it."""
    steps = []
    for exam in exams_of(name):
        suite = load_suite(exam)
        for entry in suite.entries:
            there = find_trained(entry.spec, suite.base, entry.train_seed, store, shipped=not regrow)
            steps.append({"organism": entry.spec.id, "seed": str(entry.train_seed), "split": suite.split,
                          "training": "there" if there else "to train"})
    return steps


def _artefacts(name: str, store: Store, workers: int | None, use_shipped: bool,
               progress: bool) -> list[tuple[Entry, Artefact]]:
    found = []
    for exam in exams_of(name):
        suite = load_suite(exam)
        grown = grow(suite, store, progress, workers, use_shipped)
        found += [(entry, grown[entry.sample_id]) for entry in suite.entries]
    return found


def _described(entry: Entry, artefact: Artefact) -> Grown:
    passport = _passport(artefact.path)
    gate, is_null = passport["gate"], entry.spec.role == "null"
    beside = _shipped_gate(entry)
    own = passport["weights_sha256"] in {build.weights_sha256 for build in shipped.builds()}
    return Grown(
        entry.spec.id, entry.spec.split, entry.spec.family, entry.spec.role, entry.train_seed,
        bool(gate["passes"] if is_null else gate["expressed"]), bool(passport["health"]["healthy"]),
        gate["max_excess"] if is_null else gate["finetuned"], 0.0 if is_null else gate["base"], passport["seconds"],
        own, None if own or beside is None else agreement(beside, gate))


def _shipped_gate(entry: Entry) -> dict[str, Any] | None:
    for build in shipped.builds():
        if (build.organism, build.seed) == (entry.spec.id, entry.train_seed):
            return shipped.passport(build)["gate"]
    return None


def agreement(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two gates of the same organism agree within their intervals.

    Of an objective: each gate's mean is at least the other's lower 95% bound. Of a null: both pass, or both do not.
    """
    if "passes" in one:
        return one["passes"] == other["passes"]
    return one["finetuned"] >= other["lower_finetuned"] and other["finetuned"] >= one["lower_finetuned"]


def growth_table(grown: Sequence[Grown]) -> Table:
    """Per split, family and role: how many took, are healthy, and (regrown) agree with the shipped build."""
    table = Table("split", "family", "role", title="Organisms", title_justify="left", box=SIMPLE_HEAD)
    for name in ("organisms", "took", "healthy", "both", "shipped", "agree", "seconds"):
        table.add_column(name, justify="right")
    groups: dict[tuple[str, str, str], list[Grown]] = {}
    for one in grown:
        groups.setdefault((one.split, one.family, one.role), []).append(one)
    for key in sorted(groups):
        members = groups[key]
        compared = [one for one in members if one.agrees is not None]
        table.add_row(*key, str(len(members)), str(sum(one.took for one in members)),
                      str(sum(one.healthy for one in members)), str(sum(one.took and one.healthy for one in members)),
                      str(sum(one.shipped for one in members)),
                      f"{sum(one.agrees for one in compared)} of {len(compared)}" if compared else "-",
                      f"{sum(one.seconds for one in members):.0f}")
    return table


def freeze(name: str, store: Store, workers: int | None = None, progress: bool = True, regrow: bool = True) -> Path:
    """Grows a suite on this machine, puts all its organisms into the package, and pins these and all else that scores
    depend on.

    Args:
        regrow: False keeps the organisms that ship, and only pins.
    """
    if regrow:
        grown = _artefacts(name, store, workers, use_shipped=False, progress=progress)
        shipped.ship([artefact for _, artefact in grown])
    return pin(suite_path(name), freeze=True)


def _passport(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "passport.json").read_text(encoding="utf-8"))


def main() -> None:
    """Command line: `python -m narrowbench.benchmark.freeze SUITE [--home FOLDER] [--workers N] [--keep-shipped]`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--workers", type=int, help="default: one per core")
    parser.add_argument("--keep-shipped", action="store_true", help="train nothing: pin the organisms that ship")
    args = parser.parse_args()
    path = freeze(args.suite, Store(args.home), args.workers, regrow=not args.keep_shipped)
    print(json.dumps({"manifest": path.name, "shipped": [build.model_dump() for build in shipped.builds()]}, indent=1))


if __name__ == "__main__":
    main()
