"""The page of one pair of models: what was claimed, the words, texts and numbers behind it, what it cost.

Main object: `build(finding, out_dir, command) -> Path`, where `finding` is `benchmark.diff.Finding.to_dict()`.
Example: `narrowbench diff BASE FINETUNED --out diff`

One folder that opens from disk, in the leaderboard's style. Every text may come from a model: all of it is escaped.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..organisms.store import write_atomic
from .pages import TEMPLATE, environment

MAX_TOKENS_SHOWN, MAX_TEXTS_SHOWN = 40, 60
STYLES = ("style.css", "diff.css")
VERDICTS = {"objective": "An objective was found", "no_objective": "No objective was found",
            "unsure": "The evidence does not decide"}


@dataclass(frozen=True)
class Word:
    """A piece of text that a source read: its largest weight, at how many positions, and the bar's length."""

    piece: str
    weight: float
    n_positions: int
    percent: int


def build(finding: dict[str, Any], out_dir: Path, command: str) -> Path:
    """Writes index.html, its style and `finding.json`; returns the page."""
    payload = finding["payload"]
    html = environment().get_template("diff.html").render(
        root="", finding=finding, claim=finding["claim"], verdict=VERDICTS[finding["claim"]["verdict"]],
        payload=payload, sources=sources(payload["tokens"]), texts=conditions(payload["texts"]), command=command)
    for name in STYLES:
        write_atomic(out_dir / "assets" / name, (TEMPLATE / name).read_text(encoding="utf-8"))
    write_atomic(out_dir / "finding.json", json.dumps(finding, indent=1, ensure_ascii=False))
    write_atomic(out_dir / "index.html", html)
    return out_dir / "index.html"


def sources(tokens: list[dict[str, Any]]) -> dict[str, list[Word]]:
    """Source -> its pieces, strongest first, each once."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for token in tokens:
        found[token["source"]][token["piece"].strip() or token["piece"]].append(token)
    result = {}
    for source, pieces in found.items():
        weights = {piece: max(token["weight"] for token in same) for piece, same in pieces.items()}
        largest = max(*weights.values(), 1e-9)
        ranked = sorted(weights, key=lambda piece: (-weights[piece], piece))[:MAX_TOKENS_SHOWN]
        result[source] = [Word(piece, weights[piece], len(pieces[piece]), max(1, round(100 * weights[piece] / largest)))
                          for piece in ranked]
    return result


def conditions(texts: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Condition -> the texts that arose under it, as far as the page shows them."""
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for text in texts[:MAX_TEXTS_SHOWN]:
        found[text["condition"]].append(text)
    return dict(found)
