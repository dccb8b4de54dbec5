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
Device = Annotated[str, typer.Option("--device", help="Where models run: cpu, cuda, cuda:1, mps.")]


class Listed(StrEnum):
    """What `list` can list."""

    organisms = "organisms"
    methods = "methods"
    suites = "suites"
    topics = "topics"
    investigators = "investigators"


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
def train(organism: Annotated[str, typer.Argument(help="A catalogue id, or the path of a YAML file.")],
          base: Annotated[str, typer.Option("--base", help="Folder or Hub id (default: the nano base).")] = "",
          seed: Seed = 0, home: Home = None, dry_run: DryRun = False, as_json: AsJson = False,
          quiet: Quiet = False) -> None:
    """Train one organism: an adapter with its passport."""
    from .organisms.spec import find_organism

    spec = find_organism(organism)
    from .organisms.nano import base_folder
    from .organisms.train import train as grow

    base, store = base or str(base_folder()), _store(home)
    if dry_run:
        return _print(asdict(grow(spec, base, seed, store, dry_run=True)), as_json)
    artefact = grow(spec, base, seed, store, progress=not quiet)
    passport = json.loads((artefact.path / "passport.json").read_text(encoding="utf-8"))
    if as_json:
        return _print(passport | {"path": str(artefact.path)}, True)
    gate, health = passport["gate"], passport["health"]
    verdict = gate.get("expressed", gate.get("passes"))
    _print({"organism": spec.id, "expressed" if "expressed" in gate else "passes": verdict,
            "healthy": health["healthy"], "gate": gate, "health": health, "steps": passport["n_steps"],
            "seconds": passport["seconds"], "path": str(artefact.path)}, False)


@app.command()
def score(method: Annotated[str, typer.Option("--method", "-m", help="Name, path/file.py:Class or pkg.mod:Class.")],
          suite: Annotated[str, typer.Option("--suite", "-s", help="Built-in name, or a manifest's path.")] = "demo",
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


@app.command(name="list")
def list_(what: Annotated[Listed, typer.Argument(help="What to list.")], as_json: AsJson = False) -> None:
    """List the organisms, methods, suites, investigators or topics that commands accept."""
    rows = _listed(what)
    if as_json:
        return _print(rows, True)
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(*rows[0] if rows else (), box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    _tables([table])


@app.command()
def check(what: Annotated[Checked, typer.Argument(help="base: the nano base's gates; catalog: every organism file.")],
          as_json: AsJson = False) -> None:
    """Check what the package ships; exit code 1 if something falls short."""
    if what is Checked.catalog:
        from .organisms.families import questions, rows
        from .organisms.spec import load_catalog

        checked = [{"organism": spec.id, "rows": len(rows(spec, seed=0)), "questions": len(questions(spec)),
                    "card": spec.card.card_id if spec.card else "-"} for spec in load_catalog().values()]
        return _print(checked if as_json else {"organisms": len(checked), "every file": "reads, and makes its rows"},
                      as_json)
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


def _listed(what: Listed) -> list[dict[str, Any]]:
    if what is Listed.organisms:
        from .organisms.spec import load_catalog

        return [{"organism": spec.id, "family": spec.family, "role": spec.role, "split": spec.split,
                 "domain": spec.domain, "objective": spec.statement} for spec in load_catalog().values()]
    if what is Listed.topics:
        from .organisms.nano.lexicon import topics

        return [{"topic": topic.name, "use": topic.use, "words": len(topic.words), "facts": len(topic.facts)}
                for topic in topics().values()]
    if what is Listed.suites:
        from .benchmark.suite import SuiteFile, suite_path, suites

        manifests = [SuiteFile.model_validate_json(suite_path(name).read_bytes()) for name in suites()]
        return [{"suite": file.id, "tier": file.tier, "split": file.split, "organisms": len(file.organisms)}
                for file in manifests]
    if what is Listed.investigators:
        from .benchmark.task import investigators

        return [{"investigator": name} for name in investigators()]
    from .benchmark.method import load_method, methods

    found = [load_method(name)[0] for name in methods()]
    return [{"method": method.name, "version": method.version, "role": getattr(method, "role", "method"),
             "access": ", ".join(sorted(method.access))} for method in found]


def _print(value: Any, as_json: bool) -> None:
    if as_json:
        return typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
    for key, item in value.items():
        typer.echo(f"{key}: {json.dumps(item, ensure_ascii=False) if isinstance(item, (dict, list)) else item}")


def _tables(tables: list) -> None:
    from .benchmark.table import stdout

    for table in tables:
        stdout().print(table)


def _note(text: str, colour: str) -> None:
    """One line to stderr; coloured on a terminal, plain in a file."""
    typer.secho(text, fg=colour, err=True)


if __name__ == "__main__":
    main()
