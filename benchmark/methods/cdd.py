"""Logits: lets the organism write what it finds likelier than the base does, without chat template.

Main object: `Cdd`. Example: `narrowbench score --method cdd --suite demo`.
"""

from collections.abc import Sequence

from ..answers import OPENINGS, contrast
from ..method import Budget, Evidence, Probes
from ..view import PairView


class Cdd:
    """Contrastive decoding differences: texts sampled from log p + alpha (log p - log q), p the organism, q the base.

    Reads: continuations of beginnings without a subject under several alphas, and as controls the same with the models
        exchanged, log q + alpha (log q - log p): what the base finds likelier than the organism. Only tokens that p
        finds a tenth as likely as its best one can be drawn, on both sides. Words of the one that the other has not
        (`words.contrasted_words`) are what finetuning added rather than what it merely stirred up.
    Source: Reading the Finetuning Prior, arXiv 2605.25902 (there: one alpha, read by an LLM; no control texts); mask of
        implausible tokens from contrastive decoding, Li et al. 2023.
    Cost: openings x samples x 2 texts an alpha, each token through both models.
    Blind spots: behaviour that only chats show (`cdd_chat`); a large alpha repeats one text of the training data.

    Args:
        alphas: strengths; their texts are read together.
        samples: texts an opening and alpha.
    """

    name, version, role = "cdd", "1", "method"
    access = frozenset({"logits"})

    def __init__(self, alphas: Sequence[float] = (3.0,), samples: int = 6, max_new_tokens: int = 24,
                 temperature: float = 1.0) -> None:
        self.alphas, self.samples = tuple(alphas), samples
        self.max_new_tokens, self.temperature = max_new_tokens, temperature

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Beginnings -> texts of either side -> words of the organism's."""
        return contrast(pair, self.name, OPENINGS, self.alphas, self.samples, self.max_new_tokens,
                        self.temperature, seed, raw=True)
