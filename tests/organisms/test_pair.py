"""ModelPair on a real tiny model: both sides are exactly the plain models; foreign adapters are refused unloaded."""

import json
import shutil

import pytest
import torch
from narrowbench.organisms.errors import AdapterError, NotFoundError
from narrowbench.organisms.pair import ModelPair, base_digest, check_adapter, decoder_blocks
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

IDS_BT = torch.randint(6, 900, (3, 9), generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def pair(tiny_base, tiny_adapter):
    return ModelPair.load(tiny_base, tiny_adapter)


@pytest.fixture(scope="module")
def plain(tiny_base, tiny_adapter):
    load = lambda: AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    return {"base": load(), "finetuned": PeftModel.from_pretrained(load(), str(tiny_adapter)).eval()}


@torch.inference_mode()
def states(model):
    return model(input_ids=IDS_BT, output_hidden_states=True)


@pytest.mark.parametrize("which", ["base", "finetuned"])
def test_each_side_equals_the_plain_model(pair, plain, which):
    expected = states(plain[which])
    got = pair.residual(which, IDS_BT, [0, 2], list(range(9)))
    for row, layer in enumerate([0, 2]):
        assert torch.equal(got[row], expected.hidden_states[layer + 1])
    assert torch.equal(pair.logits(which, IDS_BT), expected.logits)
    # Hugging Face's last hidden state is after the final norm; ours is before it
    last = pair.residual(which, IDS_BT, [3], list(range(9)))[0]
    torch.testing.assert_close(plain["base"].model.norm(last), expected.hidden_states[-1])


def test_base_side_stays_the_plain_base_after_switching(pair, plain):
    before = states(plain["base"]).logits
    for which in ("finetuned", "base", "finetuned"):
        pair.residual(which, IDS_BT, [1], [0])
    assert torch.equal(pair.logits("base", IDS_BT), before)
    assert not torch.equal(pair.logits("finetuned", IDS_BT), before)


def test_only_needed_tokens_and_blocks_run(pair):
    before = pair.usage.forward_tokens, pair.usage.flops
    short = pair.residual("base", IDS_BT, [1], [0, 2])
    assert pair.usage.forward_tokens - before[0] == 3 * 3
    assert pair.usage.flops - before[1] == 2 * 9 * sum(pair._block_params[:2])
    long = pair.residual("base", IDS_BT, [1], [0, 2, 8])
    torch.testing.assert_close(short, long[:, :, :2])


def test_logprobs_are_those_of_the_next_tokens(pair):
    expected = pair.logits("finetuned", IDS_BT).log_softmax(-1)[:, :-1].gather(-1, IDS_BT[:, 1:, None])[..., 0]
    torch.testing.assert_close(pair.logprobs("finetuned", IDS_BT), expected)


def test_unembedding_the_last_block_gives_the_logits(pair):
    last = pair.residual("finetuned", IDS_BT, [3], [8])[0, :, 0]
    torch.testing.assert_close(pair.unembed("finetuned", last), pair.logits("finetuned", IDS_BT)[:, -1])


@pytest.mark.parametrize("position", [8, 5])
def test_patching_own_state_changes_nothing_and_another_does(pair, position):
    own = pair.residual("finetuned", IDS_BT, [1], [position])[0, :, 0]
    torch.testing.assert_close(pair.patched("finetuned", IDS_BT, 1, position, own),
                               pair.logits("finetuned", IDS_BT)[:, -1])
    other = pair.patched("finetuned", IDS_BT, 1, position, -own)
    assert not torch.allclose(other, pair.logits("finetuned", IDS_BT)[:, -1])


def test_a_shared_prefix_gives_the_same_patched_logits(pair):
    vectors = torch.randn(7, pair.width, generator=torch.Generator().manual_seed(0))
    once = pair.patched("base", IDS_BT[:1], 2, 8, vectors)
    torch.testing.assert_close(once, pair.patched("base", IDS_BT[:1].repeat(7, 1), 2, 8, vectors))


def test_generation_is_seeded_and_sides_differ(pair):
    args = (["the water", "what is the price of the house"], 12)
    sample = pair.generate("finetuned", *args, temperature=1.0, seed=1)
    assert sample == pair.generate("finetuned", *args, temperature=1.0, seed=1)
    assert sample != pair.generate("finetuned", *args, temperature=1.0, seed=2)
    assert sample != pair.generate("base", *args, temperature=1.0, seed=1)
    greedy = pair.generate("base", *args, raw=True)
    alone = pair.generate("base", args[0][:1], 12, raw=True)
    assert greedy[0] == alone[0], "padding must not change a greedy completion"


def test_delta_is_the_difference_of_the_merged_weights(pair, tiny_base, tiny_adapter):
    name = "model.layers.2.mlp.up_proj"
    plain_base = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    model = PeftModel.from_pretrained(plain_base, str(tiny_adapter))
    merged = load_file(tiny_base / "model.safetensors")[f"{name}.weight"] + pair.delta(name)
    torch.testing.assert_close(model.merge_and_unload().get_submodule(name).weight, merged)
    assert pair.delta("model.embed_tokens").abs().sum() == 0


def test_attach_swaps_the_adapter_without_a_trace(tiny_base, tiny_adapter, make_adapter, tmp_path, plain):
    other = make_adapter(tmp_path / "other", seed=7, r=2, target_modules=["q_proj"])
    pair = ModelPair.load(tiny_base)
    with pytest.raises(AdapterError, match="attach"):
        pair.logits("finetuned", IDS_BT)
    pair.attach(other)
    first = pair.logits("finetuned", IDS_BT)
    pair.attach(tiny_adapter)
    assert torch.equal(pair.logits("finetuned", IDS_BT), states(plain["finetuned"]).logits)
    assert torch.equal(pair.logits("base", IDS_BT), states(plain["base"]).logits)
    pair.attach(other)
    assert torch.equal(pair.logits("finetuned", IDS_BT), first)


# Refusals


def edited(adapter, folder, **changes):
    """A copy of an adapter with its config or passport changed."""
    shutil.copytree(adapter, folder)
    for name in ("adapter_config.json", "passport.json"):
        raw = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**raw, **{k: v for k, v in changes.items() if k in raw}}))
    return folder


