"""Is a method ready to be scored? It is looked at, then run on two nano organisms and a null.

Main objects: `check_method` -> `Report`, with a `Finding` for each fault and remark.
Example: `narrowbench check my_idea.py`

Runs are in a process of their own with a time limit, so a method that hangs or crashes is a fault like any other.
"""

import inspect
import math
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..organisms.errors import NotFoundError
from ..organisms.spec import digest_of
from ..organisms.store import Store
from .collecting import CEILING_ACCESS, own_randomness, reference_for, sound
from .investigators.reader import DETECTION_THRESHOLD_NATS
from .jobs import Job, Pool
from .method import ACCESS, Method, load_method
from .settings import METHOD_NAME

SUITE = "nano-2026.1:dev"
ORGANISMS = ("cake-450", "em-medicine")
PARTS = ("Reads", "Source", "Cost", "Blind spots")
ROLES = ("method", "floor", "ceiling")
SLOW_S, TOO_SLOW_S, LIMIT_S = 3.0, 10.0, 30.0
"""CPU seconds on a nano organism from which a method is slow, and too slow; by the clock, when it is stopped."""
WORKERS = 1
"""Importing the libraries takes longer than four runs: a second process would only import them once more."""


@dataclass(frozen=True)
class Finding:
    """One thing to mend (`fault`) or to think about (`remark`), and how."""

    level: str
    what: str


