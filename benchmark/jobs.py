"""Independent jobs in a pool of processes: one that raises, or whose process dies, costs only itself.

Main objects: `Job`, `Outcome`, `run_jobs`, and `train_job` (trains or finds one organism).
Example: `run_jobs([Job("cake-450", train_job, {"spec_json": spec.model_dump_json(), "base": str(base), "seed": 0,
"home": str(store.root)})], workers=2)`

Not `concurrent.futures`: there one killed worker breaks the whole pool, and nothing says which job it was on. Here each
worker has a pipe of its own, so its death is charged to the job that it held. One worker is a child process too: a kill
by the kernel costs only the job, and the number of threads is set before torch loads.
"""

import faulthandler
import importlib
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

JOBS_PER_WORKER = 32
"""After so many jobs a worker is replaced, so that what libraries never free does not add up."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SECONDS_TO_END = 2.0
GRACE_S = 1.0
"""So much longer than its limit a job may take to notice by itself."""
BEGUN = b"begun"
"""What a worker says between a job's `before` and its function."""
LAST_WORDS = 2_000
"""Characters of a dead worker's output that are kept."""
ETA_WINDOW_S = 3600.0


@dataclass(frozen=True)
class Job:
    """A call that depends on no other. `function` is module-level and `kwargs` can be pickled."""

    name: str
    function: Callable[..., Any]
    kwargs: dict[str, Any] = field(default_factory=dict)
    before: Callable[..., Any] | None = None
    """Called first with the same kwargs: what the function needs, and what its time limit does not cover."""
    limit_s: float | None = None
    """A function that takes longer is stopped, whatever it is doing, and its process is replaced."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its value, or in one line why there is none."""

    job: Job
    value: Any = None
    error: str = ""
    details: str = ""
    """After an error: the traceback, or the last output of the process that died."""


