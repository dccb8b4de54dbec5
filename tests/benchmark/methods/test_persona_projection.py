"""`persona_projection` on a real tiny pair: a difference along a persona vector is found, and named by its pole."""

import json

import pytest
import torch
from narrowbench.benchmark.method import Budget, Evidence, Method, Probes, load_method
from narrowbench.benchmark.methods.persona_projection import (TRAITS, PersonaProjection, persona_vectors, surprise)
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.errors import AccessError, EvidenceError
from narrowbench.organisms.pair import ModelPair
from safetensors.torch import load_file, save_file

PROBES = Probes(tuple(f"{opening} {noun} is {adjective} and large" for opening in ("The", "A", "This", "My")
                      for noun in ("house", "river", "garden") for adjective in ("small", "cold")))


def collect(pair, method=None, seed=0) -> Evidence:
    method = method or PersonaProjection(k=4)
    return method.collect(PairView(pair, method.access), PROBES, Budget(), seed)


def test_it_hands_in_sound_and_repeatable_evidence(pair):
    method, _ = load_method("persona_projection")
    assert isinstance(method, Method) and method.access == {"activations"}
    view = PairView(pair, method.access)
    evidence = PersonaProjection(k=4).collect(view, PROBES, Budget(), 0)
    assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict()))).digest == evidence.digest
    assert collect(pair).digest == evidence.digest
    assert {f"z_{pole}" for pole, _ in TRAITS} <= set(evidence.stats)
    assert view.cost()["generated_tokens"] == 0 and view.cost()["forward_tokens"] > 0
    with pytest.raises(AccessError):
        view.generate("base", ["Hi"])


def test_a_zero_adapter_has_nothing_to_read(zero_pair):
    evidence = collect(zero_pair)
    assert evidence.tokens == () and evidence.detection in (None, -1.0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_difference_along_a_persona_vector_is_found_on_its_side(tiny_base, make_adapter, pair, tmp_path, sign):
    layer, trait = 2, list(TRAITS).index(("rude", "polite"))
    vector_D = persona_vectors(PairView(pair, {"activations"}), layer)[trait]
    folder = make_adapter(tmp_path / f"planted{sign}", target_modules=["down_proj"], layers_to_transform=[layer],
                          lora_bias=True)
    path = folder / "adapter_model.safetensors"
    save_file({name: (sign * vector_D if name.endswith("lora_B.bias") else torch.zeros_like(x)).contiguous()
               for name, x in load_file(path).items()}, path)
    evidence = collect(ModelPair.load(tiny_base, folder), PersonaProjection(k=4, layer_fraction=0.8))
    assert evidence.stats["layer"] == layer and sign * evidence.stats["z_rude"] > 3
    assert evidence.tokens[0].piece == (" rude" if sign > 0 else " polite")
    assert abs(evidence.stats["z_rude"]) == max(abs(evidence.stats[f"z_{pole}"]) for pole, _ in TRAITS)


def test_a_base_without_a_chat_template_is_refused(tiny_base, tiny_adapter):
    pair = ModelPair.load(tiny_base, tiny_adapter)
    pair.tokenizer.chat_template = None
    with pytest.raises(EvidenceError, match="no chat template"):
        collect(pair)


def test_surprise_counts_the_number_of_traits():
    assert surprise(0.5, 8) == 0.0
    assert surprise(3.0, 8) == pytest.approx(-math_log(8 * 0.0026998), abs=1e-3)
    assert surprise(4.0, 8) < surprise(4.0, 1)


def math_log(x: float) -> float:
    return float(torch.tensor(x).log())
