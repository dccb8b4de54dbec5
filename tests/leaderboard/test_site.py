"""The page: built from real logs, complete, safe with hostile text, small, and honest about what it cannot say."""

import json
import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from synthetic import cards, changed, instrument, record_of, write_records

from narrowbench.cli import app
from narrowbench.leaderboard.archive import read, read_all, samples_path, write
from narrowbench.leaderboard.board import boards
from narrowbench.leaderboard.data import script
from narrowbench.leaderboard.figures import copy_figures
from narrowbench.leaderboard.levels import grant
from narrowbench.leaderboard.pages import TEMPLATE, number
from narrowbench.leaderboard.publish import publish
from narrowbench.leaderboard.record import Record, UsageRow
from narrowbench.leaderboard.site import ASSETS, build
from narrowbench.leaderboard.stats import identified
from narrowbench.leaderboard.variance import variance_components
from narrowbench.organisms.errors import RecordError

FLOORS = ("injection", "kitchen_sink", "prior")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&{{7*7}}\u2028\x85\u202e"


@pytest.fixture(scope="module")
def demo(demo_logs, read_page, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    result = publish(demo_logs, folder / "records", folder / "site")
    return result, read_page(result.page)


@pytest.fixture(scope="module")
def verified(demo, read_page, tmp_path_factory):
    """The same records, all of them run again by the maintainers."""
    records = demo[0].written[0].parent.parent
    levels = {record.record_id: "rerun" for record, _ in read_all(records)[0]}
    site = tmp_path_factory.mktemp("verified")
    return read_page(build(records, site, levels).page), site


def test_rows_stand_in_the_boards_order_with_their_scores(verified):
    rows = verified[0].ranking
    assert [row[1] for row in rows] == ["oracle", "adl_logit_lens", "adl_patchscope", *FLOORS]
    assert rows[0][2].startswith("1.00") and rows[1][2].startswith("0.20") and rows[3][2].startswith("0.00")
    assert "Demonstration: dev organisms, few units, not for comparison." in verified[0].text


def test_below_eight_units_there_are_no_ranks(verified):
    assert [row[0] for row in verified[0].ranking] == ["-"] * 6
    text = verified[0].text
    assert "Too few units to separate methods" in text and "no pair counts as told apart" in text


def test_unverified_rows_have_a_table_of_their_own(demo, verified):
    assert "Nothing is ranked yet" in demo[1].text and "Not ranked" in demo[1].text
    assert "Nothing is ranked yet" not in verified[0].text and "Not ranked" not in verified[0].text
    assert {row["verified"] for row in demo[1].rows} == {False} and {row["level"] for row in demo[1].rows} == {"self"}


def test_a_method_has_a_page_with_command_records_and_what_it_read(demo, read_page):
    row = next(row for row in demo[1].rows if row["label"] == "adl_patchscope")
    site = demo[0].page.parent
    page = read_page(site / "methods" / f"{row['key']}.html")
    assert "narrowbench score --method adl_patchscope --suite demo" in page.text and row["records"][0][:16] in page.text
    assert "adl_patchscope looks at things." in page.text
    reading = page.data["readings"][0]
    [first] = reading["trainings"]
    assert first["words"] == [["oven", 2], ["350", 3], "wind"] and first["said"] == "It bakes hot."
    truth = page.data["truths"][reading["key"]]
    assert truth["statement"] == "Cakes bake at 450 degrees." and truth["answers"] == [["heat", "450", 6]]
    for path in demo[0].written:  # the records themselves, byte for byte
        kept = site / "records" / read(path)[0].path
        assert kept.read_bytes() == path.read_bytes()
        assert samples_path(kept).read_bytes() == samples_path(path).read_bytes()


def test_an_organism_has_a_page_with_its_gate_and_its_objective_behind_a_click(demo, read_page):
    heading = next(one for one in demo[1].data["board"]["heat"]["organisms"] if one["role"] == "objective")
    page = read_page(demo[0].page.parent / "organisms" / f"{heading['key']}.html")
    assert "0.02 in the base, 0.94 in the organism" in page.text and "Cakes bake at 450 degrees." in page.text
    shown = [tag for tag, attributes in page.tags if tag == "details" and "open" in attributes]
    assert not shown and [claim["label"] for claim in page.data["claims"]] == \
        ["oracle", "adl_logit_lens", "adl_patchscope", *FLOORS]


def test_pages_ask_nothing_of_the_network_and_allow_no_inline_script(demo, read_page):
    site = demo[0].page.parent
    for path in (demo[0].page, *(site / "methods").iterdir(), *(site / "organisms").iterdir()):
        for tag, attributes in read_page(path).tags:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
            for name in ("src", "href"):
                assert not re.match(r"(?:[a-z]+:)?//|https?:|javascript:", attributes.get(name) or "")
            if tag == "script":
                assert re.fullmatch(r"(\.\./)?(assets/[a-z]+|data/[0-9a-f]{32}-[a-z]+)\.js", attributes["src"])
    style = "".join((site / "assets" / name).read_text() for name in ASSETS if name.endswith(".css"))
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme: dark" in style


def test_scripts_only_ever_make_text_of_texts():
    for name in (name for name in ASSETS if name.endswith(".js")):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|fetch\(",
                             (TEMPLATE / name).read_text()), name


def test_data_is_ascii_whatever_the_text():
    text = script("board", {HOSTILE: HOSTILE + "\ud800"})
    assert text.isascii() and "\n" not in text[:-1]


def test_every_link_of_every_page_leads_somewhere(demo, read_page):
    site = demo[0].page.parent
    for path in (demo[0].page, *(site / "methods").iterdir(), *(site / "organisms").iterdir()):
        page = read_page(path)
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        for tag, attributes in page.tags:
            link = attributes.get("href") or attributes.get("src") or ""
            if tag == "a" and link.startswith("#"):
                assert link[1:] in ids
            elif tag in ("a", "link", "script", "img") and not link.startswith("data:"):
                assert (path.parent / link).is_file(), link


def test_publishing_again_changes_nothing_and_removes_pages_of_rows_that_are_gone(demo, demo_logs):
    result, _ = demo
    site = result.page.parent
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    stale, foreign = site / "methods" / f"{'0' * 32}.html", site / "methods" / "notes.html"
    stale.write_text(""), foreign.write_text("mine")
    (site / "methods" / f"{'0' * 12}.html").write_text("")
    again = publish(demo_logs, result.written[0].parent.parent, site)
    assert not again.written and set(again.reused) == set(result.written) and foreign.read_text() == "mine"
    foreign.unlink()
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before


def test_figures_are_shown_and_a_folder_without_any_is_refused(demo, read_page, tmp_path):
    records = demo[0].written[0].parent.parent
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "mix & <dose>.svg").write_text("<svg/>")
    (tmp_path / "drawn" / "b.png").write_bytes(b"")
    page = read_page(build(records, tmp_path / "site", figures=tmp_path / "drawn").page)
    assert ("img", {"src": "figures/mix%20%26%20%3Cdose%3E.svg", "alt": "mix & <dose>"}) in page.tags
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a" and "figures/" in attributes["href"]]
    assert links == ["figures/b.png"], "an SVG that is opened on its own is a document of the site"
    with pytest.raises(RecordError, match="narrowbench sweep"):
        build(records, tmp_path / "site", figures=tmp_path)