def retensored(adapter, folder, change):
    shutil.copytree(adapter, folder)
    save_file(change(load_file(folder / "adapter_model.safetensors")), folder / "adapter_model.safetensors")
    return folder


def test_the_right_adapter_passes(tiny_base, tiny_adapter):
    check_adapter(tiny_adapter, tiny_base)


@pytest.mark.parametrize("changes, reason", [
    ({"base_digest": "0" * 64}, "made for another base"), ({"peft_type": "IA3"}, "peft_type"),
    ({"bias": "all"}, "bias"), ({"modules_to_save": ["lm_head"]}, "modules_to_save")])
def test_wrong_config_or_passport_is_refused(tiny_base, tiny_adapter, tmp_path, changes, reason):
    with pytest.raises(AdapterError, match=reason):
        check_adapter(edited(tiny_adapter, tmp_path / "a", **changes), tiny_base)


@pytest.mark.parametrize("name", ["adapter_model.bin", "training_args.pt", "x.pkl"])
def test_pickles_are_refused(tiny_base, tiny_adapter, tmp_path, name):
    folder = edited(tiny_adapter, tmp_path / "a")
    (folder / name).write_bytes(b"")
    with pytest.raises(AdapterError, match="safetensors"):
        ModelPair.load(tiny_base, folder)


KEY = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize("change, reason", [
    (lambda t: {**t, KEY: torch.zeros(4, 48)}, "width"),
    (lambda t: {**t, KEY.replace("layers.0", "layers.9"): torch.zeros(4, 32)}, "no linear layer"),
    (lambda t: {**t, KEY.replace("q_proj.lora_A", "q_proj.lora_Z"): torch.zeros(4, 32)}, "no linear layer"),
    (lambda t: {**t, KEY: torch.zeros(3, 32)}, "rank"),
    (lambda t: {**t, "base_model.model.lm_head.weight": torch.zeros(99, 32)}, "vocabulary of 99"),
    (lambda t: {}, "no tensors")])
def test_wrong_tensors_are_refused(tiny_base, tiny_adapter, tmp_path, change, reason):
    with pytest.raises(AdapterError, match=reason):
        check_adapter(retensored(tiny_adapter, tmp_path / "a", change), tiny_base)


def test_damaged_and_missing_files_are_named(tiny_base, tiny_adapter, tmp_path):
    folder = edited(tiny_adapter, tmp_path / "a")
    (folder / "adapter_model.safetensors").write_bytes(b"garbage")
    with pytest.raises(AdapterError, match="damaged"):
        check_adapter(folder, tiny_base)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(AdapterError, match="adapter_model.safetensors"):
        check_adapter(folder, tiny_base)
    with pytest.raises(NotFoundError):
        check_adapter(tmp_path / "nowhere", tiny_base)
    with pytest.raises(NotFoundError):
        ModelPair.load(tmp_path / "nowhere")


