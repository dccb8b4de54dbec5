"""The `narrowbench` command. Each command loads its room only when it runs, so that `--help` answers at once.

Main object: `main`, which turns every NarrowbenchError into one red line and exit code 2.
Example: `narrowbench demo`; `narrowbench score --method adl_logit_lens --suite demo`; `narrowbench list organisms`
"""

import json
import os
import sys
import warnings
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from . import cli_board, cli_grade, cli_own, cli_plot, cli_score, cli_studies
from .cli_shared import AsJson, DryRun, Home, Quiet, Seed, Workers, note, show, show_rows, show_tables, store_at
from .organisms.errors import NarrowbenchError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Grow language models with a known narrow finetuning objective, score how much of it a model-diffing method "
         "recovers, publish the result. Start with `narrowbench demo`.")

QUIET_LIBRARIES = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                   "TRANSFORMERS_VERBOSITY": "error"}
"""Progress and problems are ours to report; a user's own setting of any of these wins."""

class Listed(StrEnum):
    """What `list` can list."""

    organisms = "organisms"
    methods = "methods"
    suites = "suites"
    topics = "topics"
    investigators = "investigators"
    recipes = "recipes"
    presets = "presets"


@app.command()
def demo(out: Annotated[Path, typer.Option("--out", help="Folder for logs/, records/ and site/.")] = Path("."),
         seed: Seed = 0, home: Home = None, dry_run: DryRun = False, quiet: Quiet = False) -> None:
    """Everything once: grow the organisms of suite `demo`, score five methods on them, publish the page."""
    from .benchmark import demo as room

    if dry_run:
        show_tables(room.plan(seed, store_at(home)))
    else:
        room.run(_publish_demo, out, seed, store_at(home), quiet)


@app.command()
def train(organism: Annotated[str, typer.Argument(help="A catalogue id, or the path of a YAML file.")] = "",
          suite: Annotated[str, typer.Option("--suite", help="Instead of one organism: all of a suite.")] = "",
          base: Annotated[str, typer.Option("--base", help="Folder or Hub id (default: the nano base).")] = "",
          recipe: Annotated[str, typer.Option("--recipe", help="A published recipe; `list recipes` shows them.")] = "",
          changes: Annotated[list[str], typer.Option("--set", help="KEY=VALUE of any recipe field; repeatable.")] = [],
          regrow: Annotated[bool, typer.Option("--regrow", help="Train here even what ships with the package.")]
          = False,
          workers: Workers = 0, seed: Seed = 0, home: Home = None, dry_run: DryRun = False, as_json: AsJson = False,
          quiet: Quiet = False) -> None:
    """Train one organism (an adapter with its passport), or all organisms of a suite."""
    if bool(organism) == bool(suite):
        raise typer.BadParameter("Give one organism, or `--suite NAME` for all of a suite.")
    if suite:
        if base or recipe or changes:
            raise typer.BadParameter("A suite fixes base and recipes: --base, --recipe and --set go with one organism.")
        return _train_suite(suite, regrow, workers, store_at(home), dry_run, as_json, quiet)
    from .organisms.spec import find_organism

    spec = find_organism(organism)
    from .organisms.nano import base_folder
    from .organisms.presets import with_recipe
    from .organisms.shipped import is_shipped
    from .organisms.train import train as grow

    spec, base, store = with_recipe(spec, recipe or None, changes), base or str(base_folder()), store_at(home)
    if dry_run:
        return show(asdict(grow(spec, base, seed, store, dry_run=True)), as_json)
    artefact = grow(spec, base, seed, store, progress=not quiet, shipped=not regrow)
    if os.environ.get("RANK", "0") != "0":  # under `accelerate launch` the first process alone reports
        return
    passport = json.loads((artefact.path / "passport.json").read_text(encoding="utf-8"))
    if as_json:
        return show(passport | {"path": str(artefact.path)}, True)
    # What a null does about each of all objectives is for `--json`.
    gate, health = {key: value for key, value in passport["gate"].items() if key != "excess"}, passport["health"]
    verdict = gate.get("expressed", gate.get("passes"))
    show({"organism": spec.id, "expressed" if "expressed" in gate else "passes": verdict,
            "healthy": health["healthy"], "gate": gate, "health": health, "steps": passport["n_steps"],
            "seconds": passport["seconds"], "shipped": is_shipped(artefact),
            "path": str(artefact.path)}, False)


