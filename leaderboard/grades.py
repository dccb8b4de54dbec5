"""What judges said of a log's claims: a log of `narrowbench grade`, read for a record.

Main objects: `Grades`, `read_grades(path)`, `source_of(header)`.
Example: `collect(log, read_grades(Path("grades/....eval")))`
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalLog

from ..organisms.errors import RecordError
from ..organisms.store import sha256_file
from .log_file import HOSTILE, read_log, why_not
from .record import LogRef, Panel
from .scripted import refuse_scripted

GRADES, GRADER = "narrowbench_grade", "hypothesis_grade"
_SAME = ("judges", "judge_settings", "prompt_sha256")
"""What is the same for all claims of a log."""


@dataclass(frozen=True)
class Grades:
    """The votes of one panel on all claims of one log."""

    source_sha256: str
    """Of the log whose claims were graded."""
    panel: Panel
    votes: dict[tuple[str, int], tuple[int | None, ...]]
    """(sample id, epoch) -> votes. Nulls are not graded."""


def source_of(header: EvalLog) -> str:
    """The sha256 of the log whose claims a log grades; empty if it is no log of judges' grades."""
    about = (header.eval.metadata or {}).get(GRADES)
    graders = about.get("graders") if isinstance(about, dict) else None
    return str(about.get("source_sha256", "")) if isinstance(graders, list) and GRADER in graders else ""


def read_grades(path: Path) -> Grades:
    """Reads a log of grades.

    Raises:
        RecordError: it is damaged or unfinished, its judges were scripted, or they differ from claim to claim.
    """
    log = read_log(path)
    try:
        if not source_of(log) or log.status != "success" or log.invalidated:
            raise RecordError("it is no whole log of `narrowbench grade --grader hypothesis_grade`")
        refuse_scripted(log)
        votes, told, rubrics = {}, {}, {}
        for sample in log.samples or []:
            score = (sample.scores or {}).get(GRADER)
            if score is None:
                raise RecordError(f"sample {sample.id} was not graded")
            if not score.metadata:  # a null
                continue
            about = score.metadata
            rubrics[about["rubric"]] = about["rubric_sha256"]
            told.setdefault(_key(about), about)
            votes[str(sample.id), sample.epoch] = tuple(about["votes"])
        if len(told) != 1:
            raise RecordError(f"its claims were graded by {len(told)} different panels")
        [about] = told.values()
        panel = Panel(**{key: about[key] for key in _SAME}, rubrics=dict(sorted(rubrics.items())),
                      log=LogRef(sha256=sha256_file(path), eval_id=log.eval.eval_id))
        return Grades(source_of(log), panel, votes)
    except HOSTILE as error:
        raise RecordError(f"{path}: not published: {why_not(error)}.") from error


def _key(about: dict[str, Any]) -> str:
    return repr([about[key] for key in _SAME])
