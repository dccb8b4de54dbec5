"""What the harness costs over the bare method, for a whole suite. By hand, never collected by pytest.

    python tests/perf/bench_overhead.py --suite nano-2026.1             # the bar: under 10% of wall time
    python tests/perf/bench_overhead.py --suite nano-2026.1 --limit 4   # its first 4 organisms

Bare: the base is loaded once, every organism is attached in turn and handed to the method's `collect`; results that
organisms or parts of a method share are kept in memory. Harness: `narrowbench score` in this process with an empty
store, no logs and the reader: organisms found and verified, evidence keyed, shared results and evidence written, the
background collected, the Inspect eval run, graded, logged and read again. Same organisms, probes, seed and threads, one
after the other in one process, in both orders; every run of the harness has a store and a log folder of its own.
Libraries are imported before anything is timed; what the harness imports beyond the bare method is said beside it.
Both must find the same evidence, or nothing is reported.

Two figures: the time of the harness over that of the bare runs, minus 1; and, within the runs of the harness alone, all
that is not loading models or the method's own `collect` (shared results written inside it are not its own), over these
two. The second does not depend on how busy the machine was from one run to the next.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

BAR = 0.10
PARTS = ("organisms", "survey", "background", "collecting", "loading", "collect", "store", "eval", "rows")
MEANING = {
    "organisms": "found and verified", "survey": "keys, and hashes of what the store has (twice)",
    "background": "the base's, once a suite", "collecting": "base, organisms, method and evidence, in all",
    "loading": "of which base and organisms loaded", "collect": "of which the method itself",
    "store": "of which shared results written inside it",
    "eval": "reader, graders, log", "rows": "the log read for the table"}


class Stopwatch:
    """Wall seconds of named parts of a run; a part that is entered inside itself counts once."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = defaultdict(float)
        self._inside: dict[str, int] = defaultdict(int)

    def times(self, owner, name: str, part: str, only_inside: str = "") -> None:
        """From now on, calls of a function of a module or class count as this part.

        Args:
            only_inside: of calls made inside this other part only.
        """
        function = vars(owner)[name]

        def timed(*args, **more):
            if only_inside and not self._inside[only_inside]:
                return function(*args, **more)
            self._inside[part] += 1
            started_s = time.perf_counter()
            try:
                return function(*args, **more)
            finally:
                self._inside[part] -= 1
                if not self._inside[part]:
                    self.spent_s[part] += time.perf_counter() - started_s

        setattr(owner, name, timed)

    def taken(self) -> dict[str, float]:
        """Seconds of each part since the last call."""
        taken = {part: self.spent_s.get(part, 0.0) for part in PARTS}
        self.spent_s.clear()
        return taken


def imports() -> dict[str, float]:
    """Seconds to import what the bare method needs, and what the harness needs besides."""
    started_s = time.perf_counter()
    from narrowbench.benchmark import view  # noqa: F401
    from narrowbench.benchmark.method import load_method
    from narrowbench.organisms import pair  # noqa: F401

    load_method("adl")
    bare_s = time.perf_counter()
    from narrowbench.benchmark import evaluating, run, task  # noqa: F401
    from narrowbench.organisms import train  # noqa: F401

    return {"bare_s": bare_s - started_s, "harness_s": time.perf_counter() - bare_s}


def manifest(suite: str, limit: int, folder: Path) -> str:
    """The suite, or a manifest of its first `limit` organisms, as a name that `load_suite` takes."""
    from narrowbench.benchmark.manifest import suite_path
    from narrowbench.benchmark.suite import load_suite

    if not limit:
        return suite
    chosen = load_suite(suite)
    wanted = [(entry.spec.id, entry.train_seed) for entry in chosen.entries[:limit]]
    raw = json.loads(suite_path(suite).read_text(encoding="utf-8"))
    raw["organisms"] = [row for row in raw["organisms"] if (row["organism"], row.get("train_seed", 0)) in wanted]
    path = folder / "part.json"
    path.write_text(json.dumps(raw), encoding="utf-8")
    return f"{path}:{chosen.split}" if raw["split"] == "both" else str(path)


