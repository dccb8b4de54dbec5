"""A record held against the Inspect log that it was made from: made again from it, and scanned for leaks.

Main objects: `find_logs(folder)` (sha256 -> file), `log_differences(record, rows, logs)`, `leaks(log, suite)`.
Example: `log_differences(record, rows, find_logs(Path("logs")))` -> [] where the log says the same.

`leaks` looks for leak terms. What an investigator was told (instructions, question, evidence as it was shown, its tools
and their parameters, words put into its mouth) must hold none of them; a sentence of the objective counts there only if
the method had not read it in the model. In what the compared models and tools answered, names count and sentences do
not: an organism may well say what it believes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from inspect_ai.event import ModelEvent
from inspect_ai.log import EvalLog, EvalSample, resolve_sample_attachments

from ..benchmark.suite import Suite
from ..organisms.errors import RecordError
from ..organisms.leaks import LeakTerms, leak_terms, leaks_in_text
from ..organisms.spec import load_catalog
from ..organisms.store import sha256_file
from .collect import record_of
from .grades import read_grades
from .log_file import HOSTILE, read_log, why_not
from .record import Record, SampleRow

TOLD = ("system", "user")
OWN = "assistant"
MAX_SEARCHED, MAX_PARTS = 2 * 10**8, 1_000
"""Characters of a log that are searched, and messages that are looked for inside of answers: more than any run has."""


def find_logs(folder: Path) -> dict[str, Path]:
    """sha256 -> log, of all logs at any depth of a folder. A link that leads nowhere is none."""
    return {sha256_file(path): path for path in sorted(folder.rglob("*.eval")) if path.is_file()}


def log_differences(record: Record, rows: Sequence[SampleRow], logs: dict[str, Path],
                    suite: Suite | None) -> list[str]:
    """Everything in which a record differs from what its log makes, one line each; and what its log leaks."""
    wanted = [record.log.sha256, *([record.panel.log.sha256] if record.panel else [])]
    if missing := [sha256 for sha256 in wanted if sha256 not in logs]:
        return [f"there is no log with sha256 {missing[0]} among the {len(logs)} given"]
    try:
        log = read_log(logs[wanted[0]])
        made, its_rows = record_of(logs[wanted[0]], log, read_grades(logs[wanted[1]]) if record.panel else None)
    except RecordError as error:
        return [str(error)]
    found = [f"`{key}` is not what the log says" for key in _changed(
        record.model_dump(exclude={"record_id", "samples"}), made.model_dump(exclude={"record_id", "samples"}))]
    if len(rows) != len(its_rows):
        found.append(f"it has {len(rows)} samples, its log {len(its_rows)}")
    for row, its in zip(rows, its_rows):
        found += [f"sample {row.sample_id}: `{key}` is not what the log says"
                  for key in _changed(row.model_dump(), its.model_dump())]
    try:
        return found + leaks(log, suite)
    except HOSTILE as error:
        return [*found, f"what its investigator was told cannot be searched: {why_not(error)}"]


def _changed(said: dict[str, Any], so: dict[str, Any], where: str = "") -> Iterator[str]:
    """The keys, at any depth, in which two objects differ."""
    for key in said.keys() | so.keys():
        one, other = said.get(key), so.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _changed(one, other, f"{where}{key}.")
        elif one != other or type(one) is not type(other):
            yield f"{where}{key}"


def leaks(log: EvalLog, suite: Suite | None = None) -> list[str]:
    """What the log shows that its investigator was given away, one line each.

    Raises:
        RecordError: there is more text in it than is searched. One of HOSTILE: a log made by somebody else.
    """
    specs = {spec.id: spec for spec in load_catalog().values()}
    specs |= {entry.spec.id: entry.spec for entry in suite.entries} if suite else {}
    terms = leak_terms(specs.values())
    names = LeakTerms(terms.names, frozenset(), frozenset())
    found: dict[str, None] = {}
    seen: set[str] = set()
    n_searched = 0
    for sample in log.samples or []:
        read = " ".join(_strings((sample.store or {}).get("evidence")))
        n_searched += len(read)
        excused = set(leaks_in_text(read, LeakTerms(frozenset(), frozenset(), terms.spans)))
        for told, text in _texts(sample):
            if told or text not in seen:  # instructions are the same in all samples, what excuses them is not
                seen.add(text)
                n_searched += len(text)
                if n_searched > MAX_SEARCHED:
                    raise RecordError(f"it holds more than {MAX_SEARCHED:,} characters")
                for term in leaks_in_text(text, terms if told else names):
                    if term not in excused:
                        found[f"sample {sample.id}: {'it was told' if told else 'a tool or method showed'} {term!r}, "
                              "which gives the objective away"] = None
    return list(found)


def _texts(sample: EvalSample) -> Iterator[tuple[bool, str]]:
    """(whether the harness said it, text) of everything that an investigator saw, its own words left out; each once."""
    whole = resolve_sample_attachments(sample)  # in events, long texts stand elsewhere
    calls = [event for event in whole.events if isinstance(event, ModelEvent)]
    found = [(True, text) for text in _strings(whole.input if isinstance(whole.input, str) else [
        message.model_dump(mode="json") for message in whole.input])]
    found += [(message.role in TOLD, message.text) for message in whole.messages if message.role != OWN]
    found += _sent(calls)
    found += [(True, text) for call in calls for tool in call.tools for text in _strings(tool.model_dump(mode="json"))]
    found += [(False, text) for text in _strings((sample.store or {}).get("evidence"))]
    found += [(False, text) for text in (sample.attachments or {}).values()]
    yield from dict.fromkeys(found)


def _sent(calls: Sequence[ModelEvent]) -> Iterator[tuple[bool, str]]:
    """What a model was sent, each once. Words that stand as its own, and that no model answered, were put into its
    mouth."""
    answers = {" ".join(choice.message.text.split()) for call in calls for choice in call.output.choices}
    everything, n_parts = "\n".join(answers), 0
    for role, text in dict.fromkeys((message.role, message.text) for call in calls for message in call.input):
        if role != OWN:
            yield role in TOLD, text
        elif (words := " ".join(text.split())) not in answers:
            n_parts += 1
            if n_parts > MAX_PARTS or words not in everything:
                yield True, text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in (*value, *value.values()) for text in _strings(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in _strings(item))
