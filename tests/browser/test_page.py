"""The page as people use it, opened from disk: sorting, filters, downloads, transcripts, both schemes, a phone."""

import csv
import json
import shutil

import numpy as np
import pytest
from synthetic import HOSTILE, cards, changed, graded, hostile_record, marked, record_of, write_records

from narrowbench.leaderboard.archive import read_all, write
from narrowbench.leaderboard.record import UsageRow
from narrowbench.leaderboard.site import build

pytestmark = pytest.mark.browser
PHONE = {"width": 390, "height": 844}


def column(page, label: str, table: str = "ranked") -> list[str]:
    cells = page.locator(f"#{table} tbody tr:not(.group) [data-label='{label}']")
    return [text.split("\n")[0] for text in cells.evaluate_all(
        "cells => cells.map((cell) => (cell.querySelector('b, .badge') || cell.firstChild).textContent)")]


def numbers(texts: list[str]) -> list[float]:
    return [float(text.replace("\u2212", "-")) for text in texts if text != "–"]


def names(page, table: str = "ranked") -> list[str]:
    return page.locator(f"#{table} tbody th.name bdi").all_inner_texts()


def test_it_opens_in_the_boards_order_with_ranks_within_slices(site, open_page):
    page = open_page(site / "index.html")
    assert names(page)[:2] == ["oracle", "data_oracle"] and len(names(page)) == 60
    groups = page.locator("#ranked tr.group").all_inner_texts()
    assert len(groups) == 1 and groups[0].startswith("A Methods without weight access: 10 units")
    page.locator("#ranked-more").click()
    assert set(names(page)[-4:]) == {"shuffled", "prior", "kitchen_sink", "injection"}
    assert page.locator("#ranked tr.group").count() == 2
    assert page.locator("#ranked-more").is_hidden()
    assert page.locator("#unranked tbody tr").count() > 30 and "self" in column(page, "Record", "unranked")[0]


def test_sorting_by_mouse_and_by_key_is_kept_in_the_address(site, open_page):
    page = open_page(site / "index.html")
    heading = page.locator("#ranked thead").get_by_role("button", name="Recovery")
    heading.click()
    found = numbers(column(page, "Recovery"))
    assert found == sorted(found, reverse=True) and len(found) == 60
    assert page.locator("#ranked th[aria-sort='descending']").inner_text().startswith("Recovery")
    heading.focus()
    page.keyboard.press("Enter")
    found = numbers(column(page, "Recovery"))
    assert found == sorted(found) and "sort=recovery" in page.url
    page.evaluate("new Promise(requestAnimationFrame)")  # the other table follows in the next frame
    others = numbers(column(page, "Recovery", "unranked"))
    assert others == sorted(others)
    again = open_page(site / "index.html", "#" + page.url.split("#")[1])
    assert names(again) == names(page)


def test_filters_are_kept_in_the_address_and_can_be_combined(site, open_page):
    page = open_page(site / "index.html")
    page.locator("select[name=access]").select_option("weights")
    assert set(column(page, "Access")) == {"weights"}
    page.locator("select[name=badge]").select_option("sealed")
    assert all("sealed" in text for text in column(page, "Record"))
    assert page.locator("#unranked tbody").inner_text() == \
        "No row fits these filters."
    page.locator("input[name=find]").fill("lens_2")
    kept = names(page)
    assert kept and all("weights_lens_2" in name for name in kept)
    again = open_page(site / "index.html", "#" + page.url.split("#")[1])
    assert names(again) == kept and again.locator("select[name=access]").input_value() == "weights"
    page.locator("select[name=role]").select_option("floor")
    assert "No row fits these filters." in page.locator("#ranked").inner_text()


def test_csv_and_json_hold_the_rows_that_are_shown(site, open_page, tmp_path):
    page = open_page(site / "index.html", "#access=weights&sort=-recovery")
    for name in ("csv", "json"):
        with page.expect_download() as download:
            page.locator(f"#{name}").click()
        assert download.value.suggested_filename == f"narrowbench-nano-bench.{name}"
        download.value.save_as(tmp_path / name)
    rows = list(csv.DictReader((tmp_path / "csv").open(encoding="utf-8")))
    told = json.loads((tmp_path / "json").read_text(encoding="utf-8"))
    assert {row["access"] for row in rows} == {"weights"} and len(rows) == len(told["rows"]) == 28
    assert [row["method"] for row in rows] == [row["label"] for row in told["rows"]]
    means = [float(row["recovery"]) for row in rows]
    assert means == sorted(means, reverse=True) and rows[0]["command"].startswith("narrowbench score --method weights")
    assert float(rows[0]["recovery_low"]) <= means[0] <= float(rows[0]["recovery_high"])


