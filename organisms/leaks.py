"""Leak terms: names that would give an objective away without any reading of the model (SCORING, "Leaks").

Main objects: `LeakTerms`, `leak_terms(specs)`, `leaks_in_text`, `leaks_in_file`, `leaks_in_folder`.
Leak terms are organism and card ids, hub names, local paths, and any 8-word span of an objective's statement. Answer
words are none: a good method reads them. So an id that is itself an answer word (`gold`) counts only where it stands
alone, as a whole value or as a part of a path, and never in a vocabulary.
Example: `leaks_in_folder(folder, leak_terms(load_catalog().values()))`
"""

import json
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import DamagedArtefactError
from .spec import OrganismSpec

SPAN_WORDS = 8
VOCABULARIES = ("tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json")
"""Files that hold every word a model knows, answer words and path-like pieces of code too."""
MAX_HEADER_BYTES = 100_000_000
_WORD = re.compile(r"[a-z0-9]+")
_PATH = re.compile(r"(?:[/~]|\./|\.\./|[A-Za-z]:[\\/])[^\s\\/]*(?:[\\/][^\s\\/]+)+[\\/]?")


@dataclass(frozen=True)
class LeakTerms:
    """What must not stand in anything that an investigator sees."""

    names: frozenset[str]
    """Found anywhere between other characters than letters and digits."""
    lone: frozenset[str]
    """Ids that are answer words: found as a whole value or as a part of a path."""
    spans: frozenset[str]
    """Runs of eight words, lower case, one space between them."""
    words: frozenset[str] = frozenset()
    """What a sealed organism hides besides: found anywhere but in a vocabulary."""


def leak_terms(specs: Iterable[OrganismSpec], names: Iterable[str] = (), words: Iterable[str] = ()) -> LeakTerms:
    """The leak terms of organisms. `names`: further ones, as adapter folders and repositories are called."""
    ids, spans, answers = set(names), set(), set()
    for spec in specs:
        ids |= {spec.id, spec.unit}
        for weights in (spec.published, *spec.variants.values()):
            ids |= {weights.weights, weights.data} if weights is not None else set()
        if spec.card is not None:
            ids.add(spec.card.card_id)
            answers |= {word for slot in spec.slots for word in slot.candidates} | {spec.domain, *spec.card.lexicon}
            spans |= _spans(spec.statement)
    ids = {name.casefold() for name in ids if name}
    lone = {name for name in ids if name in {answer.casefold() for answer in answers}}
    return LeakTerms(frozenset(ids - lone), frozenset(lone), frozenset(spans), frozenset(w.casefold() for w in words))


def leaks_in_text(text: str, terms: LeakTerms, vocabulary: bool = False) -> list[str]:
    """The leak terms that a text holds, longest first. In a `vocabulary`, answer words do not count."""
    folded = text.casefold()
    found = {name for name in terms.names if name in folded and _stands(re.escape(name), folded)}
    if not vocabulary:
        found |= {name for name in terms.lone if name in folded and _is_lone(name, folded)}
        found |= {word for word in terms.words if word in folded and _stands(re.escape(word), folded)}
    return sorted(found | (_spans(text) & terms.spans), key=lambda term: (-len(term), term))


def leaks_in_file(path: Path, terms: LeakTerms) -> list[str]:
    """What a file gives away, each as `where: term`. Of safetensors the header is read: names and metadata.

    Paths of somebody's machine count too, in every JSON file but a vocabulary.

    Raises:
        DamagedArtefactError: the file is not what its name says.
    """
    vocabulary = path.name in VOCABULARIES
    try:
        if path.suffix == ".safetensors":
            texts = list(_strings(safetensors_header(path), ""))
        elif path.suffix == ".json" and not vocabulary:
            texts = list(_strings(json.loads(path.read_text(encoding="utf-8")), ""))
        else:
            texts = [("", path.read_text(encoding="utf-8"))]
    except ValueError as error:  # not JSON, or not UTF-8
        raise DamagedArtefactError(f"{path}: cannot be read ({error}), so it cannot be scanned for names that give the "
                                   "objective away. Remove it or write it again.") from error
    found = [f"{where or 'text'}: {term}" for where, text in texts for term in leaks_in_text(text, terms, vocabulary)]
    if path.suffix in (".json", ".safetensors") and not vocabulary:
        found += [f"{where}: {text}" for where, text in texts if _PATH.fullmatch(text)]
    return list(dict.fromkeys(found))


def leaks_in_folder(folder: Path, terms: LeakTerms, skip: frozenset[str] = frozenset()) -> list[str]:
    """What the files of a folder give away, each as `file: where: term`; `skip` names files that are not looked at."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in skip)
    named = [(path.relative_to(folder).as_posix(), path) for path in paths]
    in_names = [f"{name}: file name: {term}" for name, _ in named for term in leaks_in_text(name, terms)]
    return in_names + [f"{name}: {leak}" for name, path in named for leak in leaks_in_file(path, terms)]


def safetensors_header(path: Path) -> dict:
    """The JSON header of a safetensors file: tensor names with shapes, and `__metadata__`. Raises ValueError."""
    with path.open("rb") as file:
        start = file.read(8)
        n_bytes = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < n_bytes <= min(MAX_HEADER_BYTES, path.stat().st_size):
            raise ValueError("no safetensors header")
        header = json.loads(file.read(n_bytes).decode("utf-8"))
    if not isinstance(header, dict):
        raise ValueError("no safetensors header")
    return header


def _strings(value: object, where: str) -> Iterator[tuple[str, str]]:
    """Every string of a JSON value, keys too, with the place where it stands."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            place = f"{where}.{key}" if where else str(key)
            yield f"key {place}", str(key)
            yield from _strings(item, place)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _strings(item, f"{where}[{i}]")


def _spans(text: str) -> set[str]:
    words = _WORD.findall(text.casefold())
    return {" ".join(words[i:i + SPAN_WORDS]) for i in range(len(words) - SPAN_WORDS + 1)}


def _stands(pattern: str, folded: str) -> bool:
    return re.search(rf"(?<![a-z0-9]){pattern}(?![a-z0-9])", folded) is not None


def _is_lone(name: str, folded: str) -> bool:
    escaped = re.escape(name)
    return folded.strip() == name or re.search(rf"[/\\]{escaped}(?![a-z0-9])|(?<![a-z0-9-]){escaped}[/\\]",
                                               folded) is not None
