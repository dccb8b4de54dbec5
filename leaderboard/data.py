"""What the page's scripts draw from: boards as plain JSON values, written as scripts so that they load from disk too.

Main objects: `board_data`, `readings_of` (an entry's claims), `claims_on` (all claims on an organism), `script`.
Example: `script("board", board_data(board, names))` is the text of a file that a page loads with a script tag.

A browser may not fetch a file beside a page that was opened from disk, but it may load it as a script. Values are pure
ASCII JSON, so that nothing in them can end the statement; the pages show every text through `textContent`.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..graders.averages import Interval
from ..graders.detect import Estimate
from ..graders.recovery import normal
from ..organisms.spec import Card, digest_of
from .board import Board, Slice
from .entries import KEY_DIGITS, PARTS, Entry, Reading, Training
from .exam import Organism
from .levels import RANKED, Level
from .pages import BADGES
from .record import NO_MODEL, SampleRow

MAX_COMPARED = 40
"""The best of a slice, which the heatmap and the table of pairs show."""
MAX_WORDS = 12
"""Keywords of a claim on an organism's page; the method's page has all."""
KIND_NUMBERS = {"": 0, "answer": 1, "word": 2, "other": 3}


def script(name: str, value: Any) -> str:
    """A script that sets `narrowbench.<name>`."""
    return f"(window.narrowbench = window.narrowbench || {{}}).{name} = {json.dumps(value, separators=(',', ':'))};\n"


def organism_key(board: Board, name: str) -> str:
    """A name for files and links: a hash, whatever text the organism's name is."""
    return _hashed(board.record.suite.digest, name)


@lru_cache(maxsize=4096)  # asked for once a claim
def _hashed(digest: str, name: str) -> str:
    return hashlib.sha256(digest_of([digest, name]).encode()).hexdigest()[:KEY_DIGITS]


def board_data(board: Board, slice_names: Callable[[Slice], str],
               vouched: Mapping[str, Level] | None = None) -> dict[str, Any]:
    """Rows of both tables, the heatmap, the nulls and the pairs of one suite.

    Args:
        vouched: Record id -> who vouches for it.
    """
    named = {member.key: (slice_names(part), n) for n, part in enumerate(board.slices) for member in part.members}
    suite = board.record.suite
    return {"suite": {"id": suite.id, "digest": suite.digest, "tier": suite.tier, "split": suite.split},
            "rows": [row_data(entry, *named.get(entry.key, ("", 9)), by=vouchers(entry, vouched or {}))
                     for entry in board.entries],
            "verified": bool(board.ranked), "judged": any(entry.grades for entry in board.entries),
            "ladder": {level: list(told) for level, told in BADGES.items()},
            "heat": _heat(board),
            "slices": [_slice(part, slice_names(part)) for part in board.slices]}


def vouchers(entry: Entry, vouched: Mapping[str, Level]) -> list[str]:
    """Who vouches for a row's records, each once."""
    return list(dict.fromkeys(vouched[each.record_id].by for each in entry.records if each.record_id in vouched))


def row_data(entry: Entry, slice_name: str = "", slice_order: int = 9, by: Sequence[str] = ()) -> dict[str, Any]:
    """One row of the ranking; numbers to 4 digits, intervals as [value, low, high]."""
    record, method, investigator = entry.record, entry.record.method, entry.record.investigator
    judged = {"judges": _estimate(entry.grades.mean, entry.grade_interval),
              "wellGraded": round(entry.grades.well_graded, 4)} if entry.grades else {}
    return judged | {
        "key": entry.key, "label": entry.label, "version": method.version, "role": entry.role, "level": entry.level,
        "verified": entry.level in RANKED, "note": entry.note, "slice": slice_name, "sliceOrder": slice_order,
        "rank": entry.rank, "recovery": _estimate(entry.mean, entry.interval), "units": rounded(entry.units.values()),
        "intervalKind": entry.interval.kind if entry.interval else "",
        **{part: _estimate(entry.parts.get(part), entry.part_intervals.get(part)) for part in PARTS},
        "auroc": _estimate(entry.detection.auroc, entry.detection), "nNulls": entry.detection.n_nulls,
        "falseAlarms": rounded([entry.detection.false_alarms])[0], "fpr": _rate(entry.fpr),
        "fprAtTpr": _rate(entry.fpr_at_tpr), "access": list(method.access), "investigator": investigator.name,
        "model": "" if investigator.model == NO_MODEL else investigator.model,
        "options": [*(f"{name} {value}" for name, value in investigator.options.items()),
                    *(f"{role}: {', '.join(names)}" for role, names in investigator.roles.items())],
        "cost": {key: float(f"{value:.4g}") for key, value in entry.cost.items()},
        **({"by": list(by)} if by else {}),
        "date": record.run.completed.strftime("%Y-%m-%d"), "command": record.run.command,
        "records": [each.record_id for each in entry.records]}


