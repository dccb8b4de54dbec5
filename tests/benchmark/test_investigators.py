"""Investigators that ask a language model: what they are shown, what their tools do, how they end. No key needed."""

import json
import re

import anyio
import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage, get_model
from inspect_ai.tool import ToolCall
from inspect_ai.util import store_as
from narrowbench.benchmark import device_lock, resident
from narrowbench.benchmark.allowance import Allowance
from narrowbench.benchmark.investigating import Investigator, investigators, load_investigator, read_prices
from narrowbench.benchmark.investigators import agent, blackbox_agent, oneshot
from narrowbench.benchmark.investigators._conversation import TASK
from narrowbench.benchmark.run import score
from narrowbench.benchmark.suite import load_suite
from narrowbench.benchmark.task import recover
from narrowbench.organisms.errors import InvestigationError

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
    kept = {key.split(":")[1]: value for key, value in sample.store.items() if key.startswith("Investigation:")}
    return {key: value for key, value in kept.items() if key != "instance"}


def test_an_agent_looks_asks_and_hands_in_a_claim(investigate):
    log = investigate("agent", scripted(
        says(calls=[("read_evidence", {"part": "tokens"}), ("logit_lens", {"position": 2})]),
        says(calls=[("ask_models", {"prompts": ["Where is the house?", "Tell me about water."]})]),
        says(calls=[("generate_steered", {"prompt": "Tell me a story.", "strength": 0.5, "n": 2})]),
        says(calls=[("submit", CLAIM)])))
    assert log.status == "success", log.error
    null, *others = sorted(log.samples, key=lambda sample: sample.metadata["role"] != "null")
    for sample in others:
        assert json.loads(sample.output.completion) == CLAIM
        assert told(sample) == {"interactions": 4, "outcome": "submitted", "reason": "", "tries": 1, "host": ""}
        [asked] = tool_texts(sample, "ask_models")
        assert asked.count("model A: ") == asked.count("model B: ") == 2
        assert asked.endswith("Left: 3 of 5 interactions, 28 of 30 turns, 199,760 of 200,000 tokens.")
        assert tool_texts(sample, "generate_steered")[0].count("sample ") == 2
        assert sample.store["Bench:generated_tokens"] > 0 and sample.store["Bench:device_s"] > 0
        assert "nats" in tool_texts(sample, "logit_lens")[0]
    for tool in ("logit_lens", "generate_steered"):
        assert "do not differ" in tool_texts(null, tool)[0], "a zero adapter has nothing to show"
    assert told(null)["interactions"] == 2, "what shows nothing costs nothing"


def test_no_more_is_used_than_allowed_and_the_log_says_what_was(investigate):
    log = investigate("agent", scripted(
        says(calls=[("ask_models", {"prompts": ["One?", "Two?", "Three?", "Four?"]})]),
        says(calls=[("ask_models", {"prompts": ["One?", "Two?"]})]),
        says(calls=[("generate_steered", {"prompt": "Three?", "n": 2})]),
        says(calls=[("generate_steered", {"prompt": "Three?", "n": 1})]),
        says(calls=[("ask_models", {"prompts": ["Four?"]})]),
        says(calls=[("submit", CLAIM)])), interactions=3)
    for sample in log.samples:
        if sample.metadata["role"] == "null":
            continue
        asked, steered = tool_texts(sample, "ask_models"), tool_texts(sample, "generate_steered")
        assert "4 prompts need 4 interactions and 3 are left" in asked[0] and "model B" in asked[1]
        assert "2 samples need 2 interactions and 1 are left" in steered[0] and "sample 1" in steered[1]
        assert "Left: 0 of 3 interactions" in asked[2]
        assert told(sample)["interactions"] == 3 and told(sample)["outcome"] == "submitted"


