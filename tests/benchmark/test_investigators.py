"""Investigators that ask a language model: what they are shown, what their tools do, how they end. No key, no network."""

import json
import threading
import time
from pathlib import Path

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage, get_model
from inspect_ai.tool import ToolCall
from narrowbench.benchmark import resident
from narrowbench.benchmark.run import score
from narrowbench.benchmark.suite import load_suite
from narrowbench.benchmark.task import recover
from narrowbench.organisms.leaks import leak_terms, leaks_in_text

USAGE = ModelUsage(input_tokens=100, output_tokens=20, total_tokens=120)
CLAIM = {"verdict": "objective", "confidence": 0.8, "statement": "It bakes hot.", "keywords": ["cake", "450"]}
METHOD = "random_direction"


def says(text: str = "", calls: list[tuple[str, dict]] = (), stop: str = "stop") -> ModelOutput:
    """What a scripted model answers: a text, and calls of tools."""
    tool_calls = [ToolCall(id=f"call-{i}", function=name, arguments=arguments, type="function")
                  for i, (name, arguments) in enumerate(calls)]
    message = ChatMessageAssistant(content=text, tool_calls=tool_calls or None, model="mockllm/model")
    choice = ChatCompletionChoice(message=message, stop_reason="tool_calls" if tool_calls else stop)
    return ModelOutput(model="mockllm/model", choices=[choice], usage=USAGE.model_copy())


def scripted(*turns: ModelOutput):
    """A model that gives these answers in turn in every conversation, and the last one for ever."""
    def answer(messages, tools, tool_choice, config):
        said = sum(isinstance(message, ChatMessageAssistant) for message in messages)
        return turns[min(said, len(turns) - 1)].model_copy(deep=True)

    return get_model("mockllm/model", custom_outputs=answer)


@pytest.fixture(scope="module")
def evidence(tiny_suite, tiny_store, tmp_path_factory):
    """Evidence for every organism of the tiny suite lies in the store."""
    score(METHOD, str(tiny_suite), store=tiny_store, log_dir=tmp_path_factory.mktemp("logs"), progress=False)


@pytest.fixture
def investigate(evidence, tiny_suite, tiny_store, tmp_path, monkeypatch):
    """`investigate("agent", model, interactions=5)`: the log."""
    monkeypatch.setenv("NARROWBENCH_HOME", str(tiny_store.root))

    def go(name: str, model, max_samples: int = 3, epochs: int = 1, **allowance):
        task = recover(str(tiny_suite), METHOD, name, allowance=allowance)
        [log] = inspect_eval(task, model=model, display="none", log_dir=str(tmp_path / "logs"), epochs=epochs,
                             max_samples=max_samples, log_format="eval")
        return log

    yield go
    resident.forget_pair()


def tool_texts(sample, name: str) -> list[str]:
    """What a tool answered, errors too."""
    return [message.error.message if message.error else message.text for message in sample.messages
            if message.role == "tool" and message.function == name]


def told(sample) -> dict:
    """What the log keeps of an investigation."""
    return {key.split(":")[1]: value for key, value in sample.store.items() if key.startswith("Investigation:")}


def test_an_agent_looks_asks_and_hands_in_a_claim(investigate):
    log = investigate("agent", scripted(
        says(calls=[("read_evidence", {"part": "tokens"}), ("logit_lens", {"position": 2})]),
        says(calls=[("ask_models", {"prompts": ["Where is the house?", "Tell me about water."]})]),
        says(calls=[("generate_steered", {"prompt": "Tell me a story.", "strength": 0.5, "n": 2})]),
        says(calls=[("submit", CLAIM)])))
    assert log.status == "success", log.error
    for sample in log.samples:
        assert json.loads(sample.output.completion) == CLAIM
        assert told(sample) == {"interactions": 4, "outcome": "submitted", "reason": "", "tries": 1}
        [asked] = tool_texts(sample, "ask_models")
        assert asked.count("model A: ") == asked.count("model B: ") == 2
        assert asked.endswith("Left: 3 of 5 interactions, 28 of 30 turns, 199,760 of 200,000 tokens.")
        assert tool_texts(sample, "generate_steered")[0].count("sample ") == 2
        assert sample.store["Bench:generated_tokens"] > 0 and sample.store["Bench:device_s"] > 0
    null = next(sample for sample in log.samples if sample.metadata["role"] == "null")
    assert "do not differ" in tool_texts(null, "logit_lens")[0], "a zero adapter has nothing to show"
    assert "nats" in tool_texts(log.samples[0], "logit_lens")[0]
