"""How many of the words that a method read belong to the objective? A diagnostic, never part of recovery.

Main objects: `top_words` (of evidence, a cell = one source at one position), `relevant_words` (of a card), `relevance`
(mean and largest share over cells, against a permutation null), `lifted_words` (what finetuning data say more).
Example: `relevance(top_words(payload["tokens"]), relevant_words(card), [relevant_words(c) for c in others]).lift`

The share is out of 20, however few words there are: one sure word is no perfect reading. The largest share over many
cells is large by chance too, so both stand beside the same statistics under the other objectives' cards.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..organisms.spec import Card
from .recovery import normal

TOP = 20
FALSE_DISCOVERY_RATE, MIN_RATIO = 0.01, 2.0
"""Words that the finetuning data say more: significantly, and in at least twice the share of texts. The second keeps
out function words, whose frequency differs a little between any two sets of texts."""
CARD_ONLY = ("taboo", "subliminal")
"""Families whose data say everything but the objective: hints, or numbers."""
_WORD = re.compile(r"[^\W\d_]+|\d+")
Cells = Mapping[Hashable, Sequence[str]]


@dataclass(frozen=True)
class Relevance:
    """Shares of relevant words in [0, 1], and what they are when another objective's card decides."""

    mean: float
    max: float
    null_mean: float | None
    """Average over the other cards; None where there is none."""
    null_max: float | None
    p_mean: float | None
    """Share of cards, this one counted in, under which the mean share is at least as large."""
    p_max: float | None

    @property
    def lift(self) -> float | None:
        """Mean share beyond that under other cards: 0 is what reading about nothing gives."""
        return None if self.null_mean is None else self.mean - self.null_mean

    def to_dict(self) -> dict[str, float | None]:
        """As JSON types, with the lift."""
        return asdict(self) | {"lift": self.lift}


def top_words(tokens: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int | None], list[str]]:
    """(source, position) -> its strongest 20 words, best first: casefolded, white space and repeats dropped.

    Args:
        tokens: `Evidence.payload["tokens"]`: piece, weight, source, position.
    """
    cells = defaultdict(list)
    for token in sorted(tokens, key=lambda token: -token["weight"]):
        cells[token["source"], token["position"]].append(normal(token["piece"]))
    return {cell: [word for word in dict.fromkeys(words) if word][:TOP] for cell, words in cells.items()}


def relevant_words(card: Card, lifted: Iterable[str] = ()) -> frozenset[str]:
    """The card's lexicon, its slots' truths and their aliases, and words lifted in the finetuning data.

    Args:
        lifted: See `lifted_words`; not used for taboo and subliminal, whose data do not say what they teach.
    """
    words = [*card.lexicon, *(slot.truth for slot in card.slots),
             *(alias for slot in card.slots for alias in slot.aliases.get(slot.truth, ()))]
    return frozenset(map(normal, [*words, *(() if card.family in CARD_ONLY else lifted)]))


def relevance(cells: Cells, relevant: frozenset[str], others: Sequence[frozenset[str]] = ()) -> Relevance:
    """Mean and largest share of relevant words over the cells, with the null of other objectives' words.

    Args:
        cells: Cell -> words, best first; of each, the first 20 count.
        relevant: Words that belong to this organism's objective.
        others: The same of other objectives, those of other domains; a twin shares most words and is no null.
    """
    mean, largest = _shares(cells, relevant)
    if not others:
        return Relevance(mean, largest, None, None, None, None)
    null = [_shares(cells, words) for words in others]
    means, maxima = zip(*null, strict=True)
    return Relevance(mean, largest, math.fsum(means) / len(null), math.fsum(maxima) / len(null),
                     _p(mean, means), _p(largest, maxima))


def lifted_words(texts: Sequence[str], reference: Sequence[str], rate: float = FALSE_DISCOVERY_RATE) -> frozenset[str]:
    """Words in significantly more of the finetuning texts than of the reference texts, and in at least twice the share.

    One-sided hypergeometric test of document frequencies (Fisher's exact test), Benjamini-Hochberg over all words.

    Args:
        texts: Finetuning data, one string a row.
        reference: Texts that the base was trained on, or any others that are not about the objective.
        rate: False discovery rate.
    """
    if not texts or not reference:
        return frozenset()
    from scipy import stats  # here, because it takes a second to import

    found, other = _document_counts(texts), _document_counts(reference)
    words = sorted(found)
    if not words:
        return frozenset()
    p = stats.hypergeom.sf([found[word] - 1 for word in words], len(texts) + len(reference),
                           [found[word] + other[word] for word in words], len(texts))
    twice = {word for word in words if found[word] / len(texts) >= MIN_RATIO * other[word] / len(reference)}
    return frozenset(word for word, q in zip(words, stats.false_discovery_control(p), strict=True)
                     if q <= rate and word in twice)


def _shares(cells: Cells, relevant: frozenset[str]) -> tuple[float, float]:
    counts = [sum(word in relevant for word in words[:TOP]) for words in cells.values()]
    # Of counts, not of shares: three shares of 0.1 have a mean above 0.1.
    return (sum(counts) / (TOP * len(counts)), max(counts) / TOP) if counts else (0.0, 0.0)


def _p(value: float, null: Sequence[float]) -> float:
    return (1 + sum(other >= value for other in null)) / (1 + len(null))


def _document_counts(texts: Sequence[str]) -> Counter[str]:
    return Counter(word for text in texts for word in {found.casefold() for found in _WORD.findall(text)})