@dataclass(frozen=True)
class Report:
    """All that was found, and one row for each run."""

    method: str
    findings: tuple[Finding, ...]
    runs: tuple[dict[str, Any], ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """What must be mended before the method is scored."""
        return tuple(one.what for one in self.findings if one.level == "fault")

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {"method": self.method, "ready": not self.faults, "faults": list(self.faults),
                "remarks": [one.what for one in self.findings if one.level == "remark"], "runs": list(self.runs)}


def check_method(name: str, store: Store | None = None, limit_s: float = LIMIT_S) -> Report:
    """Looks at a method and tries it.

    Args:
        name: `path/to/file.py`, with `:Class` where the file holds several.
        limit_s: After so many seconds on one organism it is stopped.

    Raises:
        NotFoundError: no such file, or not one class with a `collect`.
    """
    with Pool(WORKERS, imports=("narrowbench.organisms.pair",)) as pool:
        pool.start()
        try:
            method, _ = load_method(name)
        except NotFoundError:
            raise
        except (Exception, SystemExit) as error:  # The file may be anybody's code; whatever it raises is its fault.
            return Report(name, (Finding("fault", f"it cannot be loaded: {type(error).__name__}: {error}"),), ())
        found = _looked_at(method, Path(name.partition(":")[0]).stem)
        if any(one.level == "fault" for one in found):
            return Report(str(getattr(method, "name", name)), tuple(found), ())
        runs, more = _tried(pool, name, method, store or Store(), limit_s)
        return Report(method.name, (*found, *more), tuple(runs))


def _looked_at(method: Method, stem: str) -> list[Finding]:
    """What can be seen without running it."""
    found, cls = [], type(method)

    def fault(what: str) -> None:
        found.append(Finding("fault", what))

    for attribute in ("name", "version"):
        if not isinstance(value := getattr(method, attribute, None), str) or not value:
            fault(f"`{attribute}` must be a text, such as {attribute} = {'my_idea' if attribute == 'name' else '1'!r}")
    if isinstance(name := getattr(method, "name", None), str) and name and not re.fullmatch(METHOD_NAME, name):
        fault(f"`name` is {name!r}; it may have at most 80 letters, digits and _ . + : / -")
    access = getattr(method, "access", None)
    if not isinstance(access, set | frozenset) or not access or not access <= ACCESS:
        fault(f"`access` must be a set of some of {sorted(ACCESS)}, such as frozenset({{'activations'}})")
    role = getattr(method, "role", "method")
    if role not in ROLES:
        fault(f"`role` is {role!r}; it must be one of {', '.join(ROLES)}")
    elif isinstance(access, set | frozenset) and access & CEILING_ACCESS and role != "ceiling":
        fault(f"access to {sorted(access & CEILING_ACCESS)} is for ceilings only: take it out, or the answers are read")
    parameters = list(inspect.signature(method.collect).parameters)
    if parameters != ["pair", "probes", "budget", "seed"]:
        fault(f"`collect` takes ({', '.join(parameters)}); it is called with (pair, probes, budget, seed)")
    settings = [name for name in inspect.signature(cls).parameters if name not in vars(method)]
    if settings:
        fault(f"settings {settings} are not attributes of the same name: two settings would share one stored result")
    if missing := [part for part in PARTS if f"{part}:" not in (cls.__doc__ or "")]:
        fault(f"the docstring of {cls.__name__} lacks {', '.join(f'`{part}:`' for part in missing)}")
    if not found and method.name != stem:
        found.append(Finding("remark", f"`name` is {method.name!r}, the file is {stem}.py: results go by `name`"))
    return found


def _tried(pool: Pool, name: str, method: Method, store: Store,
           limit_s: float) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Runs it: each organism once, the first one twice."""
    from ..organisms.lookup import find_trained
    from .suite import load_suite

    suite = load_suite(SUITE)
    by_id = {entry.spec.id: entry for entry in suite.shown_to(method.access)}
    null = next(entry.spec.id for entry in suite.entries if entry.spec.role == "null"
                and entry.spec.params.get("kind") != "zero")
    chosen = [*ORGANISMS, null, ORGANISMS[0]]
    jobs = []
    for organism in chosen:
        entry = by_id[organism]
        artefact = find_trained(entry.spec, suite.base, entry.train_seed, store)
        if artefact is None:
            raise NotFoundError(f"There is no {organism} to try a method on. `narrowbench train {organism}` grows it.")
        answers = reference_for(method, entry.spec, suite.base, entry.train_seed, store)
        jobs.append(Job(organism, _run, {"name": name, "base": suite.base, "organism": artefact.path,
                                         "probes": suite.probes, "answers": answers}, before=_attach, limit_s=limit_s))
    outcomes = pool.run(jobs, progress=False)
    found = [Finding("fault", f"on {outcome.job.name}: {outcome.error}") for outcome in outcomes if outcome.error]
    runs = [{"organism": outcome.job.name, **outcome.value["row"]} for outcome in outcomes[:-1] if not outcome.error]
    first, again = outcomes[0], outcomes[-1]
    if not first.error and not again.error and first.value["digest"] != again.value["digest"]:
        found.append(Finding("fault", "the same organism and seed gave other evidence the second time: draw random "
                                      "numbers from the seed"))
    for run in runs:
        found += _judged(run, run["organism"] == null, getattr(method, "role", "method"))
    return runs, list(dict.fromkeys(found))


def _judged(run: dict[str, Any], is_null: bool, role: str) -> list[Finding]:
    name, detection = run["organism"], run["detection"]
    remarks = []
    if run["seconds"] > TOO_SLOW_S:
        return [Finding("fault", f"on {name}: {run['seconds']:.1f} CPU seconds are too many; {SLOW_S:g} are enough for "
                                 "most methods")]
    if run["seconds"] > SLOW_S:
        remarks.append(f"on {name}: {run['seconds']:.1f} CPU seconds; {SLOW_S:g} is what a whole suite leaves time for")
    if run["bad_weights"]:
        remarks.append(f"on {name}: {run['bad_weights']} tokens have a weight that is not above 0: the reader skips "
                       "them")
    flagged = bool(run["tokens"]) if detection is None else detection > DETECTION_THRESHOLD_NATS
    if role == "method" and is_null and flagged:
        remarks.append(f"the null {name} is flagged: a detection that is zero for control vectors or relabelings, "
                       f"and at most {DETECTION_THRESHOLD_NATS} for nulls, tells them apart")
    if role == "method" and not is_null and not run["tokens"]:
        remarks.append(f"on {name}: no tokens, so the reader has no words")
    return [Finding("remark", remark) for remark in remarks]


def _attach(name: str, base: Path, organism: Path, probes: Any, answers: Any) -> None:
    load_method(name)
    _pair(base).attach(organism)


def _run(name: str, base: Path, organism: Path, probes: Any, answers: Any) -> dict[str, Any]:
    """One run in the worker: what the report needs of it."""
    from .method import Budget
    from .view import PairView

    method = load_method(name)[0]
    view = PairView(_pair(base), method.access, reference=answers)
    started_s = time.process_time()
    with own_randomness(0):
        evidence = sound(method.collect(view, probes, Budget(), 0), getattr(method, "role", "method"))
    cost, payload = view.cost(), evidence.payload
    row = {"seconds": round(time.process_time() - started_s, 2), "forward_tokens": cost["forward_tokens"],
           "generated_tokens": cost["generated_tokens"], "tokens": len(evidence.tokens), "texts": len(evidence.texts),
           "detection": evidence.detection, "first": [token.piece for token in evidence.tokens[:5]],
           "bad_weights": sum(not (token.weight > 0 and math.isfinite(token.weight)) for token in evidence.tokens)}
    return {"digest": digest_of(payload), "row": row}


@lru_cache(maxsize=1)
def _pair(base: Path):
    from ..organisms.pair import ModelPair

    return ModelPair.load(base)
