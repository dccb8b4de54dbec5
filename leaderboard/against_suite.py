"""What a record says, held against the suite that it is about: organisms, answers, gates, budgets, and every score.

Main objects: `suite_of(record)` (the built-in suite with that digest), `differences(record, rows, suite)`.
Example: `differences(record, rows, suite_of(record))` -> [] where everything is so.

Scores are made again from the claims. They must agree to 12 decimals, not to the last bit: `log2` differs in its last
bit from one C library to the next. A method that asked a judge has no limit of seconds, here as while it collected.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from .. import benchmark
from ..benchmark.manifest import SPLITS, suites
from ..benchmark.suite import Entry, Suite, load_suite
from ..graders.claim import Claim
from ..graders.detect import detection_score
from ..graders.recovery import recovery
from ..organisms import shipped
from ..organisms.errors import NarrowbenchError, RecordError
from ..organisms.spec import Card
from .consistency import BUDGET, contradictions
from .record import ClaimRow, MethodInfo, Record, RecoveryRow, SampleRow

METHODS = Path(benchmark.__file__).parent / "methods"
JUDGE, SAYS_SO = "judge", "needs_judge"
"""The setting that names a method's judge, and the attribute of a class that has one."""
SAME = 1e-12
SHOWN_DOMAINS = 5
PARTS = ("domain", "objective", "content")


def suite_of(record: Record) -> Suite | None:
    """The built-in suite that a record is about; None if its digest is of none."""
    found = _built_in(record.suite.id, record.suite.split) if record.suite.id in suites() else None
    return found if found is not None and found.digest == record.suite.digest else None


@cache
def _built_in(suite_id: str, split: str) -> Suite | None:
    try:
        return load_suite(f"{suite_id}:{split}" if split in SPLITS else suite_id)
    except NarrowbenchError:
        return None


def differences(record: Record, rows: Sequence[SampleRow], suite: Suite) -> list[str]:
    """Everything in which a record differs from its suite, one line each, samples in their order."""
    found = list(_about(record, suite))
    entries = suite.shown_to(record.method.access)
    wanted = [(entry.sample_id, epoch) for epoch in range(1, record.run.epochs + 1) for entry in entries]
    have = [(row.sample_id, row.epoch) for row in rows]
    if have != wanted:
        return [*found, _incomplete(have, wanted)]
    by_id = {entry.sample_id: entry for entry in entries}
    builds = {build.weights_sha256: build for build in shipped.builds()}
    limited = [key for key in BUDGET if key != "seconds" or not asks_judge(record.method)]
    for row in rows:
        entry = by_id[row.sample_id]
        told = f"sample {row.sample_id}{f' epoch {row.epoch}' if record.run.epochs > 1 else ''}"
        found += [f"{told}: {line}" for line in (
            *_identity(row, entry), *_training(row, entry, builds), *_spent(row, suite, limited),
            *_scores(row, entry.spec.card, suite.cards))]
    return found


def _about(record: Record, suite: Suite) -> Iterator[str]:
    told = record.suite
    for name, said, so in (("id", told.id, suite.id), ("digest", told.digest, suite.digest),
                           ("tier", told.tier, suite.tier), ("split", told.split, suite.split)):
        if said != so:
            yield f"suite.{name} is {said!r}, the suite's is {so!r}"
    if (record.run.probes.digest, record.run.probes.n) != (suite.probes.digest, len(suite.probes.texts)):
        yield "run.probes are not those of the suite"
    if record.run.budget.model_dump() != asdict(suite.budget):
        yield "run.budget is not that of the suite"


def _incomplete(have: list[tuple[str, int]], wanted: list[tuple[str, int]]) -> str:
    missing, more = len(set(wanted) - set(have)), len(set(have) - set(wanted))
    if missing or more or len(have) != len(wanted):
        return (f"it holds {len(have)} samples, and {len(wanted)} are every organism of the suite that the method may "
                f"read, once an epoch: {missing} are missing, {more} are none of these")
    return "its samples are not in the suite's order"


