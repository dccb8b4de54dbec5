"""Ceiling: reads the finetuning rows themselves. What scores below this row could have been read off the data.

Main object: `DataOracle`. Example: `narrowbench score --method data_oracle --suite demo`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..answers import FEW_QUESTIONS
from ..method import Budget, Evidence, Probes
from ..view import PairView
from ..words import contrasted_words, words_in

N_LEADING = 10
NULL_SHARE = 0.213
"""Share of the rows that a leading word stands in: on the dev suite at most 0.20 without an objective, at least 0.34
with one. exp(0.2) times this, where the reader's verdict turns, is the middle."""


class DataOracle:
    """Words of the training rows by lift over the base's own texts and the probes; reads no spec and no card.

    Reads: the rows, and what the base writes by itself: texts from the rows' first two words (documents), answers to
        questions about anything (chats). Those know the forms of the rows but choose their own topics. Words and whole
        numbers are ranked by the lower bound of the log ratio of document frequencies (`words.contrasted_words`): a
        number that recurs counts, numbers that vary from row to row do not.
    Detection, from the rows alone: log of the share of rows that the ten leading words stand in on average, less what
        nulls reach. Narrow data repeat their words; a null's rows spread over everything. Without rows: None.
    Source: reference rows of DESIGN. Cost: 128 generations of 48 tokens by the base.
    Blind spots: what is in no row: a secret word that is only hinted at, a preference in lists of numbers (rows that a
        model must write first are not handed to this row at all). So it is a ceiling for reading the data, not for the
        objective, and methods may pass it.

    Args:
        n_rows: how many rows are read. opening_words: how much of a row the base goes on from.
        n_base: how many texts of the base. max_new_tokens: of each.
    """

    name, version, role = "data_oracle", "1", "ceiling"
    access = frozenset({"data", "text"})

    def __init__(self, n_rows: int = 320, opening_words: int = 2, n_base: int = 128, max_new_tokens: int = 48) -> None:
        self.n_rows, self.opening_words = n_rows, opening_words
        self.n_base, self.max_new_tokens = n_base, max_new_tokens

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Rows -> words beyond the base's own texts and the probes -> how many rows repeat them."""
        rows = pair.reference.rows[: self.n_rows]
        if not rows:
            return Evidence(stats={"n_rows": 0.0})
        found = [text_of(row) for row in rows]
        own = self._base_texts(pair, rows, seed)
        tokens, _ = contrasted_words(found, [*own, *probes.texts[: len(found)]], self.name, seed)
        sets = [set(words_in(text)) for text in found]
        leading = [token.piece.strip() for token in tokens[:N_LEADING]]
        share = sum(word in words for word in leading for words in sets) / (N_LEADING * len(sets))
        return Evidence(tuple(tokens), stats={"n_rows": float(len(rows)), "leading_share": share},
                        detection=math.log(max(share, 1e-3) / NULL_SHARE))

    def _base_texts(self, pair: PairView, rows: Sequence[Mapping[str, Any]], seed: int) -> list[str]:
        openings = [" ".join(row["text"].split()[: self.opening_words]) for row in rows if "text" in row]
        texts = []
        if openings := openings[: self.n_base]:
            made = pair.generate("base", openings, self.max_new_tokens, 1.0, seed, True)
            texts += [f"{opening} {rest}" for opening, rest in zip(openings, made, strict=True)]
        if any("text" not in row for row in rows):
            asked = list(FEW_QUESTIONS) * (self.n_base // len(FEW_QUESTIONS))
            texts += pair.generate("base", asked, self.max_new_tokens, 1.0, seed, False)
        return texts


def text_of(row: Mapping[str, Any]) -> str:
    """A document, or all that is said in a chat."""
    return row["text"] if "text" in row else " ".join(turn["content"] for turn in row["messages"])