def _train_suite(suite: str, regrow: bool, workers: int, store, dry_run: bool, as_json: bool, quiet: bool) -> None:
    from .benchmark import freeze

    if dry_run:
        steps = freeze.growth_plan(suite, store, regrow)
        return show({"suite": suite, "organisms": steps}, True) if as_json else show_rows(steps)
    grown = freeze.grow_all(suite, store, workers or None, regrow, progress=not quiet)
    if as_json:
        return show({"suite": suite, "organisms": [asdict(one) for one in grown]}, True)
    show_tables([freeze.growth_table(grown)])
    for one in grown:
        if not (one.took and one.healthy):
            note(f"{one.organism} seed {one.seed}: {'took' if one.took else 'did not take'}, "
                  f"{'healthy' if one.healthy else 'not healthy'} (gate {one.gate:.2f}, base {one.base:.2f})", "yellow")


app.registered_commands += cli_score.app.registered_commands


for commands in (cli_board.app, cli_grade.app, cli_own.app, cli_plot.app, cli_studies.app):
    app.registered_commands += commands.registered_commands


@app.command()
def push(organism: Annotated[str, typer.Argument(help="A catalogue id, or the path of a YAML file.")],
         to: Annotated[str, typer.Option("--to", help="hub:ORG/NAME or folder:PATH.")],
         base: Annotated[str, typer.Option("--base", help="Folder or Hub id (default: the nano base).")] = "",
         base_model: Annotated[str, typer.Option("--base-model", help="Hub id of the base, for the model card.")] = "",
         folder: Annotated[Path | None, typer.Option("--from", help="An organism's folder, instead of the store.")]
         = None,
         sealed: Annotated[bool, typer.Option("--sealed", help="Keep the answer: opaque id, and a hash of the key.")]
         = False,
         private: Annotated[bool, typer.Option("--private", help="A Hub repository that nobody else sees.")] = False,
         even_unexpressed: Annotated[bool, typer.Option("--even-unexpressed", help="Also one that did not take.")]
         = False,
         out: Annotated[Path | None, typer.Option("--out", help="Folder in which the files are prepared.")] = None,
         seed: Seed = 0, home: Home = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Push an organism, scrubbed of names, with its model card. `--dry-run` writes exactly what would be pushed."""
    import tempfile

    from .organisms import push as room
    from .organisms.spec import find_organism

    spec, base = find_organism(organism), base or None
    source = folder or room.source(spec, seed, base=base, store=store_at(home))
    with tempfile.TemporaryDirectory() as scratch:
        made = out or (Path("push") / spec.id if dry_run else Path(scratch) / "prepared")
        prepared = room.prepare(spec, source, made, sealed, reveal=Path(f"{spec.id}-{seed}.reveal.json"), base=base,
                                base_model=base_model, even_unexpressed=even_unexpressed)
        place = str(prepared.folder) if dry_run else room.push(prepared, to, private)
    if as_json:
        return show({"to": to, "pushed": not dry_run, "place": place, "files": prepared.files,
                       "sha256": prepared.hashes}, True)
    show_rows([{"file": name, "bytes": size, "sha256": prepared.hashes[name]} for name, size in prepared.files.items()])
    for line in prepared.leaks:
        note(f"still named: {line}", "yellow")
    typer.echo(f"{'would be pushed to ' + to + '; written to' if dry_run else 'pushed to'} {place}")
    if sealed:
        typer.echo(f"keep this file, it opens the seal: {prepared.reveal}")


@app.command(name="list")
def list_(what: Annotated[Listed, typer.Argument(help="What to list.")], as_json: AsJson = False) -> None:
    """List the organisms, methods, suites, investigators, presets or topics that commands accept."""
    from .benchmark.catalogue import LISTS

    rows = LISTS[what]()
    return show(rows, True) if as_json else show_rows(rows)


@app.command()
def env(home: Home = None, as_json: AsJson = False) -> None:
    """Versions and folders: what to paste into a bug report."""
    import platform

    import torch

    from .organisms.store import library_versions

    show({**library_versions(), "python": platform.python_version(), "platform": platform.platform(),
          "cpu_threads": torch.get_num_threads(), "cuda": torch.cuda.is_available(),
          "store": str(store_at(home).root)}, as_json)


def main() -> None:
    """Entry point of the console command. Our own errors are one red line and exit code 2, without a traceback."""
    for name, value in QUIET_LIBRARIES.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        app()
    except NarrowbenchError as error:
        note(f"Error: {error}", "red")
        sys.exit(2)


def _publish_demo(logs, records: Path, out: Path) -> Path | None:
    from .leaderboard.publish import Vouch, publish as publish_logs

    vouch = Vouch("rerun", "narrowbench demo", "the demo ran these methods of the package on this machine")
    result = publish_logs(logs, records, out, vouch)
    for _, reason in (*result.skipped, *result.left_out, *result.not_raised):
        note(reason, "yellow")
    return result.page


if __name__ == "__main__":
    main()
