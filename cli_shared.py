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
Device = Annotated[str, typer.Option("--device", help="Where models run: cpu, cuda, cuda:1, mps.")]


def store_at(home: Path | None):
    """The artefact store under a folder; None = the user's."""
    from .organisms.store import Store

    return Store(home)


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