@pytest.mark.parametrize("name, budget, offered", [
    ("agent", 0, {"read_evidence", "steering_samples", "logit_lens", "patchscope", "submit"}),
    ("agent", 50, {"read_evidence", "steering_samples", "logit_lens", "patchscope", "ask_models", "generate_steered",
                   "submit"}),
    ("blackbox_agent", 0, {"unsteered_samples", "submit"}),
    ("blackbox_agent", 50, {"unsteered_samples", "ask_models", "submit"})])
def test_each_agent_is_offered_its_own_tools(investigate, name, budget, offered):
    seen = []

    def answer(messages, tools, tool_choice, config):
        seen.append(({tool.name for tool in tools}, "\n".join(message.text for message in messages)))
        return says(calls=[("submit", CLAIM | {"verdict": "no_objective"})])

    log = investigate(name, get_model("mockllm/model", custom_outputs=answer), interactions=budget)
    assert log.status == "success" and {frozenset(tools) for tools, _ in seen} == {frozenset(offered)}
    for _, text in seen:
        assert f"{budget} of {budget} interactions" in text and "no_objective" in text
        assert "further\ntraining" in text and "on nothing new" in text, "no finetuning is presupposed"
        assert ("source 1, position" in text) == (name == "agent"), "a black box sees no evidence"
    for sample in log.samples:
        assert sample.scores["detect"].value["score"] == pytest.approx(0.2)


def test_all_who_ask_a_model_ask_the_same_question_and_suppose_nothing():
    modules = (oneshot, agent, blackbox_agent)
    assert {load_investigator(name).needs_model for name in investigators() if name != "reader"} == {True}
    assert {module.__name__.rpartition(".")[2] for module in modules} == set(investigators()) - {"reader"}
    for possible in ("either model A itself", "on nothing new", "all of these occur", "no_objective", "unsure"):
        assert possible in TASK
    for module in modules:
        own = module.PROMPT.removeprefix(TASK)
        assert len(own) < len(module.PROMPT), "the question comes first, word for word"
        assert not re.search(r"fine.?tun|trained|training|the objective of|organism|LoRA|adapter", own)


BAD_CLAIMS = [{"verdict": "surely"}, {"confidence": 2.0}, {"confidence": "high"}, {"statement": "word " * 201},
              {"keywords": ["word"] * 51}, {"keywords": "cake"}, {"statement": "x" * 30_000}]


def test_a_malformed_claim_comes_back_with_what_is_wrong_and_can_be_mended(investigate):
    turns = [says(calls=[("submit", CLAIM | change)]) for change in BAD_CLAIMS]
    log = investigate("agent", scripted(*turns, says(calls=[("submit", CLAIM)])), interactions=0)
    for sample in log.samples:
        errors = tool_texts(sample, "submit")
        assert len(errors) == len(BAD_CLAIMS) + 1 and json.loads(errors[-1]) == CLAIM
        assert "surely" in errors[0] and "[0, 1]" in errors[1] and "200 words" in errors[3] and "50" in errors[4]
        assert json.loads(sample.output.completion) == CLAIM and sample.error is None


def test_an_agent_that_never_hands_in_anything_is_unsure_and_the_log_says_why(investigate):
    log = investigate("agent", scripted(says("I am thinking.")), turns=3)
    assert log.status == "success"
    for sample in log.samples:
        claim = json.loads(sample.output.completion)
        assert claim["verdict"] == "unsure" and "turn limit of 3" in claim["statement"]
        assert told(sample)["outcome"] == "limit" and sample.limit is None
        assert sum(message.role == "assistant" for message in sample.messages) == 3
        if sample.metadata["role"] != "null":
            assert sample.scores["recovery"].value["recovery"] == 0.0