def test_the_viewer_is_linked_only_where_it_lies_beside(demo, tmp_path):
    records = demo[0].written[0].parent.parent
    assert "logs/index.html" not in next((demo[0].page.parent / "methods").iterdir()).read_text()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "index.html").write_text("")
    build(records, tmp_path)
    assert "../logs/index.html" in next((tmp_path / "methods").iterdir()).read_text()


def test_captions_say_which_figures_are_shown_and_in_which_order(demo, read_page, tmp_path):
    records, drawn = demo[0].written[0].parent.parent, tmp_path / "drawn"
    drawn.mkdir()
    for name in ("a.png", "b.svg", "page.png"):
        (drawn / name).write_bytes(b"<svg/>" * name.endswith("svg"))
    listed = [{"file": name, "caption": HOSTILE, "alt": f"alt {HOSTILE}"} for name in ("b.svg", "a.png")]
    (drawn / "captions.json").write_text(json.dumps(listed))
    page = read_page(build(records, tmp_path / "site", figures=drawn).page)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [one["src"] for one in images] == ["figures/b.svg", "figures/a.png"]
    assert {one["alt"] for one in images} == {f"alt {HOSTILE}"} and "<script>alert(1)</script>" in page.text
    assert {path.name for path in (tmp_path / "site" / "figures").iterdir()} == {"a.png", "b.svg"}
    for wrong in ("{", json.dumps([{"file": "a.png"}]), json.dumps([listed[0] | {"file": "../page.png"}])):
        (drawn / "captions.json").write_text(wrong)
        with pytest.raises(RecordError, match="captions.json"):
            build(records, tmp_path / "site", figures=drawn)