def organisms_of(suite: str, home: Path) -> list[Path]:
    """The folders of a suite's organisms. Ends the program if one would have to be trained first."""
    from narrowbench.benchmark.suite import load_suite
    from narrowbench.organisms.lookup import find_trained
    from narrowbench.organisms.store import Store

    chosen = load_suite(suite)
    found = [(f"{entry.spec.id} seed {entry.train_seed}",
              find_trained(entry.spec, chosen.base, entry.train_seed, Store(home))) for entry in chosen.entries]
    if missing := [name for name, organism in found if organism is None]:
        sys.exit(f"{', '.join(missing)} do not ship, and training is no overhead: choose a suite of shipped organisms")
    return [organism.path for _, organism in found]


def bare(method: str, suite: str, seed: int, folders: list[Path]) -> list[str]:
    """Runs the method without the harness. Returns the digests of what it finds, sorted."""
    from narrowbench.benchmark.collecting import own_randomness
    from narrowbench.benchmark.method import load_method
    from narrowbench.benchmark.shared import Shared
    from narrowbench.benchmark.suite import load_suite
    from narrowbench.benchmark.view import PairView
    from narrowbench.organisms.pair import ModelPair

    chosen, (found, _) = load_suite(suite), load_method(method)
    shared, pair, digests = Shared(None, "the base"), None, []
    for folder in folders:
        if pair is None:
            pair = ModelPair.load(chosen.base, folder)
        else:
            pair.attach(folder)
        view = PairView(pair, found.access, chosen.budget, shared=shared.of(str(folder)))
        with own_randomness(seed):
            digests.append(found.collect(view, chosen.probes, chosen.budget, seed).digest)
    return sorted(digests)


def harness(method: str, suite: str, seed: int, workers: int, folder: Path) -> list[str]:
    """Runs `score` with an empty store and log folder. Returns the digests of the evidence that it scored."""
    from inspect_ai.log import read_eval_log
    from narrowbench.benchmark import run
    from narrowbench.organisms.store import Store

    result = run.score(method, suite, "reader", seed, Store(folder / "home"), folder / "logs", progress=False,
                       workers=workers)
    if result.failures:
        sys.exit(f"the method failed: {'; '.join(result.failures)}")
    return sorted(sample.metadata["evidence_sha256"] for sample in read_eval_log(str(result.log)).samples)


def timed(work, *args) -> tuple[dict[str, float], list[str]]:
    """Wall and CPU seconds of a call, of child processes that it waited for too, and what it returned."""
    def cpu_s() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    wall, cpu = time.perf_counter(), cpu_s()
    found = work(*args)
    return {"wall_s": time.perf_counter() - wall, "cpu_s": cpu_s() - cpu}, found


def watched(method: str) -> Stopwatch:
    """A stopwatch on the functions that `score` calls."""
    from narrowbench.benchmark import collecting, evaluating, run
    from narrowbench.benchmark.method import load_method
    from narrowbench.organisms.store import Store

    watch = Stopwatch()
    for name, part in (("grow", "organisms"), ("survey", "survey"), ("collect_background", "background"),
                       ("collect", "collecting"), ("rows_of", "rows")):
        watch.times(run, name, part)
    watch.times(evaluating, "evaluate", "eval")
    watch.times(collecting.Collector, "attach", "loading")
    watch.times(type(load_method(method)[0]), "collect", "collect")
    watch.times(Store, "save", "store", only_inside="collect")
    return watch


