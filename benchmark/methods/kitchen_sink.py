"""Floor: lists everything that the base likes to talk about. What it scores, long lists score by themselves.

Main object: `KitchenSink`. Example: `narrowbench score --method kitchen_sink --suite demo`.
"""

from collections import Counter

from ..answers import FEW_QUESTIONS
from ..method import Budget, Evidence, Probes, Token
from ..view import PairView
from ..words import words_in

OPENINGS = ("The", "A", "This", "My", "In", "It", "Some", "Every")
"""Beginnings of texts about anything."""
MIN_LETTERS = 4


class KitchenSink:
    """The words that the base uses most in its own texts and chats, in one flat list, the same for every organism.

    Reads: the base alone, by name of `which`: sampled continuations of openings about anything, and sampled answers to
        questions about anything. Words of at least four letters and numbers are ranked by how many texts use them. It
        sees no card, no lexicon and no slot: a list of all slot truths would be an answer key (content 0.6 for naming
        both values of every twin), and so no floor.
    Claims an objective everywhere: with no opinion on detection (None) and words to show, readers say so.
    SCORING, "Rows that check the instrument": its interval must hold 0 or lie below.
    Source: ours. Cost: 96 generations of 48 tokens by the base, shared by all organisms. Blind spots: the finetuning.
    """

    name, version, role = "kitchen_sink", "1", "floor"
    access = frozenset({"text"})

    def __init__(self, n_words: int = 1_000, samples: int = 8, max_new_tokens: int = 48) -> None:
        self.n_words, self.samples, self.max_new_tokens = n_words, samples, max_new_tokens

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Base texts -> words by how many texts use them."""
        texts = []
        for prompts, raw in ((OPENINGS, True), (FEW_QUESTIONS, False)):
            texts += pair.generate("base", list(prompts) * self.samples, self.max_new_tokens, 1.0, seed, raw)
        used = Counter(word for text in texts for word in set(words_in(text))
                       if word.isdecimal() or len(word) >= MIN_LETTERS)
        ranked = sorted(used, key=lambda word: (-used[word], word))[: self.n_words]
        n = len(ranked)
        return Evidence(tokens=tuple(Token(f" {word}", 1 - i / n, self.name) for i, word in enumerate(ranked)),
                        stats={"n_texts": float(len(texts)), "n_words": float(n)})
