"""submit packs what a pull request holds; the workflow takes nothing else, and runs nothing of it."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

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


def test_hostile_names_cannot_write_markdown(make, tmp_path):
    log = make.log(tmp_path / "logs", [make.organism("a")], {"a": make.said()},
                   method="<script>x</script>](http://a) `b`\n# c")
    record, rows = collect(log)
    path, _ = write(record, rows, tmp_path / "records")
    text = submit.of(record, path).files["README.md"]
    assert "<script" not in text and "](http" not in text and "\n# c" not in text


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
    assert set(flow[True]) == {"pull_request"}  # YAML reads `on` as true
    assert flow["permissions"] == {"contents": "read"}
    [job] = flow["jobs"].values()
    assert "permissions" not in job
    checkouts = [step for step in job["steps"] if "checkout" in step.get("uses", "")]
    assert [step["with"]["ref"] for step in checkouts] == ["${{ github.event.repository.default_branch }}"]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    installs = [step["run"] for step in job["steps"] if "pip install" in step.get("run", "")]
    assert len(installs) == 1 and installs[0].split()[-1] == "./main"
    assert not any("${{" in step.get("run", "") for step in job["steps"])  # names of branches are text, not shell
    assert "secrets." not in WORKFLOW.read_text()
