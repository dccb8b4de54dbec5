"""Whole finetuned models as organisms, and adapters that would do more than they say: judged before they are loaded."""

import gc
import json
import shutil
import weakref

import pytest
import torch
from narrowbench.organisms.adapters import base_digest
from narrowbench.organisms.errors import AdapterError, NotFoundError
from narrowbench.organisms.finetunes import check_full, check_organism, is_full
from narrowbench.organisms.loading import load_model
from narrowbench.organisms.pair import ModelPair
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, ViTConfig

IDS_BT = torch.randint(6, 900, (2, 7), generator=torch.Generator().manual_seed(3))
NAME = "model.layers.1.mlp.up_proj"


@pytest.fixture(scope="module")
def tuned(tiny_base):
    """A whole model whose weights are the base's, moved a little."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
        for weight in model.parameters():
            weight.data.add_(0.05 * torch.randn_like(weight))
    return model


@pytest.fixture(scope="module")
def full(tuned, tiny_base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    tuned.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_base / name, folder)
    return folder


@pytest.fixture
def copied(full, tmp_path):
    return shutil.copytree(full, tmp_path / "full")


@torch.inference_mode()
def logits_of(model):
    return model(input_ids=IDS_BT).logits


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_kinds_are_told_apart_by_content(full, tiny_adapter, tmp_path):
    assert is_full(full) and not is_full(tiny_adapter) and not is_full(tmp_path)


def test_sharded_weights_are_read_whole(tuned, tiny_base, tmp_path):
    tuned.save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    pair = ModelPair.load(tiny_base, tmp_path / "sharded")
    assert torch.equal(pair.logits("finetuned", IDS_BT), logits_of(tuned))
    assert torch.equal(pair.delta("model.embed_tokens"), tuned.model.embed_tokens.weight
                       - load_file(tiny_base / "model.safetensors")["model.embed_tokens.weight"])
    assert pair.delta_bias(NAME) is None


def test_attaching_the_next_frees_the_former(tiny_base, full, tiny_adapter):
    pair = ModelPair.load(tiny_base, full)
    former = weakref.ref(pair._full)
    pair.attach(tiny_adapter)
    gc.collect()
    assert former() is None
    assert pair.delta(NAME).abs().sum() > 0


def test_both_sides_generate_under_the_same_settings(tiny_base, full, tuned, tmp_path):
    """What a checkpoint says about sampling would change one side's words unseen; where its turns end stays."""
    folder = shutil.copytree(tiny_base, tmp_path / "base")
    prompt = ["the water of the house"]
    plain = ModelPair.load(tiny_base, full)
    said = {which: plain.generate(which, prompt, 12, raw=True)[0] for which in ("base", "finetuned")}
    first = plain.tokenizer(said["base"], add_special_tokens=False)["input_ids"][0]
    edit(folder / "generation_config.json", repetition_penalty=5.0, no_repeat_ngram_size=1, temperature=0.1, top_k=1)
    pair = ModelPair.load(folder, full)
    assert {which: pair.generate(which, prompt, 12, raw=True)[0] for which in said} == said
    edit(folder / "generation_config.json", eos_token_id=[plain.tokenizer.eos_token_id, first])
    stopped = ModelPair.load(folder, full).generate("base", prompt, 12, raw=True)[0]
    assert stopped != said["base"] and said["base"].startswith(stopped)


def test_nothing_but_weights_is_taken_from_the_folder(tiny_base, copied, tuned):
    edit(copied / "config.json", attn_implementation="some/kernel", dtype="float16", use_cache=False, pad_token_id=7)
    pair = ModelPair.load(tiny_base, copied)
    assert torch.equal(pair.logits("finetuned", IDS_BT), logits_of(tuned))


# Refusals


