"""The page of a pair: it says what was found, and no text of a model becomes markup."""

import json

from narrowbench.leaderboard.diff_page import build, sources

EVIL = "<script>alert(1)</script>"


def finding(**changes):
    return {"base": f"base{EVIL}", "finetuned": f"ft{EVIL}", "method": f"m{EVIL}", "version": "1", "n_probes": 3,
            "payload": {"tokens": [{"piece": f" {EVIL}", "weight": 2.0, "source": f"s{EVIL}", "position": 1},
                                   {"piece": " cake", "weight": 1.0, "source": f"s{EVIL}", "position": 1},
                                   {"piece": "cake", "weight": 1.5, "source": f"s{EVIL}", "position": 2}],
                        "texts": [{"prompt": EVIL, "completion": EVIL, "condition": EVIL}], "stats": {EVIL: 0.5},
                        "detection": 0.7},
            "cost": {"forward_tokens": 12, "generated_tokens": 0, "seconds": 0.5},
            "claim": {"verdict": "objective", "confidence": 0.8, "statement": EVIL, "keywords": [EVIL, "cake"]},
            **changes}


def test_every_text_is_escaped_and_nothing_is_fetched(tmp_path):
    page = build(finding(), tmp_path, f"narrowbench diff {EVIL}")
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html and "&lt;script&gt;" in html and "http" not in html.replace("http-equiv", "")
    assert "An objective was found" in html and "0.70 nats" in html
    assert json.loads((tmp_path / "finding.json").read_text(encoding="utf-8"))["claim"]["keywords"][1] == "cake"
    assert {path.name for path in (tmp_path / "assets").iterdir()} == {"style.css", "diff.css"}


def test_an_empty_finding_has_a_page_too(tmp_path):
    payload = {"tokens": [], "texts": [], "stats": {}, "detection": None}
    claim = {"verdict": "unsure", "confidence": 0.5, "statement": "", "keywords": []}
    html = build(finding(payload=payload, claim=claim), tmp_path, "x").read_text(encoding="utf-8")
    assert "does not decide" in html and "no keywords" in html and "no opinion" in html


def test_a_piece_stands_once_with_its_largest_weight():
    [words] = sources(finding()["payload"]["tokens"]).values()
    assert [(word.piece, word.weight, word.n_positions, word.percent) for word in words] == [
        (EVIL, 2.0, 1, 100), ("cake", 1.5, 2, 75)]
