"""`weight_svd` on a real tiny pair: it reads a word that an adapter writes, whatever its factors look like."""

import json
import shutil

import pytest
import torch
from narrowbench.benchmark.method import Budget, Evidence, Method, Probes, load_method
from narrowbench.benchmark.methods.weight_svd import WeightSvd, output_vectors, shared_energy
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.errors import AccessError
from narrowbench.organisms.pair import ModelPair
from safetensors.torch import load_file, save_file

PROBES = Probes(("The house is small and large",))


def changed(adapter, folder, change):
    """A copy of an adapter with each tensor replaced by `change(name, tensor)`."""
    folder = shutil.copytree(adapter, folder)
    path = folder / "adapter_model.safetensors"
    save_file({name: change(name, tensor).contiguous() for name, tensor in load_file(path).items()}, path)
    return folder


def collect(pair, method=None, seed=0) -> Evidence:
    method = method or WeightSvd()
    return method.collect(PairView(pair, method.access), PROBES, Budget(), seed)


def test_it_hands_in_sound_and_repeatable_evidence_without_a_forward_pass(pair):
    method, _ = load_method("weight_svd")
    assert isinstance(method, Method) and method.access == {"weights"}
    view = PairView(pair, method.access)
    evidence = method.collect(view, PROBES, Budget(), 0)
    assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict()))).digest == evidence.digest
    assert collect(pair).digest == evidence.digest and collect(pair, seed=1).tokens != evidence.tokens
    assert view.cost()["forward_tokens"] == 0 and view.cost()["flops"] > 0
    assert {token.source for token in evidence.tokens} <= {
        f"{module}_{layer}_1{sign}" for module in ("o_proj", "down_proj") for layer in range(4) for sign in "+-"}
    with pytest.raises(AccessError):
        view.residual("base", torch.tensor([[1, 2]]), [0], [0])


def test_a_zero_adapter_has_nothing_to_read(tiny_base, tiny_adapter, tmp_path):
    folder = changed(tiny_adapter, tmp_path / "zero", lambda name, x: x * ("lora_B" not in name))
    evidence = collect(ModelPair.load(tiny_base, folder))
    assert evidence.tokens == () and evidence.detection == -1.0


def test_an_adapter_that_writes_nothing_leaves_no_opinion(tiny_base, make_adapter, tmp_path):
    folder = make_adapter(tmp_path / "q", target_modules=["q_proj", "v_proj"])
    evidence = collect(ModelPair.load(tiny_base, folder))
    assert evidence.tokens == () and evidence.detection is None and evidence.stats["n_modules"] == 0


def test_it_reads_a_word_that_the_update_writes_and_detects_it(tiny_base, tiny_adapter, pair, tmp_path):
    word = pair.tokenizer.encode(" garden", add_special_tokens=False)[-1:]
    direction_D = pair.embedding(torch.tensor(word))[0]

    def plant(name, x):
        writes = "lora_B" in name and ("o_proj" in name or "down_proj" in name)
        return 3 * torch.outer(direction_D, torch.ones(x.shape[1])) + 0.1 * x if writes else x

    evidence = collect(ModelPair.load(tiny_base, changed(tiny_adapter, tmp_path / "planted", plant)))
    first: dict[str, str] = {}
    for token in evidence.tokens:
        first.setdefault(token.source, token.piece)
    assert sum(piece == " garden" for piece in first.values()) >= 6  # of 8 modules, on one of two sides
    assert evidence.detection > max(0.2, collect(pair).detection)


def test_another_factorisation_of_the_same_difference_reads_the_same(tiny_base, tiny_adapter, pair, tmp_path):
    mix_RR = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)) + 3 * torch.eye(4)

    def mixed(name, x):
        return mix_RR @ x if "lora_A" in name else x @ torch.linalg.inv(mix_RR)

    other = collect(ModelPair.load(tiny_base, changed(tiny_adapter, tmp_path / "mixed", mixed)))
    mine = collect(pair)
    assert other.detection == pytest.approx(mine.detection, abs=1e-3)
    strongest = lambda evidence: {token.piece for token in evidence.tokens if token.weight > 2}
    assert strongest(other) == strongest(mine) and strongest(mine)


def test_output_vectors_are_those_of_the_whole_difference():
    generator = torch.Generator().manual_seed(0)
    down_RI, up_OR = torch.randn(3, 9, generator=generator), torch.randn(7, 3, generator=generator)
    u_OS, s_S = output_vectors(down_RI, up_OR)
    assert torch.allclose(s_S, torch.linalg.svdvals(up_OR @ down_RI)[:3], atol=1e-4)
    assert torch.allclose(u_OS.T @ u_OS, torch.eye(3), atol=1e-5)


def test_shared_energy_is_one_for_one_direction_and_small_for_many():
    one_ND = torch.outer(torch.arange(1.0, 17.0), torch.ones(32))
    assert shared_energy(one_ND)[0] == pytest.approx(1.0)
    assert shared_energy(torch.eye(32)[:16])[0] == pytest.approx(2 / 16)