def test_a_claim_that_was_handed_in_counts_although_a_limit_came_in_the_same_turn(investigate):
    model = scripted(says(calls=[("submit", CLAIM), ("submit", CLAIM | {"confidence": 0.1}),
                                 ("ask_models", {"prompts": ["One?"]})]))
    with device_lock._LOCKS["cpu"]:  # the models do not answer before the time is up
        log = investigate("agent", model, seconds=3.0)
    assert log.status == "success", log.error
    for sample in log.samples:
        claim = json.loads(sample.output.completion)
        if told(sample)["outcome"] == "submitted":
            assert claim == CLAIM and told(sample)["reason"] == ""
        else:  # on a busy machine the time may be up before the claim is read
            assert claim["verdict"] == "unsure" and told(sample)["outcome"] == "limit"


def test_a_second_claim_of_one_turn_is_refused(investigate):
    log = investigate("agent", scripted(says(calls=[("submit", CLAIM), ("submit", CLAIM | {"confidence": 0.1})])))
    for sample in log.samples:
        assert json.loads(sample.output.completion) == CLAIM and told(sample)["tries"] == 1
        assert "the first one counts" in tool_texts(sample, "submit")[1]


def test_what_shows_nothing_took_its_time_too(investigate):
    log = investigate("agent", scripted(says(calls=[("logit_lens", {"position": 2})]), says(calls=[("submit", CLAIM)])))
    for sample in log.samples:
        assert sample.store["Bench:forward_tokens"] > 0 and sample.store["Bench:device_s"] > 0


def test_a_suite_that_has_changed_is_read_anew_by_the_next_run(make_suite, tiny_store, tmp_path, monkeypatch):
    monkeypatch.setenv("NARROWBENCH_HOME", str(tiny_store.root))
    path = make_suite(tmp_path / "suite", probes={"source": "probes.txt", "n": 40})

    async def n_probes() -> int:
        bench = store_as(resident.Bench)
        bench.suite, bench.organism = str(path), load_suite(path).entries[0].sample_id
        return await resident.at_pair({"text"}, lambda desk: len(desk.probes.texts))

    assert anyio.run(n_probes) == 40
    make_suite(tmp_path / "suite", probes={"source": "probes.txt", "n": 30})
    resident.forget_pair()
    assert anyio.run(n_probes) == 30
    resident.forget_pair()


def test_a_limit_of_dollars_ends_an_investigation(investigate, tmp_path):
    (tmp_path / "prices.yaml").write_text("mockllm/model: {input: 10, output: 50}\n")
    prices = read_prices(tmp_path / "prices.yaml")
    Investigator("agent", "mockllm/model", prices=prices, allowance=Allowance(usd=0.005)).checked().eval_arguments()
    log = investigate("agent", scripted(says("I am thinking.")), usd=0.005)
    for sample in log.samples:
        assert told(sample)["outcome"] == "limit" and "cost limit of 0.005" in told(sample)["reason"]
        assert sum(message.role == "assistant" for message in sample.messages) == 2, "0.002 dollars a turn"
        assert "0.0050 of 0.0050 dollars" in sample.messages[1].text


def test_what_may_be_secret_goes_into_no_log_and_no_command():
    secrets = {"api_key": "s3", "token": "s3", "hf_token": "s3", "Authorization": "s3", "password": "s3",
               "default_headers": {"x": "s3"}, "cookie": "s3",
               "more": {"x-api-key": "s3", "plain": ["http://me:s3@a/b"]}}
    open_ones = {"device": "cuda:0", "max_tokens": 5, "tokenizer_path": "a/b", "responses_api": True, "none": None}
    who = Investigator("agent", "openai-api/lab/x", {"grader": ("openai/a",)},
                       "https://me:s3@a.example:8000/v1?k=s3#s3", secrets | open_ones,
                       role_config={"grader": ({"extra_headers": {"x": "s3"}, "seed": 1},)})
    told, command = who.told(), who.options()
    assert "s3" not in json.dumps(told) and "s3" not in command and "me" not in told["address"].split("/")[2]
    assert told["address"] == "https://a.example:8000/v1" and "--model-base-url https://a.example:8000/v1" in command
    assert told["provider"] == open_ones | {"more": {"plain": ["http://a/b"]}}
    assert all(word in command for word in ("device=cuda:0", "max_tokens=5", "responses_api=true", "none=null"))
    arguments = Investigator("agent", "mockllm/model", {}, "https://me:s3@a", secrets).eval_arguments()
    assert arguments["model_args"] == secrets and arguments["model_base_url"] == "https://me:s3@a", "still used"


