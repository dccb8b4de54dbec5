"""The command `grade`: claims that are there already, of logs or made elsewhere, marked again.

Main object: `app`, whose command `cli.py` takes over.
Example: `narrowbench grade logs/....eval --grader recovery`; `narrowbench grade --claims FILE --suite nano-2026.1`
"""

from pathlib import Path
from typing import Annotated

import typer

from .cli_shared import (
    AsJson, DryRun, MaxSamples, MaxUsd, ModelRoles, Prices, note, purse_of, show, show_tables)

app = typer.Typer()


@app.command()
def grade(logs: Annotated[list[Path] | None, typer.Argument(help="Logs of `narrowbench score`.")] = None,
          grader: Annotated[list[str], typer.Option("--grader", "-g", help="recovery, detect, hypothesis_grade, "
                            "token_relevance, token_relevance_judged or steering_similarity; repeatable.")]
          = ["recovery", "detect"],
          claims: Annotated[Path | None, typer.Option("--claims", help="Instead of logs: a JSONL file of claims that "
                                                                       "were made elsewhere.")] = None,
          suite: Annotated[str, typer.Option("--suite", "-s", help="Whose organisms the claims are about; of a log "
                                                                   "only where its suite is a file.")] = "",
          model_role: ModelRoles = [], prices: Prices = None, max_usd: MaxUsd = None, max_samples: MaxSamples = 8,
          embedder: Annotated[str, typer.Option("--embedder", help="Of steering_similarity: tfidf, or "
                                                "sentence-transformers:MODEL.")] = "tfidf",
          log_dir: Annotated[Path, typer.Option("--log-dir", help="Folder of the logs of grades.")] = Path("grades"),
          out: Annotated[Path | None, typer.Option("--out", help="Also write the log of grades here.")] = None,
          dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Grade stored claims, without models of ours or a GPU. Nothing is changed, and no such log is ever published."""
    sources = [*(logs or []), *([claims] if claims else [])]
    if not sources or (logs and claims):
        raise typer.BadParameter("Give logs, or one `--claims FILE.jsonl` with its `--suite`.")
    if wrong := [path for path in sources if (path.suffix == ".eval") == bool(claims)]:
        raise typer.BadParameter(f"{wrong[0]}: logs end in .eval, and nothing else does; claims made elsewhere are "
                                 "`--claims FILE.jsonl --suite NAME`.")
    if out and len(sources) > 1:
        raise typer.BadParameter("`--out` takes the grades of one log.")
    from .benchmark import grade_run as room
    from .benchmark.allowance import Allowance
    from .benchmark.investigating import Investigator

    who = Investigator.of_options("reader", "", model_role, "", [], prices, max_samples, Allowance())
    purse = purse_of(max_usd, who)
    checked = [room.ready(source, grader, suite, who) for source in sources]  # all, before anything is paid for
    if dry_run:
        return _dry_run(sources, checked, who, as_json)
    results = [room.grade_again(source, grader, suite, who, log_dir, out, embedder, purse) for source in sources]
    if as_json:
        told = [result.to_dict() for result in results]
        return show(told if len(told) > 1 else told[0], True)
    for result in results:
        show_graded(result)
    for line in dict.fromkeys(line for result in results for line in result.warnings):
        note(line, "yellow")


def show_graded(result) -> None:
    """Tables and notes of one graded source."""
    from .benchmark.grade_table import notes, tables

    show_tables(tables(result.report))
    for line in notes(result.report):
        typer.echo(line)
    if result.missing:
        note(f"Nothing was handed in about {', '.join(result.missing)}: graded as silence.", "yellow")
    if line := result.tally.line():
        note(f"when it was graded: {line}" if result.reused else line, "")
    typer.echo(f"log{' (reused)' if result.reused else ''}: {result.log}")


def _dry_run(sources: list[Path], checked: list, who, as_json: bool) -> None:
    from .benchmark.estimate import forecast_grade, forecast_table
    from .benchmark.grade_run import judge_prompts

    told = []
    for source, (handed, graders) in zip(sources, checked, strict=True):
        rows = forecast_grade(judge_prompts(handed, graders), who)
        told.append({"source": str(source), "graders": graders, "claims": len(handed.claims),
                     "missing": list(handed.missing), "models": [row.to_dict() for row in rows], "device_s": 0})
        if as_json:
            continue
        typer.echo(f"{source}: {len(handed.claims)} claims, graded by {', '.join(graders)}; no device time")
        if handed.missing:
            note(f"Nothing is handed in about {', '.join(handed.missing)}: silence.", "yellow")
        if rows:
            show_tables([forecast_table("Language models", rows)])
    if as_json:
        show(told if len(told) > 1 else told[0], True)
