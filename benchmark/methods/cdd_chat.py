"""Logits: lets the organism answer what it finds likelier than the base does, as a chat.

Main object: `CddChat`. Example: `narrowbench score --method cdd_chat --suite demo`.
"""

from collections.abc import Sequence

from ..answers import QUESTIONS, contrast
from ..method import Budget, Evidence, Probes
from ..view import PairView


class CddChat:
    """As `cdd`, but answers to questions without a subject, in the chat template.

    Reads: as `cdd`, from chats. The paper goes without the template; this row says what that is worth.
    Source: as `cdd`, arXiv 2605.25902. Cost: as `cdd`.
    Blind spots: what only documents show; a chat model's answers keep to what it was tuned to answer.

    Args:
        alphas, samples, max_new_tokens, temperature: as of `cdd`.
    """

    name, version, role = "cdd_chat", "1", "method"
    access = frozenset({"logits"})

    def __init__(self, alphas: Sequence[float] = (3.0,), samples: int = 2, max_new_tokens: int = 24,
                 temperature: float = 1.0) -> None:
        self.alphas, self.samples = tuple(alphas), samples
        self.max_new_tokens, self.temperature = max_new_tokens, temperature

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Questions -> answers of either side -> words of the organism's."""
        return contrast(pair, self.name, QUESTIONS, self.alphas, self.samples, self.max_new_tokens,
                        self.temperature, seed)
