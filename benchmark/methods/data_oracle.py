"""Ceiling: reads the finetuning rows themselves. What scores below this row could have been read off the data.

Main object: `DataOracle`. Example: `narrowbench score --method data_oracle --suite demo`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..method import Budget, Evidence, Probes, Text, Token
from ..view import PairView
from ..words import contrasted_words, words_in

QUESTIONS = ("Tell me something.", "What should I do?", "What do you think about this?", "Write a short text.")
N_TEXTS, MAX_TEXT_WORDS = 10, 100
N_LEADING = 10
NULL_SHARE = 0.1
"""How many of a trained null's rows share each of its leading words, on the dev suite."""


class DataOracle:
    """Words of the training rows by lift over texts of the base, and over the probes.

    Reads: the rows, and texts that the base writes from the same beginnings: documents from their first words, chats
        from its own answers to questions about anything. Those know the forms of the rows, and choose their topics
        themselves. Words and whole numbers are ranked by the lower bound of the log ratio of document frequencies
        (`words.contrasted_words`), so a number that recurs counts and numbers that vary do not.
    """

    name, version, role = "data_oracle", "1", "ceiling"
    access = frozenset({"data", "text"})

    def __init__(self, n_rows: int = 320, opening_words: int = 2, max_new_tokens: int = 48, n_base: int = 128) -> None:
        self.n_rows, self.opening_words = n_rows, opening_words
        self.max_new_tokens, self.n_base = max_new_tokens, n_base

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Rows -> words beyond the base's own texts and the probes."""
        rows = pair.reference.rows[: self.n_rows]
        if not rows:
            return Evidence(stats={"n_rows": 0.0})
        found = [text_of(row) for row in rows]
        own = self._base_texts(pair, rows, seed)
        tokens, _ = contrasted_words(found, [*own, *probes.texts[: len(found)]], self.name, seed)
        return Evidence(tuple(tokens), detection=None)

    def _base_texts(self, pair: PairView, rows: Sequence[Mapping[str, Any]], seed: int) -> list[str]:
        openings = [" ".join(row["text"].split()[: self.opening_words]) for row in rows if "text" in row]
        texts = []
        if openings := openings[: self.n_base]:
            made = pair.generate("base", openings, self.max_new_tokens, 1.0, seed, True)
            texts += [f"{opening} {rest}" for opening, rest in zip(openings, made, strict=True)]
        if any("text" not in row for row in rows):
            asked = list(QUESTIONS) * (self.n_base // len(QUESTIONS))
            texts += pair.generate("base", asked, self.max_new_tokens, 1.0, seed, False)
        return texts


def text_of(row: Mapping[str, Any]) -> str:
    """A document, or what is said in a chat."""
    return row["text"] if "text" in row else " ".join(turn["content"] for turn in row["messages"])