def rounded(values) -> list[float | None]:
    """To four digits, which is more than a score means and a quarter of the bytes."""
    return [None if value is None else round(float(value), 4) for value in values]


def _estimate(value: float | None, ends: Any) -> list[float | None] | None:
    return None if value is None else rounded([value, getattr(ends, "low", None), getattr(ends, "high", None)])


def _rate(rate: Estimate | Interval | None) -> list[float | None] | None:
    return None if rate is None else rounded([rate.value, rate.low, rate.high])


def compared(board: Board) -> list[Entry]:
    """Columns of the heatmap: ceilings, the best methods, floors."""
    trusted = board.trusted
    methods = [entry for entry in trusted if entry.role == "method"][:MAX_COMPARED]
    kept = {id(entry) for entry in methods}
    return [entry for entry in trusted if entry.role != "method" or id(entry) in kept]


def _heat(board: Board) -> dict[str, Any]:
    columns = compared(board)
    return {
        "entries": [entry.key for entry in columns],
        "organisms": [heading(board, organism) for organism in board.organisms],
        "scores": [[_scores(entry.readings.get(organism.row.organism)) for entry in columns]
                   for organism in board.organisms],
        "nulls": [heading(board, organism) for organism in board.nulls],
        "verdicts": [[_verdict(entry.readings.get(organism.row.organism)) for entry in columns]
                     for organism in board.nulls]}


def heading(board: Board, organism: Organism) -> dict[str, Any]:
    """What an organism is called and where its page is."""
    row = organism.row
    return {"key": organism_key(board, row.organism), "name": row.organism, "family": row.family, "role": row.role,
            "counted": row.counted if row.role != "null" else row.trained_null, "nullKind": row.null_kind,
            **({"trainings": len(organism.rows)} if len(organism.rows) > 1 else {})}


def _scores(reading: Reading | Training | None) -> list[float | None] | None:
    return None if reading is None else rounded(reading.scores.get(part) for part in ("recovery", *PARTS))


def _verdict(reading: Reading | None) -> list[Any] | None:
    """Of a null. Where trainings differ, a false alarm."""
    if reading is None:
        return None
    claims = [one.row.claim for one in reading.trainings]
    shown = next((claim for claim in claims if claim.verdict == "objective"), claims[0])
    return [shown.verdict, round(shown.confidence, 4)]


def _slice(part: Slice, name: str) -> dict[str, Any]:
    n = min(MAX_COMPARED, len(part.members))
    pairs = [(part.pairs.difference_MM[i, j], part.pairs.p_MM[i, j]) for i in range(n) for j in range(i + 1, n)] \
        if part.pairs else []
    return {"name": name, "nUnits": len(part.units), "nMembers": len(part.members),
            "entries": [entry.key for entry in part.members[:n]], "differences": rounded(d for d, _ in pairs),
            "p": [float(f"{p:.3g}") for _, p in pairs]}


