"""The pair that investigators put questions to: one base in memory, the organism of each call attached for that call.

Main objects: `Bench` (which organism a sample is about, in its store), `at_pair` (awaits what a function reads of it).
Example: `texts = await at_pair({"text"}, lambda desk: desk.view.generate("base", ["Tell me a fact."]))`

Several samples share the base, so every call finds its organism attached under the device's lock, whatever the call
before it read. A cancelled call ends after the block of the model that is being run.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from inspect_ai.util import StoreModel, store_as

from ..organisms.errors import DamagedArtefactError, InvestigationError, NotFoundError
from ..organisms.lookup import find_trained
from ..organisms.store import Artefact, Store
from .device_lock import Stopped, on_device
from .method import Probes
from .suite import Suite, load_suite

if TYPE_CHECKING:
    from ..organisms.pair import ModelPair
    from .shared import Shared
    from .view import PairView

Result = TypeVar("Result")


class Bench(StoreModel):
    """What a sample's tools read. The organism by its opaque id: no path and no name of it enters the log."""

    suite: str = ""
    organism: str = ""
    device: str = "cpu"
    seed: int = 0
    forward_tokens: int = 0
    generated_tokens: int = 0
    device_s: float = 0.0
    """Seconds that the tools of this sample have used the device."""


@dataclass(frozen=True)
class Desk:
    """What one call works with."""

    view: "PairView"
    probes: Probes
    seed: int


async def at_pair(access: Iterable[str], work: Callable[[Desk], Result]) -> Result:
    """What `work` reads of the current sample's pair, through a view with this access. What it cost is added to
    `Bench`, whether it found something or failed.

    Raises:
        InvestigationError: the organism cannot be found or read. Says so without a path: tools show some errors to the
            model that they serve, with the file's name.
    """
    bench = store_as(Bench)
    costs: list[dict[str, float]] = []
    try:
        return await on_device(bench.device, lambda stop: _desks(bench.device).run(
            bench.suite, bench.organism, bench.seed, frozenset(access), work, stop, costs.append))
    except OSError as error:  # Inspect shows PermissionError and FileNotFoundError to the model
        raise InvestigationError(f"the models of sample {bench.organism} could not be read. `narrowbench score` trains "
                                 "and verifies them.") from error
    finally:
        for cost in costs:
            bench.forward_tokens += int(cost["forward_tokens"])
            bench.generated_tokens += int(cost["generated_tokens"])
            bench.device_s += cost["seconds"]


def forget_pair() -> None:
    """Frees the resident base; suites and organisms, which may be others by the next run, are looked up anew."""
    for remembered in (_desks, _found, _suite):
        remembered.cache_clear()


@lru_cache(maxsize=1)
def _desks(device: str) -> "Resident":
    return Resident(device)


class Resident:
    """One base on one device. Only for use under that device's lock."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.pair: ModelPair | None = None
        self._base: Path | None = None
        self._attached: str | None = None
        self._shared: Shared | None = None

    def run(self, suite_name: str, sample_id: str, seed: int, access: frozenset[str], work: Callable[[Desk], Result],
            stop: threading.Event, spent: Callable[[dict[str, float]], None]) -> Result:
        """The result of `work`, with the sample's organism attached.

        Args:
            spent: Is told what `work` cost, whatever becomes of it.

        Raises:
            Stopped: `stop` was set.
        """
        from ..organisms.hooks import hooks
        from .view import PairView

        suite, organism = _found(suite_name, sample_id, Store().root)
        self._attach(suite.base, organism)

        def look(module, args, output) -> None:
            if stop.is_set():
                raise Stopped

        view = PairView(self.pair, access, shared=self._shared.of(organism.digest))
        try:
            with hooks((block, look) for block in self._blocks()):
                result = work(Desk(view, suite.probes, seed))
        finally:
            spent(view.cost())
        self._attached = organism.digest
        return result

    def _attach(self, base: Path, organism: Artefact) -> None:
        from ..organisms.adapters import base_digest
        from ..organisms.pair import ModelPair
        from .shared import Shared

        attached, self._attached = self._attached, None  # what a call that fails leaves behind is not relied on
        if self.pair is None or self._base != base:
            self.pair, self._base = None, base  # frees the former base before the next is loaded
            self.pair = ModelPair.load(base, organism.path, device=self.device)
            self._shared = Shared(Store(), base_digest(base))
        elif attached != organism.digest:
            self.pair.attach(organism.path)

    def _blocks(self) -> list:
        from ..organisms.pair import decoder_blocks

        blocks = {}
        for which in ("base", "finetuned"):
            with self.pair.side(which) as model:
                blocks |= dict.fromkeys(decoder_blocks(model))
        return list(blocks)


@lru_cache(maxsize=256)
def _found(suite_name: str, sample_id: str, home: Path) -> tuple[Suite, Artefact]:
    """The suite, and a sample's organism, verified once."""
    suite = _suite(suite_name)
    for entry in suite.entries:
        if entry.sample_id == sample_id:
            organism = find_trained(entry.spec, suite.base, entry.train_seed, Store(home))
            if organism is None:
                raise DamagedArtefactError(f"the organism of sample {sample_id} is gone. `narrowbench score` trains it "
                                           "again.")
            return suite, organism
    raise NotFoundError(f"suite {suite_name} has no sample {sample_id}. Score with the suite of the log.")


@lru_cache(maxsize=4)
def _suite(name: str) -> Suite:
    return load_suite(name)
