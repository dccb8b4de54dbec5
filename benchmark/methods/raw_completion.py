"""Text: lets both models continue the first words of unrelated texts, without chat template.

Main object: `RawCompletion`. Example: `narrowbench score --method raw_completion --suite demo`.
"""

from ..answers import compare, openings
from ..method import Budget, Evidence, Probes
from ..view import PairView


class RawCompletion:
    """Many beginnings of a few tokens each, one continuation of each by each model.

    Reads: sampled continuations of both models, words contrasted by document frequency (`words.contrasted_words`).
    Source: raw text completion, the strongest tool on false facts in arXiv 2602.22755.
    Cost: one continuation a beginning and model; the base's are shared by all organisms of a suite.
    Blind spots: behaviour that only chats show; what is said as often, but otherwise (a value instead of another).

    Args:
        prefixes: how many beginnings, spread over the probes.
        prefix_tokens: tokens of each.
    """

    name, version, role = "raw_completion", "1", "method"
    access = frozenset({"text"})

    def __init__(self, prefixes: int = 64, prefix_tokens: int = 2, samples: int = 1, max_new_tokens: int = 24,
                 temperature: float = 1.0) -> None:
        self.prefixes, self.prefix_tokens, self.samples = prefixes, prefix_tokens, samples
        self.max_new_tokens, self.temperature = max_new_tokens, temperature

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Beginnings -> continuations of both -> words of the organism's."""
        prompts = openings(pair.tokenizer, probes.texts, self.prefixes, self.prefix_tokens)
        return compare(pair, self.name, prompts, self.samples, self.max_new_tokens, self.temperature, seed, raw=True)