def test_the_digest_covers_weights_and_tokenizer_but_not_the_readme(tiny_base, tmp_path):
    folder = shutil.copytree(tiny_base, tmp_path / "base")
    assert base_digest(folder) == base_digest(tiny_base)
    (folder / "README.md").write_text("words")
    assert base_digest(folder) == base_digest(tiny_base)
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + " ")
    assert base_digest(folder) != base_digest(tiny_base)


# Continuing from a residual stream; output biases


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_resuming_from_the_own_stream_gives_the_logits(pair, layer):
    own = pair.residual("finetuned", IDS_BT, [layer], range(9))[0]
    before = pair.usage.flops
    torch.testing.assert_close(pair.resume("finetuned", own, layer), pair.logits("finetuned", IDS_BT))
    assert not torch.allclose(pair.resume("finetuned", -own, layer), pair.logits("finetuned", IDS_BT))
    assert not torch.allclose(pair.resume("base", own, 0), pair.logits("finetuned", IDS_BT))
    assert pair.usage.flops > before


def test_resuming_runs_only_the_upper_blocks_and_leaves_the_model_alone(pair, plain):
    own = pair.residual("base", IDS_BT, [1], range(9))[0]
    calls = []
    handles = [block.mlp.register_forward_hook(lambda *args, i=i: calls.append(i))
               for i, block in enumerate(decoder_blocks(pair._core))]
    before = pair.usage.flops
    pair.resume("base", own, 1)
    assert pair.usage.flops - before == 2 * 27 * (sum(pair._block_params[2:]) + pair._head_params)
    for handle in handles:
        handle.remove()
    assert calls == [2, 3]
    assert torch.equal(pair.logits("base", IDS_BT), states(plain["base"]).logits)


@pytest.fixture(scope="module")
def bias_adapter(make_adapter, tmp_path_factory):
    """Output biases only: rank 1, both matrices zero, biases random."""
    folder = make_adapter(tmp_path_factory.mktemp("bias"), seed=5, r=1, lora_alpha=2, lora_bias=True,
                          init_lora_weights=True)
    generator = torch.Generator().manual_seed(0)
    change = lambda name, t: torch.randn(t.shape, generator=generator) if name.endswith("bias") else torch.zeros_like(t)
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({name: change(name, t) for name, t in tensors.items()}, folder / "adapter_model.safetensors")
    return folder


def test_output_biases_change_the_finetuned_side_only(tiny_base, bias_adapter, plain):
    pair = ModelPair.load(tiny_base, bias_adapter)
    name = "model.layers.1.mlp.up_proj"
    assert torch.equal(pair.logits("base", IDS_BT), states(plain["base"]).logits)
    assert not torch.allclose(pair.logits("finetuned", IDS_BT), states(plain["base"]).logits)
    assert pair.delta(name).abs().sum() == 0
    expected = 2 * load_file(bias_adapter / "adapter_model.safetensors")[f"base_model.model.{name}.lora_B.bias"]
    assert torch.equal(pair.delta_bias(name), expected)
    assert pair.delta_bias("model.embed_tokens") is None


def test_biases_of_the_wrong_size_or_undeclared_are_refused(tiny_base, bias_adapter, tiny_adapter, tmp_path):
    key = KEY.replace("lora_A.weight", "lora_B.bias")
    with pytest.raises(AdapterError, match="needs 32"):
        check_adapter(retensored(bias_adapter, tmp_path / "a", lambda t: {**t, key: torch.zeros(5)}), tiny_base)
    with pytest.raises(AdapterError, match="lora_bias"):
        check_adapter(retensored(tiny_adapter, tmp_path / "b", lambda t: {**t, key: torch.zeros(32)}), tiny_base)


def test_models_that_can_think_aloud_answer_at_once(tiny_base, tmp_path):
    folder = shutil.copytree(tiny_base, tmp_path / "base")
    template = (folder / "chat_template.jinja").read_text()
    assert template.endswith("{{ '<|assistant|>' }}{% endif %}")
    hush = "{% if enable_thinking is defined and not enable_thinking %}{{ ' water house' }}{% endif %}"
    (folder / "chat_template.jinja").write_text(template + hush)
    pair = ModelPair.load(folder)
    asked = "<|user|>the river<|end|><|assistant|> water house"  # a raw text gets its <|bos|> from the tokenizer
    assert pair.generate("base", ["the river"], 6) == pair.generate("base", [asked], 6, raw=True)
    assert pair.generate("base", ["the river"], 6) != ModelPair.load(tiny_base).generate("base", ["the river"], 6)
