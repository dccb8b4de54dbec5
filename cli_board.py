"""The commands of the leaderboard: `publish`, `verify`, `submit`.

Main objects: `app`, whose commands `cli.py` takes over; `To`, `Private`, `target_given` and `show_sent`,
for all that sends a page; `plain`, for what others wrote.
Example: `narrowbench publish logs --to folder:PATH`; `narrowbench verify records/demo/*.json --logs logs`
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from .benchmark.characters import escaped
from .cli_shared import AsJson, DryRun, note

app = typer.Typer()
To = Annotated[str, typer.Option("--to", help="Where the page goes: folder:PATH, hub:ORG/NAME (a Space that shows it), "
                                              "or hub-dataset:ORG/NAME (its records alone).")]
Private = Annotated[bool, typer.Option("--private", help="A Hub repository that nobody else sees.")]
Records = Annotated[list[Path], typer.Argument(help="Record files: records/SUITE/METHOD-ID.json.")]


def plain(text: object) -> str:
    """Text of others as one line, in which nothing is hidden and that no runner of a workflow takes for a command."""
    line = escaped(str(text)).replace("##[", "## [")
    return f"| {line}" if line.lstrip().startswith("::") else line


def show(value: dict) -> None:
    """As JSON of printable ASCII."""
    typer.echo(json.dumps(value, indent=2))


@app.command()
def publish(logs: Annotated[list[Path], typer.Argument(help="Inspect logs, or folders of them.")],
            records: Annotated[Path, typer.Option("--records", help="Folder of the records; it only ever grows.")]
            = Path("records"),
            out: Annotated[Path, typer.Option("--out", help="Folder of the page.")] = Path("site"),
            level: Annotated[str, typer.Option("--level", help="For those who keep the records, and made these logs "
                                               "themselves: rerun, or regraded.")] = "",
            by: Annotated[str, typer.Option("--by", help="Who vouches for the level.")] = "",
            reason: Annotated[str, typer.Option("--reason", help="Why it is given.")]
            = "run here by those who keep the records",
            to: To = "", private: Private = False, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Turn logs into validated records, all records into one static page, and send it where `--to` says.

    `--dry-run` lists every file that would be sent, and writes and sends nothing.
    """
    from .leaderboard.log_file import log_files
    from .leaderboard.publish import publish as publish_logs, rehearse
    from .leaderboard.targets import deliver

    target, vouch, sent = target_given(to, private, dry_run), _vouch(level, by, reason), None
    if dry_run:
        result, sent = rehearse(log_files(logs), records, out, target, vouch)
    else:
        result = publish_logs(log_files(logs), records, out, vouch)
        if target and result.page:
            sent = deliver(out, records, target, private=private)
    if as_json:
        show({"page": result.page and str(result.page), "written": [str(path) for path in result.written],
              "reused": [str(path) for path in result.reused],
              **{key: [[str(path), why] for path, why in getattr(result, key)]
                 for key in ("skipped", "left_out", "not_raised")}, "sent": sent and sent.to_dict()})
    else:
        for _, why in (*result.skipped, *result.left_out, *result.not_raised):
            note(plain(why), "yellow")
        typer.echo(f"{len(result.written)} new records, {len(result.reused)} already there, "
                   f"{len(result.skipped)} logs skipped")
        typer.echo(plain(f"page: {result.page}") if result.page else "no page: there is no record to show")
        if sent:
            show_sent(sent)
    if result.page is None or result.not_raised:
        raise typer.Exit(2)


def target_given(to: str, private: bool, dry_run: bool):
    """What `--to` says; None without."""
    if not to and (private or dry_run):
        raise typer.BadParameter(f"`--{'dry-run' if dry_run else 'private'}` is about what `--to` sends. Give "
                                 "`--to folder:PATH`, `--to hub:ORG/NAME` or `--to hub-dataset:ORG/NAME` as well.")
    from .leaderboard.targets import target_of

    target = target_of(to) if to else None
    if private and target.kind == "folder":
        raise typer.BadParameter("`--private` is about a repository of the Hub. Leave it out for a folder.")
    return target


