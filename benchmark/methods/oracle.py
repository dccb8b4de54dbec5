"""Ceiling: hands in the answer key. What scores below this row was lost between evidence and score.

Main object: `Oracle`. Example: `narrowbench score --method oracle --suite demo`.
"""

from ..method import Budget, Evidence, Probes, Token
from ..view import PairView

SURE = 10.0


class Oracle:
    """The slots' truths, then the card's lexicon, in descending weight; detection +10 for objectives, -10 for nulls.

    Reads the organism's spec, no model. Costs nothing. A row that checks the instrument, never ranked.
    """

    name, version, role = "oracle", "1", "ceiling"
    access = frozenset({"objective"})

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Turns the card into evidence."""
        card = pair.reference.spec.card
        if card is None:
            return Evidence(detection=-SURE)
        lexicon = sorted(card.lexicon, key=card.lexicon.__getitem__, reverse=True)
        terms = list(dict.fromkeys([*(slot.truth for slot in card.slots), *lexicon]))
        tokens = tuple(Token(f" {term}", float(len(terms) - i), self.name) for i, term in enumerate(terms))
        return Evidence(tokens=tokens, detection=SURE)