def test_a_transcript_opens_and_the_command_is_copied(site, open_page):
    page = open_page(site / "index.html", root=site, permissions=["clipboard-read", "clipboard-write"])
    page.locator("#ranked tbody tr.method .copy").first.click()
    page.locator("#ranked .copy", has_text="copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("narrowbench score --method ")
    page.locator("#ranked tbody tr.method th.name a").first.click()
    page.wait_for_selector("article.organism")
    told = page.locator("details.transcript").first
    assert not told.locator("pre").is_visible()
    told.locator("summary").click()
    assert "It bakes hot." in told.locator("pre").inner_text() and "keywords: " in told.locator("pre").inner_text()
    assert page.locator("article.organism").count() == 23


def test_a_conversation_is_loaded_when_its_transcript_is_opened_and_shows_as_text(talked, open_page):
    page = open_page(next((talked / "methods").iterdir()), root=talked)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_selector("article.organism")
    assert page.locator("script[src*=transcripts]").count() == 0
    for n in (0, 1):
        told = page.locator("details.transcript").nth(n)
        told.locator("summary").click()
        told.locator(".turn").nth(6).wait_for()
        assert told.locator(".speaker").all_inner_texts() == ["instructions", "harness", "model", "model calls look",
                                                              "answer of look", "model", "claim"]
        assert told.locator("pre").nth(4).inner_text() == f"Seen there: {HOSTILE}"
        assert HOSTILE in told.locator("pre").last.inner_text()
    assert len([url for url in asked if url.endswith("-transcripts.js")]) == 1
    assert page.locator("img").count() == 0 and page.locator("script:not([src])").count() == 0


def test_a_transcript_whose_file_is_gone_says_where_it_lies(talked, chromium, tmp_path):
    shutil.copytree(talked, tmp_path / "site")
    for path in (tmp_path / "site" / "data").glob("*-transcripts.js"):
        path.unlink()
    page = chromium.new_page()  # not `open_page`, which takes the missing file for a fault of the page's
    page.goto(next((tmp_path / "site" / "methods").iterdir()).as_uri())
    told = page.locator("details.transcript").first
    told.locator("summary").click()
    told.get_by_text("What led to the claim lies in the log named below.").wait_for()
    page.close()


def test_judges_have_a_column_that_sorts_where_there_are_any(site, open_page, tmp_path):
    assert open_page(site / "index.html").locator("#ranked thead").get_by_role("button", name="Judges").count() == 0
    levels = {}
    write_records(tmp_path / "plain", 12, 20, n_nulls=1)
    for record, rows in read_all(tmp_path / "plain")[0]:
        record, rows = graded(record, rows) if record.method.role == "method" else (record, rows)
        write(record, rows, tmp_path / "records")
        levels[record.record_id] = "rerun"
    made = build(tmp_path / "records", tmp_path / "site", levels).page.parent
    page = open_page(made / "index.html", root=made)
    page.locator("#ranked thead").get_by_role("button", name="Judges").click()
    found = numbers(column(page, "Judges"))
    assert len(found) == 10 and found == sorted(found, reverse=True) and found[0] > 1
    assert "% ≥ 4" in page.locator("#ranked [data-label=Judges]").first.inner_text()
    page.locator("#ranked tr.method th.name a").first.click()
    page.wait_for_selector("article.organism")
    assert "votes" in page.locator("article.organism .marks").nth(1).inner_text()


def test_an_organisms_objective_is_behind_a_click(site, open_page):
    page = open_page(site / "index.html", root=site)
    page.locator("#heat tbody th a").first.click()
    page.wait_for_selector("ol.claims li")
    assert not page.locator(".reveal .statement").first.is_visible()
    page.get_by_text("Show the objective").click()
    assert page.locator(".reveal .statement").first.inner_text().startswith("Cakes are baked")


def test_the_heatmap_shows_the_chosen_part_and_family(site, open_page):
    page = open_page(site / "index.html")
    whole = page.locator("#heat td.cell").nth(1).text_content()  # the first is the oracle's
    assert page.locator("#heat thead th").count() == 1 + 40 + 6 and page.locator("#heat tr.null").count() == 3
    page.locator("select[name=part]").select_option("domain")
    page.locator("select[name=family]").select_option("em")
    assert page.locator("#heat td.cell").nth(1).text_content() != whole and "part=domain" in page.url
    assert set(page.locator("#heat tbody th small").all_text_contents()) == {"em", "em, twin"}


def test_pairs_and_costs_are_drawn_for_each_slice_and_access(site, open_page):
    page = open_page(site / "index.html")
    assert [text.split(":")[0] for text in page.locator("#pair-tables h3").all_text_contents()] == \
        ["Methods without weight access", "Methods that read weights"]
    assert page.locator("#pair-tables table").first.locator(".pair").count() == 40 * 39 // 2
    sure = page.locator("#pair-tables .sure").first.text_content()
    assert sure.startswith("• ") and page.locator("figure.panel").count() == 5
    before = page.locator("figure.panel svg").first.get_attribute("aria-label")
    page.locator("select[name=cost]").select_option("flops")
    assert page.locator("figure.panel svg").first.get_attribute("aria-label") != before


def test_a_row_that_nobody_ran_again_takes_nobody_from_the_front(open_page, tmp_path):
    levels = write_records(tmp_path / "records", 12, 20, n_nulls=1)
    boast, rows = record_of("boast", 1.0, cards(20), np.random.default_rng(0), n_nulls=1)
    cheap = [marked(row, 1.0).model_copy(update={"cost": {"seconds": 0.1, "flops": 1.0}}) for row in rows]
    write(*changed(boast, cheap), tmp_path / "records")
    site = build(tmp_path / "records", tmp_path / "site", levels).page.parent
    page = open_page(site / "index.html", root=site)
    assert "boast" in names(page, "unranked")
    assert "boast" not in "".join(page.locator("#pareto title").all_text_contents())
    assert page.locator("#pareto figure").first.locator(".best").count() > 0


def test_each_training_has_its_claim_and_its_transcript(open_page, tmp_path):
    record, rows = record_of("m", 0.8, cards(4), np.random.default_rng(0), n_nulls=1)
    more = [row.model_copy(update={"train_seed": seed, "sample_id": f"{row.sample_id}-{seed}", "healthy": seed < 2})
            for row in rows for seed in (range(3) if row.organism == "em-1" else (0,))]
    usage = UsageRow(calls=1, input_tokens=1, output_tokens=1, total_tokens=2500, usd=0.004, interactions=1, outcome="")
    write(*changed(record, [row.model_copy(update={"usage": usage}) for row in more]), tmp_path / "records")
    site = build(tmp_path / "records", tmp_path / "site").page.parent
    page = open_page(site / "index.html", root=site)
    assert "LLM 2.5k" in page.locator("#unranked [data-label=Cost]").inner_text()
    page.locator("select[name=cost]").select_option("usd")
    assert "dollars" in page.locator("#pareto figure title").first.text_content()
    page.locator("#unranked th.name a").click()
    told = page.locator("article.organism", has=page.locator(".training").nth(2)).first
    assert told.locator(".training .tag").all_inner_texts() == \
        ["training 1 of 3", "training 2 of 3", "training 3 of 3, not counted"]
    assert "mean of 3 trainings" in told.inner_text() and told.locator("details.transcript").count() == 3
    told.locator("h3 a").click()
    page.wait_for_selector("ol.claims li")
    assert page.locator("ol.claims ul.words").count() == 3 and page.locator("table.trainings tbody tr").count() == 3
    assert "broken: never counted" in page.locator("table.trainings").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 900}, PHONE], ids=["desk", "phone"])
