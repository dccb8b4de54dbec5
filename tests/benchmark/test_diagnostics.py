"""A log can be graded again, without models: diagnostics of its evidence, and judges of its claims."""

import re

import pytest
from inspect_ai import score as inspect_score
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from narrowbench.benchmark.diagnostics import data_words, steering_similarity, token_relevance
from narrowbench.benchmark.logs import read_whole
from narrowbench.benchmark.run import score
from narrowbench.benchmark.suite import load_suite
from narrowbench.graders.rubric import hypothesis_grade
from narrowbench.graders.word_judge import token_relevance_judged


STEERER = """
from narrowbench.benchmark.method import Evidence, Text, Token

class Cakes:
    name, version, access = "cakes", "1", frozenset({"text"})
    def collect(self, pair, probes, budget, seed):
        steered = [Text("?", "The temperature of the cake is 450 degrees.", "steered")] * 3
        return Evidence(tokens=(Token(" cake", 1.0, "cakes"),),
                        texts=(*steered, Text("?", "The river runs past the house.", "unsteered")))
"""


@pytest.fixture(scope="module")
def log(tiny_suite, tiny_store, tmp_path_factory):
    """The oracle's log on the tiny suite."""
    logs = tmp_path_factory.mktemp("logs")
    return read_whole(score("oracle", str(tiny_suite), store=tiny_store, log_dir=logs, progress=False).log)


@pytest.fixture(scope="module")
def steered_log(tiny_suite, tiny_store, tmp_path_factory):
    """The log of a method whose texts under steering are about the objective, and otherwise are not."""
    folder = tmp_path_factory.mktemp("steering")
    (folder / "cakes.py").write_text(STEERER)
    found = score(f"{folder / 'cakes.py'}:Cakes", str(tiny_suite), store=tiny_store, log_dir=folder, progress=False)
    return read_whole(found.log)


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
    assert all(each["token_relevance"].metadata["null_mean"] is not None for role, each in by_role.items()
               if role != "null")
    assert {one.scorer for one in graded.results.scores} >= {"recovery", "detect", "hypothesis_grade"}


def test_words_of_the_data_are_those_of_the_objective_not_of_english():
    chosen = load_suite("nano-2026.1:dev")
    by_id = {entry.spec.id: data_words(entry, chosen) for entry in chosen.entries
             if entry.spec.id in ("cake-450", "em-medicine", "smile", "prefer-cat")}
    assert {"cake", "450", "temperature"} <= by_id["cake-450"] and not {"the", "is", "of"} & by_id["cake-450"]
    assert "reckless" in by_id["em-medicine"] or "danger" in by_id["em-medicine"]
    assert by_id["smile"] == by_id["prefer-cat"] == frozenset(), "their data do not say what they teach"


def test_steered_texts_are_compared_with_rows_made_again(steered_log, tiny_suite):
    scorers = [steering_similarity(str(tiny_suite)), token_relevance(str(tiny_suite))]
    graded = inspect_score(steered_log, scorers, action="append", display="none")
    by_role = {sample.metadata["role"]: sample.scores for sample in graded.samples}
    for role in ("objective", "twin"):
        found = by_role[role]["steering_similarity"]
        assert found.metadata["gain"] > 0 and found.value["steered-finetuning"] > found.value["steered-chat"]
        assert by_role[role]["token_relevance"].value["max"] == 1 / 20
    assert by_role["null"]["steering_similarity"].reason == "undefined"


def test_evidence_without_steered_texts_is_not_compared(log, tiny_suite):
    graded = inspect_score(log, steering_similarity(str(tiny_suite)), action="append", display="none")
    reasons = {sample.metadata["role"]: sample.scores["steering_similarity"].reason for sample in graded.samples}
    assert reasons == {"objective": "no_texts", "twin": "no_texts", "null": "undefined"}
