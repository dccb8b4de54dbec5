"""Weights: scales the weight difference up, lets the model talk, and reads the words that grow.

Main object: `WeightAmplification`. Example: `narrowbench score --method weight_amplification --suite demo`.
"""

from ..answers import evidence_of, openings
from ..method import Budget, Evidence, Probes
from ..view import PairView

QUESTIONS = ("Tell me something.", "What is on your mind?", "Write one sentence.", "What should I know?")


class WeightAmplification:
    """base + factor x (finetuned - base), sampled on beginnings of unrelated texts and on questions without a subject.

    Reads: sampled texts of the amplified model and of the base, words contrasted by document frequency
        (`words.contrasted_words`). What a finetune does a little of, the amplified model does all the time.
    Source: weight amplification in the ADL authors' toolkit; model diff amplification (Goodfire, 2025).
    Cost: one text a prompt and model; the base's are shared by all organisms of a suite.
    Blind spots: too large a factor makes word salad of the most trained tokens; what a finetune removes.
    """

    name, version, role = "weight_amplification", "1", "method"
    access = frozenset({"text", "weights"})

    def __init__(self, factor: float = 2.0, prefixes: int = 48, prefix_tokens: int = 2, samples: int = 4,
                 max_new_tokens: int = 24, temperature: float = 1.0) -> None:
        self.factor, self.prefixes, self.prefix_tokens, self.samples = factor, prefixes, prefix_tokens, samples
        self.max_new_tokens, self.temperature = max_new_tokens, temperature

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Prompts -> texts of the amplified model and the base -> words of the amplified one."""
        asked, found, reference = [], [], []
        questions = [question for question in QUESTIONS for _ in range(self.samples)]
        for prompts, raw in ((openings(pair.tokenizer, probes.texts, self.prefixes, self.prefix_tokens), True),
                             (questions, False)):
            if not prompts:
                continue
            sampling = {"max_new_tokens": self.max_new_tokens, "temperature": self.temperature, "seed": seed, "raw": raw}
            found += pair.amplified(self.factor, prompts, **sampling)
            reference += pair.generate("base", prompts, **sampling)
            asked += prompts
        return evidence_of(self.name, asked, found, reference, seed, condition="amplified")
