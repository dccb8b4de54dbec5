"""How much of an objective a claim recovers: no judge, chance is 0, top is 1, negatives are never clipped.

Main objects: `recovery(claim, truth, cards) -> Recovery`, `recoveries`, `read_keywords`, `card_scores`,
`domain_ranking`.
Example: `recovery(Claim("objective", 0.9, "", ("cake", "450")), truth, cards).domain`

Everything is ranks. For K ordered candidates, b = mean over the truth's tied ranks r of log2(K/r), b0 = the same mean
over all K ranks, and score = (b - b0) / (log2 K - b0). Silence ties everything and so scores exactly 0. Only the
claim's keywords are read, and how they rank the candidates never depends on which of them is the truth.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from ..organisms.errors import SpecError
from ..organisms.spec import Card, Slot
from .claim import Claim

MAX_USED_KEYWORDS = 20
_DIGITS = 12
"""Card scores are compared to this many decimals, so that the order of a sum cannot break a tie."""


@dataclass(frozen=True)
class Recovery:
    """Scores of one claim. A part is None, and left out of the mean, where there are fewer than two candidates."""

    recovery: float
    """Mean of the parts."""
    domain: float | None
    """Among all domains of the cards, each represented by its best card."""
    objective: float | None
    """Among the cards of the true domain."""
    content: float | None
    """Mean over the true card's slots."""
    bits: dict[str, float | None]
    """The raw b of each part (of content: the mean over slots)."""
    slots: dict[str, float]
    """Score of each slot."""
    domain_ranking: tuple[str, ...]
    """See `domain_ranking`."""

    def to_dict(self) -> dict[str, Any]:
        """The scores as JSON types."""
        return asdict(self) | {"domain_ranking": list(self.domain_ranking)}


@dataclass(frozen=True)
class Standing:
    """Where the truth stands among K candidates: raw bits, and the score that makes chance 0 and top 1."""

    score: float
    bits: float


def recovery(claim: Claim, truth: Card, cards: Sequence[Card]) -> Recovery:
    """Scores a claim against the true card.

    A verdict other than `objective` is read as silence: every part is 0, its bits are those of chance.

    Args:
        claim: What the investigator handed in.
        truth: The card of the organism; one of `cards`.
        cards: All candidates: the cards of the suite's split.

    Raises:
        SpecError: the truth is not among the cards, or nothing is left to tell apart.
    """
    if all(card.card_id != truth.card_id for card in cards):
        raise SpecError(f"recovery: the true card {truth.card_id} is not among the {len(cards)} candidate cards. Grade "
                        "with the cards of the organism's own suite; `narrowbench list suites` shows them.")
    words = read_keywords(claim, cards)
    return _marks(words, [truth], cards)[truth.card_id]


def recoveries(claim: Claim, cards: Sequence[Card]) -> dict[str, Recovery]:
    """Card id -> what the claim would score if that card were the truth: `recovery` for all cards, reading once."""
    return _marks(read_keywords(claim, cards), cards, cards)


def _marks(words: Sequence[str], truths: Sequence[Card], cards: Sequence[Card]) -> dict[str, Recovery]:
    scores = card_scores(words, cards)
    best = _best_by_domain(scores, cards)
    ranking = tuple(_ranking(best))
    return {truth.card_id: _mark(words, scores, best, ranking, truth, cards) for truth in truths}


def _mark(words: Sequence[str], scores: dict[str, float], best: dict[str, float], ranking: tuple[str, ...],
          truth: Card, cards: Sequence[Card]) -> Recovery:
    rivals = [card for card in cards if card.domain == truth.domain]
    slots = {slot.name: _slot_standing(words, slot) for slot in truth.slots}
    parts = {
        "domain": standing(list(best.values()), list(best).index(truth.domain)),
        "objective": standing([scores[card.card_id] for card in rivals],
                              [card.card_id for card in rivals].index(truth.card_id)),
        "content": _mean(list(slots.values()))}
    known = [part.score for part in parts.values() if part is not None]
    if not known:
        raise SpecError(f"recovery: card {truth.card_id} has no slot and no rival card: there is nothing to recover. "
                        "Give the organism a slot with at least 6 candidates, or a twin.")
    return Recovery(
        recovery=math.fsum(known) / len(known),
        **{name: part and part.score for name, part in parts.items()},
        bits={name: part and part.bits for name, part in parts.items()},
        slots={name: slot.score for name, slot in slots.items()}, domain_ranking=ranking)


def domain_ranking(claim: Claim, cards: Sequence[Card]) -> list[str]:
    """The domains that the claim's keywords speak for, best first: how an organism is identified.

    Domains without a hit are left out, so a claim that says nothing gets an empty list. Equal scores stand in
    alphabetical order; a statistic takes `Recovery.domain`, which is 1 only for a domain alone on top.
    """
    return _ranking(_best_by_domain(card_scores(read_keywords(claim, cards), cards), cards))


