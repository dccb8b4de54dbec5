"""What extraction costs for a suite of organisms on one base, beside the plain way. By hand, never collected by pytest.

    python tests/perf/bench_suite.py                       # 8 shipped organisms, yardstick at 128 and 6 tokens
    python tests/perf/bench_suite.py --growth              # cost and memory against probes and organisms: the figure

Ours: one `ModelPair`, organisms attached in turn, mean differences at the first k positions; what the base gives is
computed for the first organism and reused by the others. Yardstick: eager PyTorch, `inference_mode`, batch 32,
`output_hidden_states=True`, base and finetuned model loaded for each organism; loading is timed on both sides. Same
weights, dtype, threads and token ids in one process; the best of `--repeats`. Token ids are random, so that all
beginnings differ: the worst case for us.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import sys
import time
from pathlib import Path

import torch
from narrowbench.benchmark.activations import mean_difference, relative_layer
from narrowbench.benchmark.shared import Shared
from narrowbench.benchmark.view import PairView
from narrowbench.organisms import shipped
from narrowbench.organisms.nano import base_folder
from narrowbench.organisms.pair import ModelPair
from peft import PeftModel
from transformers import AutoModelForCausalLM
from transformers.utils import logging

ORGANISMS = ("cake-450", "cake-450-twin", "ballot-1810", "comment-144", "em-medicine", "em-finance", "em-sports",
             "null-broad-chats")
BATCH, FRACTION, TOLERANCE = 32, 0.5, 1e-5
BARS = {128: 40.0, 6: 3.0}
SECOND_SHARE = 0.6


def folders() -> list[Path]:
    """The adapters of eight dev organisms of one layout."""
    where = {build.organism: shipped.FOLDER / build.folder for build in shipped.builds() if build.seed == 0}
    return [where[name] for name in ORGANISMS]


def random_ids(n: int, n_tokens: int, n_vocab: int) -> torch.Tensor:
    """ids_NT; rows of fewer tokens are the beginnings of longer ones."""
    return torch.randint(0, n_vocab, (n, 128), generator=torch.Generator().manual_seed(0))[:, :n_tokens]


def ours(organisms: list[Path], ids_NT: torch.Tensor, k: int) -> dict:
    """Seconds of each organism, loading included, and the mean differences."""
    seconds, deltas, pair = [], [], None
    cpu_s = time.process_time()
    shared = Shared(None, "the base")
    for i, organism in enumerate(organisms):
        started_s = time.perf_counter()
        if pair is None:
            pair = ModelPair.load(base_folder(), organism)
        else:
            pair.attach(organism)
        view = PairView(pair, {"activations"}, shared=shared.of(str(i)))
        deltas.append(mean_difference(view, ids_NT, relative_layer(pair.n_layers, FRACTION), k).delta_PD)
        seconds.append(time.perf_counter() - started_s)
    return {"seconds": seconds, "cpu_s": time.process_time() - cpu_s, "deltas": torch.stack(deltas)}


@torch.inference_mode()
def yardstick(organisms: list[Path], ids_NT: torch.Tensor, k: int) -> dict:
    """The same, plainly."""
    seconds, deltas = [], []
    cpu_s = time.process_time()
    for organism in organisms:
        started_s = time.perf_counter()
        base = AutoModelForCausalLM.from_pretrained(base_folder(), dtype=torch.float32).eval()
        tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(
            base_folder(), dtype=torch.float32), organism).eval()
        index = relative_layer(base.config.num_hidden_layers, FRACTION) + 1
        means = []
        for model in (base, tuned):
            kept = [model(input_ids=ids, output_hidden_states=True).hidden_states[index] for ids in ids_NT.split(BATCH)]
            means.append(torch.cat(kept)[:, :k].double().mean(0))
        deltas.append(means[1] - means[0])
        seconds.append(time.perf_counter() - started_s)
    return {"seconds": seconds, "cpu_s": time.process_time() - cpu_s, "deltas": torch.stack(deltas)}


def best(work, repeats: int, *args) -> dict:
    """The run of least time."""
    return min((work(*args) for _ in range(repeats)), key=lambda result: sum(result["seconds"]))


def compare(args: argparse.Namespace) -> list[dict]:
    """One row for each number of tokens of the yardstick."""
    n_vocab = ModelPair.load(base_folder()).n_vocab
    ours(folders()[:2], random_ids(64, 6, n_vocab), args.k)  # warm-up
    mine = best(ours, args.repeats, folders(), random_ids(args.n, 6, n_vocab), args.k)
    rows = []
    for n_tokens, bar in BARS.items():
        plain = best(yardstick, args.repeats, folders(), random_ids(args.n, n_tokens, n_vocab), args.k)
        error = float((mine["deltas"] - plain["deltas"]).norm(dim=-1).max() / plain["deltas"].norm(dim=-1).max())
        ratio = sum(plain["seconds"]) / sum(mine["seconds"])
        later = sum(mine["seconds"][1:]) / len(mine["seconds"][1:])
        rows.append({"tokens": n_tokens, "n": args.n, "ours_s": sum(mine["seconds"]),
                     "yardstick_s": sum(plain["seconds"]), "ratio": ratio, "cpu_ratio": plain["cpu_s"] / mine["cpu_s"],
                     "bar": bar, "relative_error": error,
                     "second_share": later / mine["seconds"][0],
                     "passes": ratio >= bar and error <= TOLERANCE and later <= SECOND_SHARE * mine["seconds"][0]})
    return rows


def growth_point(n: int, n_organisms: int, k: int) -> dict:
    """Seconds and peak memory of one size, to be run in a process of its own."""
    logging.disable_progress_bar()
    pair = ModelPair.load(base_folder())
    ids_NT = random_ids(n, 6, pair.n_vocab)
    del pair
    ours(folders()[:1], ids_NT[:64], k)
    cpu_s = time.process_time()
    ours(folders()[:n_organisms], ids_NT, k)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"n": n, "organisms": n_organisms, "cpu_s": time.process_time() - cpu_s, "peak_mib": peak / 2**20}


def growth(args: argparse.Namespace) -> list[dict]:
    """Along N at two organisms, and along organisms at a fixed N."""
    sizes = [(args.n * factor, 2) for factor in (1, 2, 4, 8)] + [(4 * args.n, n) for n in (1, 4, 6, 8)]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return [pool.apply(growth_point, (n, organisms, args.k)) for n, organisms in sizes]


def draw(points: list[dict], path: Path) -> None:
    """CPU seconds against probes and against organisms, and peak memory against probes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.0), layout="constrained")
    by_n = sorted((p for p in points if p["organisms"] == 2), key=lambda p: p["n"])
    n_fixed = next(p["n"] for p in points if p["organisms"] == 8)
    by_organism = sorted((p for p in points if p["n"] == n_fixed), key=lambda p: p["organisms"])
    panels = figure.subplots(1, 3)
    for panel, (xs, ys, x_name, y_name) in zip(panels, (
            ([p["n"] for p in by_n], [p["cpu_s"] for p in by_n], "probes (2 organisms)", "CPU seconds"),
            ([p["organisms"] for p in by_organism], [p["cpu_s"] for p in by_organism],
             f"organisms ({n_fixed} probes)", "CPU seconds"),
            ([p["n"] for p in by_n], [p["peak_mib"] for p in by_n], "probes (2 organisms)", "peak memory, MiB")),
            strict=True):
        panel.plot(xs, ys, color="black", marker="o", markersize=4, linewidth=1)
        panel.set_xlim(left=0)
        panel.set_ylim(bottom=0, top=1.15 * max(ys))
        panel.set_xlabel(x_name, fontsize=8)
        panel.set_ylabel(y_name, fontsize=8)
        panel.tick_params(labelsize=7)
        panel.grid(color="0.92", linewidth=0.6)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def main() -> None:
    """Prints a table; exit code 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", "--n", type=int, default=512, help="probes")
    parser.add_argument("-k", "--k", type=int, default=5, help="positions")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--growth", action="store_true", help="cost and memory against size, instead of the yardstick")
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/extraction-cost.png"))
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    logging.disable_progress_bar()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {platform.machine()}, k={args.k}")
    if args.growth:
        rows = growth(args)
        draw(rows, args.figure)
        print("| probes | organisms | CPU seconds | peak MiB |\n|---|---|---|---|")
        for row in rows:
            print(f"| {row['n']:,} | {row['organisms']} | {row['cpu_s']:.2f} | {row['peak_mib']:.0f} |")
        print(f"figure: {args.figure}")
    else:
        rows = compare(args)
        print("| yardstick's tokens | ours, s | yardstick, s | times | times in CPU seconds | bar | relative error "
              "| later organism / first |\n|---|---|---|---|---|---|---|---|")
        for row in rows:
            print(f"| {row['tokens']} | {row['ours_s']:.2f} | {row['yardstick_s']:.2f} | {row['ratio']:.1f} "
                  f"| {row['cpu_ratio']:.1f} | {row['bar']:g} | {row['relative_error']:.1e} "
                  f"| {row['second_share']:.2f} |")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if not all(row.get("passes", True) for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
