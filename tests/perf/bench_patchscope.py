"""How fast a patchscope's rows are read, beside a full forward for each. Run by hand, never collected by pytest.

    python tests/perf/bench_patchscope.py                                   # random Qwen3-type model of the nano size
    python tests/perf/bench_patchscope.py --base FOLDER --adapter FOLDER --json out.json
    python tests/perf/bench_patchscope.py --device cuda --layers 28 --width 2048 --vocab 151936

Ours: `ModelPair.patched`: each prompt's prefix once, then one token a (position, scale) through the blocks above the
layer. Yardsticks, in the same run on the same rows: a hook that replaces the stream at the last token in a full forward
of the finetuned model, one row at a time, and 32 rows at a time. All give the logits of every row; the largest
difference is printed. Each time is the best of `--repeats`; the three take turns, so that a busy machine slows all.
"""

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import torch
from bench_extraction import random_pair
from narrowbench.benchmark.activations import relative_layer
from narrowbench.organisms.hooks import hidden_of, hooks
from narrowbench.organisms.pair import ModelPair, decoder_blocks
from transformers.utils import logging

N_SCALES, N_PROMPTS = 30, 3


def ours(pair: ModelPair, prompts: list[torch.Tensor], layer: int, rows_ND: torch.Tensor) -> torch.Tensor:
    """logits_JNV of every prompt J and row N."""
    return torch.stack([pair.patched("finetuned", ids_1T, layer, ids_1T.shape[1] - 1, rows_ND) for ids_1T in prompts])


@torch.inference_mode()
def yardstick(pair: ModelPair, prompts: list[torch.Tensor], layer: int, rows_ND: torch.Tensor,
              batch: int) -> torch.Tensor:
    """The same by full forwards of `batch` rows."""
    found = []
    with pair.side("finetuned") as model:
        for ids_1T in prompts:
            for some_BD in rows_ND.to(pair.device, pair.dtype).split(batch):
                def put(module, args, output, some_BD=some_BD):
                    hidden_of(output)[:, -1] = some_BD
                    return output
                with hooks([(decoder_blocks(model)[layer], put)]):
                    out = model(input_ids=ids_1T.to(pair.device).expand(len(some_BD), -1), use_cache=False,
                                logits_to_keep=1)
                found.append(out.logits[:, -1].float())
    return torch.cat(found).unflatten(0, (len(prompts), len(rows_ND)))


def main() -> None:
    """Measures all three, in turns, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="model folder (default: a random Qwen3-type model)")
    parser.add_argument("--adapter", type=Path, help="adapter folder; needed with --base")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--vocab", type=int, default=3976)
    parser.add_argument("--positions", type=int, default=5)
    parser.add_argument("--prompt-tokens", type=int, default=12)
    parser.add_argument("--depth", type=float, default=0.5, help="layer of the patch, as a share of the depth")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    if (args.base is None) != (args.adapter is None):
        parser.error("--base and --adapter go together")
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        base, adapter = (args.base, args.adapter) if args.base else random_pair(Path(folder), args)
        pair = ModelPair.load(base, adapter, device=args.device)
    layer, generator = relative_layer(pair.n_layers, args.depth), torch.Generator().manual_seed(0)
    prompts = list(torch.randint(0, pair.n_vocab, (N_PROMPTS, 1, args.prompt_tokens), generator=generator))
    vectors_PD = torch.randn(args.positions, pair.width, generator=generator)
    rows_ND = torch.cat([scale * vectors_PD for scale in torch.linspace(0.5, 5, N_SCALES)])
    works = {"ours": lambda: ours(pair, prompts, layer, rows_ND),
             "row by row": lambda: yardstick(pair, prompts, layer, rows_ND, 1),
             "32 rows": lambda: yardstick(pair, prompts, layer, rows_ND, 32)}
    seconds, cpu_seconds, found = {name: [] for name in works}, {name: [] for name in works}, {}
    for _ in range(args.repeats + 1):  # the first time is a warm-up
        for name, work in works.items():
            started, cpu_started = time.perf_counter(), time.process_time()
            found[name] = work().cpu()
            seconds[name].append(time.perf_counter() - started)
            cpu_seconds[name].append(time.process_time() - cpu_started)
    best, best_cpu = ({name: min(times[1:]) for name, times in all_.items()} for all_ in (seconds, cpu_seconds))
    print(f"{sum(p.numel() for p in pair._core.parameters()) / 1e6:.1f}M parameters, patch after block {layer} of "
          f"{pair.n_layers}, {args.positions} positions x {N_SCALES} scales x {N_PROMPTS} prompts of "
          f"{args.prompt_tokens} tokens, {args.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    gap = {name: float((found[name] - found["ours"]).norm() / found[name].norm()) for name in works}
    for name in works:
        print(f"{name:10} {best[name]:8.3f} s {best_cpu[name]:8.3f} CPU s; ours is {best[name] / best['ours']:5.1f}x "
              f"as fast ({best_cpu[name] / best_cpu['ours']:.1f}x in CPU seconds), difference {gap[name]:.1e} relative")
    if args.json:
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k != "json"}
        figures = {"settings": settings, "seconds": best, "cpu_seconds": best_cpu, "relative_difference": gap,
                   "torch": torch.__version__, "threads": torch.get_num_threads(), "machine": platform.machine()}
        args.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
