"""Judges for tests: Inspect's mock model answering by a function of the prompt, with usage (it stays offline)."""

import pytest
from inspect_ai.model import ModelOutput, ModelUsage, get_model


def say(text: str) -> ModelOutput:
    """A judge's answer, with the usage that keeps mockllm off the network."""
    output = ModelOutput.from_content("mockllm/judge", text)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


@pytest.fixture
def make_judge():
    """`make_judge(answer, name)`: a judge whose answer to a prompt is `answer(prompt)`; its prompts are kept."""

    def make(answer, name: str = "judge"):
        prompts = []

        def outputs(messages, tools, tool_choice, config):
            prompts.append((messages[-1].text, config))
            return say(answer(messages[-1].text))

        model = get_model(f"mockllm/{name}", custom_outputs=outputs, memoize=False)
        model.prompts = prompts
        return model

    return make