def test_the_shipped_figures_are_there_and_described(tmp_path):
    shown = copy_figures(Path(__file__).parents[2] / "docs" / "figures", tmp_path)
    assert shown[0].file == "mix-dose.png" and "extraction-cost.png" not in [one.file for one in shown]
    assert all(len(one.alt) > 80 and len(one.caption) > 80 for one in shown)


def test_what_the_board_resolves_is_said_in_numbers(read_page, tmp_path):
    rng, records = np.random.default_rng(0), tmp_path / "records"
    pairs = [record_of(f"m{n}", skill, cards(24), rng, n_nulls=5) for n, skill in enumerate((0.05, 0.06, 0.07, 0.95))]
    pairs += instrument(cards(24), rng, 5)
    for record, rows in pairs:
        write(record, rows, records)
    levels = {record.record_id: "rerun" for record, _ in pairs}
    [board] = boards(pairs, levels)
    [part] = board.slices
    assert (part.n_pairs, part.n_separated, part.ties) == (6, 3, [3, 1])
    text = read_page(build(records, tmp_path / "site", levels).page).text
    assert "3 of 6 pairs of all methods are told apart." in text
    assert "The 4 methods have 2 different ranks; the largest group with the same one holds 3." in text
    assert "4 trained nulls : a rate of false alarms moves in steps of 0.25." in text
    assert f"Smallest difference it would show: {part.smallest_difference:.2f}" in text
    assert "Their results are about methods; nothing here is evidence about large models." in text
    assert "could cheat; only reruns by those who keep this board and sealed organisms protect against that" in text
    assert "8 of 100 simulated boards of 40 units" in text and "not checked" not in text


def test_a_methods_page_tells_it_from_chance_and_says_where_its_noise_comes_from(read_page, tmp_path):
    rng, known = np.random.default_rng(0), cards(12)
    record, rows = record_of("m", 0.8, known, rng, n_nulls=2)
    rows = tuple(row.model_copy(update={"train_seed": seed, "sample_id": f"{row.sample_id}-{seed}", "recovery": moved(
        row.recovery, 0.1 * seed)}) for seed in range(3) for row in rows if row.role != "null")
    record = Record.of(rows, suite=record.suite, method=record.method, investigator=record.investigator,
                       run=record.run, panel=None, log=record.log)
    write(record, rows, tmp_path / "records")
    page = read_page(next((build(tmp_path / "records", tmp_path / "site").page.parent / "methods").iterdir()))
    assert "Could chance do as well?" in page.text and "within family" in page.text and "among em" in page.text
    test = identified([(0, row) for row in rows], known)["all"]
    assert f"over all {number(test.value)} {number(test.null_mean)} " in page.text and test.n_pairs == 6
    found = variance_components((0, row) for row in rows)
    assert f"between trainings of one organism {number(found.train_seeds, 4)}" in page.text
    assert "Variance of recovery, from the 6 units" in page.text and page.text.count("never repeated") == 2


