"""The whole agent path with a real language model on this machine: the nano base behind Inspect's `hf` provider."""

import json

import pytest
from narrowbench.benchmark.allowance import Allowance
from narrowbench.benchmark.investigating import Investigator
from narrowbench.benchmark.logs import read_whole
from narrowbench.benchmark.run import score
from narrowbench.leaderboard.collect import collect
from narrowbench.organisms.errors import RecordError
from narrowbench.organisms.nano import base_folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["agent", "oneshot"])
def test_the_nano_base_investigates_and_its_log_is_not_published(name, tiny_suite, tiny_store, tmp_path):
    who = Investigator(name, "hf/nano", model_args={"model_path": str(base_folder()), "device": "cpu"},
                       config={"max_tokens": 24, "temperature": 0.7, "max_connections": 4},
                       allowance=Allowance(interactions=2, turns=3), max_samples=3)
    result = score("random_direction", str(tiny_suite), who, store=tiny_store, log_dir=tmp_path, progress=False)
    log = read_whole(result.log)
    assert log.eval.model == "hf/nano" and log.stats.model_usage["hf/nano"].output_tokens > 0
    for sample in log.samples:
        written = [message.text for message in sample.messages if message.role == "assistant"]
        assert any(text.strip() for text in written), "it really wrote something"
        claim = json.loads(sample.output.completion)
        assert claim["verdict"] == "unsure", "a model of this size hands in no claim"
        assert sample.store["Investigation:outcome"] in ("limit", "malformed")
    with pytest.raises(RecordError, match="folder of its own"):
        collect(result.log)
