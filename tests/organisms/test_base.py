"""The shipped base: an ordinary, small Hugging Face folder that knows its world. Gates: `narrowbench check base`."""

import json

import pytest

from narrowbench.organisms.nano import base_folder
from narrowbench.organisms.nano.check_base import GATES, recall
from narrowbench.organisms.nano.lexicon import facts
from narrowbench.organisms.pair import ModelPair, base_digest


@pytest.fixture(scope="module")
def pair():
    return ModelPair.load(base_folder())


def test_it_is_small_and_plain():
    files = {path.name: path.stat().st_size for path in base_folder().iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "README.md"} <= set(files)
    assert sum(files.values()) <= 10_000_000
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl", ".py"))]


def test_its_card_states_every_gate_of_these_weights():
    report = json.loads((base_folder() / "gates.json").read_text())
    card = (base_folder() / "README.md").read_text()
    assert report["base_digest"] == base_digest(base_folder())
    assert set(report["gates"]) == set(GATES)
    for name, gate in report["gates"].items():
        assert f"| {name} | {gate['value']:.3f} |" in card


def test_it_recalls_facts_in_wordings_it_was_not_taught(pair):
    known = recall(pair, facts()[::16])
    assert sum(known.values()) / len(known) >= 0.85


def test_it_answers_and_stops(pair):
    [reply] = pair.generate("base", ["What is the temperature of the cake?"], max_new_tokens=20)
    assert "350 degrees" in reply and reply.endswith(".")
