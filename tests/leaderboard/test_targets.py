"""Sending the page: what a dry run lists is what arrives; what others put there stays; an older page goes whole."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from narrowbench.cli import app
from narrowbench.leaderboard.levels import grant
from narrowbench.leaderboard.publish import publish
from narrowbench.leaderboard.site import build
from narrowbench.leaderboard.targets import Target, deliver, target_of
from narrowbench.organisms.errors import NarrowbenchError, NotFoundError, PushError


def contents(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sizes(files: dict[str, bytes]) -> dict[str, int]:
    return {name: len(content) for name, content in files.items()}


@pytest.fixture
def page(plain_log, tmp_path):
    """(folder of a page with a figure, folder of its records)."""
    site, records, figures = tmp_path / "site", tmp_path / "records", tmp_path / "figures"
    result = publish([plain_log], records, site)
    figures.mkdir()
    (figures / "dose.svg").write_text("<svg/>")
    build(records, site, figures=figures)
    assert result.written
    return site, records


@pytest.fixture
def run(monkeypatch):
    """`run(*words)`: exit code, and what the command printed."""
    def run(*words):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exception is None or isinstance(done.exception, (SystemExit, NarrowbenchError)), done.exception
        return done.exit_code, done.output, done.exception

    return run


def test_every_file_of_a_built_page_is_sent_and_nothing_else(page, tmp_path):
    site, records = page
    built = contents(site)
    (site / "notes.txt").write_text("mine")
    (site / "records" / ".part").write_text("half")
    (site / "run.eval").write_text("a log")
    (site / "logs").mkdir()
    (site / "logs" / "run.eval").write_text("a log")
    sent = deliver(site, records, target_of(f"folder:{tmp_path / 'there'}"))
    arrived = contents(tmp_path / "there")
    assert sent.place == str(tmp_path / "there") and sent.files == sizes(arrived)
    assert {name: raw for name, raw in arrived.items() if name != "published.json"} == built
    assert sent.left_out == ("logs/run.eval", "notes.txt", "records/.part", "run.eval")


def test_logs_go_where_the_viewer_was_bundled_with_them(page, tmp_path):
    site, records = page
    (site / "logs").mkdir()
    (site / "logs" / "index.html").write_text("viewer")
    (site / "logs" / "run.eval").write_text("a log")
    sent = deliver(site, records, target_of(f"folder:{tmp_path / 'there'}"), dry_run=True)
    assert {"logs/index.html", "logs/run.eval"} <= sent.files.keys() and sent.left_out == ()


def test_a_folder_is_replaced_whole_and_again_changes_nothing(page, demo_logs, tmp_path):
    site, records = page
    there = target_of(f"folder:{tmp_path / 'deep' / 'there'}")
    folder = tmp_path / "deep" / "there"
    dry = deliver(site, records, there, dry_run=True)
    assert dry.place is None and not folder.parent.exists()
    assert deliver(site, records, there).files == dry.files == sizes(contents(folder))
    before = folder.stat().st_ino
    assert deliver(site, records, there).place == str(folder) and folder.stat().st_ino == before
    (site / "figures" / "dose.svg").unlink()
    publish(demo_logs[:1], records, site)
    deliver(site, records, there)
    arrived = contents(folder)
    assert "figures/dose.svg" not in arrived and arrived.pop("published.json") and arrived == contents(site)
    assert [path.name for path in folder.parent.iterdir()] == ["there"], "nothing is left beside it"


def test_what_was_not_published_there_is_never_replaced(page, tmp_path):
    site, records = page
    mine, empty = tmp_path / "mine", tmp_path / "empty"
    mine.mkdir(), empty.mkdir()
    (mine / "index.html").write_text("my own page")
    for dry_run in (True, False):
        with pytest.raises(PushError, match="index.html.*not published there"):
            deliver(site, records, target_of(f"folder:{mine}"), dry_run)
    assert contents(mine) == {"index.html": b"my own page"}
    deliver(site, records, target_of(f"folder:{empty}"))
    for name in ("CNAME", "index.html"):
        old = contents(empty)
        (empty / name).write_text("mine")
        with pytest.raises(PushError, match=f"{name}.*Choose another folder"):
            deliver(site, records, target_of(f"folder:{empty}"))
        assert contents(empty) == old | {name: b"mine"}
        (empty / name).write_bytes(old[name]) if name in old else (empty / name).unlink()
    (tmp_path / "file").write_text("x")
    with pytest.raises(PushError, match="no folder"):
        deliver(site, records, target_of(f"folder:{tmp_path / 'file'}"))
    with pytest.raises(PushError, match="cannot be written.*choose another place"):
        deliver(site, records, target_of(f"folder:{tmp_path / 'file' / 'in' / 'it'}"))


def test_a_page_is_not_sent_into_itself_and_links_are_not_followed(page, tmp_path):
    site, records = page
    for place in (site, site / "inside", tmp_path):
        with pytest.raises(PushError, match="Choose another one"):
            deliver(site, records, target_of(f"folder:{place}"))
    (tmp_path / "private.html").write_text("private")
    (site / "methods" / "x.html").symlink_to(tmp_path / "private.html")
    with pytest.raises(PushError, match="x.html is a link"):
        deliver(site, records, target_of(f"folder:{tmp_path / 'there'}"))
    assert not (tmp_path / "there").exists()
    with pytest.raises(NotFoundError, match="narrowbench site"):
        deliver(tmp_path / "none", records, target_of(f"folder:{tmp_path / 'there'}"))


@pytest.mark.parametrize("text", ["", "site", "folder:", "hub:", "hub:NAME", "hub:a/b/c", "s3:b/x", "hub-dataset:"])
def test_what_is_no_target_is_told_with_the_targets_there_are(text):
    with pytest.raises(NarrowbenchError, match="`--to folder:PATH`, `--to hub:ORG/NAME`, `--to hub-dataset:ORG/NAME`"):
        target_of(text)


def test_a_name_that_no_repository_can_have_is_told_without_asking(page):
    with pytest.raises(PushError, match="is no name for a repository.*--to hub:ORG/NAME"):
        target_of("hub:ORG/a..b")
    assert target_of("hub-dataset:ORG/NAME") == Target("hub-dataset", "ORG/NAME")


@pytest.mark.parametrize("kind", ["hub", "hub-dataset"])
def test_the_hub_gets_the_very_files_of_the_dry_run_in_one_commit(hub, page, kind):
    site, records = page
    target = target_of(f"{kind}:ORG/board")
    hub.refuses = 500
    dry = deliver(site, records, target, dry_run=True)
    hub.refuses = None
    sent = deliver(site, records, target, private=True)
    got = hub.files["ORG/board"]
    assert got.pop(".gitattributes") and sizes(got) == dry.files == sent.files and dry.place is None
    assert hub.commits["ORG/board"][1:] == [set(dry.files) | ({"style.css"} if kind == "hub" else set())]
    wanted = {"hub": ("space", "static", "/spaces/ORG/board"), "hub-dataset": ("dataset", None, "/datasets/ORG/board")}
    asked = hub.asked["ORG/board"]
    assert (asked["type"], asked.get("sdk"), asked["visibility"]) == (*wanted[kind][:2], "private")
    assert sent.place.endswith(wanted[kind][2])
    assert deliver(site, records, target, private=True).place == sent.place and len(hub.commits["ORG/board"]) == 2
    front = yaml.safe_load(got["README.md"].decode().split("---\n")[1])
    if kind == "hub":
        assert front["sdk"] == "static" and front["app_file"] == "index.html" and got["index.html"] != b"new"
        assert {name: raw for name, raw in got.items() if name not in ("README.md", "published.json")} == contents(site)
    else:
        assert {name: raw for name, raw in got.items() if "/" in name} == contents(site / "records")


def test_a_space_is_updated_with_what_changed_and_what_is_gone(hub, page, demo_logs):
    site, records = page
    target = target_of("hub:ORG/board")
    deliver(site, records, target)
    (site / "figures" / "dose.svg").unlink()
    publish(demo_logs[:1], records, site)
    deliver(site, records, target)
    got, last = hub.files["ORG/board"], hub.commits["ORG/board"][-1]
    assert got.keys() - {".gitattributes", "README.md", "published.json"} == contents(site).keys()
    assert "figures/dose.svg" in last and "index.html" in last and "README.md" not in last


def test_what_others_put_into_a_repository_stays(hub, page):
    site, records = page
    deliver(site, records, target_of("hub:ORG/board"))
    for name in ("app.py", "index.html"):
        old = dict(hub.files["ORG/board"])
        hub.put("ORG/board", name, b"mine")
        with pytest.raises(PushError, match=f"{name}.*not published there"):
            deliver(site, records, target_of("hub:ORG/board"))
        assert hub.files["ORG/board"] == old | {name: b"mine"}
        hub.files["ORG/board"] = old
    hub.files["ORG/own"], hub.asked["ORG/own"] = {"README.md": b"mine", "index.html": b"mine"}, {}
    hub.commits["ORG/own"] = [{"README.md"}, {"index.html"}]
    with pytest.raises(PushError, match="not published there"):
        deliver(site, records, target_of("hub:ORG/own"))
    with pytest.raises(PushError, match="everybody can see"):
        deliver(site, records, target_of("hub:ORG/board"), private=True)


def test_a_hub_that_says_no_is_not_there_or_knows_nobody_is_explained(hub, page, monkeypatch, tmp_path):
    site, records = page
    hub.spoils = "index.html"
    with pytest.raises(PushError, match="did not arrive.*index.html"):
        deliver(site, records, target_of("hub:ORG/spoilt"))
    for status, reason in ((403, "may not write to ORG.*hf auth login"), (500, "answers 500")):
        hub.refuses = status
        with pytest.raises(PushError, match=f"(?s){reason}.*folder:PATH"):
            deliver(site, records, target_of("hub:ORG/board"))
    hub.shutdown()
    hub.server_close()
    with pytest.raises(PushError, match="cannot be reached.*folder:PATH"):
        deliver(site, records, target_of("hub:ORG/board"))
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(PushError, match="nobody is logged in. Run `hf auth login`.*folder:PATH"):
        deliver(site, records, target_of("hub:ORG/board"))


def test_a_dataset_says_which_records_were_run_again_and_is_a_folder_of_records(hub, page, tmp_path):
    site, records = page
    [path] = records.glob("*/*.json")
    grant(records, [json.loads(path.read_text())["record_id"]], "rerun", "a maintainer", "run here")
    deliver(site, records, target_of("hub-dataset:ORG/records"))
    got = hub.files["ORG/records"]
    assert got["levels.json"] == (records / "levels.json").read_bytes()
    for name, raw in got.items():
        (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clone" / name).write_bytes(raw)
    assert build(tmp_path / "clone", tmp_path / "again").left_out == ()


def test_a_dry_run_of_the_command_lists_what_it_then_sends_and_writes_nothing(run, plain_log, demo_logs, tmp_path):
    folders = tmp_path / "records", tmp_path / "site"
    words = ("--records", folders[0], "--out", folders[1])
    publish([plain_log], *folders)
    before = contents(tmp_path)
    target = f"folder:{tmp_path / 'there'}"
    code, out, _ = run("publish", demo_logs[0], *words, "--to", target, "--dry-run", "--json")
    told = json.loads(out)
    assert code == 0 and contents(tmp_path) == before and not (tmp_path / "there").exists()
    assert told["sent"]["place"] is None and told["sent"]["total_bytes"] == sum(told["sent"]["files"].values())
    assert told["page"] == str(folders[1] / "index.html") and told["written"][0].startswith(str(folders[0]))
    code, out, _ = run("publish", demo_logs[0], *words, "--to", target, "--dry-run")
    assert "index.html  " in out and " bytes would be sent to folder:" in out and contents(tmp_path) == before
    code, out, _ = run("publish", demo_logs[0], *words, "--to", target)
    assert code == 0 and f"published at {tmp_path / 'there'}: {len(told['sent']['files'])} files" in out
    assert sizes(contents(tmp_path / "there")).keys() == told["sent"]["files"].keys()


def test_a_wrong_target_is_told_before_anything_is_written(run, plain_log, tmp_path):
    words = ("publish", plain_log, "--records", tmp_path / "records", "--out", tmp_path / "site")
    assert run(*words, "--to", "ftp:x")[2] is not None and not any(tmp_path.iterdir())
    for wrong in (("--dry-run",), ("--private",), ("--private", "--to", f"folder:{tmp_path / 'there'}")):
        code, out, _ = run(*words, *wrong)
        assert code == 2 and wrong[0] in out and not any(tmp_path.iterdir())


def test_a_page_of_records_alone_is_sent_by_site_as_well(run, page, tmp_path):
    site, records = page
    target, before = f"folder:{tmp_path / 'there'}", contents(tmp_path)
    code, output, _ = run("site", records, "--out", site, "--to", target, "--dry-run")
    assert code == 0 and "nothing was written or sent" in output and contents(tmp_path) == before
    code, output, _ = run("site", records, "--out", site, "--to", target, "--json")
    sent = json.loads(output)["sent"]
    assert code == 0 and sent["place"] == str(tmp_path / "there")
    assert sent["files"] == sizes(contents(tmp_path / "there"))
