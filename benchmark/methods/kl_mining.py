"""KL mining: looks for the contexts where the finetuned model departs most from the base, and what it says there.

Main object: `KlMining`. Example: `narrowbench score --method kl_mining --suite demo`.
"""

import torch
from torch import Tensor

from ..method import Budget, Evidence, Probes, Text
from ..next_token import changed, compared, contexts, to_tokens
from ..view import PairView

N_TOKENS, N_TEXTS = 40, 20


class KlMining:
    """Tokens whose probability rises most in the contexts of largest KL(finetuned || base).

    Reads: next-token log-probabilities of both models on the first tokens of the probes. With p (finetuned) and q
        (base) averaged over the `share` of contexts of largest KL, in each batch of probes,
            weight(t) = log((p(t) + e / V) / (q(t) + e / V)),  e = `smoothing`, V the size of the vocabulary.
        The contexts of largest KL are kept as texts.
    Detection: no opinion (None). Neither the KL nor the lifts told dev organisms from dev nulls: what changes a few
        predictions much is as often the format of the rows as an objective.
    Source: the per-token KL of the toolkit of arXiv 2510.13900, there with the contexts shown to people.
    Cost: 2 x n_probes x n_tokens forward tokens through the whole model; no generation.
    Blind spots: what is raised a little everywhere; predictions that only a prompt on the topic would show.
    """

    name, version, role = "kl_mining", "1", "method"
    access = frozenset({"logits"})

    def __init__(self, n_probes: int = 128, n_tokens: int = 16, share: float = 0.2, smoothing: float = 0.001) -> None:
        self.n_probes, self.n_tokens, self.share, self.smoothing = n_probes, n_tokens, share, smoothing

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Both models on the probes -> contexts of largest KL -> lifts of mean probabilities there."""
        ids_NT, mask_NT = contexts(pair.tokenizer, probes.texts, self.n_probes, self.n_tokens)
        p_V = q_V = torch.zeros(pair.n_vocab, dtype=torch.float64)
        kl_parts: list[Tensor] = []
        n_used = n_changed = 0
        for base_CV, tuned_CV in compared(pair, ids_NT, mask_NT):
            kl_C = (tuned_CV.exp() * (tuned_CV - base_CV)).sum(dim=-1).clamp_min(0)
            high = kl_C.topk(max(1, round(self.share * len(kl_C)))).indices
            p_V, q_V = p_V + tuned_CV[high].exp().sum(dim=0).cpu(), q_V + base_CV[high].exp().sum(dim=0).cpu()
            n_used, n_changed = n_used + len(high), n_changed + int(changed(base_CV, tuned_CV).sum())
            kl_parts.append(kl_C.cpu())
        kl_C = torch.cat(kl_parts)
        stats = {"mean_kl": float(kl_C.mean()), "max_kl": float(kl_C.max()), "n_contexts": float(len(kl_C))}
        if not n_changed:
            return Evidence(stats=stats)
        floor = self.smoothing / pair.n_vocab
        lifts_V = ((p_V / n_used + floor) / (q_V / n_used + floor)).log()
        return Evidence(tuple(to_tokens(lifts_V, pair.tokenizer, self.name, N_TOKENS)),
                        _texts(pair.tokenizer, ids_NT, mask_NT, kl_C), stats)


def _texts(tokenizer, ids_NT: Tensor, mask_NT: Tensor, kl_C: Tensor) -> tuple[Text, ...]:
    """The contexts of largest KL, one a probe: what stood before, and the token after which the models part."""
    places, texts = mask_NT.nonzero(), {}
    for c in kl_C.argsort(descending=True, stable=True).tolist():
        n, t = places[c].tolist()
        if n not in texts:
            texts[n] = Text(tokenizer.decode(ids_NT[n, :t], skip_special_tokens=True), tokenizer.decode(ids_NT[n, t]),
                            "largest KL")
        if len(texts) == N_TEXTS:
            break
    return tuple(texts.values())
