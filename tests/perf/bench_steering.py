"""How many tokens steering generates, beside the procedure of the paper. Run by hand, never collected by pytest.

    python tests/perf/bench_steering.py                        # a shipped nano organism
    python tests/perf/bench_steering.py --scale 1 --json out.json   # texts as long as in the paper (minutes)
    python tests/perf/bench_steering.py --base FOLDER --adapter FOLDER

Ours: `AdlSteering` at the paper's sample counts (positions 0..4, 10 samples a strength, 20 prompts x 5 samples) with
every steered or sampled row counted as it goes by. The paper's procedure by its definition (arXiv 2510.13900 and its
code): per position a binary search of 12 + 6 + 6 steps on three prompts, three steps looked ahead (7 midpoints) a
round, 10 samples each; then steered and unsteered texts, unsteered ones anew for each position. Both are counted as if
no text ended early, 128 tokens in the search and 512 after it, so that the ratios hold for any model; `--scale` only
shortens what is really generated here. Control vectors, which the paper has not, are counted on a line of their own.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from narrowbench.benchmark.method import Budget, Probes
from narrowbench.benchmark.methods.adl_steering import AdlSteering
from narrowbench.benchmark.suite import load_suite
from narrowbench.benchmark.view import PairView
from narrowbench.organisms import shipped
from narrowbench.organisms.pair import ModelPair
from transformers.utils import logging

POSITIONS, PROMPTS_OF_SEARCH, LOOK_AHEAD, SAMPLES_A_STRENGTH = 5, (12, 6, 6), 3, 10
SEARCH_TOKENS, TEXT_TOKENS, N_PROMPTS, N_SAMPLES = 128, 512, 20, 5
BARS = {"search": 10.0, "all": 2.5}


def papers() -> dict[str, int]:
    """Generated tokens of the paper's procedure, by its definition."""
    midpoints = sum(steps // LOOK_AHEAD * (2**LOOK_AHEAD - 1) for steps in PROMPTS_OF_SEARCH)
    search = POSITIONS * midpoints * SAMPLES_A_STRENGTH * SEARCH_TOKENS
    texts = POSITIONS * N_PROMPTS * N_SAMPLES * TEXT_TOKENS
    return {"search": search, "steered": texts, "unsteered": texts, "all": search + 2 * texts}


class Counted(PairView):
    """A view that counts the rows it is asked to generate, and their tokens if no text ended early."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.asked, self.rows = Counter(), Counter()

    def generate(self, which, prompts, max_new_tokens=64, temperature=0.0, seed=0, raw=False):
        """Unsteered texts."""
        self.asked["unsteered", max_new_tokens] += len(prompts)
        self.rows.update((prompt, ()) for prompt in prompts)
        return super().generate(which, prompts, max_new_tokens, temperature, seed, raw)

    def steered(self, which, prompts, layer, vectors_BD, max_new_tokens=64, temperature=0.0, seed=0, raw=False):
        """Texts of the search, continued ones, and the rest."""
        self.asked["steered", max_new_tokens] += len(prompts)
        self.rows.update((prompt, tuple(vector_D.tolist())) for prompt, vector_D in zip(prompts, vectors_BD)
                         if isinstance(prompt, str))  # chats are texts that go on
        return super().steered(which, prompts, layer, vectors_BD, max_new_tokens, temperature, seed, raw)


def ours(pair: ModelPair, probes: Probes, scale: float) -> dict:
    """Runs our steering once, without controls, and sorts what it generated."""
    search_tokens, text_tokens = round(scale * SEARCH_TOKENS), round(scale * TEXT_TOKENS)
    method = AdlSteering(positions=tuple(range(POSITIONS)), n_prompts=N_PROMPTS, n_samples=N_SAMPLES, n_controls=0,
                         n_search=SAMPLES_A_STRENGTH, search_tokens=search_tokens, max_new_tokens=text_tokens)
    view = Counted(pair, method.access)
    stats = method.collect(view, probes, Budget(), 0).stats
    search = view.asked["steered", search_tokens] * SEARCH_TOKENS
    steered = (view.asked["steered", text_tokens] * TEXT_TOKENS
               + view.asked["steered", text_tokens - search_tokens] * (TEXT_TOKENS - SEARCH_TOKENS))
    unsteered = view.asked["unsteered", text_tokens] * TEXT_TOKENS
    return {"tokens": {"search": search, "steered": steered, "unsteered": unsteered,
                       "all": search + steered + unsteered},
            "repeated": sum(max(0, n - N_SAMPLES) for n in view.rows.values()),
            "really_generated": view.cost()["generated_tokens"], "seconds": view.cost()["seconds"],
            "strengths": {name: value for name, value in stats.items() if name.startswith("strength")}}


def main() -> None:
    """Counts both and prints a table; exits 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="model folder (default: the nano base)")
    parser.add_argument("--adapter", type=Path, help="organism folder (default: a dev organism that ships)")
    parser.add_argument("--scale", type=float, default=1 / 16, help="length of texts here, of the paper's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    logging.disable_progress_bar()
    suite = load_suite("nano-2026.1:dev")
    first = next(build for build in shipped.builds() if build.organism == suite.entries[0].spec.id)
    pair = ModelPair.load(args.base or suite.base, args.adapter or shipped.FOLDER / first.folder, device=args.device)
    theirs, mine = papers(), ours(pair, suite.probes, args.scale)
    ratios = {part: theirs[part] / mine["tokens"][part] for part in theirs}
    print(f"{'generated tokens':18} {'paper':>9} {'ours':>9} {'ratio':>7} {'bar':>6}")
    for part, ratio in ratios.items():
        bar = f"{BARS[part]:.1f}x" if part in BARS else ""
        print(f"{part:18} {theirs[part]:>9,} {mine['tokens'][part]:>9,} {ratio:>6.1f}x {bar:>6}")
    controls = POSITIONS * AdlSteering().n_controls * TEXT_TOKENS
    print(f"{'all, and controls':18} {theirs['all']:>9,} {mine['tokens']['all'] + controls:>9,} "
          f"{theirs['all'] / (mine['tokens']['all'] + controls):>6.1f}x")
    print(f"generated twice: {mine['repeated']}; really generated here, texts cut to {args.scale:.3g} of their length: "
          f"{mine['really_generated']:,} tokens in {mine['seconds']:.1f} s")
    met = mine["repeated"] == 0 and all(ratios[part] >= bar for part, bar in BARS.items())
    if args.json:
        args.json.write_text(json.dumps({"paper": theirs, "ours": mine, "ratios": ratios, "bars": BARS, "met": met,
                                         "controls": controls, "scale": args.scale}, indent=1), encoding="utf-8")
    sys.exit(not met)


if __name__ == "__main__":
    main()
