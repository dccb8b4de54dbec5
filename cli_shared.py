"""What all commands share: their common options, and how they print.

Main objects: option types (`Seed`, `Home`, `DryRun`, ...), `show`, `show_rows`, `show_tables`, `note`, `store_at`.
Example: `def env(home: Home = None, as_json: AsJson = False): show({"store": str(store_at(home).root)}, as_json)`
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

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
InvestigatorName = Annotated[str, typer.Option("--investigator", "--solver", help="Who reads the evidence: reader, "
                                               "oneshot, agent or blackbox_agent.")]
ModelName = Annotated[str, typer.Option("--model", help="The model that investigates, as Inspect names it.")]
ModelRoles = Annotated[list[str], typer.Option("--model-role", help="ROLE=MODEL, or 'ROLE={model: MODEL, temperature: "
                                               "0.7}'; repeatable, a role given twice is a panel.")]
Temperature = Annotated[float | None, typer.Option("--temperature", min=0, help="Of the model that investigates "
                                                   "(default: its provider's).")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", min=1, help="Of one of its answers (default: its "
                                                                           "provider's).")]
Epochs = Annotated[int, typer.Option("--epochs", min=1, help="How often each organism is investigated.")]
Settings = Annotated[list[str], typer.Option("--set", help="KEY=VALUE of a method's setting; repeatable.")]
ModelBaseUrl = Annotated[str, typer.Option("--model-base-url", help="Address of its API, if not the usual one.")]
ModelArgs = Annotated[list[str], typer.Option("-M", help="KEY=VALUE for the model's provider; repeatable.")]
Interactions = Annotated[int, typer.Option("--interactions", min=0, help="Prompts to both models, or steered samples, "
                                                                         "that an agent may use on an organism.")]
Turns = Annotated[int, typer.Option("--turns", min=1, help="Answers that an agent may take for an organism.")]
Tokens = Annotated[int, typer.Option("--tokens", min=1, help="Tokens that it may read and write for an organism.")]
Usd = Annotated[float | None, typer.Option("--usd", min=0, help="Dollars that an organism may cost; needs --prices.")]
Seconds = Annotated[float | None, typer.Option("--seconds", min=0, help="Seconds that an organism may take.")]
MaxUsd = Annotated[float | None, typer.Option("--max-usd", min=0, help="Dollars that the whole command may cost; needs "
                                              "--prices. What is done by then is kept.")]
Prices = Annotated[Path | None, typer.Option("--prices", help="YAML file: `model: {input: 1, output: 10}`, in "
                                                              "dollars for a million tokens.")]
MaxSamples = Annotated[int, typer.Option("--max-samples", min=1, help="Organisms that are investigated at once.")]
Device = Annotated[str, typer.Option("--device", help="Where models run: cpu, cuda, cuda:1, mps.")]


def store_at(home: Path | None):
    """The artefact store under a folder; None = the user's."""
    from .organisms.store import Store

    return Store(home)


def purse_of(max_usd: float | None, who):
    """What the command may spend; None without a limit. Raises InvestigationError where it could limit nothing."""
    if max_usd is None:
        return None
    from .benchmark.spending import Purse

    return Purse(max_usd).checked(who)


def show(value: Any, as_json: bool) -> None:
    """A mapping as JSON, or as one line an entry."""
    if as_json:
        return typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
    for key, item in value.items():
        typer.echo(f"{key}: {json.dumps(item, ensure_ascii=False) if isinstance(item, (dict, list)) else item}")


def show_tables(tables: list) -> None:
    """Rich tables to stdout."""
    from .benchmark.table import stdout

    for table in tables:
        stdout().print(table)


def show_rows(rows: list[dict[str, Any]]) -> None:
    """Equal dictionaries as one table."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(*rows[0] if rows else (), box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    show_tables([table])


def note(text: str, colour: str) -> None:
    """One line to stderr; coloured on a terminal, plain in a file."""
    typer.secho(text, fg=colour, err=True)
