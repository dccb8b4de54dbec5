"""ADL whole on a real tiny pair: it hands in what its parts hand in on their own."""

import shutil

import pytest
from narrowbench.benchmark.method import Budget, Method, Probes
from narrowbench.benchmark.methods.adl import PARTS, Adl
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.pair import ModelPair
from safetensors.torch import load_file, save_file

PROBES = Probes(tuple(f"{opening} {noun} is {adjective} and large" for opening in ("The", "A", "This", "My")
                      for noun in ("house", "river", "garden") for adjective in ("small", "cold")))


@pytest.fixture(scope="module")
def pair(tiny_base, tiny_adapter):
    return ModelPair.load(tiny_base, tiny_adapter)


def collect(method, pair, seed=0):
    return method.collect(PairView(pair, method.access), PROBES, Budget(), seed)


def test_it_hands_in_its_parts_under_their_names(pair):
    whole = collect(Adl(), pair)
    alone = {name: collect(part(), pair) for name, part in PARTS.items()}
    assert isinstance(Adl(), Method) and set(alone) == {"adl_logit_lens", "adl_patchscope", "adl_steering"}
    for name, evidence in alone.items():
        assert [t for t in whole.tokens if t.source == name] == list(evidence.tokens)
        assert whole.stats[f"{name}_layer"] == evidence.stats["layer"]
    assert whole.texts == alone["adl_steering"].texts
    assert whole.digest == collect(Adl(), pair).digest


def test_parts_can_be_left_out_and_their_code_keys_the_evidence(pair):
    method = Adl(parts=("adl_logit_lens",))
    assert collect(method, pair).tokens == collect(PARTS["adl_logit_lens"](), pair).tokens
    assert set(method.code) == {"adl_logit_lens"} and len(method.code["adl_logit_lens"]) == 64


def test_a_zero_adapter_has_nothing_to_read(tiny_base, tiny_adapter, tmp_path):
    folder = shutil.copytree(tiny_adapter, tmp_path / "zero")
    path = folder / "adapter_model.safetensors"
    save_file({k: v * ("lora_B" not in k) for k, v in load_file(path).items()}, path)
    evidence = collect(Adl(), ModelPair.load(tiny_base, folder))
    assert evidence.tokens == () and evidence.texts == () and evidence.detection == -1.0