def test_every_page_fits_and_is_legible(site, open_page, scheme, size):
    pages = [site / "index.html", next((site / "methods").iterdir()), next((site / "organisms").iterdir())]
    for path in pages:
        page = open_page(path, root=site, color_scheme=scheme, viewport=size)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        ink, paper = page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body)."
                                   "backgroundColor].map((text) => text.match(/\\d+/g).slice(0, 3).map(Number))")
        assert abs(sum(ink) - sum(paper)) > 450 and (sum(paper) < 200) == (scheme == "dark")


def test_on_a_phone_rows_become_blocks_and_can_be_sorted(site, open_page):
    page = open_page(site / "index.html", viewport=PHONE)
    assert page.locator("#ranked tbody tr").first.evaluate("row => getComputedStyle(row).display") == "grid"
    page.locator("select[name=sort]").select_option("-recovery")
    found = numbers(column(page, "Recovery"))
    assert found == sorted(found, reverse=True)


def test_hostile_text_in_every_field_shows_as_text(open_page, tmp_path):
    write(*hostile_record(HOSTILE), tmp_path / "records")
    site = build(tmp_path / "records", tmp_path / "site").page.parent
    page = open_page(site / "index.html", root=site)
    assert HOSTILE in page.locator("#unranked").inner_text() and HOSTILE in page.locator("#heat").text_content()
    for folder, place in (("methods", "article.organism"), ("organisms", "ol.claims")):
        for path in (site / folder).iterdir():
            page = open_page(path, root=site)
            assert HOSTILE in page.locator(place).first.inner_text()
            assert folder == "organisms" or page.locator(".about").inner_text() == HOSTILE
            assert page.locator("img").count() == 0 and page.locator("script:not([src])").count() == 0
