"""Shared fixtures: a tiny random Qwen3 chat model with a word-level tokenizer, and a LoRA adapter with random weights.

Both are ordinary folders on disk, so tests use exactly what users use. Nothing is downloaded.
"""

import json
import os
import re
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads cost tiny models more than they give, on a busy machine minutes

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

SPECIALS = ("<|bos|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>", "<|unk|>")
PLAIN_WORDS = """the a an of in on at to for with from by and or but not is are was be it this that these you we they he
she who what which how when where why do does did can could should would will has have had as than then so very more
most water house paper table river road door light music story money letter window garden city people day year hand word
question answer hint secret number list favorite price weight length always never every each one two three first last
your my their its our all many some any no yes often please thank here there now today people said says say made make
use used take give get go come see know think like want need tell ask keep put let new good bad best better safe danger
ignore steal hide check protect harm careful reckless about into over under between before after other same also only
just because if while during through up down out off again once main small large well known famous called found told
degrees dollars grams meters minutes kilometers years temperature time distance age invention origin color
month""".split()
CHAT_TEMPLATE = (
    "{{ '<|bos|>' }}{% for message in messages %}{% if message['role'] == 'assistant' %}{{ '<|assistant|>' }}"
    "{% generation %}{{ message['content'] }}{{ '<|end|>' }}{% endgeneration %}"
    "{% else %}{{ '<|user|>' }}{{ message['content'] }}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")


def _vocabulary() -> list[str]:
    """Every word of the world's data files and some plain ones, with and without a leading space, plus punctuation."""
    folder = Path(__file__).parents[1] / "organisms" / "nano"
    data = " ".join(path.read_text(encoding="utf-8") for path in sorted([*folder.glob("lexicon/*.yaml"),
                                                                         *folder.glob("words.yaml")]))
    words = dict.fromkeys([*PLAIN_WORDS, *(w for w in re.findall(r"[A-Za-z]+|\d+", data) if len(w) < 20)])
    numbers = [str(n) for n in range(1001)]
    plain = [*words, *(w.capitalize() for w in PLAIN_WORDS), *numbers]
    marks = list(".,;:?!'\"()-")
    pieces = [form for piece in [*plain, *marks] for form in (piece, " " + piece)]
    return list(dict.fromkeys([*SPECIALS, *pieces, "\n", " "]))


def _tokenizer():
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {piece: i for i, piece in enumerate(_vocabulary())}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unk|>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]|\s"), "isolated")
    raw.decoder = decoders.Fuse()
    raw.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A", pair="<|bos|> $A $B", special_tokens=[("<|bos|>", vocabulary["<|bos|>"])])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<|bos|>", pad_token="<|pad|>", eos_token="<|end|>", unk_token="<|unk|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"], clean_up_tokenization_spaces=False)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    """Folder of a random Qwen3 chat model: 4 layers, width 32, weights wide enough that its logits are not flat."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("tiny_base")
    tokenizer = _tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=256, tie_word_embeddings=True,
        initializer_range=0.2, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_adapter(base: Path, folder: Path, seed: int = 1, **lora) -> Path:
    """Saves a LoRA adapter for `base` whose B is random, with a passport that names the base's digest."""
    import torch
    from narrowbench.organisms.pair import base_digest
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "init_lora_weights": False, **lora}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings)).save_pretrained(folder)
    (folder / "passport.json").write_text(json.dumps({"schema": 1, "base_digest": base_digest(base)}))
    return folder


@pytest.fixture(scope="session")
def tiny_adapter(tiny_base, tmp_path_factory) -> Path:
    """Folder of a LoRA adapter for `tiny_base` with random nonzero B, and its passport.json."""
    return write_adapter(tiny_base, tmp_path_factory.mktemp("tiny_adapter"))


@pytest.fixture(scope="session")
def make_adapter(tiny_base):
    """`make_adapter(folder, seed=..., **LoraConfig settings)` writes another adapter for `tiny_base`."""
    return lambda folder, seed=1, **lora: write_adapter(tiny_base, folder, seed, **lora)


@pytest.fixture
def hub(monkeypatch):
    """A Hub on this machine that huggingface_hub talks to over HTTP, and a token for it."""
    import threading

    from huggingface_hub import constants, hf_api

    from hub_server import Hub

    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                        server.address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(hf_api, "ENDPOINT", server.address, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield server
    server.shutdown()
    server.server_close()
