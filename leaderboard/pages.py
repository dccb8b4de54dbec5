"""How pages are rendered: jinja2 with everything escaped, and the few formats that the templates use.

Main objects: `environment`, `page_name`, `slice_name`.
Example: `environment().get_template("index.html").render(board=board, ...)`
"""

import hashlib
import json
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .board import Board, Slice
from .entries import KEY_DIGITS

BADGES = {"self": ("○", "as its authors ran it"),
          "regraded": ("◐", "claims graded again by those who keep this board"),
          "rerun": ("●", "run again by those who keep this board"),
          "sealed": ("◆", "scored on organisms whose answers were sealed")}
"""Level -> its sign, and what it means; in the ladder's order."""
COST_NAMES = {"seconds": "Seconds", "forward_tokens": "Forward tokens", "generated_tokens": "Generated tokens",
              "flops": "FLOPs", "peak_bytes": "Peak bytes", "model_tokens": "Tokens of the investigating model",
              "usd": "Dollars for the investigating model"}
LONG = 1e9
TEMPLATE = Path(str(files(__package__) / "template"))


def environment() -> Environment:
    """jinja2 with escaping on for everything."""
    env = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                      lstrip_blocks=True)
    env.filters.update(num=number, short=short, count=count, cost=cost_text, gate=gate_text, tojson_text=json_text)
    env.globals |= {"badges": BADGES, "cost_names": COST_NAMES}
    return env


def page_name(board: Board, first: bool) -> str:
    """index.html for the first suite; else a name made by hashing the digest, whatever text that is."""
    hashed = hashlib.sha256(board.record.suite.digest.encode()).hexdigest()
    return "index.html" if first else f"suite-{hashed[:KEY_DIGITS]}.html"


def slice_name(part: Slice, board: Board) -> str:
    """What people call a slice: by the access that decides what its methods are given."""
    if len(board.slices) < 2:
        return "all methods"
    return "methods that read weights" if part.withheld else "methods without weight access"


def number(value: float | None, digits: int = 2) -> str:
    """0.62, with a true minus sign and no negative zero; a dash for nothing."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "\u2212")


def short(digest: str, length: int = 10) -> str:
    """The first characters of a digest."""
    return digest.removeprefix("sha256:")[:length]


def count(value: float) -> str:
    """12,345 as 12.3k."""
    for size, suffix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{suffix}"
    return f"{value:.0f}"


def cost_text(value: float, name: str) -> str:
    """An amount of one of `entries.COSTS`, in words that say its unit."""
    if name == "usd":
        return f"${value:.2g}" if value < 0.01 else f"${value:,.2f}"
    return f"{value:.1f}" if name == "seconds" else count(value)


def gate_text(gate: dict) -> str:
    """The gate of a passport in one line."""
    def has(*keys: str) -> bool:  # numbers that fit a line: a gate is any JSON, and its integers know no bound
        return all(isinstance(value := gate.get(key), (int, float)) and abs(value) < LONG for key in keys)

    if has("base", "finetuned"):
        more = f", lower bound of the gain {number(gate['lower'])}, margin {number(gate['margin'])}" \
            if has("lower", "margin") else ""
        return f"{number(gate['base'])} in the base, {number(gate['finetuned'])} in the organism{more}"
    if has("max_excess"):
        return f"largest excess of any objective over the base {number(gate['max_excess'])}"
    return "not recorded"


def json_text(value: dict) -> str:
    """Readable JSON, still to be escaped (jinja2's own `tojson` marks its result as safe)."""
    return json.dumps(value, indent=1, ensure_ascii=False)
