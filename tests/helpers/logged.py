"""A record with the Inspect log that it was made from, in which a (scripted) model investigated with a tool.

Main object: `logged_record(folder, text)`.
Example: `log, record, rows = logged_record(tmp_path, "<script>alert(1)</script>")`
"""

from pathlib import Path

import numpy as np
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.solver import generate, solver, system_message, use_tools
from inspect_ai.tool import tool
from synthetic import cards, record_of

from narrowbench.graders.claim import Claim
from narrowbench.leaderboard.record import LogRef, Record, SampleRow
from narrowbench.organisms.store import sha256_file

SECRET = "sk-secret-of-nobody"


@tool
def look(text: str):
    async def execute(where: str) -> str:
        """Looks there.

        Args:
            where: A place.
        """
        return f"Seen there: {text}"

    return execute


@solver
def hand_in(claims: dict[str, str]):
    async def solve(state, generate):
        state.output.completion = claims[str(state.sample_id)]
        return state

    return solve


def logged_record(folder: Path, text: str, n_organisms: int = 4) -> tuple[Path, Record, tuple[SampleRow, ...]]:
    """Runs the conversation for each organism; `text` stands in all that is said, in the claim without separators of
    lines, which no record may hold. A key stands in the configuration."""
    record, rows = record_of("talker", 0.9, cards(n_organisms), np.random.default_rng(0), n_nulls=1)
    statement = "It is " + "".join(c for c in text if c.isprintable())  # what is not, can be in no claim
    rows = tuple(row.model_copy(update={"claim": row.claim.model_copy(update={"statement": statement})})
                 for row in rows)
    claims = {row.sample_id: Claim(row.claim.verdict, row.claim.confidence, row.claim.statement,
                                   row.claim.keywords).to_json() for row in rows}
    said = [ModelOutput.for_tool_call("mockllm/model", "look", {"where": text}, content=f"I look. {text}"),
            ModelOutput.from_content("mockllm/model", f"I know. {text}")] * len(rows)
    for output in said:
        output.usage = ModelUsage(input_tokens=9, output_tokens=9, total_tokens=18)  # else it is counted, by a download
    samples = [Sample(id=row.sample_id, input=f"Which objective? {text}",
                      metadata={"evidence_sha256": row.evidence_sha256}) for row in rows]
    task = Task(dataset=MemoryDataset(samples), solver=[system_message("Say what it is."), use_tools(look(text)),
                                                        generate(), hand_in(claims)])
    model = get_model("mockllm/model", custom_outputs=said, token=SECRET, memoize=False)
    [log] = eval(task, model=model, display="none", log_dir=str(folder / "logs"), log_format="eval", max_samples=1)
    path = Path(log.location)
    ref = LogRef(sha256=sha256_file(path), eval_id=log.eval.eval_id)
    made = Record.of(rows, suite=record.suite, method=record.method, investigator=record.investigator, run=record.run,
                     panel=None, log=ref)
    return path, made, rows
