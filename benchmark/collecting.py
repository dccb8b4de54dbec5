"""Collecting evidence: a method reads the organisms of a suite in turn, here or in worker processes.

Main objects: `collect`, `pool_for`, `Collector` (one resident base, and the organism that is
attached to it).
Example: `collect(suite, method, survey(...).cells, seed=0, store=Store(), name="adl_logit_lens", workers=2)`

Whatever happens to a method on one organism costs that cell and no other: an exception, NaN, empty evidence, and in
worker processes also a crash, a kill by the kernel, or a time limit that it sleeps through. The failure is kept as a
note in the evidence's work folder, scored as nothing recovered, and tried again by the next run. What is found depends
neither on the number of workers nor on the order: each cell gets a method as it was built, the same state of the global
random numbers, and after a failure a base loaded anew.
"""

import copy
import json
import os
import random
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from ..organisms.errors import EvidenceError
from ..organisms.spec import digest_of
from ..organisms.store import Store, library_versions, write_atomic
from .jobs import Job, Pool, n_cores
from .method import Budget, Evidence, Method, code_of, load_method
from .settings import needs_judge
from .suite import Suite

if TYPE_CHECKING:
    from ..organisms.pair import ModelPair
    from ..organisms.spec import OrganismSpec
    from .evidence import Reading
    from .view import Reference

EVIDENCE, FAILURE = "evidence.json", "failure.json"
CEILING_ACCESS = frozenset({"data", "objective"})
CELLS_PER_WORKER = 256
"""After so many cells a worker is replaced, so that what a method never frees does not add up."""
BYTES_PER_WEIGHT_BYTE, WORKER_BYTES = 4, 2**29
"""How much memory a worker is given room for: a base in float32 with its activations, and the libraries."""


def collect(suite: Suite, method: Method, cells: Iterable["Reading"], seed: int, store: Store, device: str = "cpu", *,
            name: str | None = None, workers: int | None = 0, pool: Pool | None = None, progress: bool = False) -> None:
    """Runs the method on each of these organisms and stores what it finds, or a note of its failure.

    Args:
        name: What `load_method` builds the method's class from; workers need it to build the method again, with the
            settings of `method`. None = this object only, so in this process.
        workers: Processes, each with one resident base; None = one a core, as far as memory goes; 0 = this process,
            where nothing can stop a method that hangs between two calls of the pair, or that crashes.
        pool: Instead of `workers`: processes that read with several methods one after another, see `pool_for`.
        progress: Whether to show a bar on stderr.
    """
    cells = list(cells)
    if name is None or (workers == 0 and pool is None):
        return _collect_here(suite, method, cells, seed, store, device, progress)
    lean = replace(suite, entries=(), cards=())
    jobs = [Job(cell.entry.spec.id, _read_cell, {"work": _Work(
        lean, name, dict(vars(method)), cell, seed, store.root, device)}, before=_attach_cell,
        limit_s=budget_of(suite, method).seconds) for cell in cells]
    with pool_for(suite.base, device, workers) if pool is None else nullcontext(pool) as readers:
        outcomes = readers.run(jobs, progress, CELLS_PER_WORKER, f"reading with {method.name}", tell=False)
    for cell, outcome in zip(cells, outcomes, strict=True):
        if outcome.error:
            _note(store, cell, outcome.error, outcome.details)


def pool_for(base: Path, device: str, workers: int | None = None) -> Pool:
    """Processes for `collect`; `workers` = None: as many as there are cores and memory for."""
    return Pool(default_workers(base, device) if workers is None else workers)


def default_workers(base: Path, device: str) -> int:
    """One a core, but no more than there is memory for; one on an accelerator."""
    if not device.startswith("cpu"):
        return 1
    weights = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else 0
    room = free // (BYTES_PER_WEIGHT_BYTE * weights + WORKER_BYTES) if free else n_cores()
    return max(1, min(n_cores(), room))


class Collector:
    """One base in memory, on which organisms are attached and read in turn."""

    def __init__(self, base: Path, store: Store, device: str) -> None:
        from ..organisms.adapters import base_digest
        from .shared import Shared

        self.base, self.store, self.device = base, store, device
        self.shared = Shared(store, base_digest(base))
        self._pair: ModelPair | None = None

    def attach(self, cell: "Reading") -> None:
        """Puts a cell's organism on the base, which is loaded first if it is not there."""
        from ..organisms.pair import ModelPair

        if self._pair is None:
            self._pair = ModelPair.load(self.base, cell.attached.path, device=self.device)
        else:
            self._pair.attach(cell.attached.path)

    def forget(self) -> None:
        """Lets the base go: after a failure nobody knows in which state a method left it."""
        self._pair = None

    def read(self, suite: Suite, method: Method, cell: "Reading", seed: int) -> None:
        """Runs the method on the attached organism and stores its evidence.

        Raises:
            EvidenceError: what it hands in is no evidence, or empty. BudgetError: it took too much.
            Exception: whatever else the method raises.
        """
        from .view import PairView

        answers = reference_for(method, cell.entry.spec, suite.base, cell.entry.train_seed, self.store)
        budget = budget_of(suite, method)
        view = PairView(self._pair, method.access, budget, answers, self.shared.of(cell.attached.digest))
        with own_randomness(seed):
            found = method.collect(view, suite.probes, budget, seed)
        view.check_budget()
        evidence = sound(found, getattr(method, "role", "method"))
        artefact = evidence.to_dict() | {"measured": {"cost": view.cost(), "versions": library_versions()}}
        text = json.dumps(artefact, ensure_ascii=False, allow_nan=False)
        self.store.save("evidence", cell.key, cell.config, cell.inputs,
                        lambda folder: (folder / EVIDENCE).write_text(text, encoding="utf-8"))


