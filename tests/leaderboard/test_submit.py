"""submit packs what a pull request holds; the workflow takes nothing else, and runs nothing of it."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from inspect_ai.log import read_eval_log, write_eval_log
from typer.testing import CliRunner
from verified import plain, reasons

from narrowbench.cli_board import app
from narrowbench.leaderboard import submit
from narrowbench.leaderboard.archive import read, write
from narrowbench.leaderboard.changes import submitted
from narrowbench.leaderboard.collect import collect
from narrowbench.organisms.errors import RecordError

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "verify.yml"


@pytest.fixture
def packed(plain_log, tmp_path):
    """A submission as `pack` makes it, of a record of a made-up suite."""
    record, rows = collect(plain_log)
    path, _ = write(record, rows, tmp_path / "records")
    return submit.of(record, path), path


def git(folder: Path, *words: str) -> bytes:
    return subprocess.run(["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True,
                          capture_output=True).stdout


@pytest.fixture
def clone(tmp_path):
    """A repository with one commit."""
    folder = tmp_path / "clone"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "code.py").write_text("x = 1\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return folder


def changes(clone: Path) -> bytes:
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "submission")
    return git(clone, "diff", "--no-renames", "--raw", "-z", "HEAD~1", "HEAD")


def test_a_record_that_would_be_refused_is_not_packed(plain_log, tmp_path):
    path, _ = write(*collect(plain_log), tmp_path)
    with pytest.raises(RecordError, match="would be refused.*narrowbench verify"):
        submit.pack(path)


def test_a_submission_is_the_record_its_samples_and_digests_of_logs(packed, clone):
    submission, path = packed
    folder = submit.put(submission, f"folder:{clone}")
    assert folder == clone / "submissions" / "demo" / path.stem
    assert read(folder / path.name) == read(path)
    record = submission.record
    assert json.loads((folder / "logs.json").read_text())["logs"]["run"]["sha256"] == record.log.sha256
    assert record.run.command in (folder / "README.md").read_text()
    assert submit.put(submission, f"folder:{clone}") == folder
    (folder / "README.md").write_text("mine")
    with pytest.raises(RecordError, match="holds something else"):
        submit.put(submission, f"folder:{clone}")
    for target in ("hub:a/b", "folder:", f"folder:{clone / 'none'}"):
        with pytest.raises(RecordError, match="is no target"):
            submit.put(submission, target)


def changed(log: Path, version: str) -> Path:
    """The log of a method with this version."""
    loaded = read_eval_log(str(log))
    loaded.eval.metadata["narrowbench"]["method"]["version"] = version
    write_eval_log(loaded, str(log))
    return log


def test_hostile_names_cannot_write_markdown(make, tmp_path):
    log = make.log(tmp_path / "logs", [make.organism("a")], {"a": make.said()}, method="m", suite="it's; $(x) `b` #c")
    log = changed(log, "<script>x</script>](http://a) `b` # c")
    record, rows = collect(log)
    path, _ = write(record, rows, tmp_path / "records")
    submission = submit.of(record, path)
    text = submission.files["README.md"]
    assert "<script" not in text and "](http" not in text and "`b`" not in text
    words = shlex.split(submission.how_to(Path("my dir/r.json"), False).splitlines()[1])
    assert words[:3] == ["narrowbench", "submit", "my dir/r.json"]
    line = submission.how_to(path, True).splitlines()[1]
    title = f"Submission: m on {record.suite.id}"
    assert title in shlex.split(line) and shlex.quote(title) in line, "nothing of it is a shell's"


def test_the_changes_of_a_submission_are_named_and_any_other_is_refused(packed, clone):
    folder = submit.put(packed[0], f"folder:{clone}")
    place = folder.relative_to(clone)
    assert submitted(changes(clone)) == [f"{place.as_posix()}/{folder.name}.json"]
    (folder / "logs.json").write_text("{}")
    with pytest.raises(RecordError, match="status M"):
        submitted(changes(clone))
    with pytest.raises(RecordError, match="adds no submission"):
        submitted(b"")


@pytest.mark.parametrize("change", [
    lambda clone, folder: (clone / "code.py").write_text("x = 2\n"),
    lambda clone, folder: (clone / "setup.py").write_text(""),
    lambda clone, folder: (folder / "more.json").write_text(""),
    lambda clone, folder: (folder / "README.md").unlink(),
    lambda clone, folder: (folder.parent / "levels.json").write_text("{}"),
    lambda clone, folder: ((folder / "logs.json").unlink(), (folder / "logs.json").symlink_to("/etc/passwd")),
    lambda clone, folder: (folder / "logs.json").chmod(0o755)])
def test_a_submission_with_anything_else_is_refused(packed, clone, change):
    change(clone, submit.put(packed[0], f"folder:{clone}"))
    with pytest.raises(RecordError, match="Pack it with"):
        submitted(changes(clone))


def test_the_workflow_reads_only_and_runs_nothing_of_a_pull_request():
    flow = yaml.safe_load(WORKFLOW.read_text())
    assert set(flow[True]) == {"pull_request_target"}  # YAML reads `on` as true; the file is the main branch's own
    assert flow[True]["pull_request_target"] == {"paths": ["submissions/**"]}
    assert flow["permissions"] == {"contents": "read"}
    [job] = flow["jobs"].values()
    assert "permissions" not in job
    checkouts = [step for step in job["steps"] if "checkout" in step.get("uses", "")]
    assert [step["with"]["ref"] for step in checkouts] == ["${{ github.event.repository.default_branch }}"]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    installs = [step["run"] for step in job["steps"] if "pip install" in step.get("run", "")]
    assert len(installs) == 1 and installs[0].split()[-1] == "./main"
    assert not any("${{" in step.get("run", "") for step in job["steps"])  # names of branches are text, not shell
    assert "secrets." not in WORKFLOW.read_text() and "cache" not in str(flow)
    verify = job["steps"][-1]["run"]
    assert verify.index("stop-commands") < verify.index("narrowbench verify")


def test_the_page_is_built_anew_for_all_that_it_depends_on_and_from_verified_records():
    flow = yaml.safe_load((WORKFLOW.parent / "pages.yml").read_text())
    assert {"leaderboard/**", "graders/**", "benchmark/**", "organisms/**", "pyproject.toml"} <= set(
        flow[True]["push"]["paths"])
    runs = [step["run"] for step in flow["jobs"]["build"]["steps"] if "run" in step]
    [check], [build] = ([i for i, run in enumerate(runs) if f"narrowbench {word} leaderboard/results" in run]
                        for word in ("verify", "site"))
    assert check < build and "leaderboard/results/*/*[0-9a-f].json" in runs[check]


def test_a_folder_that_holds_something_else_than_submit_writes_is_refused(honest, place, clone):
    path = place(*plain(honest))
    folder = submit.put(submit.pack(path), f"folder:{clone}")
    record = folder / path.name
    assert reasons(record) == ""
    whole = {name: (folder / name).read_bytes() for name in ("README.md", "logs.json")}
    for name, text in whole.items():
        for other in (text + b" ", text.replace(b"a", b"b", 1), b""):
            (folder / name).write_bytes(other)
            assert f"{name} is not what `narrowbench submit`" in reasons(record)
        (folder / name).unlink()
        assert f"{name} is missing" in reasons(record)
        (folder / name).symlink_to(folder / path.name)
        assert f"{name} is not what" in reasons(record)
        (folder / name).unlink()
        (folder / name).write_bytes(text)
    (folder / "levels.json").write_text("{}")
    assert "levels.json is no part of a submission" in reasons(record)


def test_accepted_submissions_are_taken_into_the_records_and_others_are_not(honest, place, packed, clone, tmp_path):
    good = submit.put(submit.pack(place(*plain(honest))), f"folder:{clone}")
    bad = submit.put(packed[0], f"folder:{clone}")
    found = sorted(str(path) for path in clone.glob("submissions/*/*/*[0-9a-f].json"))
    assert found == sorted(str(folder / f"{folder.name}.json") for folder in (good, bad))
    results = tmp_path / "results"
    for _ in range(2):  # the second time it is there
        done = CliRunner().invoke(app, ["verify", *found, "--into", str(results)])
        assert done.exit_code == 1 and "refused" in done.output and "it lies at" in done.output
        [taken] = results.glob("*/*[0-9a-f].json")
        assert read(taken) == read(good / f"{good.name}.json") and reasons(taken) == ""
    assert sorted(path.name for path in results.rglob("*") if path.is_file()) == sorted(
        [f"{good.name}.json", f"{good.name}.samples.jsonl"])
