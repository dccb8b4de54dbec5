"""The agent: a language model that reads a method's evidence, looks into both models with tools, and asks them.

Main object: `agent`, an Inspect solver.
Example: `narrowbench score -m adl --suite demo --solver agent --model openai/... --interactions 5`

Source of the set-up: arXiv 2510.13900, section 4 (there: one call a turn in plain text; budgets of 0, 5 and 50
interactions). Here tools are typed, and neither prompt nor tools suppose that there is an objective.
"""

from inspect_ai.solver import Generate, Solver, TaskState, solver

from ..allowance import Allowance
from ..rendering import fenced, overview
from ..tools import (ask_models, generate_steered, logit_lens, patchscope, read_evidence, steering_samples)
from ._conversation import TASK, Makers, converse

NEEDS_MODEL = ASKS_PAIR = True
PROMPT = TASK + """

You are shown evidence that a method has read of the two models before you came: tokens, texts or statistics, some of
it noise. Its weights are lifts over what control vectors give. You have tools to read all of it, to read the mean
difference between the models' activations yourself, and, as long as you have interactions left, to ask the models and
to steer model B. Trust the evidence no further than you can check it: words that come back from several tools, and that
model B uses where model A does not, count most. Use your interactions before you hand in your answer."""
MAKERS = Makers(free=(read_evidence, steering_samples, logit_lens, patchscope), costly=(ask_models, generate_steered))


@solver
def agent(interactions: int = 5, turns: int | None = 30, tokens: int | None = 200_000, usd: float | None = None,
          seconds: float | None = None) -> Solver:
    """Investigates with white-box tools, within an allowance (`allowance.Allowance`)."""
    allowance = Allowance(interactions, turns, tokens, usd, seconds)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        shown = ["The evidence in brief.", fenced(overview(state.store.get("evidence")))]
        return await converse(state, PROMPT, MAKERS, allowance, shown)

    return solve
