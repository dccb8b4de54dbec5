"""Floor: how much the finetuned model's predictions changed, without looking at what changed. Detection only.

Main object: `NormKl`. Example: `narrowbench score --method norm_kl --suite demo`.
"""

import math

from ..method import NOTHING_TO_READ, Budget, Evidence, Probes
from ..next_token import changed, compared, contexts
from ..view import PairView



class NormKl:
    """Mean KL(finetuned || base) of the next token on unrelated texts. No tokens: it says whether, never what.

    Reads: next-token log-probabilities of both models on the first tokens of the probes.
    Detection: log of the mean KL over `null_kl_nats`, what trained nulls reach on dev organisms. A size has no control
        of its own: finetuning without an objective changes predictions too.
    Source: the baseline that diffing papers lack (arXiv 2510.13900 has no detection statistic); KL per token as in
        that paper's toolkit.
    Cost: 2 x n_probes x n_tokens forward tokens through the whole model; no generation.
    Blind spots: everything but size. What was trained hard looks like an objective, a subtle objective like none.
    """

    name, version, role = "norm_kl", "1", "floor"
    access = frozenset({"logits"})

    def __init__(self, n_probes: int = 128, n_tokens: int = 16, null_kl_nats: float = 0.008) -> None:
        self.n_probes, self.n_tokens, self.null_kl_nats = n_probes, n_tokens, null_kl_nats

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Both models on the probes -> mean KL -> how far above that of nulls."""
        kl = moved = 0.0
        n = n_changed = 0
        for base_CV, tuned_CV in compared(pair, *contexts(pair.tokenizer, probes.texts, self.n_probes, self.n_tokens)):
            kl += float((tuned_CV.exp() * (tuned_CV - base_CV)).sum(dim=-1).clamp_min(0).sum())
            moved += float((tuned_CV - base_CV).abs().mean(dim=-1).sum())
            n += len(base_CV)
            n_changed += int(changed(base_CV, tuned_CV).sum())
        stats = {"mean_kl": kl / n, "mean_abs_delta_logprob": moved / n, "n_contexts": float(n)}
        silent = not n_changed or not kl > 0
        return Evidence(stats=stats, detection=NOTHING_TO_READ if silent else math.log(kl / n / self.null_kl_nats))
