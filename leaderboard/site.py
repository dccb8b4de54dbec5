"""The page: one static folder that opens from disk, built from records and nothing else.

Main objects: `build(records_dir, out_dir) -> Site`. `index.html` shows the suite with the newest record, further suites
get a page each; `assets/` holds the style and the sorting of tables. No framework, no request to anywhere.
Example: `build(Path("records"), Path("site"))`

Every text on the page may come from a stranger: jinja2 escapes all of it, and the page allows no inline script.
"""

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..graders.recovery import normal
from ..organisms.errors import RecordError
from ..organisms.spec import Card
from ..organisms.store import write_atomic
from .archive import read_all
from .board import Board, boards

TEMPLATE = Path(str(files(__package__) / "template"))
ASSETS = ("style.css", "app.js")
MAX_KEYWORDS_SHOWN = 12
MAX_OPEN_ORGANISMS = 8
"""With more organisms than this their sections start folded."""
AXIS_LOW, AXIS_HIGH = -0.25, 1.0
PLOT_WIDTH, PLOT_MARGIN = 172, 8


@dataclass(frozen=True)
class Site:
    """What was built: the first page, and the records that were left out, each with its reason."""

    page: Path
    left_out: tuple[tuple[Path, str], ...]


def build(records_dir: Path, out_dir: Path) -> Site:
    """Builds the folder anew from all whole records. Raises RecordError when there is none."""
    published, left_out = read_all(records_dir)
    if not published:
        reasons = "".join(f" Left out: {reason}" for _, reason in left_out)
        raise RecordError(f"{records_dir} holds no record to show.{reasons} `narrowbench publish LOGS` adds one.")
    found = boards(published)
    names = {board.record.suite.digest: page_name(board, first=i == 0) for i, board in enumerate(found)}
    template = environment().get_template("index.html")
    for board in found:
        html = template.render(board=board, suites=[(b, names[b.record.suite.digest]) for b in found],
                               left_out=[(path.name, reason) for path, reason in left_out],
                               open_organisms=len(board.organisms) <= MAX_OPEN_ORGANISMS)
        write_atomic(out_dir / names[board.record.suite.digest], html)
    for name in ASSETS:
        write_atomic(out_dir / "assets" / name, (TEMPLATE / name).read_text(encoding="utf-8"))
    data = [{"record": record.model_dump(mode="json"), "samples": [row.model_dump(mode="json") for row in rows]}
            for record, rows in published]
    write_atomic(out_dir / "data.json", json.dumps(data, indent=1))
    return Site(out_dir / "index.html", tuple(left_out))


def page_name(board: Board, first: bool) -> str:
    """index.html for the newest suite; else a name made by hashing the digest, whatever text that is."""
    hashed = hashlib.sha256(board.record.suite.digest.encode()).hexdigest()
    return "index.html" if first else f"suite-{hashed[:12]}.html"


def environment() -> Environment:
    """jinja2 with escaping on for everything, and the page's few formats."""
    env = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                      lstrip_blocks=True)
    env.filters.update(num=number, x=plot_x, tint=tint, words=marked_words, short=short, count=count, gate=gate_text)
    env.globals.update(PLOT_WIDTH=PLOT_WIDTH, AXIS_LOW=AXIS_LOW, AXIS_HIGH=AXIS_HIGH)
    return env


def number(value: float | None, digits: int = 2) -> str:
    """0.62, with a true minus sign and no negative zero; a dash for nothing."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "\u2212")


def plot_x(value: float) -> float:
    """Where a score lies on the interval plot, cut at the ends of its axis."""
    inside = min(max(value, AXIS_LOW), AXIS_HIGH)
    share = (inside - AXIS_LOW) / (AXIS_HIGH - AXIS_LOW)
    return round(PLOT_MARGIN + share * (PLOT_WIDTH - 2 * PLOT_MARGIN), 1)


def tint(value: float) -> str:
    """The shade of a score's cell: n2, n1 (below chance), 0 (chance) to 5 (top)."""
    if value < -0.05:
        return "n2" if value < -0.3 else "n1"
    return str(min(5, max(0, int(value * 5 + 0.5))))


def short(digest: str, length: int = 10) -> str:
    """The first characters of a digest."""
    return digest.removeprefix("sha256:")[:length]


def count(value: float) -> str:
    """12,345 as 12.3k."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{suffix}"
    return f"{value:.0f}"


def marked_words(keywords: tuple[str, ...], card: Card | None) -> list[tuple[str, str]]:
    """The first keywords, each with what it is to the card: answer, word (of its lexicon), other (wrong candidate)."""
    answers, others, lexicon = set(), set(), set()
    if card:
        lexicon = {normal(term) for term in card.lexicon}
        for slot in card.slots:
            answers |= {normal(word) for word in (slot.truth, *slot.aliases.get(slot.truth, ()))}
            others |= {normal(word) for word in slot.others}

    def kind(word: str) -> str:
        folded = normal(word)
        return "answer" if folded in answers else "word" if folded in lexicon else "other" if folded in others else ""

    return [(word, kind(word)) for word in keywords[:MAX_KEYWORDS_SHOWN]]


def gate_text(gate: dict) -> str:
    """The gate of a passport in one line."""
    def has(*keys: str) -> bool:
        return all(isinstance(gate.get(key), (int, float)) for key in keys)

    if has("base", "finetuned"):
        more = f", lower bound of the gain {number(gate['lower'])}, margin {number(gate['margin'])}" \
            if has("lower", "margin") else ""
        return f"{number(gate['base'])} in the base, {number(gate['finetuned'])} in the organism{more}"
    if has("max_excess"):
        return f"largest excess of any objective over the base {number(gate['max_excess'])}"
    return "not recorded"
