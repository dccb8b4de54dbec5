"""Log-probabilities: among the organism's own continuations, those that surprise the base most.

Main object: `PplDiff`. Example: `narrowbench score --method ppl_diff --suite demo`.
"""

import torch

from ..answers import OPENINGS, Z, openings
from ..method import Budget, Evidence, Probes, Text
from ..view import PairView
from ..words import contrasted_words

N_TEXTS = 32
DECIMALS = 4
"""Of a difference in nats: below that, the order of texts would be rounding noise."""


class PplDiff:
    """Perplexity differencing: generations from short prefills, ranked by log-perplexity under the base minus under the
    organism; the words of the highest ranked.

    Reads: sampled continuations of the first tokens of probes and of beginnings without a subject, by both models, and
        each token's log-probability under both. A text's difference = mean over its tokens of log p of the organism -
        log p of the base. Words of the highest ranked texts are contrasted with all of the base's texts.
    Source: arXiv 2605.00994 (there: 10,000 prefills, greedy, and a person or judge who looks at the first 100).
    Cost: one continuation a prefill and model (the base's are shared by all organisms of a suite), and both sets
        forwarded through both models.
    Blind spots: behaviour that only chats show; objectives that make common words likelier, not surprising ones. No
        opinion on detection: a chosen share of texts always has words of its own, and the mean difference beyond that
        of the base's own texts scored the other way round (`excess`) does not tell dev organisms from nulls.

    Args:
        prefills: how many from probes, spread over them, none twice.
        prefill_tokens: tokens of each.
        samples: continuations of each beginning without a subject.
        top_share: the share of texts that is read.
    """

    name, version, role = "ppl_diff", "1", "method"
    access = frozenset({"text", "logprobs"})

    def __init__(self, prefills: int = 48, prefill_tokens: int = 2, samples: int = 4, max_new_tokens: int = 24,
                 temperature: float = 1.0, top_share: float = 0.25) -> None:
        self.prefills, self.prefill_tokens, self.samples = prefills, prefill_tokens, samples
        self.max_new_tokens, self.temperature, self.top_share = max_new_tokens, temperature, top_share

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Prefills -> continuations of both -> differences -> words of the most surprising."""
        prompts = openings(pair.tokenizer, probes.texts, self.prefills, self.prefill_tokens)
        prompts += [opening for opening in OPENINGS for _ in range(self.samples)]
        found, reference = (pair.generate(which, prompts, self.max_new_tokens, self.temperature, seed, raw=True)
                            for which in ("finetuned", "base"))
        gap_B, mirrored_B = (_gap(pair, [a + b for a, b in zip(prompts, texts, strict=True)])
                             for texts in (found, reference))
        gap, mirrored = float(gap_B.mean()), float(-mirrored_B.mean())
        stats = {"gap": gap, "mirrored_gap": mirrored, "excess": gap - mirrored, "n_texts": float(len(found))}
        if found == reference and not gap_B.any():
            return Evidence(stats=stats)
        top = gap_B.argsort(descending=True, stable=True)[:max(1, round(self.top_share * len(found)))].tolist()
        tokens, _ = contrasted_words([found[i] for i in top], reference, self.name, seed, z=Z)
        return Evidence(tuple(tokens), tuple(Text(prompts[i], found[i], "finetuned") for i in top[:N_TEXTS]), stats)


def _gap(pair: PairView, texts: list[str]) -> torch.Tensor:
    """Mean log-probability of each text's tokens under the organism minus under the base, gap_B in nats."""
    batch = pair.tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    ids_BT, mask_BT = batch["input_ids"], batch["attention_mask"][:, 1:].float()
    gap_BT = (pair.logprobs("finetuned", ids_BT) - pair.logprobs("base", ids_BT)).cpu()
    return ((gap_BT * mask_BT).sum(dim=1) / mask_BT.sum(dim=1).clamp_min(1)).round(decimals=DECIMALS)
