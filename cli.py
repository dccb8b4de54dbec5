"""The `narrowbench` command. Each command loads its room only when it runs, so that `--help` answers at once.

Main object: `main`, which turns every NarrowbenchError into one red line and exit code 2.
Example: `narrowbench demo`; `narrowbench score --method adl_logit_lens --suite demo`; `narrowbench list organisms`
"""

import json
import os
import shlex
import sys
import warnings
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .organisms.errors import NarrowbenchError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Grow language models with a known narrow finetuning objective, score how much of it a model-diffing method "
         "recovers, publish the result. Start with `narrowbench demo`.")

QUIET_LIBRARIES = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                   "TRANSFORMERS_VERBOSITY": "error"}
"""Progress and problems are ours to report; a user's own setting of any of these wins."""

Home = Annotated[Path | None, typer.Option("--home", help="Folder of the artefact store (default: $NARROWBENCH_HOME, "
                                                          "else the user's cache folder).")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes at once (default: one per core).")]
SuiteName = Annotated[str, typer.Option("--suite", "-s", help="Built-in name, or a manifest's path.")]
Organisms = Annotated[list[str], typer.Option("--organism", help="Only this one of the suite; repeatable.")]
Layer = Annotated[float, typer.Option("--layer", min=0, max=1, help="Where to read, as a share of the depth.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of tables and figures (default: by the command).")]
Device = Annotated[str, typer.Option("--device", help="Where models run: cpu, cuda, cuda:1, mps.")]


class Listed(StrEnum):
    """What `list` can list."""

    organisms = "organisms"
    methods = "methods"
    suites = "suites"
    topics = "topics"
    investigators = "investigators"
    recipes = "recipes"


class Swept(StrEnum):
    """What `sweep` can vary."""

    mix = "mix"
    samples = "samples"
    rank = "rank"


class Checked(StrEnum):
    """What `check` can check."""

    base = "base"
    catalog = "catalog"


@app.command()
def demo(out: Annotated[Path, typer.Option("--out", help="Folder for logs/, records/ and site/.")] = Path("."),
         seed: Seed = 0, home: Home = None, dry_run: DryRun = False, quiet: Quiet = False) -> None:
    """Everything once: grow the organisms of suite `demo`, score five methods on them, publish the page."""
    from .benchmark import demo as room

    if dry_run:
        _tables(room.plan(seed, _store(home)))
    else:
        room.run(_publish_demo, out, seed, _store(home), quiet)


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
        return _train_suite(suite, regrow, workers, _store(home), dry_run, as_json, quiet)
    from .organisms.spec import find_organism

    spec = find_organism(organism)
    from .organisms.nano import base_folder
    from .organisms.presets import with_recipe
    from .organisms.train import train as grow

    spec, base, store = with_recipe(spec, recipe or None, changes), base or str(base_folder()), _store(home)
    if dry_run:
        return _print(asdict(grow(spec, base, seed, store, dry_run=True)), as_json)
    artefact = grow(spec, base, seed, store, progress=not quiet, shipped=not regrow)
    if os.environ.get("RANK", "0") != "0":  # under `accelerate launch` the first process alone reports
        return
    passport = json.loads((artefact.path / "passport.json").read_text(encoding="utf-8"))
    if as_json:
        return _print(passport | {"path": str(artefact.path)}, True)
    gate, health = passport["gate"], passport["health"]
    verdict = gate.get("expressed", gate.get("passes"))
    _print({"organism": spec.id, "expressed" if "expressed" in gate else "passes": verdict,
            "healthy": health["healthy"], "gate": gate, "health": health, "steps": passport["n_steps"],
            "seconds": passport["seconds"], "shipped": "shipped" in artefact.manifest["config"],
            "path": str(artefact.path)}, False)


def _train_suite(suite: str, regrow: bool, workers: int, store, dry_run: bool, as_json: bool, quiet: bool) -> None:
    from .benchmark import freeze

    if dry_run:
        steps = freeze.growth_plan(suite, store, regrow)
        return _print({"suite": suite, "organisms": steps}, True) if as_json else _rows(steps)
    grown = freeze.grow_all(suite, store, workers or None, regrow, progress=not quiet)
    if as_json:
        return _print({"suite": suite, "organisms": [asdict(one) for one in grown]}, True)
    _tables([freeze.growth_table(grown)])
    for one in grown:
        if not (one.took and one.healthy):
            _note(f"{one.organism} seed {one.seed}: {'took' if one.took else 'did not take'}, "
                  f"{'healthy' if one.healthy else 'not healthy'} (gate {one.gate:.2f}, base {one.base:.2f})", "yellow")


@app.command()
def score(method: Annotated[str, typer.Option("--method", "-m", help="Name, path/file.py:Class or pkg.mod:Class.")],
          suite: SuiteName = "demo",
          investigator: Annotated[str, typer.Option("--investigator", help="Who reads the evidence.")] = "reader",
          log_dir: Annotated[Path, typer.Option("--log-dir", help="Folder of the Inspect logs.")] = Path("logs"),
          device: Device = "cpu", seed: Seed = 0, home: Home = None, dry_run: DryRun = False, as_json: AsJson = False,
          quiet: Quiet = False) -> None:
    """Score a diffing method on a suite; prints a table and the path of the log."""
    from .benchmark import run, table

    if dry_run:
        steps = run.plan(method, suite, seed, _store(home))
        return _print({"method": method, "suite": suite, "organisms": steps}, True) if as_json else \
            _tables([table.plan_table(f"{method} on {suite}: a dry run", steps)])
    result = run.score(method, suite, investigator, seed, _store(home), log_dir, device, progress=not quiet)
    if as_json:
        return _print(result.to_dict(), True)
    _tables([table.score_table(f"{result.method} on {result.suite}, read by {result.investigator}", list(result.rows))])
    for line in result.warnings:
        _note(f"log {line}", "yellow")
    for line in result.failures:
        _note(f"failed {line} (scored as nothing recovered; the next run tries again)", "red")
    typer.echo(f"log{' (reused)' if result.reused else ''}: {result.log}")


@app.command()
def publish(logs: Annotated[list[Path], typer.Argument(help="Inspect logs, or folders of them.")],
            records: Annotated[Path, typer.Option("--records", help="Folder of the records; it only ever grows.")]
            = Path("records"),
            out: Annotated[Path, typer.Option("--out", help="Folder of the page.")] = Path("site"),
            as_json: AsJson = False) -> None:
    """Turn logs into validated records, and all records into one static page."""
    from .leaderboard.publish import publish as publish_logs

    files = [file for path in logs for file in (sorted(path.glob("*.eval")) if path.is_dir() else [path])]
    result = publish_logs(files, records, out)
    if as_json:
        _print({"page": result.page and str(result.page), "written": [str(path) for path in result.written],
                "reused": [str(path) for path in result.reused],
                "skipped": [[str(path), reason] for path, reason in result.skipped],
                "left_out": [[str(path), reason] for path, reason in result.left_out]}, True)
    else:
        for _, reason in (*result.skipped, *result.left_out):
            _note(reason, "yellow")
        typer.echo(f"{len(result.written)} new records, {len(result.reused)} already there, "
                   f"{len(result.skipped)} logs skipped")
        typer.echo(f"page: {result.page}" if result.page else "no page: there is no record to show")
    if result.page is None:
        raise typer.Exit(2)


@app.command()
def sweep(kind: Annotated[Swept, typer.Argument(help="mix: mixed-in rows per narrow row; samples: narrow rows; rank.")],
          organism: Annotated[list[str], typer.Option("--organism", help="Catalogue id or YAML file; repeatable.")],
          seeds: Annotated[int, typer.Option("--seeds", min=1, help="Training seeds of each cell: 0, 1, ...")] = 3,
          methods: Annotated[str, typer.Option("--methods", help="Methods, by comma.")] = "adl_logit_lens",
          doses: Annotated[str, typer.Option("--doses", help="Grid, by comma (default: the kind's own).")] = "",
          mix_source: Annotated[str, typer.Option("--mix-source", help="documents, chats, or a data set.")] = "documents",
          suite: Annotated[str, typer.Option("--suite", help="Gives probes and candidates (default: by split).")] = "",
          against: Annotated[Path | None, typer.Option("--against", help="Folder of another sweep of these organisms, "
                                                                         "to compare with at equal behaviour.")] = None,
          out: Out = None, workers: Workers = 0, device: Device = "cpu", seed: Seed = 0, home: Home = None,
          dry_run: DryRun = False, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Ablate one recipe setting: grow a grid, score it, draw trace and behaviour against dose."""
    from .benchmark import sweep as room

    request, cells = room.resolve(kind.value, organism, seeds, tuple(methods.split(",")), room.parse_doses(doses),
                                  mix_source, suite or None, seed)
    store, folder = _store(home), out or Path("sweeps") / kind.value
    if dry_run:
        told = room.plan(request, cells, workers or None, store, progress=not quiet)
        if as_json:
            return _print(told, True)
        _rows(told["cells"])
        minutes = "unknown until a cell is done" if told["minutes"] is None else f"about {told['minutes']} minutes"
        return typer.echo(f"{told['done']} done, {told['to_do']} to do on {told['workers']} workers: {minutes}")
    done = room.sweep(request, cells, folder, workers or None, store, device, not quiet, against)
    if as_json:
        _print({"folder": str(done.folder), "failures": list(done.failures), "summary": done.summary}, True)
    else:
        typer.echo(f"{(done.folder / 'table.md').read_text(encoding='utf-8')}\nfolder: {done.folder}")
    for line in done.failures:
        _note(f"failed {line} (the same command tries it again)", "red")
    if done.failures:
        raise typer.Exit(1)


@app.command()
def causal(suite: SuiteName = "demo", organism: Organisms = [], layer: Layer = 0.8,
           n_random: Annotated[int, typer.Option("--n-random", min=2, help="Control directions of each kind.")] = 64,
           rows: Annotated[int, typer.Option("--rows", min=2, help="Rows of each kind of text.")] = 64,
           zero_ablate: Annotated[bool, typer.Option("--zero-ablate", help="Take the direction out altogether, instead "
                                                                           "of putting it back to the base.")] = False,
           out: Annotated[Path, typer.Option("--out", help="Folder of tables and figures.")] = Path("causal"),
           workers: Workers = 0, device: Device = "cpu", seed: Seed = 0, home: Home = None, dry_run: DryRun = False,
           as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Project the mean difference out of the finetuned model: what does the loss do, on which text?"""
    from .benchmark import causal as room

    design = room.design(suite, organism, layer, n_random, rows, seed, "zero_ablate" if zero_ablate else "base_to_ft")
    _study(design, out, workers, device, home, dry_run, as_json, quiet)


@app.command()
def bias(suite: SuiteName = "demo", organism: Organisms = [], layer: Layer = 0.8,
         out: Out = None, workers: Workers = 0, device: Device = "cpu", seed: Seed = 0, home: Home = None, dry_run: DryRun = False,
         as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Is the activation difference one and the same on any text? Organisms beside nulls."""
    from .benchmark import static_bias as room

    _study(room.design(suite, organism, layer, seed=seed), out, workers, device, home, dry_run, as_json, quiet)


def _study(design, out: Path | None, workers: int, device: str, home: Path | None, dry_run: bool, as_json: bool,
           quiet: bool) -> None:
    from .benchmark import studies

    if dry_run:
        steps = studies.plan(design, _store(home))
        return _print({"study": design.kind, "organisms": steps}, True) if as_json else _rows(steps)
    out = out or Path("studies") / design.kind
    study = studies.run(design, _store(home), device, not quiet, workers or None)
    table = studies.write(study, out, "narrowbench " + shlex.join(sys.argv[1:]))
    _print(study.to_dict(), True) if as_json else typer.echo(f"{table}\nfolder: {out}")


@app.command()
def push(organism: Annotated[str, typer.Argument(help="A catalogue id, or the path of a YAML file.")],
         to: Annotated[str, typer.Option("--to", help="hub:ORG/NAME or folder:PATH.")],
         base: Annotated[str, typer.Option("--base", help="Folder or Hub id (default: the nano base).")] = "",
         base_model: Annotated[str, typer.Option("--base-model", help="Hub id of the base, for the model card.")] = "",
         folder: Annotated[Path | None, typer.Option("--from", help="An organism's folder, instead of the store.")] = None,
         sealed: Annotated[bool, typer.Option("--sealed", help="Keep the answer: opaque id, and a hash of the key.")]
         = False,
         private: Annotated[bool, typer.Option("--private", help="A Hub repository that nobody else sees.")] = False,
         even_unexpressed: Annotated[bool, typer.Option("--even-unexpressed", help="Also one that did not take.")] = False,
         out: Annotated[Path | None, typer.Option("--out", help="Folder in which the files are prepared.")] = None,
         seed: Seed = 0, home: Home = None, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Push an organism, scrubbed of names, with its model card. `--dry-run` writes exactly what would be pushed."""
    import tempfile

    from .organisms import push as room
    from .organisms.spec import find_organism

    spec, base = find_organism(organism), base or None
    source = folder or room.source(spec, seed, base=base, store=_store(home))
    with tempfile.TemporaryDirectory() as scratch:
        made = out or (Path("push") / spec.id if dry_run else Path(scratch) / "prepared")
        prepared = room.prepare(spec, source, made, sealed, reveal=Path(f"{spec.id}-{seed}.reveal.json"), base=base,
                                base_model=base_model, even_unexpressed=even_unexpressed)
        place = str(prepared.folder) if dry_run else room.push(prepared, to, private)
    if as_json:
        return _print({"to": to, "pushed": not dry_run, "place": place, "files": prepared.files,
                       "sha256": prepared.hashes}, True)
    _rows([{"file": name, "bytes": size, "sha256": prepared.hashes[name]} for name, size in prepared.files.items()])
    for line in prepared.leaks:
        _note(f"still named: {line}", "yellow")
    typer.echo(f"{'would be pushed to ' + to + '; written to' if dry_run else 'pushed to'} {place}")
    if sealed:
        typer.echo(f"keep this file, it opens the seal: {prepared.reveal}")


@app.command(name="list")
def list_(what: Annotated[Listed, typer.Argument(help="What to list.")], as_json: AsJson = False) -> None:
    """List the organisms, methods, suites, investigators or topics that commands accept."""
    from .benchmark.catalogue import LISTS

    rows = LISTS[what]()
    return _print(rows, True) if as_json else _rows(rows)


@app.command()
def check(what: Annotated[Checked, typer.Argument(help="base: the nano base's gates; catalog: every organism file.")],
          as_json: AsJson = False) -> None:
    """Check what the package ships; exit code 1 if something falls short."""
    if what is Checked.catalog:
        from .benchmark.catalogue import lint_catalog
        from .organisms.findings import as_json as listed, faults, report

        found = lint_catalog()
        _print({"findings": listed(found)}, True) if as_json else typer.echo(report(found))
        if faults(found):
            raise typer.Exit(1)
        return
    from .organisms.nano.check_base import check_base

    report = check_base()
    if as_json:
        _print(report, True)
    else:
        for name, gate in report["gates"].items():
            word, colour = ("passes", None) if gate["passes"] else ("SHORT ", "red")
            typer.secho(f"{word} {name}: {gate['value']:.3f} (gate {gate['bound']})", fg=colour)
    if not all(gate["passes"] for gate in report["gates"].values()):
        raise typer.Exit(1)


@app.command()
def env(home: Home = None, as_json: AsJson = False) -> None:
    """Versions and folders: what to paste into a bug report."""
    import platform

    import torch

    from .organisms.store import library_versions

    _print({**library_versions(), "python": platform.python_version(), "platform": platform.platform(),
            "cpu_threads": torch.get_num_threads(), "cuda": torch.cuda.is_available(), "store": str(_store(home).root)},
           as_json)


def main() -> None:
    """Entry point of the console command. Our own errors are one red line and exit code 2, without a traceback."""
    for name, value in QUIET_LIBRARIES.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        app()
    except NarrowbenchError as error:
        _note(f"Error: {error}", "red")
        sys.exit(2)


def _publish_demo(logs, records: Path, out: Path) -> Path | None:
    from .leaderboard.publish import publish as publish_logs

    result = publish_logs(logs, records, out)
    for _, reason in (*result.skipped, *result.left_out):
        _note(reason, "yellow")
    return result.page


def _store(home: Path | None):
    from .organisms.store import Store

    return Store(home)


def _print(value: Any, as_json: bool) -> None:
    if as_json:
        return typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
    for key, item in value.items():
        typer.echo(f"{key}: {json.dumps(item, ensure_ascii=False) if isinstance(item, (dict, list)) else item}")


def _tables(tables: list) -> None:
    from .benchmark.table import stdout

    for table in tables:
        stdout().print(table)


def _rows(rows: list[dict[str, Any]]) -> None:
    """Equal dictionaries as one table."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(*rows[0] if rows else (), box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    _tables([table])


def _note(text: str, colour: str) -> None:
    """One line to stderr; coloured on a terminal, plain in a file."""
    typer.secho(text, fg=colour, err=True)


if __name__ == "__main__":
    main()