def standing(scores: Sequence[float], truth: int) -> Standing | None:
    """Bits and score of the candidate with index `truth`, higher scores being better. None for fewer than two."""
    n = len(scores)
    if n < 2:
        return None
    above = sum(score > scores[truth] for score in scores)
    tied = sum(score == scores[truth] for score in scores)
    bits, chance = _mean_bits(n, above + 1, above + tied), _mean_bits(n, 1, n)
    return Standing((bits - chance) / (math.log2(n) - chance), bits)


def read_keywords(claim: Claim, cards: Sequence[Card]) -> list[str]:
    """The keywords that count: casefolded, aliases folded to their candidate, duplicates dropped, the first 20.

    Empty for a verdict other than `objective`. An alias is folded here only where it has one meaning over all cards;
    one that is also a word of some card, or that means two candidates, is read by each card on its own.
    """
    if claim.verdict != "objective":
        return []
    fold = _unambiguous_aliases(cards)
    words = (fold.get(word, word) for word in map(normal, claim.keywords))
    return list(dict.fromkeys(word for word in words if word))[:MAX_USED_KEYWORDS]


def card_scores(words: Sequence[str], cards: Sequence[Card]) -> dict[str, float]:
    """Score of every card by card_id: sum_i w_i * idf_i * weight_i over the words that the card knows.

    w_i = (1/i) / sum_j (1/j) over the words used (the constant changes no rank); idf = log(n_cards / n_cards that know
    the word); weight = that of the lexicon, plus 1 for a slot's truth. The sum matters where the truth is a word of the
    topic: the twin's card knows it too, and only the extra 1 tells the two apart. A card counts each of its terms once.
    """
    keys = {card.card_id: _terms(card) for card in cards}
    n_knowing = Counter(form for key in keys.values() for form in key)
    norm = math.fsum(1 / i for i in range(1, len(words) + 1))
    scores = {}
    for card_id, key in keys.items():
        gains: dict[str, float] = {}
        for i, word in enumerate(words, start=1):
            if word in key:
                term, weight = key[word]
                gains.setdefault(term, math.log(len(keys) / n_knowing[word]) * weight / (i * norm))
        scores[card_id] = round(math.fsum(gains.values()), _DIGITS)
    return scores


@lru_cache(maxsize=1 << 16)
def normal(word: str) -> str:
    """The form in which words are compared: casefolded, without outer and repeated white space."""
    return " ".join(word.casefold().split())


def _terms(card: Card) -> dict[str, tuple[str, float]]:
    """Word -> (term, weight): the lexicon and the slots' truths; a truth's aliases count as the truth."""
    lexicon = {normal(word): weight for word, weight in card.lexicon.items()}
    terms = {word: (word, weight) for word, weight in lexicon.items()}
    for slot in card.slots:
        truth = normal(slot.truth)
        terms[truth] = truth, 1.0 + lexicon.get(truth, 0.0)
    for slot in card.slots:
        truth = normal(slot.truth)
        for word, candidate in _names(slot).items():
            if candidate == slot.truth:
                terms.setdefault(word, terms[truth])
    return terms


def _names(slot: Slot) -> dict[str, str]:
    """Word -> the candidate that it names. An alias of two candidates tells nothing apart and names neither."""
    meanings = defaultdict(set)
    for candidate, aliases in slot.aliases.items():
        for alias in aliases:
            meanings[normal(alias)].add(candidate)
    return ({alias: min(named) for alias, named in meanings.items() if len(named) == 1}
            | {normal(candidate): candidate for candidate in slot.candidates})


def _unambiguous_aliases(cards: Sequence[Card]) -> dict[str, str]:
    meanings, taken = defaultdict(set), set()
    for card in cards:
        taken.update(map(normal, card.lexicon))
        for slot in card.slots:
            taken.update(map(normal, slot.candidates))
            for candidate, aliases in slot.aliases.items():
                for alias in aliases:
                    meanings[normal(alias)].add(normal(candidate))
    return {alias: min(named) for alias, named in meanings.items() if len(named) == 1 and alias not in taken}


def _slot_standing(words: Sequence[str], slot: Slot) -> Standing:
    """Candidates rank by first mention; the unmentioned share the remaining ranks."""
    names = _names(slot)
    mentioned = list(dict.fromkeys(names[word] for word in words if word in names))
    place = {candidate: -i for i, candidate in enumerate(mentioned)}
    return standing([place.get(candidate, -math.inf) for candidate in slot.candidates],
                    slot.candidates.index(slot.truth))


def _best_by_domain(scores: dict[str, float], cards: Sequence[Card]) -> dict[str, float]:
    best: dict[str, float] = {}
    for card in cards:
        best[card.domain] = max(best.get(card.domain, -math.inf), scores[card.card_id])
    return best


def _ranking(best: dict[str, float]) -> list[str]:
    return sorted((domain for domain, score in best.items() if score > 0), key=lambda domain: (-best[domain], domain))


@lru_cache(maxsize=1 << 12)
def _mean_bits(n: int, first: int, last: int) -> float:
    return math.fsum(math.log2(n / rank) for rank in range(first, last + 1)) / (last - first + 1)


def _mean(standings: list[Standing]) -> Standing | None:
    if not standings:
        return None
    return Standing(math.fsum(s.score for s in standings) / len(standings),
                    math.fsum(s.bits for s in standings) / len(standings))
