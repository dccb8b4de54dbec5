"""`pca_diff` on a real tiny pair: it reads what changes from text to text and is blind to what changes everywhere."""

import json

import pytest
import torch
from narrowbench.benchmark.method import Budget, Evidence, Method, Probes, load_method
from narrowbench.benchmark.methods.pca_diff import PcaDiff, components
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.errors import AccessError
from narrowbench.organisms.pair import ModelPair
from safetensors.torch import load_file, save_file

PROBES = Probes(tuple(f"{opening} {noun} is {adjective} and large" for opening in ("The", "A", "This", "My")
                      for noun in ("house", "river", "garden") for adjective in ("small", "cold")))


def collect(pair, method=None, seed=0) -> Evidence:
    method = method or PcaDiff(k=4)
    return method.collect(PairView(pair, method.access), PROBES, Budget(), seed)


def test_it_hands_in_sound_and_repeatable_evidence(pair):
    method, _ = load_method("pca_diff")
    assert isinstance(method, Method) and method.access == {"activations"}
    view = PairView(pair, method.access)
    evidence = PcaDiff(k=4).collect(view, PROBES, Budget(), 0)
    assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict()))).digest == evidence.digest
    assert collect(pair).digest == evidence.digest
    assert {token.source for token in evidence.tokens} == {"component_1", "component_2"}
    assert view.cost()["forward_tokens"] >= 4 * 4 * 12  # both models, 12 prefixes of 4 tokens
    with pytest.raises(AccessError):
        view.factors("model.layers.0.mlp.down_proj")


def test_where_all_texts_begin_alike_there_is_no_component(pair):
    assert 0 not in {token.position for token in collect(pair).tokens}  # position 0 is the begin-of-text token


def test_a_zero_adapter_has_nothing_to_read(zero_pair):
    evidence = collect(zero_pair)
    assert evidence.tokens == () and evidence.detection in (None, -1.0)


def test_it_reads_a_word_that_is_added_to_some_texts_only(tiny_base, make_adapter, pair, tmp_path):
    """The MLP output bias would be the mean; an update along one input direction is what PCA is for."""
    method = PcaDiff(k=4, layer_fraction=1.0, n_components=1)
    word = pair.tokenizer.encode(" garden", add_special_tokens=False)[-1:]
    direction_D = pair.embedding(torch.tensor(word))[0]
    folder = make_adapter(tmp_path / "planted", target_modules=["down_proj"], layers_to_transform=[3])
    path = folder / "adapter_model.safetensors"
    save_file({name: torch.outer(direction_D, torch.ones(x.shape[1])).contiguous() if "lora_B" in name else x
               for name, x in load_file(path).items()}, path)
    evidence = collect(ModelPair.load(tiny_base, folder), method)
    assert [t.piece for t in evidence.tokens if t.position == 3][0] == " garden"
    assert evidence.stats["share_1_3"] > 0.99


def test_components_are_ranked_and_rounding_is_left_out():
    generator = torch.Generator().manual_seed(0)
    x_ND = torch.outer(torch.randn(50, generator=generator), torch.eye(6)[0]).double()
    vectors_CD, share_C = components(x_ND, 3, 1e-9)
    assert len(vectors_CD) == 1 and share_C[0] == pytest.approx(1.0)
    assert abs(float(vectors_CD[0, 0])) == pytest.approx(1.0)
    assert len(components(torch.zeros(5, 4).double(), 2, 1e-9)[0]) == 0
