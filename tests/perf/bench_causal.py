"""How fast causal effects are measured, beside the plain way to do it. Run by hand, never collected by pytest.

    python tests/perf/bench_causal.py                                   # random Qwen3-type model of the nano size
    python tests/perf/bench_causal.py --base FOLDER --adapter FOLDER --json out.json
    python tests/perf/bench_causal.py --device cuda --layers 28 --width 2048 --rows 16

Ours: `losses_of`, the layers up to the projection once a batch, several directions in one forward of the layers above.
Yardstick, in the same run on the same rows and directions: one full forward of the finetuned model for each direction
and batch, with a hook that projects (the base's states come from one further forward a batch). Both sum the loss of
every row; the largest difference is printed. Each time is the best of `--repeats`; the two take turns, so that a busy
machine slows both.
"""

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from bench_extraction import random_pair
from narrowbench.benchmark.activations import relative_layer
from narrowbench.benchmark.projection import losses_of
from narrowbench.organisms.pair import ModelPair
from torch.nn import functional
from transformers.utils import logging


def random_rows(n_vocab: int, args: argparse.Namespace) -> list[dict[str, list[int]]]:
    """Rows of random tokens and lengths; every token is a target."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(args.tokens // 2, args.tokens + 1, (args.rows,), generator=generator).tolist()
    ids = [torch.randint(0, n_vocab, (n,), generator=generator).tolist() for n in lengths]
    return [{"input_ids": row, "labels": row} for row in ids]


@torch.inference_mode()
def yardstick(pair: ModelPair, rows: list[dict], layer: int, planes_NKD: torch.Tensor, batch: int) -> np.ndarray:
    """loss_NR by a full forward of the finetuned model for every direction."""
    loss_NR = np.zeros((len(planes_NKD), len(rows)))
    for start in range(0, len(rows), batch):
        part = rows[start:start + batch]
        longest = max(len(row["input_ids"]) for row in part)
        ids_BT = torch.tensor([row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in part])
        labels_BT = torch.tensor([row["labels"] + [-100] * (longest - len(row["labels"])) for row in part])
        ids_BT, labels_BT = ids_BT.to(pair.device), labels_BT.to(pair.device)
        with pair.side("base") as model:
            base_BTD = model(input_ids=ids_BT, output_hidden_states=True, use_cache=False).hidden_states[layer + 1]
        for n, u_D in enumerate(planes_NKD[:, 0].to(pair.device)):
            def put(module, args, output, u_D=u_D):
                return output - ((output - base_BTD) @ u_D)[..., None] * u_D
            with pair.side("finetuned") as model:
                hook = model.model.layers[layer].register_forward_hook(put)
                logits_BTV = model(input_ids=ids_BT, use_cache=False).logits[:, :-1]
                hook.remove()
            loss_BT = functional.cross_entropy(logits_BTV.flatten(0, 1), labels_BT[:, 1:].flatten(), reduction="none")
            loss_NR[n, start:start + len(part)] = loss_BT.view(len(part), -1).double().sum(1).cpu().numpy()
    return loss_NR


def main() -> None:
    """Measures both, in turns, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="model folder (default: a random Qwen3-type model)")
    parser.add_argument("--adapter", type=Path, help="adapter folder; needed with --base")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--vocab", type=int, default=3976)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64, help="longest row")
    parser.add_argument("--directions", type=int, default=32)
    parser.add_argument("--depth", type=float, default=0.8, help="layer of the projection, as a share of the depth")
    parser.add_argument("--batch", type=int, default=8, help="rows a forward of the yardstick")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    if (args.base is None) != (args.adapter is None):
        parser.error("--base and --adapter go together")
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        base, adapter = (args.base, args.adapter) if args.base else random_pair(Path(folder), args)
        pair = ModelPair.load(base, adapter, device=args.device)
    layer = relative_layer(pair.n_layers, args.depth)
    rows = random_rows(pair.n_vocab, args)
    planes_NKD = torch.randn(args.directions, 1, pair.width, generator=torch.Generator().manual_seed(0))
    planes_NKD = planes_NKD / planes_NKD.norm(dim=-1, keepdim=True)
    works = {"ours": lambda some: losses_of(pair, rows, layer, some, "base_to_ft").planes_NR,
             "yardstick": lambda some: yardstick(pair, rows, layer, some, args.batch)}
    seconds, cpu_seconds, found = {name: [] for name in works}, {name: [] for name in works}, {}
    for work in works.values():
        work(planes_NKD[:2])  # warm-up
    for _ in range(args.repeats):
        for name, work in works.items():
            started, cpu_started = time.perf_counter(), time.process_time()
            found[name] = work(planes_NKD)
            seconds[name].append(time.perf_counter() - started)
            cpu_seconds[name].append(time.process_time() - cpu_started)
    n_tokens = sum(len(row["input_ids"]) for row in rows)
    print(f"{sum(p.numel() for p in pair._core.parameters()) / 1e6:.1f}M parameters, projection after block {layer} of "
          f"{pair.n_layers}, {len(rows)} rows, {n_tokens} tokens, {args.directions} directions, {args.device}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in works:
        print(f"{name:10} {min(seconds[name]):8.2f} s {min(cpu_seconds[name]):8.2f} CPU s")
    ratio = min(seconds["yardstick"]) / min(seconds["ours"])
    cpu_ratio = min(cpu_seconds["yardstick"]) / min(cpu_seconds["ours"])
    gap = float(np.abs(found["ours"] - found["yardstick"]).max())
    print(f"ratio {ratio:.1f}x ({cpu_ratio:.1f}x in CPU seconds, which a busy machine distorts less)")
    print(f"largest difference of a row's summed loss {gap:.1e} (of {found['yardstick'].mean():.3g})")
    if args.json:
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k != "json"}
        figures = {"settings": settings, "seconds": seconds, "cpu_seconds": cpu_seconds, "ratio": ratio,
                   "cpu_ratio": cpu_ratio, "largest_difference": gap, "torch": torch.__version__,
                   "threads": torch.get_num_threads(), "machine": platform.machine()}
        args.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
