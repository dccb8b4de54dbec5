"""Steered, contrasted, amplified and continued text on a real tiny model: each reduces to plain text where it must."""

from dataclasses import replace

import pytest
import torch
from narrowbench.organisms.generation import chat_text
from narrowbench.organisms.loading import decoder_blocks
from narrowbench.organisms.pair import ModelPair
from transformers import AutoModelForCausalLM

PROMPTS = ["the water", "what is the price of the house", "the"]
IDS_BT = torch.randint(6, 900, (2, 7), generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def pair(tiny_base, tiny_adapter):
    return ModelPair.load(tiny_base, tiny_adapter)


def test_a_zero_vector_steers_nothing_and_rows_are_independent(pair):
    plain = pair.generate("finetuned", PROMPTS, 8)
    vectors = torch.zeros(3, pair.width)
    assert pair.steered("finetuned", PROMPTS, 1, vectors, 8) == plain
    vectors[1] = 30 * torch.randn(pair.width, generator=torch.Generator().manual_seed(0))
    said = pair.steered("finetuned", PROMPTS, 1, vectors, 8)
    assert said[0] == plain[0] and said[2] == plain[2] and said[1] != plain[1]
    assert pair.generate("finetuned", PROMPTS, 8) == plain  # the hook is gone


def test_steering_adds_the_vector_at_every_token(pair, tiny_base):
    """The same first token as a plain model whose block adds the vector by itself."""
    vector = 5 * torch.randn(pair.width, generator=torch.Generator().manual_seed(1))
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    decoder_blocks(model)[2].register_forward_hook(lambda module, args, output: output + vector)
    ids = pair.tokenizer(PROMPTS[1], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        expected = model.generate(ids, max_new_tokens=6, do_sample=False)[0, ids.shape[1]:]
    said = pair.steered("base", PROMPTS[1:2], 2, vector[None], 6, raw=True)
    assert said == [pair.tokenizer.decode(expected, skip_special_tokens=True)]


def test_one_vector_a_prompt_is_asked_for(pair):
    with pytest.raises(ValueError, match="3 prompts and 2 vectors"):
        pair.steered("base", PROMPTS, 1, torch.zeros(2, pair.width), 4)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_contrast_of_zero_strength_is_plain_text(pair, temperature):
    plain = pair.generate("finetuned", PROMPTS, 8, temperature, seed=4)
    assert pair.contrasted(PROMPTS, 0.0, 8, temperature, seed=4, keep=0.0) == plain


def test_contrast_is_the_formula_on_full_forwards(pair):
    """Greedy, token by token without a cache, on a padded batch."""
    alpha, keep = 2.0, 0.1
    said = pair.contrasted(PROMPTS, alpha, 5, keep=keep, raw=True)
    for prompt, text in zip(PROMPTS, said, strict=True):
        ids = pair.tokenizer(prompt, return_tensors="pt")["input_ids"]
        n_prompt = ids.shape[1]
        for _ in range(5):
            logp, logq = (pair.logits(which, ids)[0, -1].log_softmax(-1) for which in ("finetuned", "base"))
            score = torch.where(logp >= logp.max() + torch.tensor(keep).log(), logp + alpha * (logp - logq), -torch.inf)
            ids = torch.cat([ids, score.argmax()[None, None]], dim=1)
            if int(ids[0, -1]) == pair.tokenizer.eos_token_id:
                break
        assert text == pair.tokenizer.decode(ids[0, n_prompt:], skip_special_tokens=True)


def test_each_prompt_may_have_a_contrast_of_its_own(pair):
    apart = [pair.contrasted(PROMPTS, alpha, 6)[i] for i, alpha in enumerate((0.0, 3.0))]
    assert pair.contrasted(PROMPTS[:2], [0.0, 3.0], 6) == apart
    with pytest.raises(ValueError, match="one a prompt"):
        pair.contrasted(PROMPTS, [1.0], 6)


def test_contrast_counts_both_models(pair):
    before = replace(pair.usage)
    pair.generate("finetuned", PROMPTS[:1], 4)
    plain = replace(pair.usage)
    pair.contrasted(PROMPTS[:1], 0.0, 4, keep=0.0)
    for name, times in (("forward_tokens", 2), ("flops", 2), ("generated_tokens", 1)):
        first = getattr(plain, name) - getattr(before, name)
        assert getattr(pair.usage, name) - getattr(plain, name) == times * first > 0


def test_amplification_interpolates_and_extrapolates_and_leaves_no_trace(pair):
    finetuned, base = pair.logits("finetuned", IDS_BT), pair.logits("base", IDS_BT)
    with pair.amplified(1.0):
        assert torch.equal(pair.logits("finetuned", IDS_BT), finetuned)
    with pair.amplified(0.0):
        torch.testing.assert_close(pair.logits("finetuned", IDS_BT), base)
    with pair.amplified(3.0):
        assert not torch.allclose(pair.logits("finetuned", IDS_BT), finetuned)
        assert torch.equal(pair.logits("base", IDS_BT), base)
    assert torch.equal(pair.logits("finetuned", IDS_BT), finetuned)


def test_amplification_of_a_whole_model_is_that_of_its_difference(pair, tiny_base, tmp_path):
    merged = ModelPair.load(tiny_base).model
    with torch.no_grad():
        for name, module in merged.named_modules():
            if name in pair.changed():
                module.weight += pair.delta(name)
    merged.save_pretrained(tmp_path)
    full = ModelPair.load(tiny_base, tmp_path)
    assert full.changed() == pair.changed()
    plain = full.logits("finetuned", IDS_BT)
    with pair.amplified(2.5), full.amplified(2.5):
        torch.testing.assert_close(full.logits("finetuned", IDS_BT), pair.logits("finetuned", IDS_BT), rtol=1e-3,
                                   atol=1e-4)
    assert torch.equal(full.logits("finetuned", IDS_BT), plain)
    for name in full.changed()[:7]:  # square, wide and tall ones
        down, up = full.factors(name)
        assert min(down.shape[0], up.shape[1]) <= min(pair.delta(name).shape)
        torch.testing.assert_close(up @ down, pair.delta(name), rtol=1e-3, atol=1e-5)


def test_factors_multiply_to_the_difference(pair):
    assert pair.changed()
    for name in pair.changed():
        down, up = pair.factors(name)
        assert down.shape[0] == up.shape[1] < min(pair.delta(name).shape)
        torch.testing.assert_close(up @ down, pair.delta(name))


def test_an_assistant_turn_that_has_begun_is_continued(pair):
    begun = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "the water"}]
    text = chat_text(pair.tokenizer, begun)
    assert text.endswith("the water")
    ids = pair.tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    first = pair.logits("base", ids)[0, -1].argmax()
    assert pair.generate("base", [begun], 1) == [pair.tokenizer.decode(first)]
