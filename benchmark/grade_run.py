"""Grade claims that are there already: reuse a whole log of the same grades, finish an unfinished one, or begin.

Main objects: `grade_again` -> `Graded`, `ready` (checks first), `judge_prompts` (for a dry run).
Example: `narrowbench grade logs/....eval --grader recovery --grader detect`

The graded log is never changed. Grades go into a log of their own, which no leaderboard takes: what is published is the
log of `narrowbench score`, whose marks anybody can make again.
"""

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from ..graders.fence import show_claim
from ..graders.relevance import top_words
from ..graders.rubric import INSTRUCTIONS, load_rubric, says_nothing
from ..graders.similarity import TFIDF
from ..graders.word_judge import N_ROTATIONS
from ..graders.word_judge import PROMPT as WORDS_PROMPT
from ..organisms.errors import InvestigationError, NotFoundError, RecordError
from .evaluating import evaluate
from .grade_table import Report, report
from .grade_task import JUDGES, check_graders, grade, graded_epochs
from .handed_in import GRADE_KEY, HandedIn, read_handed_in
from .investigating import Investigator
from .logs import scan
from .outcomes import Tally, tally
from .spending import Purse


@dataclass(frozen=True)
class Graded:
    """What came of one source."""

    source: Path
    log: Path
    reused: bool
    report: Report
    tally: Tally
    missing: tuple[str, ...]
    """Organisms about which a file of claims says nothing: graded as silence."""
    warnings: tuple[str, ...] = ()
    """Logs of grades in the folder that are damaged or unfinished, named and left alone."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {"source": str(self.source), "log": str(self.log), "reused": self.reused, **self.report.to_dict(),
                "run": self.tally.to_dict(), "missing": list(self.missing), "warnings": list(self.warnings),
                "published": False}


def grade_again(source: Path, graders: Sequence[str], suite: str = "", who: Investigator = Investigator(),
                log_dir: Path = Path("grades"), out: Path | None = None, embedder: str = TFIDF,
                purse: Purse | None = None) -> Graded:
    """Grades a log, or a file of claims.

    Args:
        source: A log of `narrowbench score`, or a JSONL file.
        graders: Names, as of `grade_task.GRADERS`.
        suite: Whose organisms claims are about; of a log only where it is a file of its own.
        who: Judges are its role `grader`; it investigates nothing.
        log_dir: Where logs of grades are looked for and written.
        out: Also there; must not exist yet.
        purse: What judges may cost.

    Raises:
        NotFoundError: no such file, grader or suite. RecordError: a log that cannot be graded, or grading that did not
            end well; what is done is kept. InvestigationError: judges are missing, or would have nothing to do.
    """
    if out is not None and out.exists():
        raise RecordError(f"{out} is there already, and no log is ever overwritten. Name another file with `--out`.")
    purse = (purse or Purse()).checked(who)
    handed, names = ready(source, graders, suite, who)
    task = grade(str(handed.path), names, suite, handed.sha256, embedder, who.told() or None)
    seen = scan(log_dir, task.metadata[GRADE_KEY]["inputs_sha256"], GRADE_KEY)
    begun = None if seen.whole else seen.begun
    log = seen.whole or evaluate(task, who, log_dir, begun, purse, command(source, names, suite, who, log_dir,
                                                                           embedder))
    path = Path(unquote(urlparse(log.location).path) if log.location.startswith("file:") else log.location)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        path = Path(shutil.copyfile(path, out))
    warnings = tuple(line for line in seen.warnings if begun is None or not line.startswith(f"{begun}:"))
    return Graded(source, path, seen.whole is not None, report(log, handed), tally(log), handed.missing, warnings)


def ready(source: Path, graders: Sequence[str], suite: str, who: Investigator) -> tuple[HandedIn, list[str]]:
    """What would be graded and by which graders, if it can be. Raises as `grade_again` does."""
    names = list(dict.fromkeys(graders))
    if not names:
        raise NotFoundError("No grader is named. Add `--grader recovery`; `narrowbench grade --help` lists them.")
    handed = read_handed_in(source, suite)
    check_graders(names, handed)
    asking = [name for name in names if name in JUDGES]
    if asking and not who.roles.get("grader"):
        raise InvestigationError(f"{asking[0]} asks a language model, and none was named. Add `--model-role "
                                 "grader=PROVIDER/NAME`; nobody grades by accident.")
    if who.roles and not asking:
        raise InvestigationError(f"{', '.join(names)} ask no language model, so `--model-role` would do nothing. Leave "
                                 "it out, or add `--grader hypothesis_grade`.")
    if extra := [role for role in who.roles if role != "grader"]:
        raise InvestigationError(f"Graders know no role {extra[0]!r}. Judges are `--model-role grader=MODEL`.")
    return handed, names


def judge_prompts(handed: HandedIn, graders: Sequence[str]) -> dict[str, list[int]]:
    """Grader -> characters of each prompt that it shows to each judge; of words, each list in three rotations."""
    about = {str(sample.id): sample.metadata for sample in handed.samples}
    epochs = graded_epochs(graders, handed)
    known = [(key, claim) for key, claim in handed.claims.items() if about[key[0]]["role"] != "null"
             and key[1] <= epochs]
    found: dict[str, list[int]] = {}
    if "hypothesis_grade" in graders:
        found["hypothesis_grade"] = [
            len(load_rubric(about[key[0]]["family"]).template) + len(INSTRUCTIONS) + len(show_claim(claim))
            + len(about[key[0]]["statement"]) for key, claim in known if not says_nothing(claim)]
    if "token_relevance_judged" in graders:
        lists = [(about[key[0]]["statement"], words) for key, _ in known if handed.evidence[key] is not None
                 for words in top_words(handed.evidence[key]["tokens"]).values()]
        found["token_relevance_judged"] = [
            len(WORDS_PROMPT) + len(statement) + sum(len(word) + len("99. \"\"\n") for word in words)
            for statement, words in lists for _ in range(N_ROTATIONS)]
    return found


def command(source: Path, graders: Sequence[str], suite: str, who: Investigator, log_dir: Path,
            embedder: str = TFIDF) -> str:
    """The command that grades so, and that finishes what is missing."""
    kind = [str(source)] if source.suffix == ".eval" else ["--claims", str(source)]
    words = [*kind, *(word for name in graders for word in ("--grader", name)), *(["--suite", suite] if suite else []),
             *(["--embedder", embedder] if embedder != TFIDF else [])]
    return (f"narrowbench grade {shlex.join(words)}{who.options(shown=True)} "
            f"--log-dir {shlex.quote(str(log_dir))}")
