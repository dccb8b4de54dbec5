"""What a run would ask of models, and take of the device, before anything runs.

Main objects: `Forecast` (one role), `forecast_score`, `forecast_grade`, `device_time`, `forecast_table`.
Example: `narrowbench score -m adl --solver agent --model openai/... --prices prices.yaml --dry-run`

Two numbers stand beside each other. `at most` follows from what an investigation may use (`Allowance`), `expected` from
the medians of logs in the same folder of the same investigator and model. What neither says is unknown, and said to be.
A price is never guessed.
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..graders.word_judge import MAX_TRIES
from ..organisms.store import Store
from .evidence import Survey, survey
from .grade_task import JUDGES
from .investigating import Investigator, load_investigator
from .method import Method
from .settings import configured, needs_judge
from .suite import load_suite

if TYPE_CHECKING:
    from .order import Order

MILLION = 1_000_000
CHARACTERS_PER_TOKEN = 4
"""Roughly, of English; for the prompts of judges, which are known to the letter."""
JUDGE_ANSWER_TOKENS = 1_000
"""What an answer of a judge is counted as, `at most`: judges set no limit of their own."""
DEVICE_S = "Bench:device_s"


@dataclass(frozen=True)
class Forecast:
    """What one model in one role would be asked. None = unknown."""

    role: str
    model: str
    samples: int
    """That are still to be done: organisms, each as often as it has epochs."""
    calls: float | None
    """At most."""
    tokens: float | None
    """At most, read and written."""
    usd: float | None
    """At most; None without a price."""
    expected_calls: float | None = None
    expected_tokens: float | None = None
    expected_usd: float | None = None
    expected_device_s: float | None = None
    """What an investigator's tools take of the device; None = unknown."""
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def forecast_score(method: str, suite: str, who: Investigator, seed: int, store: Store, device: str, log_dir: Path,
                   settings: Mapping[str, Any] | None = None) -> list[Forecast]:
    """What `narrowbench score` of one method would ask of models; each epoch of an organism is a sample."""
    found, source_sha256 = configured(method, settings)
    if not who.models() and not needs_judge(found):
        return []
    have = survey(load_suite(suite), found, source_sha256, seed, store, device=device)
    judging = [_judging(found, sum(cell.evidence is None for cell in have.cells))] if needs_judge(found) else []
    if not who.models():
        return judging
    total = len(have.cells) * who.epochs
    done = _done(method, suite, who, seed, store, device, log_dir, have, settings or {})
    rows = judging
    if who.model:
        rows.append(_investigating(who, total - done, log_dir,
                                   f"{done} of {total} are done" if done else ""))
    rows += [Forecast(role, model, 0, 0, 0, 0.0, note="asked by `narrowbench grade`, not here")
             for role, models in who.roles.items() for model in models]
    return rows


def _judging(method: Method, organisms: int) -> Forecast:
    """What a method asks its judge while it collects from so many organisms, by its own account of its calls."""
    return Forecast("judge", method.judge, organisms, organisms * method.judge_calls_at_most, None, None,
                    expected_calls=organisms * method.judge_calls, expected_device_s=0.0,
                    note="asked by the method while it collects; outside --max-usd")


def forecast_later(order: "Order") -> list[Forecast]:
    """Models of a preset that a method asks without saying how often, and those that grade the log afterwards."""
    rows = [Forecast(role, model, 0, None, None, None, note="asked by the method while it collects; outside --max-usd")
            for role, model in order.helpers.items()
            if not all(needs_judge(configured(*each)[0]) for each in order.methods.items())]
    judged = [one.grader for one in order.graders if one.grader in JUDGES]
    return rows + [Forecast(f"grader ({name})", model, 0, None, None, None, note="grades the log afterwards")
                   for name in judged for model in order.judges.roles.get("grader", ())]


def _investigating(who: Investigator, samples: int, log_dir: Path, note: str) -> Forecast:
    allowance = who.allowance
    loaded = load_investigator(who.name)
    calls = loaded.max_calls or allowance.turns
    most = None if allowance.tokens is None else samples * allowance.tokens
    price = who.prices.get(who.model)
    usd = None if most is None or price is None else most * max(price.values()) / MILLION
    if price is not None and allowance.usd is not None:
        usd = min(samples * allowance.usd, math.inf if usd is None else usd)
    seen = _medians(log_dir, who)
    expected = {"expected_device_s": None if loaded.asks_pair else 0.0}
    if seen is not None:
        expected = {"expected_device_s": samples * seen["device_s"], "expected_calls": samples * seen["calls"],
                    "expected_tokens": samples * (seen["input_tokens"] + seen["output_tokens"])}
        if price is not None:
            expected["expected_usd"] = samples * money(price, seen["input_tokens"], seen["output_tokens"])
    notes = [note, "" if price else "price unknown",
             "device time of its tools unknown" if expected["expected_device_s"] is None else "",
             f"medians of {seen['samples']} samples" if seen else ""]
    return Forecast("investigator", who.model, samples, None if calls is None else samples * calls, most, usd,
                    **expected, note=", ".join(filter(None, notes)))


def money(price: Mapping[str, float], input_tokens: float, output_tokens: float) -> float:
    """Dollars, without a cache."""
    return (input_tokens * price["input"] + output_tokens * price["output"]) / MILLION


