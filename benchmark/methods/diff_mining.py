"""Diff mining: which tokens the finetuned model raises most, counted over many contexts that are unrelated to it.

Main object: `DiffMining`. Example: `narrowbench score --method diff_mining --suite demo`.
"""

import math
import warnings

import numpy as np
import torch
from torch import Tensor

from ..method import NOTHING_TO_READ, Budget, Evidence, Probes, Token
from ..next_token import changed, compared, contexts, to_tokens
from ..view import PairView

N_TOKENS = 40
N_COLUMNS = 512
RANKINGS = ("top_k", "positive", "nmf")


class DiffMining:
    """Tokens that stand among the k largest next-token logit differences in more contexts than chance would put them.

    Reads: next-token logits of both models on the first tokens of the probes; every position is a context. Rankings:
        top_k: log of (share of contexts in which the token is among the k most raised) over k / V.
        positive: log odds that the token's difference lies above the context's mean difference.
        nmf: the positive differences of the tokens most often among the k, contexts x tokens, factored into `n_topics`
            topics; a topic is a source, a token's weight its mean difference (nats) in the topic's contexts.
    Detection: that of narrow finetuning is the same words raised everywhere. Agreement of two random contexts = the
        expected share of their `wide_k` most raised tokens that they have in common; detection = log agreement on what
        is raised - log agreement on what is lowered. What any finetuning does to both sides alike cancels.
    Source: Diff Mining, arXiv 2608.26462 (there: k = 100, 8,192 texts of 64 tokens, three topics; no detection).
    Cost: 2 x n_probes x n_tokens forward tokens through the whole model; no generation.
    Blind spots: what shows only in chats or on the topic; a finetuning that lowers words rather than raise them; tokens
        that pretraining never showed drift together and can crowd the top of a weak difference.
    """

    name, version, role = "diff_mining", "1", "method"
    access = frozenset({"logits"})

    def __init__(self, ranking: str = "top_k", k: int = 10, wide_k: int = 50, n_probes: int = 128, n_tokens: int = 16,
                 n_topics: int = 3) -> None:
        if ranking not in RANKINGS:
            raise ValueError(f"ranking {ranking!r} is none of {', '.join(RANKINGS)}")
        self.ranking, self.k, self.wide_k, self.n_topics = ranking, k, wide_k, n_topics
        self.n_probes, self.n_tokens = n_probes, n_tokens

    @torch.inference_mode()
    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Both models on the probes -> differences -> counts over contexts."""
        n_vocab = pair.n_vocab
        k, wide_k = min(self.k, n_vocab), min(self.wide_k, n_vocab)
        top_V, raised_V, lowered_V, positive_V = torch.zeros(4, n_vocab, dtype=torch.float64)
        kept, n = [], 0
        for base_CV, tuned_CV in compared(pair, *contexts(pair.tokenizer, probes.texts, self.n_probes, self.n_tokens)):
            delta_CV = (tuned_CV - base_CV)[changed(base_CV, tuned_CV)]
            n += len(delta_CV)
            raised = delta_CV.topk(wide_k, dim=-1)
            top_V += _count(raised.indices[:, :k], n_vocab)
            raised_V += _count(raised.indices, n_vocab)
            lowered_V += _count(delta_CV.topk(wide_k, dim=-1, largest=False).indices, n_vocab)
            delta_CV = delta_CV - delta_CV.mean(dim=-1, keepdim=True)
            positive_V += (delta_CV > 0).sum(dim=0).cpu()
            if self.ranking == "nmf":
                kept.append(delta_CV.clamp_min(0).cpu())
        stats = {"n_contexts": float(n)}
        if n < 2:
            return Evidence(stats=stats, detection=NOTHING_TO_READ)
        chance = wide_k / n_vocab
        agreement = {"raised": _agreement(raised_V, n, wide_k), "lowered": _agreement(lowered_V, n, wide_k)}
        detection = math.log(max(agreement["raised"], chance) / max(agreement["lowered"], chance))
        stats |= {f"agreement_{side}": value for side, value in agreement.items()}
        return Evidence(tuple(self._tokens(pair.tokenizer, top_V, positive_V, n, kept, seed)), stats=stats,
                        detection=detection)

    def _tokens(self, tokenizer, top_V: Tensor, positive_V: Tensor, n: int, kept: list[Tensor],
                seed: int) -> list[Token]:
        if self.ranking == "top_k":
            weights_V = (top_V / n).log() - math.log(min(self.k, len(top_V)) / len(top_V))
            return to_tokens(weights_V, tokenizer, self.name, N_TOKENS)
        if self.ranking == "positive":
            return to_tokens(((positive_V + 0.5) / (n - positive_V + 0.5)).log(), tokenizer, self.name, N_TOKENS)
        columns = top_V.topk(min(N_COLUMNS, int((top_V > 0).sum()))).indices
        delta_CX = np.concatenate([part[:, columns].numpy() for part in kept])
        tokens = []
        for topic, weights_X in enumerate(_topics(delta_CX, self.n_topics, seed)):
            weights_V = torch.zeros_like(top_V)
            weights_V[columns] = torch.from_numpy(weights_X).double()
            tokens += to_tokens(weights_V, tokenizer, f"{self.name}_topic_{topic}", N_TOKENS)
        return tokens


def _count(indices_CK: Tensor, n_vocab: int) -> Tensor:
    return indices_CK.flatten().bincount(minlength=n_vocab).double().cpu()


def _agreement(count_V: Tensor, n: int, k: int) -> float:
    """Expected share of their k tokens that two different contexts of n have in common."""
    return float((count_V * (count_V - 1)).sum()) / (n * (n - 1) * k)


def _topics(delta_CX: np.ndarray, n_topics: int, seed: int) -> list[np.ndarray]:
    """Mean difference of each token in each topic's contexts, weights_X, the largest topic first."""
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    model = NMF(min(n_topics, *delta_CX.shape), init="nndsvda", max_iter=100, tol=1e-3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        in_CZ = model.fit_transform(delta_CX)
    in_CZ = in_CZ * model.components_.sum(axis=1)
    return [in_CZ[:, z] @ delta_CX / in_CZ[:, z].sum() for z in np.argsort(-in_CZ.sum(axis=0)) if in_CZ[:, z].any()]