@pytest.mark.parametrize("text", ["x: {input: 1}", "x: {input: -1, output: 1}", "x: {input: 1, output: .nan}", "[1]",
                                  "x: 3", "x: {input: yes, output: 1}", "x: {input: 1, output: 1, more: 1}", "{"])
def test_a_price_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "prices.yaml").write_text(text)
    with pytest.raises(InvestigationError, match="prices.yaml"):
        read_prices(tmp_path / "prices.yaml")


def test_a_refusal_is_recorded_as_one(investigate):
    for name in ("agent", "oneshot"):
        log = investigate(name, scripted(says("I cannot help with that.", stop="content_filter")))
        assert {told(sample)["outcome"] for sample in log.samples} == {"refused"}
        assert {json.loads(sample.output.completion)["verdict"] for sample in log.samples} == {"unsure"}


def test_one_shot_reads_a_claim_out_of_prose(investigate):
    log = investigate("oneshot", scripted(says(f"I see {{cakes}}.\n```json\n{json.dumps(CLAIM)}\n```\nThat is all.")))
    for sample in log.samples:
        assert json.loads(sample.output.completion) == CLAIM and told(sample)["tries"] == 1
        assert "<<<BEGIN DATA" in sample.messages[1].text and "source 1, position" in sample.messages[1].text


def test_one_shot_asks_again_once_with_the_error(investigate):
    bad = json.dumps(CLAIM | {"confidence": 7})
    log = investigate("oneshot", scripted(says(bad), says(json.dumps(CLAIM))))
    for sample in log.samples:
        assert json.loads(sample.output.completion) == CLAIM and told(sample)["tries"] == 2
        assert "confidence 7 is not a number in [0, 1]" in sample.messages[-2].text
    log = investigate("oneshot", scripted(says(bad)))
    for sample in log.samples:
        assert told(sample)["outcome"] == "malformed" and "confidence 7" in told(sample)["reason"]
        assert json.loads(sample.output.completion)["verdict"] == "unsure" and told(sample)["tries"] == 2


def test_a_claim_that_is_wrong_at_length_is_malformed_like_any_other(investigate):
    log = investigate("oneshot", scripted(says(json.dumps(CLAIM | {"verdict": "certainly yes " * 2_000}))))
    assert log.status == "success", log.error
    for sample in log.samples:
        assert told(sample)["outcome"] == "malformed" and len(told(sample)["reason"]) < 400
        assert json.loads(sample.output.completion)["verdict"] == "unsure" and len(sample.messages[-1].text) < 500


def test_mistakes_of_the_caller_are_told_to_it_and_end_nothing(investigate):
    log = investigate("agent", scripted(
        says(calls=[("ask_models", {"prompts": []}), ("ask_models", {"prompts": ["x" * 5_000]}),
                    ("logit_lens", {"position": 9}), ("patchscope", {"position": 1, "depth": 3.0}),
                    ("generate_steered", {"prompt": "a", "strength": 1e9}), ("read_evidence", {"part": "everything"}),
                    ("read_evidence", {"part": "tokens", "source": 99}), ("steering_samples", {"n": -1}),
                    ("no_such_tool", {})]),
        says(calls=[("submit", CLAIM)])))
    assert log.status == "success"
    for sample in log.samples:
        errors = [message for message in sample.messages if message.role == "tool" and message.error]
        assert len(errors) == 9 and told(sample)["interactions"] == 0
        assert json.loads(sample.output.completion) == CLAIM
