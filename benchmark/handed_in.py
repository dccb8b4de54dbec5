"""Claims that are there already, to be graded: those of a finished log, or of a file made elsewhere.

Main objects: `HandedIn`, `read_handed_in(source, suite)`.
Example: `read_handed_in(Path("logs/....eval")).samples`; `read_handed_in(Path("claims.jsonl"), "nano-2026.1:test")`

A log is hostile too: it is read whole or not at all, what it says of models is never used, and where its suite is
known, its answers must be those of the suite.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, EvalSample, read_eval_log

from ..graders.claim import Claim
from ..organisms import shipped
from ..organisms.errors import DamagedArtefactError, EvidenceError, NotFoundError, RecordError, SpecError
from .claims_file import read_claims
from .evidence import read_json, training_of
from .logs import UNREADABLE, read_whole
from .manifest import suites
from .suite import Entry, Suite, load_suite

TASK, GRADE_KEY = "narrowbench/recover", "narrowbench_grade"
QUESTION = "A claim that was made before. It is graded, and nobody is asked again."
SILENCE = Claim("unsure", 0.5, "Nothing was handed in about this organism.")
TEXTS = ("organism", "pair", "unit", "family", "role", "domain")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:+-]{0,99}")
"""What a log may put into a table."""


@dataclass(frozen=True)
class HandedIn:
    """Claims with all that graders need of them."""

    kind: str
    """`log` or `claims`."""
    path: Path
    sha256: str
    suite: str
    """As `load_suite` takes it; empty if a log's suite is a file that was not named."""
    about: dict[str, Any]
    """Method and investigator of a log."""
    samples: tuple[Sample, ...]
    claims: dict[tuple[str, int], Claim]
    """By sample id and epoch."""
    evidence: dict[tuple[str, int], dict[str, Any] | None]
    epochs: int
    missing: tuple[str, ...] = ()
    """Organisms about which nothing was handed in."""


def read_handed_in(source: Path, suite: str = "") -> HandedIn:
    """Reads a log (`.eval`), or a file of claims about a suite.

    Args:
        suite: For claims, whose organisms they are about. For a log, only where its suite is a file of your own.

    Raises:
        NotFoundError: there is no such file or suite.
        DamagedArtefactError: a log that ends early or has changed.
        RecordError: an unfinished log, or one of something else. EvidenceError: lines that are no claims.
        SpecError: the suite is not the one of the log.
    """
    if not source.is_file():
        raise NotFoundError(f"There is no file {source} to grade. `narrowbench score` prints where its log is.")
    return _read(source.resolve(), suite, hashlib.sha256(source.read_bytes()).hexdigest())


@lru_cache(maxsize=4)
def _read(source: Path, suite: str, sha256: str) -> HandedIn:
    return _of_log(source, suite, sha256) if source.suffix == ".eval" else _of_claims(source, suite)


def _of_claims(path: Path, suite: str) -> HandedIn:
    if not suite:
        raise SpecError(f"{path.name}: claims are about the organisms of a suite: add `--suite NAME`. `narrowbench "
                        "list suites` shows them. (The name of a log ends in .eval.)")
    chosen = load_suite(suite)
    found = read_claims(path, chosen)
    samples = tuple(_sample(entry) for entry in chosen.entries)
    claims = {(str(sample.id), 1): found.claims.get(str(sample.id), SILENCE) for sample in samples}
    return HandedIn("claims", path, found.sha256, suite, {}, samples, claims, dict.fromkeys(claims), 1, found.missing)


def _sample(entry: Entry) -> Sample:
    return Sample(id=entry.sample_id, input=QUESTION, target=entry.target,
                  metadata={**entry.about, **_training(entry)})


def _training(entry: Entry) -> dict[str, Any]:
    """Whether the shipped build took its training; None of both where none ships. Nothing is trained or loaded."""
    build = next((build for build in shipped.builds() if (build.organism, build.seed) == (
        entry.spec.id, entry.train_seed) and entry.weights_sha256 in (None, build.weights_sha256)), None)
    if build is None:
        return {"expressed": None, "healthy": None}
    return training_of(read_json(shipped.FOLDER / build.folder / shipped.PASSPORT))


