"""The commands that show committed records: `site` (the page), `plot` (its figures for a paper), `results` (tables).

Main object: `app`, whose commands `cli.py` takes over.
Example: `narrowbench site records --figures docs/figures`; `narrowbench plot records --out figures`
"""

from pathlib import Path
from typing import Annotated

import typer

from .cli_shared import AsJson, note, show

app = typer.Typer()
RecordsFolder = Annotated[Path, typer.Argument(help="Folder of records.")]


@app.command()
def site(records: RecordsFolder = Path("records"),
         out: Annotated[Path, typer.Option("--out", help="Folder of the page.")] = Path("site"),
         figures: Annotated[Path | None, typer.Option("--figures", help="Folder of PNG or SVG figures to show, such as "
                                                                         "a sweep's.")] = None,
         logs: Annotated[Path | None, typer.Option("--logs", help="Folder with the records' Inspect logs: pages then "
                                                   "show transcripts of their samples.")] = None,
         as_json: AsJson = False) -> None:
    """Build the page from records alone, which is what continuous integration publishes; with logs, their transcripts
    too."""
    from .leaderboard.site import build

    found = None
    if logs is not None:
        from .leaderboard.against_log import find_logs

        if not logs.is_dir():
            raise typer.BadParameter(f"{logs} is no folder. `--logs` takes the folder with the records' logs.")
        found = find_logs(logs)
    built = build(records, out, figures=figures, logs=found)
    if as_json:
        left_out = [[str(path), reason] for path, reason in built.left_out]
        return show({"page": str(built.page), "left_out": left_out}, True)
    for _, reason in built.left_out:
        note(reason, "yellow")
    typer.echo(f"page: {built.page}")


@app.command()
def plot(records: RecordsFolder,
         out: Annotated[Path, typer.Option("--out", help="Folder of the figures.")] = Path("figures"),
         suite: Annotated[str, typer.Option("--suite", "-s", help="Id or digest of the suite (default: that with the "
                                                                  "newest record).")] = "",
         cost: Annotated[str, typer.Option("--cost", help="Of the Pareto plot: seconds, forward_tokens, "
                                                          "generated_tokens, flops or peak_bytes.")] = "seconds",
         as_json: AsJson = False) -> None:
    """Draw the page's figures as SVG and PNG: intervals, heatmap, pairs, recovery against cost."""
    from .leaderboard.plot import draw

    files = draw(records, out, suite, cost)
    if as_json:
        return show({"files": [str(path) for path in files]}, True)
    for path in files:
        typer.echo(str(path))


@app.command()
def results(records: RecordsFolder = Path("records"),
            page: Annotated[Path, typer.Option("--page", help="Markdown file that marks the places of its tables.")]
            = Path("docs/results-nano.md"),
            suite: Annotated[str, typer.Option("--suite", "-s", help="Id or digest of the suite (default: that with "
                                                                     "the newest record).")] = "",
            check: Annotated[bool, typer.Option("--check", help="Change nothing; exit code 1 if the page is not what "
                                                                "the records say.")] = False,
            as_json: AsJson = False) -> None:
    """Write the tables of a page of results anew from records. Text between them is left as it is.

    A table stands between the lines `<!-- table: NAME -->` and `<!-- end -->`; NAME: board, ladder, families, twins,
    identification, control, nulls, pairs, seeds, cost.
    """
    from .leaderboard.results import fill

    changed = fill(page, records, suite, write=not check)
    if as_json:
        show({"page": str(page), "changed": changed}, True)
    else:
        told = "not what the records say" if changed and check else "written" if changed else "as it was"
        typer.echo(f"{page}: {told}")
    if changed and check:
        raise typer.Exit(1)
