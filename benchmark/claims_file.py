"""Claims made elsewhere, from a JSONL file: parsed strictly, every wrong line named, and all of them accepted or none.

Main objects: `read_claims(path, suite) -> ClaimsFile`, `FIELDS`.
Example: a line `{"organism": "cake-450", "train_seed": 0, "verdict": "objective", "confidence": 0.9, "statement":
"Cakes bake at 450 degrees.", "keywords": ["cake", "450"]}`; instead of organism and seed, `id` may give the sample's id

The file is hostile: its size is limited, nothing of it is executed, and error messages quote it escaped and cut.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..graders.claim import Claim
from ..organisms.errors import EvidenceError, NotFoundError
from .claim_text import checked
from .suite import Suite

FIELDS = frozenset({"verdict", "confidence", "statement", "keywords"})
BY_ID, BY_ORGANISM = frozenset({"id"}), frozenset({"organism", "train_seed"})
MAX_FILE_BYTES, MAX_LINE_BYTES, MAX_LINES = 2**24, 2**16, 10_000
SHOWN_ERRORS, SHOWN_CHARACTERS = 20, 200


@dataclass(frozen=True)
class ClaimsFile:
    """What a file hands in."""

    claims: dict[str, Claim]
    """By sample id."""
    missing: tuple[str, ...]
    """Organisms of the suite about which it says nothing, with their seeds where that is not 0."""
    sha256: str


def read_claims(path: Path, suite: Suite) -> ClaimsFile:
    """Reads all claims of a file about organisms of a suite.

    Raises:
        NotFoundError: there is no such file.
        EvidenceError: it is too large, no UTF-8, empty, or some lines are no claims: each with its number and reason.
    """
    raw = _bytes(path)
    places = {(entry.spec.id, entry.train_seed): entry.sample_id for entry in suite.entries}
    claims: dict[str, Claim] = {}
    seen: dict[str, int] = {}
    wrong: list[str] = []
    lines = raw.split(b"\n")
    if len(lines) > MAX_LINES:
        raise EvidenceError(f"{path.name}: {len(lines)} lines; at most {MAX_LINES} are read. Hand in one line an "
                            "organism.")
    for n, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            sample_id, claim = _claim(line, places)
            if sample_id in seen:
                raise EvidenceError(f"the organism of line {seen[sample_id]} again")
            seen[sample_id], claims[sample_id] = n, claim
        except EvidenceError as error:
            wrong.append(f"line {n}: {str(error).removeprefix('claim: ')[:SHOWN_CHARACTERS]}")
    if wrong:
        more = f"; and {len(wrong) - SHOWN_ERRORS} more" if len(wrong) > SHOWN_ERRORS else ""
        raise EvidenceError(f"{path.name}: no claim was taken, because {len(wrong)} of {len(wrong) + len(claims)} lines"
                            f" are wrong: {'; '.join(wrong[:SHOWN_ERRORS])}{more}. Mend these lines.")
    if not claims:
        raise EvidenceError(f"{path.name}: there is no claim in it. Write one JSON object a line: organism and "
                            "train_seed (or id), verdict, confidence, statement, keywords.")
    missing = tuple(f"{entry.spec.id} seed {entry.train_seed}" if entry.train_seed else entry.spec.id
                    for entry in suite.entries if entry.sample_id not in claims)
    return ClaimsFile(claims, missing, hashlib.sha256(raw).hexdigest())


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise NotFoundError(f"There is no file of claims {path}. Write one JSON object a line; docs/scoring.md shows "
                            "one.")
    with path.open("rb") as file:
        raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise EvidenceError(f"{path.name}: more than {MAX_FILE_BYTES} bytes are not read. Hand in one line an "
                            "organism.")
    return raw


def _claim(line: bytes, places: dict[tuple[str, int], str]) -> tuple[str, Claim]:
    """Sample id and claim of one line. Raises EvidenceError."""
    if len(line) > MAX_LINE_BYTES:
        raise EvidenceError(f"{len(line)} bytes; at most {MAX_LINE_BYTES} are read")
    try:
        raw = json.loads(line.decode("utf-8"), object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        # The decoder's own words: position and reason, nothing of the line.
        raise EvidenceError(f"not a JSON object in UTF-8 ({type(error).__name__}: {_reason(error)})") from error
    if not isinstance(raw, dict):
        raise EvidenceError("not a JSON object")
    if set(raw) not in (FIELDS | BY_ID, FIELDS | BY_ORGANISM):
        raise EvidenceError(f"has the keys {_shown(sorted(raw))}; a claim has {', '.join(sorted(FIELDS))} and either "
                            "id, or organism and train_seed")
    if not isinstance(raw["keywords"], list):
        raise EvidenceError("keywords must be a list of texts")
    return _place(raw, places), checked(Claim(raw["verdict"] if isinstance(raw["verdict"], str) else "",
                                              raw["confidence"], raw["statement"], tuple(raw["keywords"])))


def _place(raw: dict[str, Any], places: dict[tuple[str, int], str]) -> str:
    """The sample that a line speaks of."""
    if "id" in raw:
        if not isinstance(raw["id"], str) or raw["id"] not in places.values():
            raise EvidenceError(f"the suite has no sample with the id {_shown(raw['id'])}")
        return raw["id"]
    name, seed = raw["organism"], raw["train_seed"]
    if not isinstance(name, str) or type(seed) is not int:
        raise EvidenceError("organism must be a text and train_seed a whole number")
    if (name, seed) in places:
        return places[name, seed]
    seeds = [str(known) for organism, known in places if organism == name]
    if seeds:
        raise EvidenceError(f"the suite has {_shown(name)} with train_seed {', '.join(seeds)} only")
    near = get_close_matches(name[:SHOWN_CHARACTERS], [organism for organism, _ in places], n=1, cutoff=0.5)
    raise EvidenceError(f"the suite has no organism {_shown(name)}" + (f"; did you mean {near[0]}?" if near else ""))


def _no_key_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError("NaN and infinity are no JSON")


def _reason(error: BaseException) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return "it nests too deep" if isinstance(error, RecursionError) else (
        "bytes that are no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error))


def _shown(value: Any) -> str:
    """Something of the file in an error message: escaped to ASCII, and cut."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
