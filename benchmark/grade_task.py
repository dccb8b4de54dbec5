"""Grading claims again, as an Inspect task: no model of ours, no GPU, and of others only judges.

Main objects: `grade` (the task), `hand_in_again` (its solver), `GRADERS`.
Example: `narrowbench grade logs/....eval --grader hypothesis_grade --model-role grader=openai/gpt-5-mini`

An eval of its own, rather than Inspect's `score` on the old log: a judge that cannot be reached then costs its sample
and no other, is recorded and tried again by the next run, money and tokens are counted, and the log names its judges.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from ..graders.rubric import FOLDER as RUBRICS
from ..graders.rubric import hypothesis_grade
from ..graders.similarity import TFIDF
from ..graders.word_judge import token_relevance_judged
from ..organisms.code import code_sha256
from ..organisms.errors import DamagedArtefactError, EvidenceError, NotFoundError, SpecError
from ..organisms.spec import digest_of
from .diagnostics import steering_similarity, token_relevance
from .handed_in import GRADE_KEY, HandedIn, read_handed_in
from .suite import load_suite
from .task import detect, recovery

GRADERS = ("recovery", "detect", "hypothesis_grade", "token_relevance", "token_relevance_judged", "steering_similarity")
JUDGES = ("hypothesis_grade", "token_relevance_judged")
OF_EVIDENCE = ("token_relevance", "token_relevance_judged", "steering_similarity")
OF_SUITE = ("recovery", "token_relevance", "steering_similarity")
SCHEMA = 1


@task
def grade(source: str, graders: str | list[str] = "recovery", suite: str = "", sha256: str = "",
          embedder: str = TFIDF, judges: dict[str, Any] | None = None) -> Task:
    """Marks claims that are there already.

    Args:
        source: A log of `narrowbench score`, or a JSONL file of claims.
        graders: Of `GRADERS`.
        suite: Whose organisms the claims are about; a log of a built-in suite says it itself.
        sha256: Of the source; given, any other is refused.
        embedder: For steering_similarity.
        judges: What to record of the judges; it chooses none.

    Raises:
        NotFoundError: no such grader, file or suite. EvidenceError: a grader of evidence, and claims without any.
        SpecError: a grader needs the suite of the log, which is a file. DamagedArtefactError: another source.
    """
    names = list(dict.fromkeys([graders] if isinstance(graders, str) else graders))
    handed = read_handed_in(Path(source), suite)
    if sha256 and handed.sha256 != sha256:
        raise DamagedArtefactError(f"{source}: it has changed since grading began. Grade it anew.")
    check_graders(names, handed)
    return Task(
        dataset=MemoryDataset(list(handed.samples), name=handed.path.name), epochs=graded_epochs(names, handed),
        solver=hand_in_again(source, suite, any(name in OF_EVIDENCE for name in names)),
        scorer=[_scorer(name, handed.suite, embedder) for name in names], version=SCHEMA,
        metadata={GRADE_KEY: _about(handed, names, embedder, judges or {})})


@solver
def hand_in_again(source: str, suite: str = "", evidence: bool = False) -> Solver:
    """Hands in the stored claim of a sample and epoch; with `evidence`, also what it was made from."""
    handed = read_handed_in(Path(source), suite)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        key = str(state.sample_id), state.epoch
        state.output = ModelOutput.from_content("none", handed.claims[key].to_json())
        if evidence and handed.evidence[key] is not None:
            state.store.set("evidence", handed.evidence[key])
        return state

    return solve


def graded_epochs(names: Sequence[str], handed: HandedIn) -> int:
    """How many epochs are graded: evidence is the same in all of them, so that graders of it alone look once."""
    return 1 if all(name in OF_EVIDENCE for name in names) else handed.epochs


def check_graders(names: Sequence[str], handed: HandedIn) -> None:
    """Raises, before anything runs, if one of the graders cannot grade this."""
    for name in names:
        if name not in GRADERS:
            raise NotFoundError.of("grader", name, GRADERS, "narrowbench grade --help")
    if blind := [name for name in names if name in OF_EVIDENCE and handed.kind == "claims"]:
        raise EvidenceError(f"{handed.path.name}: {blind[0]} reads evidence, which claims do not bring. Grade the log "
                            "of a `narrowbench score`, or use recovery, detect or hypothesis_grade.")
    if not handed.suite and (lost := [name for name in names if name in OF_SUITE]):
        raise SpecError(f"{handed.path.name}: {lost[0]} needs the suite, which is a file of its own: add `--suite "
                        "PATH`.")


def _scorer(name: str, suite: str, embedder: str) -> Scorer:
    if name == "steering_similarity":
        return steering_similarity(suite, embedder)
    if name in OF_SUITE:
        return {"recovery": recovery, "token_relevance": token_relevance}[name](suite)
    return {"detect": detect, "hypothesis_grade": hypothesis_grade,
            "token_relevance_judged": token_relevance_judged}[name]()


def _about(handed: HandedIn, names: list[str], embedder: str, judges: dict[str, Any]) -> dict[str, Any]:
    about = {"schema": SCHEMA, "kind": handed.kind, "source_sha256": handed.sha256, "graders": names,
             "suite": handed.suite, "suite_digest": load_suite(handed.suite).digest if handed.suite else "",
             "embedder": embedder, "judges": judges, "missing": list(handed.missing)}
    rubrics = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(RUBRICS.glob("*.md"))]
    return about | {"inputs_sha256": digest_of(about | {"code": code_sha256(Path(__file__)), "rubrics": rubrics}),
                    "source": handed.path.name, "of": handed.about}
