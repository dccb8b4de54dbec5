"""Logits: among the organism's own continuations, those that surprise the base most.

Main object: `PplDiff`. Example: `narrowbench score --method ppl_diff --suite demo`.
"""

import torch

from ..answers import evidence_of, openings
from ..method import Budget, Evidence, Probes
from ..view import PairView


class PplDiff:
    """Perplexity differencing: generations from short prefills, ranked by log-perplexity under the base minus under the
    organism; the words of the highest ranked.

    Reads: sampled continuations of the first tokens of probes by both models, and each token's log-probability under
        both. A text's difference = mean over its tokens of log p of its own model - log p of the other. The share with
        the largest difference is kept on both sides alike, so that words and their chance level compare like with like.
    Source: arXiv 2605.00994 (there: 10,000 prefills, greedy, and a person or judge who looks at the first 100).
    Cost: one continuation a prefill and model (the base's are shared by all organisms of a suite), and both sets
        forwarded through both models.
    Blind spots: behaviour that only chats show; objectives that make common words likelier, not surprising ones.

    Args:
        top_share: the share of texts that is read.
    """

    name, version, role = "ppl_diff", "1", "method"
    access = frozenset({"text", "logprobs"})

    def __init__(self, prefills: int = 96, prefill_tokens: int = 3, max_new_tokens: int = 20, temperature: float = 1.0,
                 top_share: float = 0.5) -> None:
        self.prefills, self.prefill_tokens, self.max_new_tokens = prefills, prefill_tokens, max_new_tokens
        self.temperature, self.top_share = temperature, top_share

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Prefills -> continuations of both -> differences -> words of the most surprising."""
        prompts = openings(pair.tokenizer, probes.texts, self.prefills, self.prefill_tokens)
        kept, gaps = {}, {}
        for which, other in (("finetuned", "base"), ("base", "finetuned")):
            texts = pair.generate(which, prompts, self.max_new_tokens, self.temperature, seed, raw=True)
            gap_B = self._gap(pair, [a + b for a, b in zip(prompts, texts, strict=True)], which, other)
            n = max(1, round(self.top_share * len(texts)))
            top = gap_B.topk(n)
            kept[which], gaps[which] = [(prompts[i], texts[i]) for i in top.indices.tolist()], top.values
        found, reference = ([text for _, text in kept[which]] for which in ("finetuned", "base"))
        evidence = evidence_of(self.name, [prompt for prompt, _ in kept["finetuned"]], found, reference, seed,
                               paired=False)
        stats = evidence.stats | {f"gap_{which}": float(values.mean()) for which, values in gaps.items()}
        return Evidence(evidence.tokens, tuple(text for text in evidence.texts if text.condition != "base"), stats,
                        evidence.detection)

    def _gap(self, pair: PairView, texts: list[str], which: str, other: str) -> torch.Tensor:
        """Mean log-probability of each text's tokens under its own model minus under the other, gap_B in nats."""
        batch = pair.tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
        mask_BT = batch["attention_mask"][:, 1:].float()
        gap_BT = (pair.logprobs(which, batch["input_ids"]) - pair.logprobs(other, batch["input_ids"])).cpu()
        return (gap_BT * mask_BT).sum(dim=1) / mask_BT.sum(dim=1).clamp_min(1)
