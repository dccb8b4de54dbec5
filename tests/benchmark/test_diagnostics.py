"""A log can be graded again, without models: diagnostics of its evidence, and judges of its claims."""

import re

import pytest
from inspect_ai import score as inspect_score
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from narrowbench.benchmark.diagnostics import token_relevance
from narrowbench.benchmark.logs import read_whole
from narrowbench.benchmark.run import score
from narrowbench.graders.rubric import hypothesis_grade
from narrowbench.graders.word_judge import token_relevance_judged


@pytest.fixture(scope="module")
def log(tiny_suite, tiny_store, tmp_path_factory):
    """The oracle's log on the tiny suite."""
    logs = tmp_path_factory.mktemp("logs")
    return read_whole(score("oracle", str(tiny_suite), store=tiny_store, log_dir=logs, progress=False).log)


def judge(messages, tools, tool_choice, config):
    """Labels every numbered word, and gives every claim a 4."""
    words = re.findall(r'(?m)^(\d+)\. "', messages[-1].text)
    text = "\n".join(f"{n}: RELEVANT" for n in words) if words else "GRADE: 4"
    output = ModelOutput.from_content("mockllm/judge", text)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


def test_a_log_is_graded_again_by_words_and_by_judges(log, tiny_suite):
    model = get_model("mockllm/judge", custom_outputs=judge, memoize=False)
    graded = inspect_score(log, [token_relevance(str(tiny_suite)), token_relevance_judged(), hypothesis_grade()],
                           action="append", model_roles={"grader": model}, display="none")
    by_role = {sample.metadata["role"]: sample.scores for sample in graded.samples}
    for role in ("objective", "twin"):
        lexical = by_role[role]["token_relevance"]
        assert lexical.value["mean"] > 0 and lexical.value["lift"] > 0 and lexical.metadata["p_mean"] <= 1 / 2
        assert by_role[role]["token_relevance_judged"].value["max"] > 0
        assert by_role[role]["hypothesis_grade"].value == {"grade": 4, "passed": 1}
        assert by_role[role]["recovery"].value["recovery"] >= 0.95, "what was there stays"
    assert all(by_role["null"][name].reason == "null" for name in by_role["null"]
               if name not in ("recovery", "detect"))
    assert {one.scorer for one in graded.results.scores} >= {"recovery", "detect", "hypothesis_grade"}
