"""The commands that show committed records: `site` (the page), `plot` (its figures for a paper), `results` (tables).

Main object: `app`, whose commands `cli.py` takes over.
Example: `narrowbench site records --figures docs/figures`; `narrowbench plot records --out figures`
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from .cli_board import Private, To, show_sent, target_given
from .cli_shared import AsJson, DryRun, note, show

app = typer.Typer()
RecordsFolder = Annotated[Path, typer.Argument(help="Folder of records.")]


@app.command()
def site(records: RecordsFolder = Path("records"),
         out: Annotated[Path, typer.Option("--out", help="Folder of the page.")] = Path("site"),
         figures: Annotated[Path | None, typer.Option("--figures", help="Folder of PNG or SVG figures to show, such as "
                                                                         "a sweep's.")] = None,
         logs: Annotated[Path | None, typer.Option("--logs", help="Folder with the records' Inspect logs: pages then "
                                                   "show transcripts of their samples.")] = None,
         to: To = "", private: Private = False, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Build the page from records alone, which is what continuous integration publishes; with logs, their transcripts
    too. Then send it where `--to` says.

    `--dry-run` lists every file that would be sent, and writes and sends nothing.
    """
    from .leaderboard.site import build
    from .leaderboard.targets import deliver, trial

    target, found, sent = target_given(to, private, dry_run), None, None
    if logs is not None:
        from .leaderboard.against_log import find_logs

        if not logs.is_dir():
            raise typer.BadParameter(f"{logs} is no folder. `--logs` takes the folder with the records' logs.")
        found = find_logs(logs)
    with trial(records, out) if dry_run else nullcontext((records, out)) as (source, place):
        left_out = build(source, place, figures=figures, logs=found).left_out
        if target:
            sent = deliver(place, source, target, dry_run, private, own=out)
    if as_json:
        return show({"page": str(out / "index.html"), "left_out": [[str(path), reason] for path, reason in left_out],
                     "sent": sent and sent.to_dict()}, True)
    for _, reason in left_out:
        note(reason, "yellow")
    typer.echo(f"page: {out / 'index.html'}")
    if sent:
        show_sent(sent)


@app.command()
def plot(records: RecordsFolder,
         out: Annotated[Path, typer.Option("--out", help="Folder of the figures.")] = Path("figures"),
         suite: Annotated[str, typer.Option("--suite", "-s", help="Id or digest of the suite (default: the page's "
                                                                  "first).")] = "",
         cost: Annotated[str, typer.Option("--cost", help="Of the Pareto plot: seconds, forward_tokens, "
                                                          "generated_tokens, flops, peak_bytes, or of a language model "
                                                          "that investigated model_tokens or usd.")] = "seconds",
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
            suite: Annotated[str, typer.Option("--suite", "-s", help="Id or digest of the suite (default: the first of "
                                                                     "the page).")] = "",
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
