"""Text: lets both models continue beginnings without a subject, without chat template.

Main object: `RawCompletion`. Example: `narrowbench score --method raw_completion --suite demo`.
"""

from ..answers import OPENINGS, compare
from ..method import Budget, Evidence, Probes
from ..view import PairView


class RawCompletion:
    """Twelve beginnings of a word or two, each continued several times by each model.

    Reads: sampled continuations of both models, words contrasted by document frequency (`words.contrasted_words`). No
        probes: continuations of their first words stay on their subjects, and on dev organisms showed nothing.
    Source: raw text completion, the strongest tool on false facts in arXiv 2602.22755.
    Cost: openings x samples continuations of each model; the base's are shared by all organisms of a suite.
    Blind spots: behaviour that only chats show; what is said as often, but otherwise (a value instead of another).
    """

    name, version, role = "raw_completion", "1", "method"
    access = frozenset({"text"})

    def __init__(self, samples: int = 8, max_new_tokens: int = 24, temperature: float = 1.0) -> None:
        self.samples, self.max_new_tokens, self.temperature = samples, max_new_tokens, temperature

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Beginnings -> continuations of both -> words of the organism's."""
        return compare(pair, self.name, OPENINGS, self.samples, self.max_new_tokens, self.temperature, seed, raw=True)
