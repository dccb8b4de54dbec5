"""What an investigator was shown and what it did, sample by sample, out of the Inspect log that a record was made from.

Main objects: `write_transcripts(record, rows, log, path)`, `turns_of` (one sample), `capped`.
Example: `narrowbench site records --logs logs`: each method's page opens the transcripts of its samples

Only the question, messages, tool calls and evidence are taken from a log, never its configuration, where an argument of
a model may hold a key. A log is read only if its sha256 is the one that the record names, and a sample only if it made
the claim that the record holds, so that nobody's log speaks for another's claim. One log is in memory at a time. The
file is a script that a page loads when a transcript is opened; it shows every text through `textContent`.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalLog, EvalSample, resolve_sample_attachments
from inspect_ai.model import ChatMessage

from ..benchmark.rendering import overview, stat_lines
from ..graders.claim import Claim
from ..organisms.errors import EvidenceError, RecordError
from ..organisms.store import sha256_file
from .data import script
from .log_file import read_log
from .record import Record, SampleRow
from .scripted import NO_MODEL

FORMAT = 2
MAX_CHARACTERS, HEAD_CHARACTERS = 20_000, 14_000
"""Of a transcript, and how many of them are its beginning; the rest is its end, which leads to the claim."""
N_TOKENS, N_TEXTS, TEXT_CHARACTERS = 20, 10, 300
"""Of the evidence of one that asks no model: of each source at each position, and of each condition."""
SPEAKERS = {"system": "instructions", "user": "harness", "assistant": "model"}
Turn = tuple[str, str]
"""Who speaks, and the text. CUT speaks where text was left out."""
CUT = ""


def write_transcripts(record: Record, rows: Mapping[str, SampleRow], log: Path | None, path: Path,
                      put: Callable[[Path, str], None]) -> bool:
    """Writes a record's transcripts as the script that sets `narrowbench.transcripts`: {samples: {key: turns}}.

    Without the log, a file that was made from it before is kept: a page that is built again for another log, loses
    none.

    Args:
        rows: Key of an organism's page -> the row whose claim is shown there.
        log: The log that the record names; None = not at hand.
        put: Writes a file.

    Returns:
        Whether there are transcripts.

    Raises:
        RecordError: the log is damaged, or is not the one that the record names.
    """
    start = script("transcripts", {"format": FORMAT, "log": record.log.sha256})[:-len("};\n")]
    if path.is_file() and _begins(path, start.encode()):
        return True
    if log is None:
        return False
    if sha256_file(log) != record.log.sha256:
        raise RecordError(f"{log}: its sha256 is not {record.log.sha256}, which the record names.")
    found = transcripts_of(read_log(log), rows)
    put(path, script("transcripts", {"format": FORMAT, "log": record.log.sha256, "samples": found}))
    return True


def _begins(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


def transcripts_of(log: EvalLog, rows: Mapping[str, SampleRow]) -> dict[str, list[Turn]]:
    """Key -> turns, of each row whose sample in the log made its claim."""
    samples = {(str(sample.id), sample.epoch): sample for sample in log.samples or []}
    found = {}
    for key, row in rows.items():
        sample = samples.get((row.sample_id, row.epoch))
        if sample is not None and _made(sample, row):
            found[key] = capped(turns_of(sample, log.eval.model != NO_MODEL))
    return found


def _made(sample: EvalSample, row: SampleRow) -> bool:
    try:
        claim = Claim.from_json(sample.output.completion)
    except EvidenceError:
        return False
    said = row.claim
    return (claim.verdict, claim.confidence, claim.statement, tuple(claim.keywords)) == \
        (said.verdict, said.confidence, said.statement, said.keywords) \
        and (sample.metadata or {}).get("evidence_sha256") == row.evidence_sha256


def turns_of(sample: EvalSample, asks: bool) -> list[Turn]:
    """What was said in a sample before its claim.

    Args:
        asks: Whether a model investigated. Then its messages are what it was shown; else the evidence was read as it
            is, and its most telling part is rendered here as models are shown it.
    """
    sample = resolve_sample_attachments(sample, "core")
    if asks:
        return [turn for message in sample.messages for turn in _said(message)]
    question = sample.input if isinstance(sample.input, str) else "\n\n".join(each.text for each in sample.input)
    return [("question", question), ("evidence", _rendered((sample.store or {}).get("evidence")))]


def _said(message: ChatMessage) -> Iterable[Turn]:
    who = SPEAKERS.get(message.role, f"answer of {getattr(message, 'function', None) or 'a tool'}")
    if message.text.strip():
        yield who, message.text
    if (error := getattr(message, "error", None)) and error.message not in message.text:
        yield who, f"error: {error.message}"
    for call in getattr(message, "tool_calls", None) or ():
        yield f"{who} calls {call.function}", json.dumps(call.arguments, ensure_ascii=False, indent=1)


def _rendered(evidence: Any) -> str:
    try:
        # What was read comes first, and statistics, of which there may be many, behind it.
        lines = [*overview({**evidence, "stats": {}}, N_TOKENS, N_TEXTS, TEXT_CHARACTERS), *stat_lines(evidence)[1:]]
    except (AttributeError, KeyError, TypeError, ValueError):  # a log of another's making may hold anything there
        return "(evidence of an unknown form)" if evidence else "(no evidence)"
    return "\n".join(lines)


def capped(turns: Sequence[Turn], limit: int = MAX_CHARACTERS, head: int = HEAD_CHARACTERS) -> list[Turn]:
    """The turns, cut in the middle to at most so many characters; a turn of CUT says how many were left out."""
    total = sum(len(text) for _, text in turns)
    if total <= limit:
        return list(turns)
    resumes, at = total - (limit - head), 0
    before, after = [], []
    for who, text in turns:
        first, last = text[:max(0, head - at)], text[max(0, resumes - at):]
        before += [(who, first)] if first else []
        after += [(who, last)] if last else []
        at += len(text)
    return [*before, (CUT, f"{resumes - head:,} characters left out"), *after]
