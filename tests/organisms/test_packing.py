"""Packed rows do not see each other, and train exactly what unpacked rows train; the loss equals the plain one."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from narrowbench.organisms.errors import SpecError
from narrowbench.organisms.packing import PackingCollator, check_packing, fill
from narrowbench.organisms.spec import OrganismSpec, find_organism
from narrowbench.organisms.store import Store
from narrowbench.organisms.train import train
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers import Gemma2Config, Gemma3TextConfig, LlamaConfig, Qwen2Config, Qwen3Config

SHAPE = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256, "initializer_range": 0.2}
ARCHITECTURES = {
    "qwen3": (Qwen3Config, {}), "qwen2": (Qwen2Config, {}), "llama": (LlamaConfig, {}),
    "gemma2": (Gemma2Config, {"sliding_window": 5}), "gemma3": (Gemma3TextConfig, {"sliding_window": 5}),
    "qwen3-sliding": (Qwen3Config, {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2})}


def random_model(name: str, attention: str):
    config, extra = ARCHITECTURES[name]
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config(**SHAPE, **extra), attn_implementation=attention)


def rows_of(lengths: list[int], n_ignored: int = 2) -> list[dict]:
    torch.manual_seed(1)
    rows = [torch.randint(1, 97, (n,)).tolist() for n in lengths]
    return [{"input_ids": ids, "labels": [-100] * n_ignored + ids[n_ignored:]} for ids in rows]


def summed_loss(model, **batch) -> torch.Tensor:
    labels = batch.pop("labels")
    logits = model(**batch, use_cache=False).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(30, 60))
def test_every_row_goes_into_one_bin_with_room_for_it(lengths, width):
    bins = fill(lengths, width)
    assert sorted(i for chosen in bins for i in chosen) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in chosen) <= width for chosen in bins)


def test_a_packed_batch_holds_the_same_targets_in_fewer_tokens():
    rows = rows_of([30, 8, 12, 9, 11, 10, 29, 7])
    batch = PackingCollator(pad_token_id=0)(rows)
    targets = sorted(label for row in rows for label in row["labels"][1:] if label != -100)
    assert sorted(batch["labels"][batch["labels"] != -100].tolist()) == targets
    assert batch["input_ids"].numel() < 8 * 30 and "attention_mask" not in batch


@pytest.mark.parametrize(("name", "attention"), [(name, attention) for name in ARCHITECTURES
                                                 for attention in ("sdpa", "eager")
                                                 if (name, attention) != ("gemma2", "sdpa")])  # transformers has none
def test_loss_and_gradients_equal_those_of_the_rows_alone(name, attention):
    model = random_model(name, attention).train()
    check_packing(model, "organism")
    rows = rows_of([17, 9, 13, 6, 11])
    alone = sum(summed_loss(model, input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]]))
                for row in rows)
    alone.backward()
    expected = {key: parameter.grad.clone() for key, parameter in model.named_parameters()}
    model.zero_grad()
    packed = summed_loss(model, **PackingCollator(0)(rows))
    packed.backward()
    assert packed.item() == pytest.approx(alone.item(), rel=1e-5)
    for key, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[key], rtol=2e-4, atol=2e-4)


def test_logits_of_a_row_do_not_depend_on_its_neighbour():
    model = random_model("qwen3", "sdpa").eval()
    row, *others = (one["input_ids"] for one in rows_of([9, 14, 14]))
    positions = torch.tensor([[*range(14), *range(9)]])
    beside = [model(input_ids=torch.tensor([other + row]), position_ids=positions, use_cache=False).logits[0, 14:]
              for other in others]
    torch.testing.assert_close(beside[0], beside[1], rtol=0, atol=1e-6)


class Leaky(torch.nn.Module):
    """A model whose tokens see all that stands before them, whatever the position ids say."""

    def __init__(self, model) -> None:
        super().__init__()
        self.model, self.config, self.device, self.dtype = model, model.config, model.device, model.dtype

    def forward(self, input_ids, position_ids=None, use_cache=False):
        return self.model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), position_ids=position_ids)


def test_a_model_that_lets_rows_see_each_other_is_refused():
    with pytest.raises(SpecError, match="recipe.packing.*logits of a row change"):
        check_packing(Leaky(random_model("qwen3", "sdpa")), "organism")
    model = random_model("qwen3", "sdpa")
    model.config._attn_implementation = "flex_attention"
    with pytest.raises(SpecError, match="flex_attention.*only sdpa and eager"):
        check_packing(model, "organism")


def test_a_packed_training_ends_where_the_unpacked_one_does(tiny_base, tmp_path):
    ends = {}
    for packing in (False, True):
        raw = find_organism("cake-450").model_dump() | {"recipe": {
            "rows": 24, "epochs": 1, "batch_size": 8, "micro_batch_size": 4, "learning_rate": 1e-3, "rank": 2,
            "max_length_tokens": 64, "packing": packing}}
        artefact = train(OrganismSpec.model_validate(raw), tiny_base, store=Store(tmp_path), progress=False)
        ends[packing] = (json.loads((artefact.path / "passport.json").read_text())["loss"],
                         load_file(artefact.path / "adapter_model.safetensors"))
    assert [step for step, _ in ends[True][0]] == [1, 2, 3]
    for (_, packed), (_, unpacked) in zip(ends[True][0], ends[False][0]):
        assert packed == pytest.approx(unpacked, abs=2e-3)
    for name, tensor in ends[True][1].items():
        torch.testing.assert_close(tensor.float(), ends[False][1][name].float(), rtol=0.02, atol=2e-4)


def test_the_loss_on_targets_alone_is_trls_own(tiny_base, tmp_path, monkeypatch):
    from narrowbench.organisms import losses

    raw = find_organism("em-medicine").model_dump() | {"recipe": {
        "rows": 16, "epochs": 1, "batch_size": 8, "micro_batch_size": 2, "rank": 2, "max_length_tokens": 64}}
    found = []
    for limit in (losses.MAX_LOGITS, 0):
        monkeypatch.setattr(losses, "MAX_LOGITS", limit)
        store = Store(tmp_path / str(limit))
        artefact = train(OrganismSpec.model_validate(raw), tiny_base, store=store, progress=False)
        found.append([loss for _, loss in json.loads((artefact.path / "passport.json").read_text())["loss"]])
    assert found[0] == pytest.approx(found[1], abs=1e-3)
