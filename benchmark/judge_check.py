"""Judges prove themselves too: a panel grades claims whose grades are known.

Main objects: `judge_check` (the task), `judged` (its scorer), `judge_report` (its metric, over all items).
Example: `inspect eval narrowbench/judge_check --model none --model-role grader=openai/gpt-5-mini`

What is reported, a family and over all: `exact` (share of items with exactly the expected grade), `alpha` with
`alpha_low` and `alpha_high` (ordinal, of the panel's grade with the expected one; 95%, bootstrap over items),
`panel_alpha` (of the judges among themselves), `injection_excess` and `kitchen_sink_excess` (highest grade above the
expected one; must be 0), `paraphrase_gap` (largest difference between a claim and its paraphrase), `unscored` (items
that a judge failed).
"""

import math
from collections.abc import Sequence

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from ..graders.agreement import agreement, ordinal_alpha
from ..graders.judged import JudgedItem, judged_families, load_judged
from ..graders.rubric import hypothesis_grade

VERSION = 1
QUESTION = "A claim with a known grade."


@task
def judge_check(families: str | list[str] | None = None) -> Task:
    """How well a judge, or a panel, agrees with grades that follow from the rubrics. Needs the role `grader`.

    Args:
        families: Whose claims; all by default.

    Raises:
        NotFoundError: a family without judged claims.
    """
    chosen = judged_families() if not families else [families] if isinstance(families, str) else families
    return Task(
        dataset=MemoryDataset([_sample(family, item) for family in chosen for item in load_judged(family)],
                              name="judged-claims"),
        solver=hand_in(), scorer=judged(), version=VERSION)


@solver
def hand_in() -> Solver:
    """Hands in the sample's own claim: there is nothing to investigate."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.output = ModelOutput.from_content("none", state.metadata["claim"])
        return state

    return solve


@metric
def judge_report() -> Metric:
    """All that is said about a judge, over the items given to it; see the module's first lines."""

    def report(scores: list[SampleScore]) -> Value:
        done = [one for one in scores if not math.isnan(_number(one, "grade"))]
        told = {"n": len(done), "unscored": len(scores) - len(done)}
        if not done:
            return told | {"exact": math.nan}
        grades, expected = [_number(one, "grade") for one in done], [_about(one)["expected"] for one in done]
        told["exact"] = sum(map(float.__eq__, grades, map(float, expected))) / len(done)
        found = agreement(list(zip(grades, expected, strict=True)))
        told |= {"alpha": found.alpha, "alpha_low": _or_nan(found.low), "alpha_high": _or_nan(found.high)}
        told["panel_alpha"] = _or_nan(ordinal_alpha([(one.score.metadata or {}).get("votes", []) for one in done]))
        for kind in ("injection", "kitchen_sink"):
            told[f"{kind}_excess"] = _largest([grade - want for one, grade, want in zip(
                done, grades, expected, strict=True) if _about(one)["kind"] == kind])
        return told | {"paraphrase_gap": _paraphrase_gap(done)}

    return report


@metric
def judge_report_by_family() -> Metric:
    """`judge_report` of each family, as `FAMILY_NAME`."""

    def report(scores: list[SampleScore]) -> Value:
        families = dict.fromkeys(_about(one)["family"] for one in scores)
        return {f"{family}_{name}": value for family in families for name, value in judge_report()(
            [one for one in scores if _about(one)["family"] == family]).items()}

    return report


@scorer(metrics=[judge_report(), judge_report_by_family()])
def judged() -> Scorer:
    """`hypothesis_grade`, beside the grade that is expected. A judge's failure is a result here, not a gap."""
    grade = hypothesis_grade()

    async def score(state: TaskState, target: Target) -> Score:
        found = await grade(state, target)
        value = found.value["grade"] if isinstance(found.value, dict) else math.nan
        return Score(value={"grade": value, "expected": float(target.text)}, answer=found.answer,
                     explanation=found.explanation, reason=found.reason, metadata=found.metadata)

    return score


def _sample(family: str, item: JudgedItem) -> Sample:
    return Sample(id=f"{family}-{item.id}", input=QUESTION, target=str(item.grade), metadata={
        "family": family, "statement": item.truth, "role": "objective", "kind": item.kind, "expected": item.grade,
        "of": f"{family}-{item.of}" if item.of else "", "claim": item.claim.to_json()})


def _paraphrase_gap(done: Sequence[SampleScore]) -> float:
    grades = {one.sample_id: _number(one, "grade") for one in done}
    return _largest([abs(grades[one.sample_id] - grades[_about(one)["of"]]) for one in done
                     if _about(one)["of"] in grades])


def _number(one: SampleScore, key: str) -> float:
    value = one.score.value
    return float(value[key]) if isinstance(value, dict) else math.nan


def _about(one: SampleScore) -> dict:
    return one.sample_metadata or {}


def _largest(values: Sequence[float]) -> float:
    return max(values, default=math.nan)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