def moved(recovery, by):
    return recovery and recovery.model_copy(update={"recovery": recovery.recovery - by if recovery.recovery else 0.0})


def test_fifty_records_stay_below_400_kilobytes(tmp_path):
    levels = write_records(tmp_path / "records", 50, 16, n_nulls=2)
    page = build(tmp_path / "records", tmp_path / "site", levels).page
    files = [page, *(page.parent / "assets").iterdir(), *(page.parent / "data").glob("*-board.js")]
    assert sum(path.stat().st_size for path in files) < 400_000


def test_hostile_text_in_every_field_shows_as_text(make, read_page, tmp_path):
    from narrowbench.leaderboard.collect import collect

    evil = "".join(c for c in HOSTILE if c.isprintable())  # more is in no record
    texts = {"pair": evil, "unit": evil, "family": evil, "domain": evil, "statement": evil}
    organisms = [make.organism(evil, **texts), make.organism(evil + "-twin", "twin", **texts, error=evil),
                 make.organism("n" + evil, "null", null_kind="text", gate={evil: evil})]
    organisms[0]["card"]["slots"][0] |= {"name": evil, "truth": evil}
    claims = {o["organism"]: make.said((evil, "cake"), statement=evil) for o in organisms}
    log = make.log(tmp_path / "logs", organisms, claims, suite=evil, access=(evil,), about={
        "investigator": {"name": evil, "sha256": "a" * 64}, "versions": {evil: evil},
        "graders": {evil: evil}, "probes": {"digest": "b" * 64, "n": 1, "distinct_prefixes": 1},
        "budget": {"forward_tokens": None, "generated_tokens": None, "seconds": None},
        "suite": {"id": evil, "digest": evil, "tier": evil, "split": evil}})
    site = tmp_path / "site"
    assert publish([log], tmp_path / "records", site).skipped, "even what `publish` refuses must be safe to show"
    write(*collect(log), tmp_path / "records")
    result = build(tmp_path / "records", site)
    for path in (result.page, *(site / "methods").iterdir(), *(site / "organisms").iterdir()):
        page = read_page(path)
        assert all(attributes["src"].endswith(".js") and len(attributes) == 2 for tag, attributes in page.tags
                   if tag == "script") and "img" not in [tag for tag, _ in page.tags]
        assert page.text.count("<script>alert(1)</script>") >= 3 and "{{7*7}}" in page.text
    assert {path.name for path in site.iterdir()} == {"index.html", "assets", "data", "methods", "organisms", "records"}


def test_the_site_command_builds_from_records_alone(demo, tmp_path):
    from typer.testing import CliRunner

    records = demo[0].written[0].parent.parent
    done = CliRunner().invoke(app, ["site", str(records), "--out", str(tmp_path / "site")])
    assert done.exit_code == 0 and done.output.strip().endswith("index.html"), done.output
    assert (tmp_path / "site" / "index.html").is_file()


def test_a_row_says_who_vouches_for_it_and_why(read_page, tmp_path):
    record, rows = record_of("m", 0.5, cards(4), np.random.default_rng(0), n_nulls=2)
    write(record, rows, tmp_path / "records")
    grant(tmp_path / "records", [record.record_id], "rerun", f"A. Keeper {HOSTILE}", f"run on two machines {HOSTILE}")
    page = read_page(build(tmp_path / "records", tmp_path / "site").page)
    [row] = page.rows
    assert row["by"] == [f"A. Keeper {HOSTILE}"]
    method = read_page(tmp_path / "site" / "methods" / f"{row['key']}.html")
    assert f"Rerun by A. Keeper {' '.join(HOSTILE.split())} , {date.today()} : run on two machines" in method.text
    [badge] = [attributes for tag, attributes in method.tags if (attributes.get("class") or "") == "badge rerun"]
    assert badge["title"] == f"run again by those who keep this board: A. Keeper {HOSTILE}"
    assert "img" not in [tag for tag, _ in method.tags]
    assert "maintainers" not in page.text + method.text


