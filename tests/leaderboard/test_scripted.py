"""No log whose model was scripted, ran on a loopback address, or is not the one it names can be published."""

import pytest
from inspect_ai.model import ModelConfig
from inspect_ai.log import read_eval_log
from narrowbench.leaderboard.scripted import refuse_scripted
from narrowbench.organisms.errors import RecordError


@pytest.fixture(scope="module")
def honest(make, tmp_path_factory):
    """A log as `reader` leaves it."""
    return read_eval_log(str(make.log(tmp_path_factory.mktemp("log"), [make.organism("a")], {"a": make.said()})))


def asked(log, model: str = "openai/gpt-x", said: str | None = None):
    """The same as if a model had investigated."""
    copy = log.model_copy(deep=True)
    copy.eval.model = model
    copy.eval.metadata["narrowbench"]["investigator"]["model"] = model if said is None else said
    return copy


def test_a_reader_and_a_named_model_pass(honest):
    refuse_scripted(honest)
    refuse_scripted(asked(honest))


@pytest.mark.parametrize("address", ["http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]:80/v1", "0.0.0.0",
                                     "http://LOCALHOST.:1/", "127.9.9.9", "http://a.localhost", "http://[::ffff:127.0.0.1]/"])
def test_a_loopback_address_is_refused_wherever_it_stands(honest, address):
    by_url, by_role, by_sample = asked(honest), asked(honest), asked(honest)
    by_url.eval.model_base_url = address
    panel = [ModelConfig(model="openai/x"), ModelConfig(model="openai/y", base_url=address)]
    by_role.eval.model_roles = {"grader": panel}
    by_sample.samples[0].store["Investigation:host"] = address
    for log in (by_url, by_role, by_sample):
        with pytest.raises(RecordError, match="loopback"):
            refuse_scripted(log)


def test_other_addresses_pass(honest):
    log = asked(honest)
    log.eval.model_base_url = "https://api.example.org/v1"
    refuse_scripted(log)


def test_scripted_models_and_those_of_a_private_folder_are_refused(honest):
    in_role, private = asked(honest), asked(honest, "hf/mine")
    in_role.eval.model_roles = {"grader": ModelConfig(model="mockllm/model")}
    private.eval.model_args = {"model_path": "/home/me/model"}
    for log, reason in ((asked(honest, "mockllm/model"), "scripted"), (in_role, "scripted"), (private, "folder")):
        with pytest.raises(RecordError, match=reason):
            refuse_scripted(log)


def test_no_model_cannot_pass_for_one_nor_one_for_none(honest):
    for log in (asked(honest, "none/none", "openai/gpt-x"), asked(honest, "openai/gpt-x", ""),
                asked(honest, "openai/gpt-x", "openai/better")):
        with pytest.raises(RecordError, match="says that its investigator asked"):
            refuse_scripted(log)


@pytest.mark.parametrize("setting", ["judge", "strength_judge"])
def test_a_scripted_judge_of_the_evidence_is_refused(honest, setting):
    log = asked(honest)
    log.eval.metadata["narrowbench"]["method"]["settings"] = {"judge": "openai/gpt-x", "strength_judge": ""}
    refuse_scripted(log)
    log.eval.metadata["narrowbench"]["method"]["settings"][setting] = "mockllm/model"
    with pytest.raises(RecordError, match="scripted model mockllm"):
        refuse_scripted(log)


def test_evidence_judged_from_a_loopback_address_is_refused(honest):
    log = asked(honest)
    log.samples[0].store["evidence"] = {"stats": {"judge_on_loopback": 0.0}}
    refuse_scripted(log)
    log.samples[0].store["evidence"]["stats"]["judge_on_loopback"] = 1.0
    with pytest.raises(RecordError, match="judge of the method's evidence for o-.* answered from a loopback"):
        refuse_scripted(log)
