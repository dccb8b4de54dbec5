"""Score one method on one suite: train what is missing, collect what is missing, run the Inspect eval or reuse its log.

Main objects: `score`, `plan`, `grow`, `Result`.
Example: `narrowbench score --method adl_logit_lens --suite demo`

Each step looks first at what is there: organisms and evidence in the store, a whole log of the same inputs in
`log_dir`. So a run that was killed goes on where it stopped, and a second run computes nothing.
"""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from ..organisms.errors import EvidenceError, TrainingError
from ..organisms.spec import digest_of
from ..organisms.store import Artefact, Store
from .background import collect_background
from .collecting import collect
from .evidence import Survey, survey
from .method import methods
from .settings import changed, configured, label, needs_judge
from .suite import Suite, load_suite
from .table import Row, means_of, rows_of

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog

    from .investigating import Investigator
    from .jobs import Pool
    from .outcomes import Tally
    from .spending import Purse


@dataclass(frozen=True)
class Result:
    """One scored log: its rows, and whatever the user must know about how it came to be."""

    method: str
    suite: str
    investigator: str
    log: Path
    reused: bool
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]
    """Logs in the folder that are damaged or unfinished, named and left alone."""
    tally: "Tally"
    """How the investigations ended, and what they used."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the method, where they are not its defaults."""
    epochs: int = 1

    @property
    def label(self) -> str:
        """The method's name, with its settings where they are not its defaults."""
        return label(self.method, self.settings)

    @property
    def means(self) -> dict[str, float | None]:
        """Mean recovery and parts over the objectives and twins that count."""
        return means_of(list(self.rows))

    @property
    def failures(self) -> tuple[str, ...]:
        """One line for each organism on which the method failed: it scored as nothing recovered, and is not stored."""
        return tuple(dict.fromkeys(row.error for row in self.rows if row.error))

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {"method": self.method, "settings": self.settings, "suite": self.suite,
                "investigator": self.investigator, "epochs": self.epochs, "log": str(self.log),
                "reused": self.reused, "means": self.means, "organisms": [row.to_dict() for row in self.rows],
                "warnings": list(self.warnings), "failures": list(self.failures), "run": self.tally.to_dict()}


def score(method: str, suite: str = "demo", investigator: "str | Investigator" = "reader", seed: int = 0,
          store: Store | None = None, log_dir: Path = Path("logs"), device: str = "cpu", progress: bool = True,
          workers: int | None = 0, pool: "Pool | None" = None, purse: "Purse | None" = None,
          settings: Mapping[str, Any] | None = None) -> Result:
    """Scores a method on a suite and returns the rows of its log.

    Args:
        method: Built-in name, `path/to/file.py:Class` or `pkg.mod:Class`.
        suite: Built-in name or the path of a manifest.
        investigator: Who turns evidence into claims: a name, or with a model that it asks.
        seed: Of evidence collection.
        store: Where organisms and evidence lie; default: the user's.
        log_dir: Where Inspect logs are looked for and written.
        device: Where evidence is collected, and where the models lie that an agent's tools ask.
        progress: Whether to show progress on stderr.
        workers: Processes that collect; None = one a core, 0 = this one, which a method that hangs or crashes takes
            along.
        pool: Instead of `workers`: processes that stay for the next method.
        purse: What models may cost, over this and other runs; None = unlimited.
        settings: Of the method, by the names of its class's parameters; those left out stay its defaults.

    Raises:
        NotFoundError: no such method, suite or investigator. SpecError: the method has no such setting.
        EvidenceError: it needs a judge, and none is named, or the judge failed.
        InvestigationError: an investigator without the model that it asks, or nothing left in the purse.
        RecordError: the eval did not end in success, or some investigations failed; the others are kept.
    """
    from .investigating import Investigator
    from .logs import find_log
    from .outcomes import tally
    from .spending import Purse

    store, purse = store or Store(), purse or Purse()
    found, source_sha256 = configured(method, settings)
    told = changed(type(found), settings or {})
    purse.checked(investigator)
    who = (Investigator(investigator) if isinstance(investigator, str) else investigator).checked()
    chosen = load_suite(suite)
    organisms = grow(chosen, store, progress, workers=None)
    have = survey(chosen, found, source_sha256, seed, store, organisms, device)
    if have.background is None:
        collect_background(chosen, store, device)
    if todo := [cell for cell in have.cells if cell.evidence is None]:
        collect(chosen, found, todo, seed, store, device, name=method, workers=workers, pool=pool,
                progress=progress)
    with home_of(store):
        have = survey(chosen, found, source_sha256, seed, store, organisms, device)
        if needs_judge(found):
            _judged_all(have, shown_command(method, suite, who, seed, device, told, log_dir))
        task = exam_of(method, suite, who, seed, have, device, told)
        log, warnings = find_log(log_dir, task.metadata["narrowbench"]["inputs_sha256"],
                                 {str(sample.id) for sample in task.dataset})
        reused = log is not None
        if log is None:
            log, continued = _evaluate(task, who, log_dir, purse, shown_command(
                method, suite, who, seed, device, told, log_dir))
            warnings = [line for line in warnings if continued is None or not line.startswith(f"{continued}:")]
    path = Path(unquote(urlparse(log.location).path) if log.location.startswith("file:") else log.location)
    return Result(found.name, chosen.id, who.name, path, reused, tuple(rows_of(log)), tuple(warnings), tally(log),
                  told, who.epochs)


