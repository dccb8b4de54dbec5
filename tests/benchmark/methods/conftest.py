"""Pairs that methods are tried on: a random one, one that finetuning did not change, one with a planted word."""

import shutil

import pytest
import torch
from narrowbench.organisms.pair import ModelPair
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="session")
def pair(tiny_base, tiny_adapter):
    """Base and an adapter with random weights."""
    return ModelPair.load(tiny_base, tiny_adapter)


@pytest.fixture(scope="session")
def zero_folder(tiny_adapter, tmp_path_factory):
    """An adapter whose B is zero: the finetuned model is the base."""
    folder = shutil.copytree(tiny_adapter, tmp_path_factory.mktemp("zero") / "a")
    path = folder / "adapter_model.safetensors"
    save_file({name: tensor * ("lora_B" not in name) for name, tensor in load_file(path).items()}, path)
    return folder


@pytest.fixture(scope="session")
def zero_pair(tiny_base, zero_folder):
    """The same model on both sides."""
    return ModelPair.load(tiny_base, zero_folder)


@pytest.fixture(scope="session")
def plant(tiny_base, make_adapter, tmp_path_factory):
    """`plant(word, strength)`: a pair whose last block's output bias writes one word's direction, and nothing else."""
    def planted(word: str, strength: float) -> ModelPair:
        folder = make_adapter(tmp_path_factory.mktemp("planted") / "a", target_modules=["down_proj"], lora_bias=True)
        pair = ModelPair.load(tiny_base)
        ids = torch.tensor(pair.tokenizer.encode(word, add_special_tokens=False))
        path = folder / "adapter_model.safetensors"
        weights = {name: tensor * ("lora_B" not in name) for name, tensor in load_file(path).items()}
        key = next(name for name in weights if "layers.3." in name and name.endswith("lora_B.bias"))
        weights[key] = strength * pair.embedding(ids)[0]
        save_file(weights, path)
        pair.attach(folder)
        return pair

    return planted
