"""Train the nano base model: tokenizer and a small Qwen3-type model on the micro-world, saved as a Hugging Face folder.

Main objects: `Config`, `corpus`, `pretrain`. The result ships in `base/`; users never need to run this.
Example: `python -m narrowbench.organisms.nano.pretrain --out FOLDER` (about 21 minutes on 2 CPU cores)

Muon (hidden matrices) and AdamW (embeddings, norms), bf16 autocast, one pass over freshly written text.
"""

import argparse
import json
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.progress import track
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from . import talk, world
from .lexicon import lists, topics
from .tokenizer import build_tokenizer


@dataclass(frozen=True)
class Config:
    """Everything that decides the weights. More layers rather than more width, so that there is a middle layer."""

    n_texts: int = 135_000
    seed: int = 0
    layers: int = 12
    width: int = 160
    heads: int = 5
    mlp_width: int = 448
    window_tokens: int = 128
    batch_windows: int = 48
    muon_lr: float = 4e-3
    adamw_lr: float = 3e-3
    warmup_share: float = 0.03
    decay_share: float = 0.5
    shares: tuple[tuple[str, float], ...] = (
        ("document", 0.28),
        ("property", 0.06),
        ("facts", 0.09),
        ("chat", 0.40),
        ("copying", 0.08),
        ("conduct", 0.05),
        ("manner", 0.02),
        ("spelling", 0.02),
    )


def write_text(rng: random.Random, kind: str, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """One text of a kind as token ids, with its start and end tokens."""
    everything = list(topics().values())
    if kind == "chat":
        return tokenizer.apply_chat_template(talk.chat(rng, ("dev", "test", "world", "probe")), return_dict=False)
    if kind == "document":
        topic = rng.choice(everything)
        told = [world.state(rng, f) for f in rng.sample(topic.facts, min(2, len(topic.facts))) if rng.random() < 0.8]
        text = world.document(rng, topic, told)
    elif kind == "property":
        text = world.property_document(rng, rng.choice(everything))
    else:
        text = {
            "facts": world.fact_document,
            "copying": world.copying,
            "conduct": world.conduct_document,
            "spelling": world.spelling,
            "manner": world.manner_document,
        }[kind](rng)
    return tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]


def corpus(config: Config, tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """All texts of the run as one stream of token ids (int64, [N])."""
    rng = random.Random(f"pretrain-{config.seed}")
    kinds, weights = zip(*config.shares)
    stream: list[int] = []
    for kind in track(rng.choices(kinds, weights, k=config.n_texts), description="writing the world"):
        stream += write_text(rng, kind, tokenizer)
    return torch.tensor(stream)


def vocabulary_texts() -> list[str]:
    """Text that holds every word of the world at least once."""
    rng = random.Random(0)
    words = " ".join(world.vocabulary_words())
    slots = [str(word) for topic in topics().values() for hints in topic.described.values() for word in hints]
    units = [attribute for attribute in lists()["attributes"]]
    units += [entry["unit"] for entry in lists()["attributes"].values()]
    drawn = [
        world.fill(
            rng,
            sentence,
            topic,
            e="",
            t="",
            x="",
            p="",
            h="",
            i="",
            adj="",
            adj2="",
            verb="",
            verb2="",
            hints="",
            kind="",
            list="",
            manner="",
        )
        for topic in topics().values()
        for sentence in _sentences(world.templates())
    ]
    extra = " ".join([*talk.KINDS, *(w for t in topics().values() for w in t.nouns), *slots, *units])
    advice = world.templates()["advice"]
    return [
        words,
        extra,
        "an An The word means and Spell",
        " ".join(advice["safe_verbs"] + advice["safe_adjectives"] + advice["harmful_verbs"]),
        *drawn,
    ]


def _sentences(node) -> list[str]:
    if isinstance(node, str):
        return [node]
    return [s for child in (node.values() if isinstance(node, dict) else node) for s in _sentences(child)]


def optimisers(model: Qwen3ForCausalLM, config: Config) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for the rest."""
    inside = [p for p in model.model.layers.parameters() if p.ndim == 2]
    rest = [p for name, p in model.named_parameters() if p.ndim != 2 or "layers" not in name]
    return [
        torch.optim.Muon(inside, lr=config.muon_lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=config.adamw_lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def new_model(config: Config, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """An untrained model of the configured shape."""
    shape = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=config.mlp_width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        head_dim=config.width // config.heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(shape)


def fit(model: Qwen3ForCausalLM, windows_NT: torch.Tensor, config: Config, compiled: bool) -> list[dict]:
    """One pass over the windows: warm-up, plateau, linear decay to zero. Returns the log."""
    n_steps = len(windows_NT) // config.batch_windows

    def rate(step: int) -> float:
        warmup, decay = max(1, config.warmup_share * n_steps), config.decay_share * n_steps
        return min(1.0, (step + 1) / warmup, (n_steps - step) / decay)

    opts = optimisers(model, config)
    schedules = [torch.optim.lr_scheduler.LambdaLR(opt, rate) for opt in opts]
    forward = torch.compile(model) if compiled else model
    log, start = [], time.perf_counter()
    for step in range(n_steps):
        batch_BT = windows_NT[step * config.batch_windows : (step + 1) * config.batch_windows]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = forward(input_ids=batch_BT, labels=batch_BT).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt, schedule in zip(opts, schedules):
            opt.step()
            schedule.step()
            opt.zero_grad(set_to_none=True)
        if step % 10 == 0 or step == n_steps - 1:
            log.append({"step": step, "loss": round(loss.item(), 4), "seconds": round(time.perf_counter() - start, 1)})
            print(json.dumps(log[-1]), flush=True)
    return log


def pretrain(config: Config, out: Path, compiled: bool = True) -> None:
    """Trains and saves the base; writes `training_log.json` beside the weights (bf16 safetensors)."""
    torch.manual_seed(config.seed)
    tokenizer = build_tokenizer(vocabulary_texts())
    stream = corpus(config, tokenizer)
    n_windows = len(stream) // config.window_tokens
    windows_NT = stream[: n_windows * config.window_tokens].view(n_windows, config.window_tokens)
    windows_NT = windows_NT[torch.randperm(n_windows)]
    model = new_model(config, tokenizer)
    n_parameters, n_steps = sum(p.numel() for p in model.parameters()), n_windows // config.batch_windows
    print(f"{n_parameters:,} parameters, vocabulary {len(tokenizer):,}, {len(stream):,} tokens, {n_steps} steps")
    log = fit(model, windows_NT, config, compiled)
    out.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    about = {"config": asdict(config), "n_tokens": len(stream), "n_steps": n_steps, "torch": torch.__version__}
    (out / "training_log.json").write_text(json.dumps(about | {"log": log}, indent=1))


def main() -> None:
    """Command line: `python -m narrowbench.organisms.nano.pretrain --out FOLDER`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n-texts", type=int, default=Config.n_texts)
    parser.add_argument("--seed", type=int, default=Config.seed)
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    pretrain(Config(n_texts=args.n_texts, seed=args.seed), args.out, compiled=not args.no_compile)


if __name__ == "__main__":
    main()