def n_cores() -> int:
    """Cores that this process may use: the default number of workers."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(jobs: Sequence[Job], workers: int | None = None, progress: bool = True,
             jobs_per_worker: int = JOBS_PER_WORKER, title: str = "jobs", tell: bool = True) -> list[Outcome]:
    """Runs jobs in child processes that end with them; else as `Pool.run`.

    Args:
        workers: Processes at once (default: one per core); each gets its share of the cores as threads.

    Raises:
        ValueError: fewer than one worker.
    """
    workers = n_cores() if workers is None else workers
    with Pool(min(workers, max(1, len(jobs)))) as pool:
        return pool.run(jobs, progress, jobs_per_worker, title, tell)


class Pool:
    """Child processes that stay for the next jobs, so that what takes seconds to import is imported once.

    Args:
        workers: Processes at once (default: one per core); each gets its share of the cores as threads. They are
            started when there is something to do.
        imports: Modules that a process imports as it starts, before its first job.

    Raises:
        ValueError: fewer than one worker.
    """

    def __init__(self, workers: int | None = None, imports: Sequence[str] = ()) -> None:
        self.workers = n_cores() if workers is None else workers
        if self.workers < 1:
            raise ValueError(f"workers is {workers}; it must be at least 1. Leave `--workers` out for one per core.")
        self._n_threads = max(1, n_cores() // self.workers)
        self._imports = tuple(imports)
        self._idle: list[_Worker] = []
        self._logs = tempfile.TemporaryDirectory(prefix="narrowbench-jobs-")

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exc_info: object) -> None:
        for worker in self._idle:
            worker.end()
        self._idle.clear()
        self._logs.cleanup()

    def start(self) -> None:
        """Starts all processes now: they import while the caller does something else."""
        while len(self._idle) < self.workers:
            self._idle.append(self._started())

    def run(self, jobs: Sequence[Job], progress: bool = True, jobs_per_worker: int = JOBS_PER_WORKER,
            title: str = "jobs", tell: bool = True) -> list[Outcome]:
        """Runs jobs and returns their outcomes in the order of the jobs.

        A worker imports a heavy library once, for its first job. What jobs print is shown only if their process dies.

        Args:
            progress: Whether to show a bar on stderr with the jobs at work and the time left.
            jobs_per_worker: After so many jobs a process is replaced by a fresh one.
            title: What the bar calls the work.
            tell: Whether the bar names failures as they come.

        Raises:
            KeyboardInterrupt: after all workers were ended. What finished jobs stored stays stored.
        """
        outcomes: list[Outcome | None] = [None] * len(jobs)
        waiting = deque(range(len(jobs)))
        busy: list[_Worker] = []
        with _bar(title, len(jobs), progress, tell) as bar:
            try:
                while waiting or busy:
                    while waiting and len(busy) < self.workers:
                        busy.append(self._worker())
                        _next_job(busy[-1], jobs, waiting)
                    bar.show([jobs[worker.at].name for worker in busy])
                    for worker in _ready(busy):
                        outcome = worker.result(jobs[worker.at])
                        if outcome is None:
                            continue
                        outcomes[worker.at] = outcome
                        bar.done(outcome)
                        fresh = worker.alive and worker.n_done < jobs_per_worker
                        if fresh and waiting:
                            _next_job(worker, jobs, waiting)
                            continue
                        busy.remove(worker)
                        if fresh:
                            self._idle.append(worker)
                        else:
                            worker.end()
            finally:
                for worker in busy:
                    worker.kill()
        return [outcome for outcome in outcomes if outcome is not None]

    def _worker(self) -> "_Worker":
        """One that waits for work, if it still lives, or a new one."""
        while self._idle:
            worker = self._idle.pop()
            if worker.process.is_alive():
                return worker
            worker.end()
        return self._started()

    def _started(self) -> "_Worker":
        return _Worker(Path(self._logs.name), self._n_threads, self._imports)


def train_job(spec_json: str, base: str, seed: int, home: str) -> str:
    """Trains one organism, or finds it, and returns its key in the store under `home`."""
    from ..organisms.spec import OrganismSpec
    from ..organisms.store import Store
    from ..organisms.train import train

    return train(OrganismSpec.model_validate_json(spec_json), base, seed, Store(Path(home)), progress=False,
                 shipped=False).key


class _Worker:
    """A child process, our end of its pipe, and the index of the job that it holds."""

    def __init__(self, logs: Path, n_threads: int, imports: tuple[str, ...]) -> None:
        context = get_context("spawn")
        handle, name = tempfile.mkstemp(suffix=".log", dir=logs)
        os.close(handle)
        self.log = Path(name)
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, name, imports))
        with _environment(dict.fromkeys(THREAD_VARIABLES, str(n_threads))):
            self.process.start()
        theirs.close()  # with our copy closed, the child's death ends the pipe
        self.at, self.n_done, self.alive = -1, 0, True
        self.unsent: Outcome | None = None
        self.deadline_s: float | None = None

    def give(self, index: int, job: Job) -> None:
        """Sends a job. One that cannot be pickled is an outcome at once; a process that is gone shows in `result`."""
        self.at, self.unsent, self.deadline_s = index, None, None
        try:
            message = pickle.dumps((job.before, job.function, job.kwargs))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            self.unsent = Outcome(job, error=f"the job cannot be sent to a process: {error}. Its function must be "
                                             "module-level, its arguments plain data.")
            return
        try:
            self.pipe.send_bytes(message)
        except OSError:
            self.alive = False

    @property
    def overdue(self) -> bool:
        """Whether its job has run past its time limit."""
        return self.deadline_s is not None and time.monotonic() > self.deadline_s

    def result(self, job: Job) -> Outcome | None:
        """The outcome of the job it holds, None if it has only begun; call it once `_ready` names the worker."""
        if self.unsent:
            self.n_done += 1
            return self.unsent
        try:
            if self.overdue and not self.pipe.poll():
                return self._stopped(job)
            message = self.pipe.recv_bytes()
            if message == BEGUN:
                self.deadline_s = None if job.limit_s is None else time.monotonic() + job.limit_s + GRACE_S
                return None
            self.n_done, self.deadline_s = self.n_done + 1, None
            value, error, details = pickle.loads(message)  # from our own child, over its own pipe
            return Outcome(job, value, error, details)
        except (EOFError, OSError):
            self.alive = False
            self.process.join(SECONDS_TO_END)
            return Outcome(job, error=_cause(self.process.exitcode), details=self._last_words())

    def _stopped(self, job: Job) -> Outcome:
        self.alive = False
        self.kill()
        return Outcome(job, error=f"it ran past its limit of {job.limit_s:g} s and was stopped",
                       details=self._last_words())

    def _last_words(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-LAST_WORDS:].strip()

    def end(self) -> None:
        """Lets an idle worker go. One that never had a job is not waited for: it may be importing still."""
        self.pipe.close()
        if self.n_done:
            self.process.join(SECONDS_TO_END)
        self.kill()

    def kill(self) -> None:
        """Ends the process whatever it is doing."""
        self.pipe.close()
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(SECONDS_TO_END)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _next_job(worker: _Worker, jobs: Sequence[Job], waiting: deque[int]) -> None:
    index = waiting.popleft()
    worker.give(index, jobs[index])


def _ready(pool: list[_Worker]) -> list[_Worker]:
    """The workers that have something to say, or are gone; waits until there is one."""
    at_once = [worker for worker in pool if worker.unsent or not worker.alive]
    if at_once:
        return at_once
    deadlines_s = [worker.deadline_s for worker in pool if worker.deadline_s is not None]
    left_s = max(0.0, min(deadlines_s) - time.monotonic()) if deadlines_s else None
    heard = set(wait([worker.pipe for worker in pool], left_s))  # the end of a pipe counts as heard
    return [worker for worker in pool if worker.pipe in heard or worker.overdue]


def _serve(pipe: Connection, log: str, imports: tuple[str, ...]) -> None:
    """The life of a worker: a job from the pipe, its answer back, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable()
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()
    for module in imports:
        importlib.import_module(module)
    while True:
        try:
            message = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        pipe.send_bytes(_answer(message, lambda: pipe.send_bytes(BEGUN)))


