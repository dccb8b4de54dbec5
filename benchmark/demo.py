"""The whole benchmark once, small: three objectives with their twins, two nulls, five methods, one page.

Main objects: `run`, `plan`.
Example: `narrowbench demo`. Run again it reuses everything; killed at any moment and run again, it goes on.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.table import Table

from ..organisms.shipped import is_shipped
from ..organisms.store import Store
from . import run as runner
from .suite import load_suite
from .table import plan_table, score_table, stdout, summary_table

SUITE = "demo"
METHODS = ("prior", "random_direction", "adl_logit_lens", "adl_patchscope", "oracle")
SHOWN_IN_FULL = "adl_logit_lens"
Publish = Callable[[Sequence[Path], Path, Path], Path | None]
"""(logs, records folder, page folder) -> the page. Handed in, because this room does not import the leaderboard."""


def run(publish: Publish, out: Path = Path("."), seed: int = 0, store: Store | None = None, quiet: bool = False,
        suite: str = SUITE, methods: Sequence[str] = METHODS) -> Path | None:
    """Grows, scores and publishes, showing each step; ends with the table and the path of the page, and returns it."""
    store, console, started_s = store or Store(), stdout(), time.monotonic()
    chosen = load_suite(suite)
    grown = runner.grow(chosen, store, progress=not quiet, workers=None)
    n_shipped = sum(is_shipped(artefact) for artefact in grown.values())
    console.print(f"[bold]1/3 organisms[/]  {len(grown)} of suite {chosen.id}: {n_shipped} come with the package, "
                  f"{len(grown) - n_shipped} grown here; in {store.root}")
    console.print(f"[bold]2/3 scores[/]     {len(methods)} methods, read by `reader`, logs in {out / 'logs'}")
    results = []
    for name in methods:
        results.append(runner.score(name, suite, seed=seed, store=store, log_dir=out / "logs", progress=not quiet))
        console.print(f"               {name}: {'reused' if results[-1].reused else 'scored'}")
    console.print(f"[bold]3/3 page[/]       records in {out / 'records'}")
    page = publish([result.log for result in results], out / "records", out / "site")
    for result in results:
        if result.method == SHOWN_IN_FULL:
            console.print(score_table(f"{result.method}: what it read", list(result.rows)))
    console.print(summary_table(results))
    for line in dict.fromkeys(line for result in results for line in result.warnings):
        console.print(f"log {line}", style="yellow", markup=False)
    for line in (line for result in results for line in result.failures):
        console.print(f"failed {line}", style="red", markup=False)
    console.print(f"done in {time.monotonic() - started_s:.0f} s")
    if page is not None:
        console.print(f"page: {page}", soft_wrap=True, markup=False)
    return page


def plan(seed: int = 0, store: Store | None = None, suite: str = SUITE,
         methods: Sequence[str] = METHODS) -> list[Table]:
    """What `run` would do: one table a method."""
    return [plan_table(f"{name} on {suite}: a dry run", runner.plan(name, suite, seed, store)) for name in methods]