def _of_log(path: Path, suite: str, sha256: str) -> HandedIn:
    log = _whole(path)
    about = log.eval.metadata["narrowbench"]
    name = suite or _built_in(log.eval.task_args.get("suite"))
    claims, evidence, first = {}, {}, {}
    for sample in log.samples or []:
        key = str(sample.id), sample.epoch
        if key in claims:
            raise RecordError(f"{path}: sample {sample.id} stands twice in epoch {sample.epoch}. Score again.")
        try:
            claims[key] = Claim.from_json(sample.output.completion)
        except EvidenceError as error:
            raise RecordError(f"{path}: sample {sample.id} holds no claim ({error}). Score again.") from error
        held = (sample.store or {}).get("evidence")
        evidence[key] = held if isinstance(held, dict) else None
        first.setdefault(key[0], _again(path, sample))
    epochs = max(epoch for _, epoch in claims)
    if len(claims) != len(first) * epochs:
        raise RecordError(f"{path}: not every organism is there in every epoch. Score again.")
    if name:
        _is_of(path, load_suite(name), about, first)
    kept = {key: about.get(key) for key in ("method", "investigator", "command")}
    return HandedIn("log", path, sha256, name, kept, tuple(first.values()), claims, evidence, epochs)


def _whole(path: Path) -> EvalLog:
    try:
        header = read_eval_log(str(path), header_only=True)
        about = (header.eval.metadata or {}).get("narrowbench")
        if (header.eval.metadata or {}).get(GRADE_KEY):
            raise RecordError(f"{path}: this is a log of grades. Grade the log or the claims that it was made from.")
        if TASK not in (header.eval.task, header.eval.task_registry_name) or not isinstance(about, dict):
            raise RecordError(f"{path}: this is a log of the task {header.eval.task!r}, not of `narrowbench score`.")
        if header.status != "success":
            raise RecordError(f"{path}: this run did not finish (status {header.status!r}). The same `narrowbench "
                              "score` again finishes it.")
        if header.invalidated:
            raise RecordError(f"{path}: this log was invalidated after it was written. Score again.")
        return read_whole(path)
    except RecordError:
        raise
    except (*UNREADABLE, DamagedArtefactError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedArtefactError(f"{path}: truncated or damaged ({reason}). It was left as it is; score again to get "
                                   "a whole one.") from error


def _again(path: Path, sample: EvalSample) -> Sample:
    """A sample of a log as one to grade, without what only the investigation needed."""
    about = {key: value for key, value in (sample.metadata or {}).items() if key not in ("cost", "gate", "card")}
    target = sample.target if isinstance(sample.target, str) else "".join(sample.target)
    wrong = [key for key in TEXTS if not isinstance(about.get(key), str) or key != "domain" and not _NAME.fullmatch(
        about[key])]
    wrong += [key for key in ("expressed", "healthy") if about.get(key) not in (True, False, None)]
    if wrong or type(about.get("train_seed")) is not int:
        raise RecordError(f"{path}: sample {ascii(sample.id)[:60]} does not say its {(*wrong, 'train_seed')[0]} as "
                          "`narrowbench score` does. Score again.")
    about |= {key: about.get(key) for key in ("expressed", "healthy")}
    return Sample(id=str(sample.id), input=QUESTION, target=target, metadata=about)


def _built_in(name: Any) -> str:
    """A built-in suite's name; empty for a path, which a log may not choose."""
    return name if isinstance(name, str) and name.partition(":")[0] in suites() else ""


def _is_of(path: Path, suite: Suite, about: dict[str, Any], samples: dict[str, Sample]) -> None:
    digest = (about.get("suite") or {}).get("digest")
    if digest != suite.digest:
        raise SpecError(f"{path}: it was scored on a suite with digest {str(digest)[:12]}; {suite.name} has "
                        f"{suite.digest[:12]} now, with other organisms, cards or probes. Name its own with `--suite`, "
                        "or score again.")
    truths = {entry.sample_id: (entry.target, entry.spec.family, entry.spec.statement) for entry in suite.entries}
    for sample_id, sample in samples.items():
        if truths.get(sample_id) != (sample.target, sample.metadata["family"], sample.metadata.get("statement")):
            raise RecordError(f"{path}: what it says of sample {sample_id} is not so in suite {suite.name}. Score "
                              "again.")