def show_sent(sent) -> None:
    """What `leaderboard.targets.deliver` did, or in a dry run would do: then every file."""
    for name, size in sent.files.items() if sent.place is None else ():
        typer.echo(plain(f"{name}  {size:,} bytes"))
    for name in sent.left_out:
        note(f"{plain(name)} is no file of the page, so it is left out", "yellow")
    told = f"{len(sent.files)} files, {sent.total_bytes:,} bytes"
    typer.echo(f"published at {sent.place}: {told}" if sent.place else
               f"{told} would be sent to {sent.to}; nothing was written or sent")


def _vouch(level: str, by: str, reason: str):
    """What `--level` and `--by` say; None without."""
    if not level and not by:
        return None
    if level not in ("rerun", "regraded") or not by:
        raise typer.BadParameter("Give `--level rerun` (or regraded) and `--by NAME` together. `sealed` is given when "
                                 "a season of sealed organisms is opened.")
    from .leaderboard.publish import Vouch

    return Vouch(level, by, reason)


@app.command()
def verify(records: Records,
           logs: Annotated[Path | None, typer.Option("--logs", help="Folder with the records' Inspect logs.")] = None,
           suite: Annotated[str, typer.Option("--suite", "-s", help="Manifest of a suite that is not built in.")] = "",
           into: Annotated[Path | None, typer.Option("--into", help="For those who keep the records: add what is "
                                                     "accepted to this folder of records.")] = None,
           as_json: AsJson = False) -> None:
    """Check records: schema, digests, completeness, and every score again from its claim. Executes nothing.

    With `--into` accepted records are added to a folder, which only ever grows; nothing is replaced or deleted.

    Exit code 0: all are accepted; 1: some are refused; 2: a file is missing or holds no JSON.
    """
    from .leaderboard.verify import ACCEPTED, take_in, verify as verify_one

    found = None
    if logs is not None:
        from .leaderboard.against_log import find_logs

        if not logs.is_dir():
            raise typer.BadParameter(f"{logs} is no folder. `--logs` takes the folder with the records' logs.")
        found = find_logs(logs)
    verdicts = [verify_one(path, found, suite) for path in records]
    added = {verdict.path: take_in(verdict, into) for verdict in verdicts if into and verdict.code == ACCEPTED}
    if as_json:
        show({"records": [verdict.to_dict() | ({"added": str(added[verdict.path])} if verdict.path in added else {})
                          for verdict in verdicts]})
    for verdict in verdicts if not as_json else ():
        if verdict.code:
            typer.echo(plain(f"refused {verdict.path}"))
            for line in verdict.reasons:
                note(f"  {plain(line)}", "red")
            continue
        by = f" by {verdict.level.by}: {verdict.level.reason}" if verdict.level.level != "self" else ""
        typer.echo(plain(f"ok {verdict.path}"))
        typer.echo("  " + plain(f"{verdict.record.method.label} on {verdict.record.suite.id}, "
                                f"{verdict.record.samples.rows} samples; level {verdict.level.level}{by}; "
                                f"{'with its log' if verdict.with_logs else 'without its log'}"))
        if verdict.path in added:
            typer.echo("  " + plain(f"it lies at {added[verdict.path]}"))
    raise typer.Exit(max((verdict.code for verdict in verdicts), default=0))


@app.command()
def submit(record: Annotated[Path, typer.Argument(help="A record file.")],
           to: Annotated[str, typer.Option("--to", help="folder:PATH, the root of your clone of the board's "
                                           "repository.")] = "",
           dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Pack a record, its samples and its logs' digests as the folder of a pull request. Sends nothing anywhere."""
    from .leaderboard import submit as room

    packed = room.pack(record)
    place = None if dry_run or not to else room.put(packed, to)
    if as_json:
        return show({"place": packed.place.as_posix(), "written": place and str(place),
                     "files": {name: len(text.encode()) for name, text in packed.files.items()}})
    for name, text in packed.files.items():
        typer.echo(f"{packed.place.as_posix()}/{name}  {len(text.encode()):,} bytes")
    typer.echo(plain(f"packed in {place}") if place else "nothing was written")
    typer.echo(packed.how_to(record, place is not None))
