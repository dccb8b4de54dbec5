"""The commands for your own: `diff` (your pair of models), `new` (your method), `check` (your method, and the package).

Main object: `app`, whose commands `cli.py` takes over.
Example: `narrowbench diff BASE FINETUNED`; `narrowbench new method my_idea`; `narrowbench check my_idea.py`
"""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .cli_shared import AsJson, Device, Home, Seed, note, show, show_rows, store_at

app = typer.Typer()


class Startable(StrEnum):
    """What `new` can write."""

    method = "method"


class Checked(StrEnum):
    """What `check` can check, beside a method's file."""

    base = "base"
    catalog = "catalog"
    graders = "graders"


@app.command()
def diff(base: Annotated[str, typer.Argument(help="Folder or Hub id of the base.")],
         finetuned: Annotated[str, typer.Argument(help="Folder or Hub id: a LoRA adapter, or a whole model.")],
         method: Annotated[str, typer.Option("--method", "-m", help="Name, path/file.py:Class or pkg.mod:Class "
                                                                    "(default: adl).")] = "",
         probes: Annotated[Path | None, typer.Option("--probes", help="Text file, one text a line, unrelated to the "
                           "finetuning (default: texts of the nano world).")] = None,
         out: Annotated[Path, typer.Option("--out", help="Folder of the page.")] = Path("diff"),
         device: Device = "cpu", seed: Seed = 0, home: Home = None, as_json: AsJson = False) -> None:
    """Read your own pair of models: evidence, a claim and a page. No key, no score."""
    from .benchmark import diff as room
    from .leaderboard.diff_page import build

    found = room.diff(base, finetuned, method or room.DEFAULT_METHOD, probes, seed, store_at(home), device)
    page = build(found.to_dict(), out, "narrowbench " + shlex.join(sys.argv[1:]))
    if as_json:
        return show(found.to_dict() | {"page": str(page)}, True)
    claim = found.claim
    typer.echo(f"{claim.verdict} (confidence {claim.confidence:.2f}), read by {found.method} {found.version}\n"
               f"{claim.statement}\npage: {page}")


@app.command()
def new(what: Annotated[Startable, typer.Argument(help="What to write.")],
        name: Annotated[str, typer.Argument(help="Its name: small letters and _.")],
        out: Annotated[Path, typer.Option("--out", help="Folder to write it in.")] = Path(".")) -> None:
    """Write a working file to start from. Nothing is overwritten."""
    from .benchmark import new as room

    path = room.new_method(name, out)
    typer.echo(f"{path}\nnarrowbench check {path}\n"
               f"narrowbench score --method {path}:{room.class_name(name)} --suite nano-2026.1:dev")


@app.command()
def check(what: Annotated[str, typer.Argument(help="base: the nano base's gates; catalog: every organism file; "
                                                   "graders: claims with known scores; my_idea.py: a method, tried on "
                                                   "nano organisms.")],
          home: Home = None, as_json: AsJson = False) -> None:
    """Check a method of yours, or what the package ships; exit code 1 if something falls short."""
    if what.partition(":")[0].endswith(".py"):
        sound = _check_method(what, home, as_json)
    elif what not in list(Checked):
        raise typer.BadParameter(f"{what!r} is neither {' nor '.join(Checked)} nor a method's file (my_idea.py).")
    else:
        sound = {Checked.catalog: _check_catalog, Checked.base: _check_base,
                 Checked.graders: _check_graders}[Checked(what)](as_json)
    if not sound:
        raise typer.Exit(1)


def _check_method(name: str, home: Path | None, as_json: bool) -> bool:
    from .benchmark.check_method import check_method

    report = check_method(name, store_at(home))
    if as_json:
        show(report.to_dict(), True)
        return not report.faults
    if report.runs:
        show_rows([{"organism": run["organism"], "CPU s": run["seconds"], "forward": run["forward_tokens"],
                    "generated": run["generated_tokens"], "tokens": run["tokens"], "texts": run["texts"],
                    "detection": "none" if run["detection"] is None else f"{run['detection']:.2f}",
                    "first": " ".join(piece.strip() for piece in run["first"])} for run in report.runs])
    for one in report.findings:
        note(f"{one.level}: {one.what}", "red" if one.level == "fault" else "yellow")
    typer.echo(f"{report.method}: {f'{len(report.faults)} to mend' if report.faults else 'ready to be scored'}")
    return not report.faults


def _check_catalog(as_json: bool) -> bool:
    from .benchmark.catalogue import lint_catalog
    from .organisms.findings import as_json as listed, faults, report

    found = lint_catalog()
    show({"findings": listed(found)}, True) if as_json else typer.echo(report(found))
    return not faults(found)


def _check_base(as_json: bool) -> bool:
    from .organisms.nano.check_base import check_base

    report = check_base()
    if as_json:
        show(report, True)
    else:
        for name, gate in report["gates"].items():
            word, colour = ("passes", None) if gate["passes"] else ("SHORT ", "red")
            typer.secho(f"{word} {name}: {gate['value']:.3f} (gate {gate['bound']})", fg=colour)
    return all(gate["passes"] for gate in report["gates"].values())


def _check_graders(as_json: bool) -> bool:
    from .benchmark.catalogue import prove_graders

    proofs = prove_graders()
    failed = [proof for proof in proofs if not proof["passes"]]
    if as_json:
        show({"proofs": proofs}, True)
        return not failed
    show_rows([{**proof, "got": f"{proof['got']:.3f}", "passes": "yes" if proof["passes"] else "NO"}
               for proof in proofs])
    typer.echo(f"{len(proofs) - len(failed)} of {len(proofs)} proofs hold.\nLLM judges: inspect eval "
               "narrowbench/judge_check --model none --model-role grader=MODEL")
    return not failed