def _judged_all(have: Survey, command: str) -> None:
    """Raises EvidenceError where a method that asks a judge failed: most often the judge did, which says nothing of the
    method, and investigating the rest would be paid for twice."""
    failed = [f"{cell.entry.spec.id}: {cell.failure}" for cell in have.cells if cell.evidence is None]
    if failed:
        raise EvidenceError(f"{len(failed)} of {len(have.cells)} organisms could not be read: {'; '.join(failed[:3])}. "
                            f"The others are kept. `{command}` collects what is missing.")


def exam_of(method: str, suite: str, who: "Investigator", seed: int, have: Survey, device: str,
            settings: Mapping[str, Any]) -> "Task":
    """The Inspect task of this investigator on evidence that is there."""
    from .task import recover

    return recover(suite, method, who.name, seed, digest_of([cell.digest for cell in have.cells]), device,
                   asdict(who.allowance), who.told() or None, who.options(), dict(settings) or None, who.epochs)


def shown_command(method: str, suite: str, who: "Investigator", seed: int, device: str, settings: Mapping[str, Any],
                  log_dir: Path) -> str:
    """The command as its user can give it again; the one in a log says nothing of the machine."""
    from .task import score_command

    return (score_command(method, suite, who.name, seed, device, settings, who.epochs, who.options(shown=True))
            + f" --log-dir {shlex.quote(str(log_dir))}")


def score_all(names: Sequence[str], suite: str = "demo", investigator: "str | Investigator" = "reader", seed: int = 0,
              store: Store | None = None, log_dir: Path = Path("logs"), device: str = "cpu", progress: bool = True,
              workers: int | None = None, purse: "Purse | None" = None,
              settings: Mapping[str, Mapping[str, Any]] | None = None) -> Iterator[Result]:
    """As `score`, one method after another. Those of the package share processes, which load libraries and base once;
    anybody else's gets its own, so that what it leaves behind in a process reaches no other method's evidence.

    Args:
        settings: Method -> its settings, as of `settings.shared_out`.
    """
    from .collecting import pool_for
    from .spending import Purse

    own, purse = set(methods()), purse or Purse()
    with pool_for(load_suite(suite).base, device, workers) as pool:
        for name in names:
            yield score(name, suite, investigator, seed, store, log_dir, device, progress, workers,
                        pool if name in own else None, purse, (settings or {}).get(name))


def plan(method: str, suite: str = "demo", seed: int = 0, store: Store | None = None, device: str = "cpu",
         settings: Mapping[str, Any] | None = None) -> list[dict[str, str]]:
    """What `score` would do, organism by organism, without doing it."""
    found, source_sha256 = configured(method, settings)
    steps = []
    for cell in survey(load_suite(suite), found, source_sha256, seed, store or Store(), device=device).cells:
        again = f"to collect again (last time: {cell.failure})" if cell.failure else "to collect"
        steps.append({"organism": cell.entry.spec.id, "training": "there" if cell.organism else "to train",
                      "evidence": "there" if cell.evidence else again})
    return steps


def grow(suite: Suite, store: Store, progress: bool = True, workers: int | None = 1, shipped: bool = True,
         skip_failed: bool = False) -> dict[str, Artefact]:
    """The organisms of a suite by sample id: shipped ones, those in the store, and the rest trained now.

    Args:
        workers: Processes that train at once; None = one per core.
        shipped: Whether the package's own builds may be used; if not, every organism is grown on this machine.
        skip_failed: Leave out organisms whose training failed, instead of raising at the end.

    Raises:
        TrainingError: some trainings failed, after all others are done and stored; names them.
    """
    from ..organisms.lookup import find_trained
    from .jobs import Job, run_jobs, train_job

    grown = {entry.sample_id: find_trained(entry.spec, suite.base, entry.train_seed, store, shipped)
             for entry in suite.entries}
    todo = [entry for entry in suite.entries if grown[entry.sample_id] is None]
    jobs = [Job(f"{entry.spec.id} seed {entry.train_seed}" if entry.train_seed else entry.spec.id, train_job,
                {"spec_json": entry.spec.model_dump_json(), "base": str(suite.base), "seed": entry.train_seed,
                 "home": str(store.root)}) for entry in todo]
    outcomes = run_jobs(jobs, workers, progress) if jobs else []
    for entry, outcome in zip(todo, outcomes, strict=True):
        grown[entry.sample_id] = None if outcome.error else store.find("organism", outcome.value)
    failed = [f"{outcome.job.name}: {outcome.error}" for outcome in outcomes if outcome.error]
    if failed and not skip_failed:
        raise TrainingError(f"{len(failed)} of {len(jobs)} trainings failed: {'; '.join(failed)}. The others are "
                            "stored; the same command tries these again.")
    return {name: artefact for name, artefact in grown.items() if artefact is not None}


def _evaluate(task: "Task", who: "Investigator", log_dir: Path, purse: "Purse",
              command: str) -> "tuple[EvalLog, Path | None]":
    """The log of a run, and the unfinished log that it goes on from, whose finished samples are taken over."""
    from .evaluating import evaluate
    from .logs import find_unfinished

    begun = find_unfinished(log_dir, task.metadata["narrowbench"]["inputs_sha256"]) if who.model else None
    return evaluate(task, who, log_dir, begun, purse, command), begun


@contextmanager
def home_of(store: Store) -> Iterator[None]:
    """The task finds its store through the environment, so that no local path enters its logged arguments."""
    before = os.environ.get("NARROWBENCH_HOME")
    os.environ["NARROWBENCH_HOME"] = str(store.root)
    try:
        yield
    finally:
        if before is None:
            del os.environ["NARROWBENCH_HOME"]
        else:
            os.environ["NARROWBENCH_HOME"] = before