@pytest.mark.parametrize("changes, reason", [
    ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"), ({"model_type": "llama"}, "type 'llama'"),
    ({"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}, "num_hidden_layers = 3"),
    ({"vocab_size": 99}, "vocab_size = 99"),
    ({"hidden_size": 48}, "hidden_size"), ({"rms_norm_eps": 1e-3}, "rms_norm_eps"),
    ({"tie_word_embeddings": False}, "tie_word_embeddings"), ({"num_attention_heads": "many"}, "no config")])
def test_another_architecture_is_refused(tiny_base, copied, changes, reason):
    edit(copied / "config.json", **changes)
    with pytest.raises(AdapterError, match=reason):
        check_full(copied, tiny_base)


def test_weights_of_another_size_are_refused(tiny_base, copied):
    path = copied / "model.safetensors"
    save_file(load_file(path) | {f"{NAME}.weight": torch.zeros(64, 33)}, path)
    with pytest.raises(AdapterError, match="has shape"):
        check_organism(copied, tiny_base)


def test_weights_that_are_not_there_are_never_random(tiny_base, copied):
    path = copied / "model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if k != f"{NAME}.weight"}, path)
    with pytest.raises(AdapterError, match="would be random"):
        ModelPair.load(tiny_base, copied)
    with pytest.raises(AdapterError, match=NAME):
        load_model(copied)


@pytest.mark.parametrize("weight_map, reason", [
    ({"a": "model-00001-of-00002.safetensors"}, "not there"), ({"a": "../model.safetensors"}, "not there"),
    ({}, "not there"), (["model.safetensors"], "not there")])
def test_an_index_may_only_name_files_beside_it(tiny_base, copied, weight_map, reason):
    (copied / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(AdapterError, match=reason):
        check_full(copied, tiny_base)


def test_damage_pickles_and_other_bases_are_named(tiny_base, copied, tmp_path):
    (copied / "passport.json").write_text(json.dumps({"base_digest": "0" * 64}))
    with pytest.raises(AdapterError, match="another base"):
        check_full(copied, tiny_base)
    (copied / "passport.json").write_text(json.dumps({"base_digest": base_digest(tiny_base)}))
    check_full(copied, tiny_base)
    (copied / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(AdapterError, match="can run code"):
        check_full(copied, tiny_base)
    (copied / "pytorch_model.bin").unlink()
    (copied / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(AdapterError, match="damaged"):
        check_full(copied, tiny_base)
    (copied / "model.safetensors").unlink()
    with pytest.raises(AdapterError, match="neither model.safetensors nor"):
        check_full(copied, tiny_base)
    with pytest.raises(NotFoundError):
        check_organism(tmp_path / "nowhere", tiny_base)


def test_another_tokenizer_is_refused_and_none_is_fine(tiny_base, copied):
    path = copied / "tokenizer.json"
    raw = json.loads(path.read_text())
    words = list(raw["model"]["vocab"])
    swapped = raw["model"]["vocab"] | {words[50]: 51, words[51]: 50}
    path.write_text(json.dumps(raw | {"model": raw["model"] | {"vocab": swapped}}))
    with pytest.raises(AdapterError, match="remove tokenizer.json"):
        check_full(copied, tiny_base)
    padded = raw | {"truncation": {"direction": "Right", "max_length": 9, "strategy": "LongestFirst", "stride": 0}}
    path.write_text(json.dumps(padded, indent=3))  # how a trainer saves it: other bytes, the same tokens
    check_full(copied, tiny_base)
    path.unlink()
    check_full(copied, tiny_base)


@pytest.mark.parametrize("key, value", [
    ("init_lora_weights", "pissa"), ("init_lora_weights", {"a": 1}), ("layer_replication", [[0, 2], [1, 3]]),
    ("megatron_config", {"a": 1}), ("trainable_token_indices", [3]), ("use_dora", True)])
def test_adapters_that_do_more_than_lora_are_refused(tiny_base, tiny_adapter, tmp_path, key, value):
    folder = shutil.copytree(tiny_adapter, tmp_path / "a")
    edit(folder / "adapter_config.json", **{key: value})
    with pytest.raises(AdapterError, match=key):
        ModelPair.load(tiny_base, folder)


@pytest.mark.parametrize("key, value", [("r", "four"), ("r", 0), ("lora_alpha", None), ("r", 5)])
def test_a_wrong_rank_or_scale_is_refused(tiny_base, tiny_adapter, tmp_path, key, value):
    folder = shutil.copytree(tiny_adapter, tmp_path / "a")
    edit(folder / "adapter_config.json", **{key: value})
    with pytest.raises(AdapterError, match="rank|no positive number"):
        ModelPair.load(tiny_base, folder)


def test_modules_without_tensors_stay_the_bases(tiny_base, tiny_adapter, tmp_path):
    """The config names all modules and a random start; only what the file holds may act."""
    folder = shutil.copytree(tiny_adapter, tmp_path / "a")
    path = folder / "adapter_model.safetensors"
    save_file({key: tensor for key, tensor in load_file(path).items() if NAME in key}, path)
    pair = ModelPair.load(tiny_base, folder)
    merged = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    merged.get_submodule(NAME).weight.data += pair.delta(NAME)
    torch.testing.assert_close(pair.logits("finetuned", IDS_BT), logits_of(merged))


@pytest.mark.parametrize("settings", [
    {"use_rslora": True}, {"rank_pattern": {"up_proj": 2}, "alpha_pattern": {"layers.1.mlp.up_proj": 32}}])
def test_scales_and_patterns_are_those_of_peft(tiny_base, make_adapter, tmp_path, settings):
    folder = make_adapter(tmp_path / "a", seed=9, **settings)
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32), str(folder))
    assert torch.equal(ModelPair.load(tiny_base, folder).logits("finetuned", IDS_BT), logits_of(plain.eval()))


def test_a_model_that_continues_no_texts_is_refused(tmp_path):
    with pytest.raises(AdapterError, match="vit"):
        load_model(tmp_path, config=ViTConfig())
