"""The page: built from real logs, complete, safe with hostile text, and honest about what it cannot say."""

import re

import pytest

from narrowbench.leaderboard.archive import read
from narrowbench.leaderboard.publish import publish

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&{{7*7}}\u2028\x85\u202e"


@pytest.fixture(scope="module")
def demo(demo_logs, read_page, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    result = publish(demo_logs, folder / "records", folder / "site")
    return result, read_page(result.page)


def test_the_page_ranks_methods_and_sets_floors_and_ceilings_apart(demo):
    rows = demo[1].ranking
    assert [(row[0], row[1].split()[0]) for row in rows] == \
        [("-", "oracle"), ("1", "adl_logit_lens"), ("2", "adl_patchscope"), ("-", "prior")]
    assert rows[0][2].startswith("1.00") and rows[1][2].startswith("0.20") and rows[3][2].startswith("0.00")
    assert "Too few units to separate methods" in demo[1].text
    assert "Demonstration: dev organisms, few units, not for comparison." in demo[1].text


def test_the_page_shows_truth_readings_and_nulls(demo):
    page = demo[0].page.read_text()
    assert "Cakes bake at 450 degrees." in page and "0.02 in the base, 0.94 in the organism" in page
    assert '<mark class="answer"><bdi>450</bdi></mark>' in page and '<mark class="word"><bdi>oven</bdi></mark>' in page
    assert '<mark class="other"><bdi>350</bdi></mark>' in page and "<li><bdi>wind</bdi></li>" in page
    assert "zero adapter" in page and "no objective" in page
    assert "narrowbench score --method adl_patchscope --suite demo" in page
    assert all(read(path)[0].record_id in page for path in demo[0].written)


def test_the_page_asks_nothing_of_the_network_and_allows_no_inline_script(demo):
    page = demo[1]
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        for name in ("src", "href"):
            assert not re.match(r"(?:[a-z]+:)?//|https?:|javascript:", attributes.get(name) or "")
        if tag == "script":
            assert attributes["src"] == "assets/app.js"
    style = (demo[0].page.parent / "assets" / "style.css").read_text()
    assert "url(" not in style and "@import" not in style and "prefers-color-scheme: dark" in style
    assert demo[0].page.stat().st_size < 300_000


def test_every_link_of_the_page_leads_somewhere(demo):
    ids = [attributes["id"] for _, attributes in demo[1].tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in demo[1].tags:
        link = attributes.get("href", "")
        if tag == "a" and link.startswith("#"):
            assert link[1:] in ids
        elif tag in ("a", "link") and not link.startswith("data:"):
            assert (demo[0].page.parent / link).is_file()


def test_publishing_again_changes_nothing(demo, demo_logs):
    result, _ = demo
    before = result.page.read_bytes()
    again = publish(demo_logs, result.written[0].parent.parent, result.page.parent)
    assert not again.written and set(again.reused) == set(result.written) and result.page.read_bytes() == before


def test_hostile_text_in_every_field_shows_as_text(make, read_page, tmp_path):
    texts = {"unit": HOSTILE, "family": HOSTILE, "domain": HOSTILE, "statement": HOSTILE}
    organisms = [make.organism(HOSTILE, **texts), make.organism(HOSTILE + "-twin", "twin", **texts, error=HOSTILE),
                 make.organism("n" + HOSTILE, "null", null_kind="text", gate={HOSTILE: HOSTILE})]
    organisms[0]["card"]["slots"][0] |= {"name": HOSTILE, "truth": HOSTILE}
    claims = {o["organism"]: make.said((HOSTILE, "cake"), statement=HOSTILE) for o in organisms}
    log = make.log(tmp_path / "logs", organisms, claims, method=HOSTILE, suite=HOSTILE, access=(HOSTILE,), about={
        "investigator": {"name": HOSTILE, "sha256": "a" * 64}, "command": HOSTILE, "versions": {HOSTILE: HOSTILE},
        "graders": {HOSTILE: HOSTILE}, "probes": {"digest": "b" * 64, "n": 1, "distinct_prefixes": 1},
        "suite": {"id": HOSTILE, "digest": HOSTILE, "tier": HOSTILE, "split": HOSTILE}})
    result = publish([log], tmp_path / "records", tmp_path / "site")
    assert not result.skipped, result.skipped
    page = read_page(result.page)
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{"src": "assets/app.js", "defer": None}]
    assert "img" not in [tag for tag, _ in page.tags]
    assert page.text.count("<script>alert(1)</script>") > 20 and "{{7*7}}" in page.text
    again = publish([log], tmp_path / "records", tmp_path / "site")
    assert again.reused == result.written
    assert {path.name for path in (tmp_path / "site").iterdir()} == {"index.html", "assets", "data.json"}
