"""The command `score`: methods on a suite, read by an investigator, with a preset's graders behind.

Main object: `app`, whose command `cli.py` takes over.
Example: `narrowbench score -m adl_patchscope --set k=3 --suite demo`; `narrowbench score --preset paper --dry-run ...`
"""

import time
from pathlib import Path
from typing import Annotated

import typer

from .cli_grade import show_graded
from .cli_shared import (
    AsJson, Device, DryRun, Epochs, Home, Interactions, InvestigatorName, MaxSamples, MaxTokens, MaxUsd, ModelArgs,
    ModelBaseUrl, ModelName, ModelRoles, Prices, Quiet, Seconds, Seed, Settings, SuiteName, Temperature, Tokens, Turns,
    Usd, Workers, note, purse_of, show, show_tables, store_at)

app = typer.Typer()


@app.command()
def score(context: typer.Context,
          method: Annotated[list[str], typer.Option("--method", "-m", help="Name, path/file.py:Class or pkg.mod:Class; "
                                                    "repeatable; `all` = all built-in ones that need no judge.")] = [],
          settings: Settings = [], suite: SuiteName = "demo",
          preset: Annotated[str, typer.Option("--preset", help="Settings that belong together, by name or file; `list "
                                              "presets` shows them. Each option given here wins over it.")] = "",
          investigator: InvestigatorName = "reader", model: ModelName = "", model_role: ModelRoles = [],
          model_base_url: ModelBaseUrl = "", model_arg: ModelArgs = [], temperature: Temperature = None,
          max_tokens: MaxTokens = None, epochs: Epochs = 1, interactions: Interactions = 5, turns: Turns = 30,
          tokens: Tokens = 200_000, usd: Usd = None, prices: Prices = None, seconds: Seconds = None,
          max_samples: MaxSamples = 8, max_usd: MaxUsd = None,
          log_dir: Annotated[Path, typer.Option("--log-dir", help="Folder of the Inspect logs.")] = Path("logs"),
          grades_dir: Annotated[Path, typer.Option("--grades-dir", help="Folder of the logs of a preset's graders.")]
          = Path("grades"),
          workers: Workers = 0, device: Device = "cpu", seed: Seed = 0, home: Home = None, dry_run: DryRun = False,
          as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Score diffing methods on a suite; prints a table (of several methods: a summary) and the paths of the logs."""
    from .benchmark import order as room
    from .benchmark.settings import parse_settings

    given = {name for name in context.params if context.get_parameter_source(name).name != "DEFAULT"}
    asked = room.Asked(investigator, model, model_role, model_base_url, model_arg, prices, max_samples, epochs,
                       {"temperature": temperature, "max_tokens": max_tokens},
                       {"interactions": interactions, "turns": turns, "tokens": tokens, "usd": usd, "seconds": seconds})
    order = room.order_of(preset, method, parse_settings(settings), asked, given)
    purse = purse_of(max_usd, order.everybody)
    order.who.checked()
    for role, helper in order.helpers.items() if max_usd is not None else ():
        note(f"What the method asks of {helper} (role {role}) while it collects is outside --max-usd.", "yellow")
    if dry_run:
        return _dry_run(order, suite, seed, store_at(home), device, log_dir, as_json)
    room.check_packages(order)
    results = _scored(order, suite, seed, store_at(home), log_dir, device, workers, purse, quiet)
    if not as_json:
        _show(results)
    _grade(order, results, suite, grades_dir, purse, as_json)


def _scored(order, suite: str, seed: int, store, log_dir: Path, device: str, workers: int, purse, quiet: bool) -> list:
    from .benchmark import run

    results, names, started_s = [], list(order.methods), time.monotonic()
    for result in run.score_all(names, suite, order.who, seed, store, log_dir, device, progress=not quiet,
                                workers=workers or None, purse=purse, settings=order.methods):
        results.append(result)
        if len(names) > 1 and not quiet:
            took_s = time.monotonic() - started_s
            note(f"{result.label}: {'reused' if result.reused else 'scored'} in {took_s:.0f} s", "")
        started_s = time.monotonic()
    return results


def _show(results: list) -> None:
    from .benchmark import table

    if len(results) > 1:
        show_tables([table.summary_table(results)])
    else:
        show_tables([table.score_table(f"{one.label} on {one.suite}, read by {one.investigator}"
                                       + (f", {one.epochs} times" if one.epochs > 1 else ""), list(one.rows))
                     for one in results])
    for line in dict.fromkeys(line for result in results for line in result.warnings):
        note(f"log {line}", "yellow")
    for result in results:
        for line in result.failures:
            note(f"failed {result.label}: {line} (scored as nothing recovered; the next run tries again)", "red")
        if line := result.tally.line():
            note(f"{result.label}{', when it was run' if result.reused else ''}: {line}", "")
        typer.echo(f"log{' (reused)' if result.reused else ''}: {result.log}")


def _grade(order, results: list, suite: str, grades_dir: Path, purse, as_json: bool) -> None:
    """Runs the preset's graders on each log, and says what came of all of it; exit code 2 if a grader failed."""
    from .benchmark.order import run_graders
    from .organisms.errors import NarrowbenchError

    told, failed = [], []
    for result in results:
        graded = []
        for one in run_graders(order, result, suite, grades_dir, purse):
            if isinstance(one, NarrowbenchError):
                failed.append(f"{result.label}: {one}")
                continue
            graded.append(one.to_dict())
            if not as_json:
                show_graded(one)
        told.append(result.to_dict() | ({"grades": graded} if order.graders else {}))
    if as_json:
        show(told if len(told) > 1 else told[0], True)
    for line in failed:
        note(f"Error: {line}", "red")
    if failed:
        raise typer.Exit(2)


def _dry_run(order, suite: str, seed: int, store, device: str, log_dir: Path, as_json: bool) -> None:
    from .benchmark import estimate, run, table
    from .benchmark.settings import label

    told = []
    for name, settings in order.methods.items():
        forecasts = estimate.forecast_score(name, suite, order.who, seed, store, device, log_dir, settings)
        forecasts += estimate.forecast_later(order)
        told.append({"method": name, "settings": settings, "suite": suite, "epochs": order.who.epochs,
                     "organisms": run.plan(name, suite, seed, store, device, settings),
                     "device": estimate.device_time(name, suite, seed, store, device, settings),
                     "models": [row.to_dict() for row in forecasts]})
    if order.preset is not None:
        resolved = order.to_dict()
        told = [plan | {"preset": resolved} for plan in told]
    if as_json:
        return show(told if len(told) > 1 else told[0], True)
    if order.preset is not None:
        show(resolved, False)
    for plan in told:
        title = f"{label(plan['method'], plan['settings'])} on {suite}: a dry run"
        show_tables([table.plan_table(title, plan["organisms"])])
        typer.echo(estimate.device_line(plan["device"]))
        if plan["models"]:
            show_tables([estimate.forecast_table("Language models", [estimate.Forecast(**row)
                                                                     for row in plan["models"]])])