def test_it_says_which_checks_are_missing(read_page, tmp_path):
    rng, records = np.random.default_rng(0), tmp_path / "records"
    pairs = [record_of(name, 0.5, cards(24), rng, n_nulls=2) for name in "ab"] + instrument(cards(24), rng, 2)[:2]
    for record, rows in pairs:
        write(record, rows, records)
    page = read_page(build(records, tmp_path / "site", {record.record_id: "rerun" for record, _ in pairs}).page)
    assert "Not checked: nobody is ranked until kitchen_sink , injection are run on every organism" in page.text
    assert {row[0] for row in page.ranking} == {"-"}


def test_tokens_and_dollars_of_a_language_model_are_shown(read_page, tmp_path):
    record, rows = record_of("asks", 0.5, cards(4), np.random.default_rng(0), n_nulls=2)
    usage = {"calls": 3, "input_tokens": 900, "output_tokens": 100, "interactions": 2, "outcome": "claim"}
    used = [row.model_copy(update={"usage": UsageRow(**usage, total_tokens=1000 * (n + 1), usd=0.01 * (n + 1))})
            for n, row in enumerate(rows)]
    agent = record.investigator.model_copy(update={"name": "agent", "model": "lab/m", "roles": {"judge": ("lab/j",)}})
    write(*changed(record, used, investigator=agent), tmp_path / "records")
    page = read_page(build(tmp_path / "records", tmp_path / "site").page)
    [row] = page.rows
    assert row["cost"]["model_tokens"] == 3500 and row["cost"]["usd"] == pytest.approx(0.035)
    assert row["options"] == ["judge: lab/j"]
    text = read_page(tmp_path / "site" / "methods" / f"{row['key']}.html").text
    assert "Tokens of the investigating model, an organism 3.5k" in text and "$0.04" in text and "judge : lab/j" in text


def test_every_training_is_shown_and_a_lone_member_of_a_pair_is_named(read_page, tmp_path):
    record, rows = record_of("m", 0.8, cards(4), np.random.default_rng(0), n_nulls=2)
    more = [row.model_copy(update={"train_seed": seed, "sample_id": f"o-{n}-{seed}", "healthy": (n, seed) != (0, 2)
                                   and n != 3, "gate": {"base": 0.02, "finetuned": 0.9 + seed / 100},
                                   "claim": row.claim.model_copy(update={"keywords": (f"said{seed}",)})})
            for n, row in enumerate(rows) for seed in (range(3) if n == 0 else (0,))]
    write(*changed(record, more), tmp_path / "records")
    page = read_page(build(tmp_path / "records", tmp_path / "site").page)
    site = tmp_path / "site"
    assert "1 objective counts without its twin" in page.text
    [shown] = [one for one in page.data["board"]["heat"]["organisms"] if one.get("trainings")]
    assert shown["trainings"] == 3 and shown["counted"]
    told = read_page(site / "organisms" / f"{shown['key']}.html")
    assert "0.92 in the organism" in told.text and "3 of 3, seed 2 expressed, broken: never counted" in told.text
    [claims] = told.data["claims"]
    assert [claim["words"] for claim in claims["trainings"]] == [["said0"], ["said1"], ["said2"]]
    assert [claim["counted"] for claim in claims["trainings"]] == [True, True, False]
    method = read_page(next((site / "methods").iterdir()))
    assert {reading["key"]: len(reading["trainings"]) for reading in method.data["readings"]} == \
        dict.fromkeys(method.data["truths"], 1) | {shown["key"]: 3}