def _answer(message: bytes, begin: Callable[[], None]) -> bytes:
    """Runs one job. What it raises is its outcome; only what ends the process ends the worker."""
    try:
        before, function, kwargs = pickle.loads(message)
        if before is not None:
            before(**kwargs)
        begin()
        return pickle.dumps((function(**kwargs), "", ""))
    except Exception as error:  # A job may be anybody's code: whatever it raises costs its own job, no other.
        return pickle.dumps((None, f"{type(error).__name__}: {error}", traceback.format_exc()))


def _leave_with(sentinel: int) -> None:
    """Ends this process when its parent is gone: nobody would hear its answer."""
    wait([sentinel])
    os._exit(1)


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name if -exitcode in iter(signal.Signals) else f"signal {-exitcode}"
        hint = " (out of memory? try fewer `--workers`)" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with exit code {exitcode}"


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Environment variables for the time of a `with` block: what a process started in it sees from its first line."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Bar:
    """One line on stderr: how many jobs are done, the time left, and which are at work; failures stand above it."""

    def __init__(self, bar: Progress, title: str, total: int, tell: bool) -> None:
        self.bar, self.line, self.tell = bar, bar.add_task(title, total=total, running=""), tell

    def show(self, names: list[str]) -> None:
        self.bar.update(self.line, running=", ".join(names))

    def done(self, outcome: Outcome) -> None:
        if outcome.error and self.tell:
            self.bar.console.print(f"failed {outcome.job.name}: {outcome.error}", style="red", markup=False,
                                   highlight=False, soft_wrap=True)
        self.bar.advance(self.line)


@contextmanager
def _bar(title: str, total: int, shown: bool, tell: bool) -> Iterator[_Bar]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[running]}", markup=False))
    console = Console(file=sys.stderr, quiet=not shown)
    with Progress(*columns, console=console, disable=not shown, speed_estimate_period=ETA_WINDOW_S) as bar:
        yield _Bar(bar, title, total, tell)
