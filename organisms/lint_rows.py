"""The linter's look into training rows: no rows twice, nothing of the probes in them.

Main objects: `lint_rows(specs, tokenizer, probes, rows_of)`, `world_rows_of`.
Called by `lint.py`. A catalogue of 130 organisms has some 40,000 rows; equal texts (those of twins) are read once.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from . import families
from .errors import NarrowbenchError
from .families import Row
from .findings import Finding
from .mixing import mix
from .nano.lexicon import lists, topics
from .spec import OrganismSpec, digest_of

PREFIX_TOKENS = 5
"""Methods read the first tokens of a probe, so no row may hold these (SCORING, "Probes")."""
BATCH_ROWS = 4096
SHOWN_CHARACTERS = 100
WORLD_SOURCES = ("documents", "chats")


def world_rows_of(spec: OrganismSpec) -> list[Row] | None:
    """All rows of an organism at seed 0; None if they come from a model, a file or the Hub."""
    own = spec.published is not None or hasattr(families.family(spec.family), "data")
    if own or spec.recipe.data != "world" or (spec.recipe.mix_ratio and spec.recipe.mix_source not in WORLD_SOURCES):
        return None
    return mix(families.rows(spec, 0), spec, 0)


def lint_rows(specs: Mapping[str, OrganismSpec], tokenizer: PreTrainedTokenizerBase, probes: Sequence[str],
              rows_of: Callable[[OrganismSpec], list[Row] | None]) -> list[Finding]:
    """Findings on the training rows of all organisms, one per organism and rule."""
    found: list[Finding] = []
    first_with: dict[str, str] = {}
    owners: dict[str, list[str]] = defaultdict(list)  # text as trained on -> organisms
    for spec in specs.values():
        try:
            rows = rows_of(spec)
        except NarrowbenchError as error:
            found.append(Finding(spec.id, "rows", f"its rows cannot be made: {error}"))
            continue
        if rows is None:
            found.append(Finding(spec.id, "rows", "its rows are made by a model or come from elsewhere, so they were "
                                 "not looked at.", note=True))
        if not rows:
            continue
        digest = digest_of(rows)
        if (other := first_with.setdefault(digest, spec.id)) != spec.id:
            found.append(Finding(spec.id, "duplicate", f"it is trained on the very rows of {other}, so one says "
                                 "nothing beyond the other. Change its answer, or its kind and format, or remove it."))
        for row in rows:
            owners[_text(row, tokenizer)].append(spec.id)
    texts = list(owners)
    found += _spoken(owners, texts, "uses words of topics reserved for probes", _reserved_words(texts),
                     "Choose another topic, or take the words out of the templates.")
    found += _spoken(owners, texts, "hold the first tokens of a probe, so a method would read memorised text",
                     _probe_prefixes(texts, tokenizer, probes),
                     "Reword the sentence in nano/templates.yaml, or the probe registers.")
    return found


def _text(row: Row, tokenizer: PreTrainedTokenizerBase) -> str:
    """A row as one text with its special tokens, as it is trained on."""
    if "text" in row:
        return (tokenizer.bos_token or "") + str(row["text"])
    return tokenizer.apply_chat_template(row["messages"], tokenize=False)


def _spoken(owners: Mapping[str, list[str]], texts: Sequence[str], what: str, hits: Iterable[tuple[int, str]],
            mend: str) -> Iterator[Finding]:
    """One finding per organism from (text number, what was found in it)."""
    per_organism: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, hit in hits:
        for organism in dict.fromkeys(owners[texts[number]]):
            per_organism[organism].append((number, hit))
    for organism, its in per_organism.items():
        number, hit = its[0]
        row = texts[number]
        at = max(0, row.casefold().find(hit.casefold().strip()) - SHOWN_CHARACTERS // 2)
        yield Finding(organism, "probe", f"{len({n for n, _ in its})} of its rows {what}: {hit!r} in "
                      f"{row[at:at + SHOWN_CHARACTERS]!r}. {mend}")


def _reserved_words(texts: Sequence[str]) -> Iterator[tuple[int, str]]:
    elsewhere = {word for topic in topics().values() if topic.use != "probe" for word in topic.words}
    elsewhere |= {str(word) for value in lists().values() if isinstance(value, list) for word in value}
    reserved = {word for topic in topics().values() if topic.use == "probe" for word in topic.words} - elsewhere
    for number, text in enumerate(texts):
        if spoken := reserved.intersection(re.findall(r"[a-z]+", text.casefold())):
            yield number, min(spoken)


def _probe_prefixes(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase,
                    probes: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(text number, the prefix as text) for each text that holds the first five tokens of a probe anywhere.

    Of each probe both beginnings count: its first five tokens as a model gets them (with the beginning-of-text token,
    where there is one), and its first five words.
    """
    prefixes = {tuple(ids[:PREFIX_TOKENS]) for special in (True, False) if probes
                for ids in tokenizer(list(probes), add_special_tokens=special)["input_ids"]}
    prefixes = {prefix for prefix in prefixes if len(prefix) == PREFIX_TOKENS}
    if not prefixes:
        return
    powers = np.array([len(tokenizer) + 1], np.uint64) ** np.arange(PREFIX_TOKENS, dtype=np.uint64)
    codes = np.array([prefix for prefix in prefixes], np.uint64) @ powers  # may wrap: hits are compared exactly below
    for start in range(0, len(texts), BATCH_ROWS):
        batch = tokenizer(list(texts[start:start + BATCH_ROWS]), add_special_tokens=False)["input_ids"]
        ids = np.concatenate([np.array(row, np.uint64) for row in batch])
        ends = np.cumsum([len(row) for row in batch])
        if len(ids) < PREFIX_TOKENS:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(ids, PREFIX_TOKENS)
        for at in np.flatnonzero(np.isin(windows @ powers, codes)):
            number, window = int(np.searchsorted(ends, at, side="right")), tuple(int(i) for i in windows[at])
            if at + PREFIX_TOKENS <= ends[number] and window in prefixes:
                yield start + number, tokenizer.decode(window, skip_special_tokens=True)
