"""The black-box agent: the same agent, which may only ask both models and read what model B writes. The fair baseline.

Main object: `blackbox_agent`, an Inspect solver.
Example: `narrowbench score -m prior --suite demo --solver blackbox_agent --model openai/... --interactions 50`

It never sees the method's evidence, so its row is the same under every method; score it under `prior`.
"""

from inspect_ai.solver import Generate, Solver, TaskState, solver

from ..allowance import Allowance
from ..tools import ask_models, unsteered_samples
from ._conversation import TASK, Makers, converse

NEEDS_MODEL = ASKS_PAIR = True
PROMPT = TASK + """

You have tools to read what model B writes when it is asked about nothing in particular, and, as long as you have
interactions left, to ask both models. Ask about many fields before you ask twice about one, and look for answers that
only model B gives. Use your interactions before you hand in your answer."""
MAKERS = Makers(free=(unsteered_samples,), costly=(ask_models,))


@solver
def blackbox_agent(interactions: int = 5, turns: int | None = 30, tokens: int | None = 200_000,
                   usd: float | None = None, seconds: float | None = None) -> Solver:
    """Investigates by asking, within an allowance (`allowance.Allowance`)."""
    allowance = Allowance(interactions, turns, tokens, usd, seconds)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return await converse(state, PROMPT, MAKERS, allowance, [])

    return solve
