"""One Inspect eval that asks models, begun or gone on with: what is done is kept, what failed is told and runs again.

Main object: `evaluate(task, who, log_dir, begun, purse, command)`.
Example: `log = evaluate(task, Investigator("reader"), Path("logs"), None, Purse(), "narrowbench score ...")`

Its own errors say how many samples are done, what failed and why, and with which command to finish only that. Two runs
of the same that ask models do not go on at once: the second is told so (`run_lock`).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..organisms.errors import InvestigationError, RecordError
from .investigating import KEEP_WHAT_IS_DONE, Investigator
from .logs import scan
from .run_lock import alone
from .unaskable import plain, prerequisite_error

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog

    from .spending import Purse


_NO_MODEL = re.compile(r"Model (?:API|name) ")
"""How the ValueError begins with which Inspect refuses a name that is no model's."""


def evaluate(task: "Task", who: Investigator, log_dir: Path, begun: Path | None, purse: "Purse",
             command: str) -> "EvalLog":
    """Runs a task, or what an unfinished log of the same task lacks.

    Args:
        begun: The unfinished log, whose finished samples are taken over.
        command: What finishes the run if some of it fails.

    Raises:
        RecordError: the eval did not end in success; names each failed sample, and counts failures by kind.
        InvestigationError: nothing is left in the purse, a model cannot be asked (no key, no package, no such
            provider), or another run of the same is under way.
    """
    from inspect_ai import eval as inspect_eval, eval_retry

    from .resident import forget_pair

    log_dir.mkdir(parents=True, exist_ok=True)
    where = {"display": "none", "log_dir": str(log_dir), "log_format": "eval"}
    try:
        arguments = who.eval_arguments()  # also makes prices known, which a retry needs as well
        with _sole(task, who, log_dir, begun, command), purse.open():
            if begun is None:
                [log] = inspect_eval(task, **arguments, **where)
            else:
                [log] = eval_retry(str(begun), max_samples=who.max_samples, **KEEP_WHAT_IS_DONE, **where)
    except (prerequisite_error(), ValueError) as error:
        if isinstance(error, ValueError) and not _NO_MODEL.match(str(error)):
            raise
        raise InvestigationError(f"a model cannot be asked: {plain(error)} Nothing was paid for. `{command}` runs it "
                                 "once that is mended.") from error
    finally:
        forget_pair()
    if log.status != "success":
        raise RecordError(_unfinished(log, log_dir, command))
    return log


@contextmanager
def _sole(task: "Task", who: Investigator, log_dir: Path, begun: Path | None, command: str) -> Iterator[None]:
    """Keeps other runs of the same away, and sees that none has come and gone since `begun` was looked for. Without
    models nothing is gone on with and nothing paid for, so that whoever wants may run it twice."""
    if not who.models():
        yield
        return
    [(key, inputs)] = [(key, about["inputs_sha256"]) for key, about in task.metadata.items()]
    wanted = sorted((str(sample.id), epoch + 1) for sample in task.dataset for epoch in range(task.epochs or 1))
    with alone(log_dir, inputs, command):
        now = scan(log_dir, inputs, key, lambda log: sorted((str(sample.id), sample.epoch) for sample in log.samples)
                   == wanted and all(sample.scores for sample in log.samples))
        if now.whole is not None or begun not in (None, now.begun):
            raise InvestigationError(f"another run of the same has just ended in {log_dir}. Nothing was asked or paid "
                                     f"for. `{command}` uses what it has done.")
        yield


def _unfinished(log: "EvalLog", log_dir: Path, command: str) -> str:
    """What went wrong with a run, sample by sample, and what to do."""
    from .outcomes import reason, tally

    several = (log.eval.config.epochs or 1) > 1
    failed = [f"{sample.id}{f' epoch {sample.epoch}' if several else ''}: {reason(sample.error)}"
              for sample in log.samples or [] if sample.error]
    why = log.error.message if log.error else "some samples failed" if failed else "it was cancelled"
    done = sum(sample.error is None for sample in log.samples or [])
    told = f" {done} samples are done and kept, {len(failed)} failed: {'; '.join(failed)}." if failed else ""
    counts = tally(log).line()
    return (f"The eval ended with status {log.status!r}: {why}.{told}{f' {counts}.' if counts else ''} The same "
            f"command runs only what is missing: `{command}`. `inspect view --log-dir {log_dir}` shows where; "
            f"{log.location} is never published.")
