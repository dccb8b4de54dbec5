"""Text: asks both models the same everyday questions and reads which words only the organism uses.

Main object: `PromptBattery`. Example: `narrowbench score --method prompt_battery --suite demo`.
"""

from ..answers import QUESTIONS, compare
from ..method import Budget, Evidence, Probes
from ..view import PairView


class PromptBattery:
    """A fixed set of questions without a subject, answered by both models; no agent, no follow-up.

    Reads: sampled answers of both models, words contrasted by document frequency (`words.contrasted_words`).
    Source: the scripted battery of reference black-box audits (e.g. arXiv 2602.22755, there driven by an LLM).
    Cost: prompts x samples answers of each model; the base's are shared by all organisms of a suite.
    Blind spots: behaviour that needs its subject or its trigger in the question; what is said as often, but otherwise.
    """

    name, version, role = "prompt_battery", "1", "method"
    access = frozenset({"text"})

    def __init__(self, samples: int = 6, max_new_tokens: int = 24, temperature: float = 1.0) -> None:
        self.samples, self.max_new_tokens, self.temperature = samples, max_new_tokens, temperature

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Questions -> answers of both -> words of the organism's."""
        return compare(pair, self.name, QUESTIONS, self.samples, self.max_new_tokens, self.temperature, seed)