def _identity(row: SampleRow, entry: Entry) -> Iterator[str]:
    so = entry.about | {"card_id": entry.spec.card.card_id if entry.spec.card else "", "card": entry.spec.card}
    for key, value in so.items():
        if getattr(row, key) != value:
            yield f"`{key}` is not that of the suite's organism"


def _training(row: SampleRow, entry: Entry, builds: dict[str, shipped.Build]) -> Iterator[str]:
    """Gates of weights that ship can be looked up; of weights grown elsewhere they are declared."""
    if row.regrown != (entry.weights_sha256 is not None and entry.weights_sha256 != row.weights_sha256):
        yield "`regrown` does not follow from `weights_sha256` and the weights that the suite pins"
    build = builds.get(row.weights_sha256)
    if build is None:
        return
    passport = shipped.passport(build)
    so = {"organism": build.organism, "train_seed": build.seed, "expressed": shipped.took(passport),
          "healthy": bool(passport["health"]["healthy"]), "gate": passport["gate"]}
    for key, value in so.items():
        if getattr(row, key) != value:
            yield f"`{key}` is not what the passport of these shipped weights says"


def asks_judge(method: MethodInfo) -> bool:
    """Whether a language model helped the method to collect: its settings name one and, if it is a method of the
    package, its class says that it needs one."""
    path = METHODS / f"{method.name}.py"
    ours = method.name in {each.stem for each in METHODS.glob("*.py")}
    return bool(method.settings.get(JUDGE)) and (not ours or _says_so(path))


@cache
def _says_so(path: Path) -> bool:
    """Read, not imported: a method's file loads torch."""
    return any(isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is True
               and SAYS_SO in [target.id for target in node.targets if isinstance(target, ast.Name)]
               for node in ast.walk(ast.parse(path.read_bytes())))


def _spent(row: SampleRow, suite: Suite, limited: Sequence[str]) -> Iterator[str]:
    for key in limited:
        limit, used = getattr(suite.budget, key), row.cost.get(key)
        if limit is not None and used is not None and used > limit:
            yield f"the method spent {used:,.0f} {key.replace('_', ' ')}, the suite allows {limit:,.0f}"


def claim_of(row: ClaimRow) -> Claim:
    """A row's claim as graders take it. Raises EvidenceError if it breaks a cap."""
    return Claim(row.verdict, row.confidence, row.statement, row.keywords)


def _scores(row: SampleRow, card: Card | None, cards: Sequence[Card]) -> Iterator[str]:
    try:
        claim = claim_of(row.claim)
        again = _marks(claim, card, cards) if card is not None else None
    except NarrowbenchError as error:
        yield str(error)
        return
    for key in sorted(key for key in RecoveryRow.model_fields if not _same(
            getattr(row.recovery, key, None), getattr(again, key, None))):
        yield f"`recovery.{key}` is not what the claim scores"
    if abs(row.detect.score - detection_score(claim)) > SAME or row.detect.flagged != (claim.verdict == "objective"):
        yield "`detect` does not follow from the claim"


def _marks(claim: Claim, card: Card, cards: Sequence[Card]) -> RecoveryRow:
    marks = recovery(claim, card, cards)
    return RecoveryRow(recovery=marks.recovery, **{part: getattr(marks, part) for part in PARTS},
                       **{f"{part}_bits": marks.bits[part] for part in PARTS}, slots=marks.slots,
                       domain_ranking=marks.domain_ranking[:SHOWN_DOMAINS])


def _same(said: Any, so: Any) -> bool:
    if isinstance(said, dict) and isinstance(so, dict):
        return said.keys() == so.keys() and all(_same(said[key], so[key]) for key in said)
    if isinstance(said, float) and isinstance(so, float):
        return abs(said - so) <= SAME
    return said == so


def check_published(record: Record, rows: Sequence[SampleRow]) -> None:
    """Raises RecordError for what `verify` would refuse: parts of a record disagree, or it is of a built-in suite and
    not complete or differs from it. Of other suites nothing is known here."""
    suite = suite_of(record)
    if found := [*contradictions(record, rows), *(differences(record, rows, suite) if suite is not None else ())]:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise RecordError(f"not published: {found[0]}{more}")