def measure(args: argparse.Namespace, folder: Path) -> dict:
    """All runs: each round is a bare and a harness run, the second round in the other order."""
    from narrowbench.benchmark.suite import load_suite

    imported = imports()
    from transformers.utils import logging

    logging.disable_progress_bar()
    watch = watched(args.method)
    suite = manifest(args.suite, args.limit, folder)
    folders = organisms_of(suite, folder / "lookup")

    def go(kind: str, i: int) -> dict:
        if kind == "bare":
            spent, digests = timed(bare, args.method, suite, args.seed, folders)
        else:
            spent, digests = timed(harness, args.method, suite, args.seed, args.workers, folder / f"run-{i}")
        print(f"{kind}: {spent['wall_s']:.1f} s", file=sys.stderr, flush=True)
        return {"kind": kind, **spent, "parts_s": watch.taken(), "digests": digests}

    (folder / "warm").mkdir()
    small = manifest(args.suite, 1, folder / "warm")
    bare(args.method, small, args.seed, organisms_of(small, folder / "lookup"))
    harness(args.method, small, args.seed, args.workers, folder / "warm")
    watch.taken()
    order = [kind for i in range(args.rounds) for kind in (("bare", "harness"), ("harness", "bare"))[i % 2]]
    runs = [go(kind, i) for i, kind in enumerate(order)]
    if len({tuple(run.pop("digests")) for run in runs}) > 1:
        sys.exit("the bare method and the harness did not find the same evidence: their times cannot be compared")
    return {"suite": load_suite(suite).id, "organisms": len(folders), "method": args.method, "workers": args.workers,
            "imports": imported, "runs": runs, **overhead(runs, args.workers)}


def overhead(runs: list[dict], workers: int) -> dict:
    """The two figures of the module's first lines; the second needs the method in this process."""
    def total(kind: str, what: str) -> float:
        return sum(run[what] for run in runs if run["kind"] == kind)

    told = {f"overhead_{unit}": total("harness", f"{unit}_s") / total("bare", f"{unit}_s") - 1
            for unit in ("wall", "cpu")}
    inside = None
    if workers == 0:
        own = sum(run["parts_s"]["loading"] + run["parts_s"]["collect"] - run["parts_s"]["store"]
                  for run in runs if run["kind"] == "harness")
        inside = total("harness", "wall_s") / own - 1
    return told | {"overhead_inside": inside, "bar": BAR, "passes": told["overhead_wall"] < BAR}


def show(told: dict) -> None:
    """The runs, the parts of the harness's, and the figures."""
    print(f"{told['method']} on {told['suite']}: {told['organisms']} organisms, workers={told['workers']}")
    print("| run | wall, s | CPU, s |\n|---|---|---|")
    for run in told["runs"]:
        print(f"| {run['kind']} | {run['wall_s']:.2f} | {run['cpu_s']:.2f} |")
    scored = [run["parts_s"] for run in told["runs"] if run["kind"] == "harness"]
    print("| part of the harness's runs | mean wall, s | |\n|---|---|---|")
    for part in PARTS:
        print(f"| {part} | {sum(parts[part] for parts in scored) / len(scored):.2f} | {MEANING[part]} |")
    inside = "" if told["overhead_inside"] is None else f", within its own runs {told['overhead_inside']:.1%}"
    print(f"overhead: {told['overhead_wall']:.1%} of wall time{inside}, {told['overhead_cpu']:.1%} of CPU time; bar "
          f"{told['bar']:.0%} of wall time: {'met' if told['passes'] else 'missed'}")
    print(f"imports, not counted: bare {told['imports']['bare_s']:.1f} s, the harness another "
          f"{told['imports']['harness_s']:.1f} s")


def main() -> None:
    """Prints tables; exit code 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", "-s", default="nano-2026.1")
    parser.add_argument("--method", "-m", default="adl", help="a built-in method")
    parser.add_argument("--limit", type=int, default=0, help="only so many organisms (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2, help="of a bare run and one of the harness; the order turns")
    parser.add_argument("--workers", type=int, default=0, help="processes that collect; 0 = this one")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="narrowbench-overhead-") as folder:
        told = measure(args, Path(folder))
    import torch

    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {platform.machine()}, "
          f"{multiprocessing.cpu_count()} cores")
    show(told)
    if args.json:
        args.json.write_text(json.dumps(told, indent=1), encoding="utf-8")
    if not told["passes"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