def forecast_grade(prompts: Mapping[str, Sequence[int]], who: Investigator, note: str = "") -> list[Forecast]:
    """What judges would be asked.

    Args:
        prompts: Grader -> characters of each prompt that it shows to each judge, all rotations of a list of words.
    """
    rows = []
    for grader, lengths in prompts.items():
        most_calls = len(lengths) * (MAX_TRIES if grader == "token_relevance_judged" else 1)
        times = most_calls / len(lengths) if lengths else 1
        read = times * sum(lengths) / CHARACTERS_PER_TOKEN
        for model in who.roles.get("grader", ()):
            price = who.prices.get(model)
            written = most_calls * JUDGE_ANSWER_TOKENS
            told = ", ".join(filter(None, [note, f"about {CHARACTERS_PER_TOKEN} characters a token, answers counted as "
                                           f"{JUDGE_ANSWER_TOKENS:,} tokens", "" if price else "price unknown"]))
            rows.append(Forecast(f"grader ({grader})", model, len(lengths), most_calls, read + written,
                                 money(price, read, written) if price else None, note=told))
    return rows


def device_time(method: str, suite: str, seed: int, store: Store, device: str,
                settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Seconds that training and collecting would take, each None while the store has nothing to judge by."""
    found, source_sha256 = configured(method, settings)
    cells = survey(load_suite(suite), found, source_sha256, seed, store, device=device).cells
    trainings, readings = sum(cell.organism is None for cell in cells), sum(cell.evidence is None for cell in cells)
    spent = [cell.cost["seconds"] for cell in cells if cell.evidence is not None and "seconds" in cell.cost]
    grown = [passport["seconds"] for cell in cells if cell.organism is not None
             for passport in [json.loads((cell.organism.path / "passport.json").read_text(encoding="utf-8"))]
             if isinstance(passport.get("seconds"), (int, float))]
    return {"trainings": trainings, "training_s": _times(trainings, grown), "readings": readings,
            "reading_s": _times(readings, spent), "device": device}


def _times(n: int, each: Sequence[float]) -> float | None:
    return 0.0 if n == 0 else n * statistics.median(each) if each else None


def _done(method: str, suite: str, who: Investigator, seed: int, store: Store, device: str, log_dir: Path,
          have: Survey, settings: Mapping[str, Any]) -> int:
    """Samples of this exam that a log in the folder has already; 0 while evidence is still to be collected."""
    if have.background is None or not all(cell.ready for cell in have.cells):
        return 0
    from inspect_ai.log import read_eval_log

    from .logs import find_log, find_unfinished
    from .run import exam_of, home_of

    with home_of(store):
        task = exam_of(method, suite, who, seed, have, device, settings)
    inputs = task.metadata["narrowbench"]["inputs_sha256"]
    if find_log(log_dir, inputs, {str(sample.id) for sample in task.dataset})[0] is not None:
        return len(have.cells) * who.epochs
    begun = find_unfinished(log_dir, inputs)
    return sum(sample.error is None for sample in read_eval_log(str(begun)).samples or []) if begun else 0


def _medians(log_dir: Path, who: Investigator) -> dict[str, float] | None:
    """Calls and tokens of one sample, over the logs in a folder of this investigator with this model and allowance."""
    from inspect_ai.log import read_eval_log

    from .logs import UNREADABLE

    rows = []
    wanted = {"name": who.name, "model": who.model, "allowance": asdict(who.allowance)}
    for path in sorted(log_dir.glob("*.eval")):
        try:
            about = (read_eval_log(str(path), header_only=True).eval.metadata or {}).get("narrowbench")
            told = about.get("investigator") if isinstance(about, dict) else None
            if not isinstance(told, dict) or {key: told.get(key) for key in wanted} != wanted:
                continue
            for sample in read_eval_log(str(path)).samples or []:
                if not sample.error and (used := (sample.model_usage or {}).get(who.model)):
                    rows.append((sum(event.event == "model" for event in sample.events), used.input_tokens,
                                 used.output_tokens, float((sample.store or {}).get(DEVICE_S) or 0)))
        except UNREADABLE:
            continue
    if not rows:
        return None
    calls, read, written, device_s = (statistics.median(column) for column in zip(*rows, strict=True))
    return {"calls": calls, "input_tokens": read, "output_tokens": written, "device_s": device_s, "samples": len(rows)}


def forecast_table(title: str, rows: Iterable[Forecast]):
    """As a table."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in ("role", "model", "samples", "calls at most", "tokens at most", "dollars at most", "expected", ""):
        table.add_column(name, overflow="fold")
    for row in rows:
        expected = [] if row.expected_tokens is None or not row.samples else [
            f"{row.expected_calls:,.0f} calls", f"{row.expected_tokens:,.0f} tokens",
            "" if row.expected_usd is None else f"{row.expected_usd:.4f} dollars",
            f"{row.expected_device_s:,.0f} s of the device" if row.expected_device_s else ""]
        table.add_row(row.role, row.model, str(row.samples), _whole(row.calls), _whole(row.tokens),
                      "unknown" if row.usd is None else f"{row.usd:.4f}", ", ".join(filter(None, expected)) or (
                          "unknown" if row.samples or row.calls is None else "0"), row.note)
    return table


def device_line(told: Mapping[str, Any]) -> str:
    """Device time as a sentence."""
    parts = []
    for n, seconds, what in ((told["trainings"], told["training_s"], "organisms to train"),
                             (told["readings"], told["reading_s"], "organisms to read")):
        time = "time unknown, none is stored to judge by" if seconds is None else f"about {seconds:,.0f} s"
        parts.append(f"no {what}" if not n else f"{n} {what}: {time}")
    return f"Device time ({told['device']}): {'; '.join(parts)}."


def _whole(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}"
