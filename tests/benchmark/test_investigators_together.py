"""Investigations of one resident pair, all at once: no deadlock, models one at a time, each with its own organism."""

import json
import random
import threading
import time

import anyio
import pytest
import torch
from inspect_ai import eval as inspect_eval
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage, get_model
from inspect_ai.tool import ToolCall
from narrowbench.benchmark import resident
from narrowbench.benchmark.pair_readings import answers, lens
from narrowbench.benchmark.resident import Desk
from narrowbench.benchmark.run import score
from narrowbench.benchmark.suite import load_suite
from narrowbench.benchmark.task import recover
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.lookup import find_trained
from narrowbench.organisms.pair import ModelPair

METHOD, EPOCHS = "random_direction", 3
PROMPT = "Tell me about the house."
CLAIM = {"verdict": "unsure", "confidence": 0.5, "statement": "", "keywords": []}


def call(name: str, **arguments) -> ModelOutput:
    tool_call = ToolCall(id=f"call-{name}", function=name, arguments=arguments, type="function")
    message = ChatMessageAssistant(content="", tool_calls=[tool_call], model="mockllm/model")
    return ModelOutput(model="mockllm/model", choices=[ChatCompletionChoice(message=message, stop_reason="tool_calls")],
                       usage=ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15))


TURNS = (call("ask_models", prompts=[PROMPT]), call("logit_lens", position=2), call("unsteered_samples", n=2),
         call("generate_steered", prompt=PROMPT, n=2), call("ask_models", prompts=["Where is the river?"]),
         call("patchscope", position=3), call("submit", **CLAIM))


class Trace:
    """When each block of any model was entered and left, and by which thread."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float, int]] = []
        self._entered: dict[tuple[int, int], float] = {}

    def __enter__(self) -> "Trace":
        hook = torch.nn.modules.module
        self._hooks = [hook.register_module_forward_pre_hook(self._enter),
                       hook.register_module_forward_hook(self._leave, always_call=True)]
        return self

    def __exit__(self, *error) -> None:
        for hook in self._hooks:
            hook.remove()

    def _enter(self, module, args) -> None:
        if type(module).__name__ == "Qwen3DecoderLayer":
            self._entered[id(module), threading.get_ident()] = time.monotonic()

    def _leave(self, module, args, output) -> None:
        entered = self._entered.pop((id(module), threading.get_ident()), None)
        if entered is not None:
            self.spans.append((entered, time.monotonic(), threading.get_ident()))


@pytest.fixture
def at_home(tiny_suite, tiny_store, tmp_path, monkeypatch):
    monkeypatch.setenv("NARROWBENCH_HOME", str(tiny_store.root))
    score(METHOD, str(tiny_suite), store=tiny_store, log_dir=tmp_path / "logs", progress=False)
    yield
    resident.forget_pair()


def run_nine(suite, tmp_path, turns=TURNS, **allowance):
    """Three organisms, three investigations of each, all at once, each turn taking a random time."""
    async def answer(messages, tools, tool_choice, config):
        await anyio.sleep(random.uniform(0, 0.03))
        said = sum(isinstance(message, ChatMessageAssistant) for message in messages)
        return turns[said].model_copy(deep=True)

    task = recover(str(suite), METHOD, "agent", allowance={"interactions": 50} | allowance)
    model = get_model("mockllm/model", custom_outputs=answer)
    [log] = inspect_eval(task, model=model, display="none", log_dir=str(tmp_path / "logs"), epochs=EPOCHS,
                         max_samples=3 * EPOCHS, log_format="eval")
    return log


def plain_readings(suite_path, store) -> dict[str, list[str]]:
    """Sample id -> what a fresh pair of its own says and shows."""
    suite, found = load_suite(suite_path), {}
    for entry in suite.entries:
        organism = find_trained(entry.spec, suite.base, entry.train_seed, store)
        view = PairView(ModelPair.load(suite.base, organism.path), {"text", "activations"})
        desk = Desk(view, suite.probes, 0)
        found[entry.sample_id] = answers(desk, [PROMPT], 0.0, 64)
        if entry.spec.role != "null":
            found[entry.sample_id] += lens(desk, 2, 0.5, 20)
    return found


def test_nine_investigations_of_one_resident_pair_take_turns_and_each_sees_its_own_organism(
        at_home, tiny_suite, tiny_store, tmp_path):
    with Trace() as trace:
        log = run_nine(tiny_suite, tmp_path)
    assert log.status == "success" and len(log.samples) == 9
    spans = sorted(trace.spans)
    assert spans and threading.get_ident() not in {thread for _, _, thread in spans}, "never on the event loop's thread"
    for (_, left, _), (entered, _, _) in zip(spans, spans[1:]):
        assert entered >= left, "a block was entered before the last one was left"
    expected = plain_readings(tiny_suite, tiny_store)
    assert len({tuple(lines) for lines in expected.values()}) == 3, "the organisms can be told apart"
    for sample in log.samples:
        shown = "\n".join(message.text for message in sample.messages if message.role == "tool")
        assert all(line in shown for line in expected[sample.id]), sample.id
        assert json.loads(sample.output.completion) == CLAIM
        steered = sample.metadata["role"] != "null"  # nothing to steer a zero adapter by
        assert sample.store["Investigation:interactions"] == (4 if steered else 2)


def test_a_time_limit_in_the_middle_of_a_model_ends_that_investigation_and_no_other(
        at_home, tiny_suite, tiny_store, tmp_path):
    slow = tuple(call("ask_models", prompts=[f"{PROMPT} {word} {i}" for i in range(10)], temperature=1.0)
                 for word in ("a", "b", "c"))
    log = run_nine(tiny_suite, tmp_path, slow + (call("submit", **CLAIM),), seconds=0.5, interactions=100)
    assert log.status == "success" and all(sample.error is None for sample in log.samples)
    outcomes = {sample.store["Investigation:outcome"] for sample in log.samples}
    assert "limit" in outcomes
    again = run_nine(tiny_suite, tmp_path)
    assert {sample.store["Investigation:outcome"] for sample in again.samples} == {"submitted"}
