"""How fast mean differences are extracted, beside the plain way to do it. Run by hand, never collected by pytest.

    python tests/perf/bench_extraction.py                                 # random Qwen3-type model of the nano size
    python tests/perf/bench_extraction.py --base FOLDER --adapter FOLDER --json out.json
    python tests/perf/bench_extraction.py --device cuda --layers 28 --width 2048

Ours: `mean_difference` on random ids whose prefixes are all distinct (the worst case; templated probes repeat theirs).
Yardstick, in the same run at a smaller N: both models, a full 128-token forward with `output_hidden_states=True`, batch
32, all activations of the layer kept and averaged at the end. Each number is the best of `--repeats`. Peak memory is
that of a process of its own (CPU) or of the accelerator's allocator, the model included.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
from narrowbench.benchmark.activations import mean_difference, relative_layer
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.pair import ModelPair
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers.utils import logging

YARDSTICK_TOKENS, YARDSTICK_BATCH = 128, 32


def random_pair(folder: Path, args: argparse.Namespace) -> tuple[Path, Path]:
    """Writes a random Qwen3-type base and a random LoRA for it."""
    from tokenizers import Tokenizer, models

    config = Qwen3Config(vocab_size=args.vocab, hidden_size=args.width, intermediate_size=3 * args.width, head_dim=32,
                         num_hidden_layers=args.layers, num_attention_heads=max(1, args.width // 32),
                         num_key_value_heads=1, tie_word_embeddings=True)
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config)
    base, adapter = folder / "base", folder / "adapter"
    model.save_pretrained(base)
    words = {f"w{i}": i for i in range(args.vocab)}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")), pad_token="w0",
                            eos_token="w0").save_pretrained(base)
    lora = LoraConfig(r=8, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(model, lora).save_pretrained(adapter)
    return base, adapter


def ours(pair: ModelPair, ids_NT: torch.Tensor, layer: int, args: argparse.Namespace) -> dict:
    """Our extraction on all N probes."""
    view = PairView(pair, {"activations"})
    means = mean_difference(view, ids_NT, layer, args.k, args.batch_size)
    return {"delta_PD": means.delta_PD, "forward_tokens": view.cost()["forward_tokens"]}


@torch.inference_mode()
def yardstick(pair: ModelPair, ids_NT: torch.Tensor, layer: int, args: argparse.Namespace) -> dict:
    """Both models in full on 128 tokens, everything kept."""
    kept = {"base": [], "finetuned": []}
    for which, parts in kept.items():
        for ids_BT in ids_NT.split(YARDSTICK_BATCH):
            with pair.side(which) as model:
                out = model(input_ids=ids_BT.to(pair.device), output_hidden_states=True, use_cache=False)
            parts.append(out.hidden_states[layer + 1].cpu())
    delta_NTD = torch.cat(kept["finetuned"]) - torch.cat(kept["base"])
    return {"delta_PD": delta_NTD[:, : args.k].double().mean(0), "forward_tokens": 2 * ids_NT.numel()}


def measure(name: str, base: Path, adapter: Path, args: argparse.Namespace) -> dict:
    """Runs one of the two in this process and measures it."""
    logging.disable_progress_bar()
    pair = ModelPair.load(base, adapter, device=args.device)
    layer = relative_layer(pair.n_layers, 0.5)
    n, work = (args.n, ours) if name == "ours" else (args.yardstick_n, yardstick)
    ids_NT = torch.randint(0, pair.n_vocab, (args.n, YARDSTICK_TOKENS), generator=torch.Generator().manual_seed(0))[:n]
    work(pair, ids_NT[:64], layer, args)  # warm-up
    seconds, cpu_seconds = [], []
    for _ in range(args.repeats):
        started, cpu_started = time.perf_counter(), time.process_time()
        result = work(pair, ids_NT, layer, args)
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - cpu_started)
    if args.device.startswith("cuda"):
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    small = work(pair, ids_NT[:64], layer, args)["delta_PD"]
    return {"name": name, "n": n, "seconds": min(seconds), "seconds_per_10k": min(seconds) * 10_000 / n,
            "cpu_seconds_per_10k": min(cpu_seconds) * 10_000 / n,
            "forward_tokens_per_10k": result["forward_tokens"] * 10_000 // n, "peak_mib": peak / 2**20,
            "check": small.flatten().tolist(), "n_parameters": sum(p.numel() for p in pair._core.parameters())}


def main() -> None:
    """Measures both, each in a fresh process, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="model folder (default: a random Qwen3-type model)")
    parser.add_argument("--adapter", type=Path, help="adapter folder; needed with --base")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--vocab", type=int, default=3392)
    parser.add_argument("-n", "--n", type=int, default=10_000, help="probes for our extraction")
    parser.add_argument("--yardstick-n", type=int, default=320, help="probes for the yardstick")
    parser.add_argument("-k", "--k", type=int, default=5, help="positions")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    if (args.base is None) != (args.adapter is None):
        parser.error("--base and --adapter go together")
    with tempfile.TemporaryDirectory() as folder:
        base, adapter = (args.base, args.adapter) if args.base else random_pair(Path(folder), args)
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            rows = [pool.apply(measure, (name, base, adapter, args)) for name in ("ours", "yardstick")]
    mine, plain = (torch.tensor(row.pop("check")) for row in rows)
    ratio = rows[1]["seconds_per_10k"] / rows[0]["seconds_per_10k"]
    print(f"{rows[0]['n_parameters'] / 1e6:.1f}M parameters, {args.device}, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}, k={args.k}")
    print(f"{'':10} {'N':>7} {'s / 10k probes':>15} {'CPU s / 10k':>12} {'tokens / 10k':>14} {'peak MiB':>10}")
    for row in rows:
        print(f"{row['name']:10} {row['n']:>7} {row['seconds_per_10k']:>15.2f} {row['cpu_seconds_per_10k']:>12.2f} "
              f"{row['forward_tokens_per_10k']:>14,} {row['peak_mib']:>10.0f}")
    cpu_ratio = rows[1]["cpu_seconds_per_10k"] / rows[0]["cpu_seconds_per_10k"]
    print(f"ratio {ratio:.0f}x ({cpu_ratio:.0f}x in CPU seconds, which a busy machine distorts less)")
    print(f"largest difference between the two results {(mine - plain).abs().max():.1e} (of norm {plain.norm():.2g})")
    if args.json:
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k != "json"}
        figures = {"settings": settings, "rows": rows, "ratio": ratio, "cpu_ratio": cpu_ratio,
                   "torch": torch.__version__, "threads": torch.get_num_threads(), "machine": platform.machine()}
        args.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
