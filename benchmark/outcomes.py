"""How a run that asked language models went: what was handed in, what failed and why, what it used.

Main objects: `Tally`, `tally(log)`, `kind_of_failure`, `reason`.
Example: `tally(read_eval_log("logs/....eval")).line()`

Inspect retries a call that fails (`Investigator.retries`); what still fails ends its sample, whose error stays in the
log. Everything here is read from there.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from inspect_ai.log import EvalError, EvalLog

from .spending import EMPTY

OUTCOME = "Investigation:outcome"
FAILURES = ("max_usd", "rate_limit", "timeout", "server_error", "malformed_response", "connection", "refused_by_api",
            "cancelled", "other")
"""Why a sample has nothing to show; see `kind_of_failure`."""
MAX_REASON = 160
_STATUS = re.compile(r"(?i)(?:error code|status|statuscode)\D{0,12}(\d{3})")
_COST_LIMIT = re.compile(r"(?i)LimitExceededError: .*cost limit")
"""The purse again, where a scorer met it."""
_RAISED = re.compile(r"raised (\w+)>")
"""What Inspect's last try raised, in the words of the library that tries again."""
_WORDS = (
    ("rate_limit", r"RateLimit|too many requests|rate.?limit"),
    ("timeout", r"Timeout|timed out|time limit"),
    ("malformed_response", r"JSONDecode|Expecting value|Unterminated|Invalid JSON|APIResponseValidation"),
    ("connection", r"ConnectionError|ConnectError|Connection (?:error|refused|reset)|RemoteProtocol"),
    ("server_error", r"InternalServer|ServiceUnavailable|Overloaded|BadGateway"),
    ("refused_by_api", r"BadRequest|AuthenticationError|PermissionDenied|UnprocessableEntity"),
    ("cancelled", r"CancelledError|cancelled"))


@dataclass(frozen=True)
class Tally:
    """Counts over the samples of a log."""

    n: int
    outcomes: dict[str, int] = field(default_factory=dict)
    """Of finished investigations: submitted, malformed, refused, limit, no_answer."""
    failures: dict[str, int] = field(default_factory=dict)
    """Of samples that ended in an error, by kind (`FAILURES`)."""
    unscored: dict[str, int] = field(default_factory=dict)
    """Of judges that gave no grade or label, by grader."""
    tried_again: int = 0
    """Calls of models that failed and were repeated."""
    usage: dict[str, dict[str, float]] = field(default_factory=dict)
    """Model -> calls, input and output tokens, and `usd` where its price is known."""

    @property
    def usd(self) -> float | None:
        """Dollars over all models; None if a model that was used has no price."""
        costs = [each.get("usd") for each in self.usage.values()]
        return None if None in costs else math.fsum(costs)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self) | {"usd": self.usd}

    def line(self) -> str:
        """The summary at a run's end; empty if no model was asked and nothing failed."""
        parts = [f"{n} {name.replace('_', ' ')}" for name, n in self.outcomes.items()]
        parts += [f"{n} failed ({name.replace('_', ' ')})" for name, n in self.failures.items()]
        parts += [f"{n} without a grade of {grader}" for grader, n in self.unscored.items()]
        parts += [f"{self.tried_again} calls tried again"] if self.tried_again else []
        if self.usage:
            tokens = sum(each["input_tokens"] + each["output_tokens"] for each in self.usage.values())
            parts += [f"{tokens:,.0f} tokens", "price unknown" if self.usd is None else f"{self.usd:.4f} dollars"]
        return f"{self.n} samples: {', '.join(parts)}" if parts else ""


def tally(log: EvalLog) -> Tally:
    """Counts a log's samples."""
    samples = log.samples or []
    outcomes, failures, unscored, calls = Counter(), Counter(), Counter(), Counter()
    again = 0
    for sample in samples:
        if sample.error:
            failures[kind_of_failure(sample.error)] += 1
        elif outcome := (sample.store or {}).get(OUTCOME):
            outcomes[str(outcome)] += 1
        for grader, score in (sample.scores or {}).items():
            unscored[grader] += score.reason == "grader_failed"
        for event in sample.events:
            if event.event == "model":
                again += event.retries or 0
                calls[event.model] += 1
    return Tally(len(samples), _sorted(outcomes), _sorted(failures), _sorted(unscored), again, _usage(log, calls))


def kind_of_failure(error: EvalError) -> str:
    """One of `FAILURES`, by the status that the API answered with, else by the error's own words."""
    told = _last_words(error)
    if EMPTY in told or _COST_LIMIT.search(told):
        return "max_usd"
    if (status := _STATUS.search(told)) and 400 <= int(status[1]) < 600:
        code = int(status[1])
        return {408: "timeout", 429: "rate_limit"}.get(code, "server_error" if code >= 500 else "refused_by_api")
    return next((kind for kind, words in _WORDS if re.search(words, told)), "other")


def reason(error: EvalError) -> str:
    """A failure in one short line."""
    told = _last_words(error)
    raised = _RAISED.search(told)
    return (raised[1] if raised else told.removeprefix("narrowbench.organisms.errors."))[:MAX_REASON]


def _last_words(error: EvalError) -> str:
    """The last line of the traceback: a message may hold the whole request, and so whatever was asked."""
    lines = error.traceback.strip().splitlines() or error.message.strip().splitlines() or ["unknown"]
    return lines[-1]


def _usage(log: EvalLog, calls: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Over all samples of the log, also those that were taken over from a run before."""
    found: dict[str, dict[str, float]] = {}
    for sample in log.samples or []:
        for model, used in (sample.model_usage or {}).items():
            each = found.setdefault(model, {"calls": 0, "input_tokens": 0, "output_tokens": 0, "usd": 0.0})
            each["input_tokens"] += used.input_tokens
            each["output_tokens"] += used.output_tokens
            each["usd"] = None if each["usd"] is None or used.total_cost is None else each["usd"] + used.total_cost
    for model, each in found.items():
        each["calls"] = calls.get(model, 0)
    return found


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in sorted(counts) if counts[name]}