def budget_of(suite: Suite, method: Method) -> Budget:
    """The suite's; without its seconds for a method that asks a judge: waiting for one is not computing, and the
    judge's own client ends a call that hangs."""
    return replace(suite.budget, seconds=None) if needs_judge(method) else suite.budget


def sound(found: Any, role: str) -> Evidence:
    """What `collect` returned, as Evidence. Raises EvidenceError if it is none, or empty where that says nothing."""
    evidence = Evidence.from_dict(found) if isinstance(found, dict) else found
    if not isinstance(evidence, Evidence):
        raise EvidenceError(f"`collect` returned {type(found).__name__}, not Evidence")
    if role == "method" and evidence.payload == Evidence().payload:
        raise EvidenceError("`collect` returned empty evidence: no tokens, no texts, no statistics and no opinion on "
                            "detection. A method that finds nothing says so, with `detection` or a statistic.")
    return evidence


def _collect_here(suite: Suite, method: Method, cells: Sequence["Reading"], seed: int, store: Store, device: str,
                  progress: bool) -> None:
    collector = Collector(suite.base, store, device)
    for cell in _track(cells, f"reading with {method.name}", progress):
        try:
            collector.attach(cell)
            collector.read(suite, copy.deepcopy(method), cell, seed)
        except (Exception, SystemExit) as error:  # A method may be anybody's code: its failure costs its own cell.
            _note(store, cell, f"{type(error).__name__}: {error}", traceback.format_exc())
            collector.forget()


@dataclass(frozen=True)
class _Work:
    """A cell as a worker process needs it."""

    suite: Suite
    name: str
    state: dict[str, Any] = field(repr=False)
    """The attributes of the method's instance: its settings."""
    cell: "Reading"
    seed: int
    home: Path
    device: str


def _attach_cell(work: _Work) -> None:
    """What comes before a method's time begins: libraries, the base, the organism, the method's file."""
    _loaded(work.name)
    collector = _collector(work.suite.base, work.home, work.device)
    try:
        collector.attach(work.cell)
    except Exception:
        collector.forget()  # an adapter may be on the base by half
        raise


def _read_cell(work: _Work) -> None:
    collector, (loaded, source_sha256) = _collector(work.suite.base, work.home, work.device), _loaded(work.name)
    if (source_sha256, code_of(loaded)) != (work.cell.inputs["method"], work.cell.inputs["code"]):
        raise EvidenceError("the code of the method, or of this package, changed while it was collecting. The same "
                            "command collects what is missing with the new code.")
    method = copy.deepcopy(loaded)
    vars(method).clear()
    vars(method).update(work.state)
    try:
        collector.read(work.suite, method, work.cell, work.seed)
    except SystemExit as error:  # answered at once, instead of by a process that takes its time to end
        collector.forget()
        raise EvidenceError(f"the method ended the program with code {error.code}") from error
    except Exception:
        collector.forget()
        raise


@lru_cache(maxsize=1)
def _collector(base: Path, home: Path, device: str) -> Collector:
    """The worker's only one."""
    return Collector(base, Store(home), device)


@lru_cache(maxsize=1)
def _loaded(name: str) -> tuple[Method, str]:
    return load_method(name)


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Global random numbers that depend on the seed alone, whatever was read before; put back afterwards."""
    import numpy as np
    import torch

    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


def settings_of(method: Method) -> dict[str, Any]:
    """What the method's instance sets itself; the attributes of its class are covered by its file's hash.

    Raises:
        EvidenceError: an attribute is no plain data, so that nothing tells two settings apart for certain.
    """
    return {name: _plain(name, value) for name, value in sorted(vars(method).items())}


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple | range):
        return [_plain(name, one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(name, one) for one in value), key=repr)
    if isinstance(value, dict):
        return {str(key): _plain(name, one) for key, one in value.items()}
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # an array or tensor
        return {"dtype": str(value.dtype), "shape": list(value.shape), "sha256": digest_of(value.tolist())}
    raise EvidenceError(f"the method's attribute `{name}` is of type {type(value).__name__}. Settings are part of the "
                        "key of what is stored: keep numbers, texts, lists, dictionaries or arrays, and build the rest "
                        "in `collect`.")


def _note(store: Store, cell: "Reading", error: str, details: str) -> None:
    note = {"error": f"{cell.entry.spec.id}: {error}", "traceback": details}
    write_atomic(store.work("evidence", cell.key) / FAILURE, json.dumps(note, indent=1))


def _track(cells: Sequence["Reading"], title: str, show: bool) -> Iterator["Reading"]:
    """Goes through cells with a progress bar on stderr that names the organism at work."""
    with Progress(console=Console(stderr=True), disable=not show) as bar:
        line = bar.add_task(title, total=len(cells))
        for cell in cells:
            bar.update(line, description=f"{title}: {cell.entry.spec.id}")
            yield cell
            bar.advance(line)


def reference_for(method: Method, spec: "OrganismSpec", base: Path, train_seed: int,
                  store: Store) -> "Reference | None":
    """The answers, for ceilings only. Rows that a model must write first (lists of numbers) are left out."""
    from ..organisms.data import training_data
    from ..organisms.families import family
    from .view import Reference

    if not method.access & CEILING_ACCESS:
        return None
    rows = []
    if "data" in method.access and not (spec.recipe.data == "world" and hasattr(family(spec.family), "data")):
        rows = training_data(spec, base, train_seed, store).rows()
    return Reference(spec, tuple(rows))
