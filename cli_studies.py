"""The commands that ablate and study organisms (sweep, causal, bias, transfer) and get them elsewhere (fetch, teach).

Main object: `app`, whose commands `cli.py` takes over.
Example: `narrowbench sweep mix --organism cake-450 --seeds 3`; `narrowbench causal --suite demo`
"""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .cli_shared import (
    AsJson, Device, DryRun, Home, Layer, Organisms, Out, Quiet, Seed, SuiteName, Workers, note, show, show_rows,
    store_at)

app = typer.Typer()


class Swept(StrEnum):
    """What `sweep` can vary."""

    mix = "mix"
    samples = "samples"
    rank = "rank"


@app.command()
def sweep(kind: Annotated[Swept, typer.Argument(help="mix: mixed-in rows per narrow row; samples: narrow rows; rank.")],
          organism: Annotated[list[str], typer.Option("--organism", help="Catalogue id or YAML file; repeatable.")],
          seeds: Annotated[int, typer.Option("--seeds", min=1, help="Training seeds of each cell: 0, 1, ...")] = 3,
          methods: Annotated[str, typer.Option("--methods", help="Methods, by comma.")] = "adl_logit_lens",
          doses: Annotated[str, typer.Option("--doses", help="Grid, by comma (default: the kind's own).")] = "",
          mix_source: Annotated[str, typer.Option("--mix-source", help="documents, chats, or a data set.")]
          = "documents",
          suite: Annotated[str, typer.Option("--suite", help="Gives probes and candidates (default: by split).")] = "",
          against: Annotated[Path | None, typer.Option("--against", help="Folder of another sweep of these organisms, "
                                                                         "to compare with at equal behaviour.")] = None,
          out: Out = None, workers: Workers = 0, device: Device = "cpu", seed: Seed = 0, home: Home = None,
          dry_run: DryRun = False, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Ablate one recipe setting: grow a grid, score it, draw trace and behaviour against dose."""
    from .benchmark import sweep as room

    request, cells = room.resolve(kind.value, organism, seeds, tuple(methods.split(",")), room.parse_doses(doses),
                                  mix_source, suite or None, seed)
    store, folder = store_at(home), out or Path("sweeps") / kind.value
    if dry_run:
        told = room.plan(request, cells, workers or None, store, progress=not quiet)
        if as_json:
            return show(told, True)
        show_rows(told["cells"])
        minutes = "unknown until a cell is done" if told["minutes"] is None else f"about {told['minutes']} minutes"
        return typer.echo(f"{told['done']} done, {told['to_do']} to do on {told['workers']} workers: {minutes}")
    done = room.sweep(request, cells, folder, workers or None, store, device, not quiet, against)
    if as_json:
        show({"folder": str(done.folder), "failures": list(done.failures), "summary": done.summary}, True)
    else:
        typer.echo(f"{(done.folder / 'table.md').read_text(encoding='utf-8')}\nfolder: {done.folder}")
    for line in done.failures:
        note(f"failed {line} (the same command tries it again)", "red")
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
         out: Out = None, workers: Workers = 0, device: Device = "cpu", seed: Seed = 0, home: Home = None,
         dry_run: DryRun = False, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Is the activation difference one and the same on any text? Organisms beside nulls."""
    from .benchmark import static_bias as room

    _study(room.design(suite, organism, layer, seed=seed), out, workers, device, home, dry_run, as_json, quiet)


@app.command()
def teach(teacher: Annotated[str, typer.Argument(help="Folder or Hub id of a chat model.")],
          out: Annotated[Path, typer.Option("--out", help="JSONL file; its .neutral.jsonl is written beside it.")],
          system: Annotated[str, typer.Option("--system", help='What makes it prefer: "You love owls."')] = "",
          adapter: Annotated[Path | None, typer.Option("--adapter", help="Or an adapter that makes it prefer.")] = None,
          n: Annotated[int, typer.Option("-n", min=2, help="Lists to keep.")] = 10_000,
          seed: Seed = 0, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Let a model that prefers something write number lists: the training rows of a subliminal organism."""
    from .organisms.lists import teach as write

    drawn = write(teacher, out, n, seed, system, adapter, progress=not quiet)
    show({"lists": str(out), "neutral": str(out.with_suffix(".neutral.jsonl")), "kept": n, **drawn}, as_json)


@app.command()
def transfer(organism: Annotated[list[str], typer.Option("--organism", help="Subliminal objectives; repeatable.")],
             second_base: Annotated[Path | None, typer.Option("--second-base", help="A base of another initialisation: "
                                    "`python -m narrowbench.organisms.nano.pretrain --seed 1 --out FOLDER`.")] = None,
             seed: Seed = 0, home: Home = None, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Did a preference pass through numbers alone? Student beside teacher, neutral, other and second-base students."""
    from .organisms import transfer as room
    from .organisms.nano import base_folder
    from .organisms.spec import find_organism

    specs = [find_organism(name) for name in organism]
    rows = room.transfer_study(specs, base_folder(), second_base, store_at(home), seed, not quiet)
    show({"rows": room.as_json(rows)}, True) if as_json else typer.echo(room.as_markdown(rows))


@app.command()
def fetch(organism: Annotated[str, typer.Argument(help="Id of a published organism, e.g. cake-bake-qwen3-1-7b.")],
          variant: Annotated[str, typer.Option("--variant", help="Other weights of it, e.g. mix1-0p5.")] = "",
          allow_unpinned: Annotated[bool, typer.Option("--allow-unpinned", help="Where no revision is pinned: take the "
                                                                                "newest.")] = False,
          dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Fetch a published organism and its base from the Hub."""
    from .organisms import published
    from .organisms.spec import find_organism

    spec = find_organism(organism)
    chosen = published.weights_of(spec, variant or None)
    told = {"base": chosen.base, "weights": chosen.weights, "kind": chosen.kind, "variants": list(spec.variants)}
    if not dry_run:
        found = published.fetch(spec, variant or None, allow_unpinned)
        told |= {"base_folder": str(found.base), "organism_folder": str(found.organism)}
    show(told | {"note": chosen.note}, as_json)


def _study(design, out: Path | None, workers: int, device: str, home: Path | None, dry_run: bool, as_json: bool,
           quiet: bool) -> None:
    from .benchmark import studies

    if dry_run:
        steps = studies.plan(design, store_at(home), device)
        return show({"study": design.kind, "organisms": steps}, True) if as_json else show_rows(steps)
    out = out or Path("studies") / design.kind
    study = studies.run(design, store_at(home), device, not quiet, workers or None)
    table = studies.write(study, out, "narrowbench " + shlex.join(sys.argv[1:]))
    show(study.to_dict(), True) if as_json else typer.echo(f"{table}\nfolder: {out}")


@app.command()
def tune(method: Annotated[str, typer.Argument(help="Name, path/file.py:Class or pkg.mod:Class.")],
         grid: Annotated[list[str], typer.Option("--grid", help="KEY=VALUE,VALUE of one setting; repeatable.")] = [],
         suite: SuiteName = "nano-2026.1:dev", workers: Workers = 0, device: Device = "cpu", seed: Seed = 0,
         home: Home = None, dry_run: DryRun = False, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Choose a method's settings on dev organisms: a grid, scored, as a markdown table."""
    from .benchmark import tune as room

    asked = room.parse_grid(grid)
    if dry_run:
        return show({"method": method, "suite": suite, "trials": room.plan(method, asked)}, True)
    trials = room.tune(method, asked, suite, seed, store_at(home), device, not quiet, workers or None)
    if as_json:
        return show({"method": method, "suite": suite, "trials": [trial.to_dict() for trial in trials]}, True)
    typer.echo(room.markdown(trials))
    for line in dict.fromkeys(line for trial in trials for line in trial.failures):
        note(f"failed {line}", "red")