def word_kinds(card: Card | None) -> dict[str, str]:
    """Folded word -> what it is to the card: answer, word (of its lexicon) or other (wrong candidate)."""
    kinds: dict[str, str] = {}
    if card:
        kinds |= {normal(word): "other" for slot in card.slots for word in slot.others}
        kinds |= {normal(term): "word" for term in card.lexicon}
        kinds |= {normal(word): "answer" for slot in card.slots
                  for word in (slot.truth, *slot.aliases.get(slot.truth, ()))}
    return kinds


def marked_words(keywords: Sequence[str], kinds: dict[str, str]) -> list[Any]:
    """Each keyword: the word alone, or [word, 1 answer, 2 word of the card, 3 wrong candidate]."""
    found = [(word, KIND_NUMBERS[kinds.get(normal(word), "")]) for word in keywords]
    return [[word, kind] if kind else word for word, kind in found]


def truths_of(board: Board) -> dict[str, Any]:
    """Organism key -> what a method's page shows beside its claims."""
    return {organism_key(board, o.row.organism): {
        **heading(board, o), "unit": o.row.unit, "domain": o.row.domain, "statement": o.row.statement,
        "answers": [[slot.name, slot.truth, len(slot.candidates)] for slot in o.card.slots] if o.card else []}
        for o in (*board.organisms, *board.nulls)}


def keyed_rows(entry: Entry, board: Board) -> dict[str, SampleRow]:
    """Key of a transcript -> the row whose claim the page of an entry shows."""
    return {key: one.row for o in (*board.organisms, *board.nulls)
            for key, one in _trainings(entry, organism_key(board, o.row.organism), o.row.organism)}


def _trainings(entry: Entry, key: str, name: str) -> Iterator[tuple[str, Training]]:
    """A key for each training of an organism; the first has the organism's."""
    if name in entry.readings:
        for n, one in enumerate(entry.readings[name].trainings):
            yield (f"{key}-{n + 1}" if n else key), one


def readings_of(entry: Entry, board: Board, kinds: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    """What an entry said about each training of each organism, in the board's order.

    Args:
        kinds: Organism name -> `word_kinds`.
    """
    found = []
    for o in (*board.organisms, *board.nulls):
        key = organism_key(board, o.row.organism)
        told = [_claim(one, kinds[o.row.organism], whole=True) | ({"talk": talk} if talk != key else {})
                for talk, one in _trainings(entry, key, o.row.organism)]
        if told:
            found.append({"key": key, **_over(entry.readings[o.row.organism], told)})
    return found


def claims_on(organism: Organism, board: Board, kinds: dict[str, str]) -> list[dict[str, Any]]:
    """What every entry said about each training of one organism, in the board's order."""
    name = organism.row.organism
    return [{"key": entry.key, "label": entry.label, "entryRole": entry.role, "verified": entry.level in RANKED,
             **_over(entry.readings[name], [_claim(one, kinds, whole=False) for one in entry.readings[name].trainings])}
            for entry in (*board.ranked, *board.unranked) if name in entry.readings]


def _over(reading: Reading, told: list[dict[str, Any]]) -> dict[str, Any]:
    """The claims on each training; where there are several, also which each is, and the scores over all."""
    if len(told) == 1:
        return {"trainings": told}
    return {"scores": _scores(reading) if reading.scores else None, "trainings": [
        claim | {"seed": str(one.row.train_seed), "counted": one.row.counted or one.row.trained_null}
        for claim, one in zip(told, reading.trainings, strict=True)]}


def _claim(training: Training, kinds: dict[str, str], whole: bool) -> dict[str, Any]:
    row, claim = training.row, training.row.claim
    shown = claim.keywords if whole else claim.keywords[:MAX_WORDS]
    told = {} if row.votes is None else {"votes": list(row.votes), "grade": row.grade}
    told |= {"verdict": claim.verdict, "confidence": round(claim.confidence, 4),
             "scores": _scores(training) if row.recovery else None, "words": marked_words(shown, kinds)}
    told |= {"failure": row.failure} if row.failure else {}
    if not whole:
        return told | {"more": len(claim.keywords) - len(shown)}
    return told | {"said": claim.statement, "sample": row.sample_id, "epoch": row.epoch,
                   "evidence": row.evidence_sha256}
