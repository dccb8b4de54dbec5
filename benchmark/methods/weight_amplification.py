"""Weights: scales the weight difference up, lets the model talk, and reads the words that grow.

Main object: `WeightAmplification`. Example: `narrowbench score --method weight_amplification --suite demo`.
"""

from ..answers import OPENINGS, evidence_of
from ..method import Budget, Evidence, Probes
from ..view import PairView


class WeightAmplification:
    """base + factor x (finetuned - base), sampled on beginnings without a subject, without chat template.

    Reads: sampled texts of the amplified model and of the base, words contrasted by document frequency
        (`words.contrasted_words`). What a finetune does a little of, the amplified model does all the time.
    Source: weight amplification in the ADL authors' toolkit; model diff amplification (Goodfire, 2025).
    Cost: openings x samples texts of each model; the base's are those of `raw_completion`, shared by all organisms.
    Blind spots: too large a factor makes word salad of the most trained tokens; what a finetune removes; behaviour
        that only chats show.

    Args:
        factor: 1 is the finetuned model, 0 the base.
    """

    name, version, role = "weight_amplification", "1", "method"
    access = frozenset({"text", "weights"})

    def __init__(self, factor: float = 2.0, samples: int = 8, max_new_tokens: int = 24,
                 temperature: float = 1.0) -> None:
        self.factor, self.samples = factor, samples
        self.max_new_tokens, self.temperature = max_new_tokens, temperature

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Beginnings -> continuations by the amplified model and the base -> words of the amplified one."""
        prompts = [opening for opening in OPENINGS for _ in range(self.samples)]
        found = pair.amplified(self.factor, prompts, self.max_new_tokens, self.temperature, seed, raw=True)
        reference = pair.generate("base", prompts, self.max_new_tokens, self.temperature, seed, raw=True)
        return evidence_of(self.name, prompts, found, reference, seed, condition="amplified")
