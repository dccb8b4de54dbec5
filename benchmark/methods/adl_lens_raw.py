"""ADL's logit lens as published: the most probable tokens of the mean difference, without control vectors.

Main object: `AdlLensRaw`. Example: `narrowbench score --method adl_lens_raw --suite demo`. Beside `adl_logit_lens` it
says what the random-vector control is worth.
"""

import math

import torch

from ..method import NOTHING_TO_READ, Budget, Evidence, Probes, Token
from ..probe_sources import read_means
from ..readout import N_TOP
from ..view import PairView


class AdlLensRaw:
    """softmax(unembed(delta_p)) in the finetuned model, ranked by probability, at positions skip..k-1.

    Reads: the vectors that `adl_logit_lens` reads, at the same scale. A token's weight is log p - log(1/V), V the size
        of the vocabulary; at most 20 a position. What any vector says stands among them.
    Detection: no opinion (None): a token is there whether or not the difference means anything; -1 without any
        difference.
    Source: arXiv 2510.13900, section 2. Cost: as `adl_logit_lens`, with 1 unembedded vector a position instead of 201.
    Blind spots: as `adl_logit_lens`, and words that most vectors decode to, in this model, crowd out the others.

    Args:
        k, skip, layer_fraction, n_probes, source: as of `adl_logit_lens`.
    """

    name, version, role = "adl_lens_raw", "1", "method"
    access = frozenset({"activations"})

    def __init__(self, k: int = 5, skip: int = 1, layer_fraction: float = 0.8, n_probes: int | None = None,
                 source: str = "probes") -> None:
        self.k, self.skip, self.layer_fraction, self.n_probes, self.source = k, skip, layer_fraction, n_probes, source

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Mean difference -> lens -> most probable tokens."""
        [(_, means, first, stats)] = read_means(pair, probes.texts, self.layer_fraction, self.k, self.skip,
                                                self.n_probes, self.source, remove_mean=False, whiten=False)
        tokens: list[Token] = []
        for position in range(first, len(means.delta_PD)):
            delta_D = means.delta_PD[position]
            if delta_D.norm() > 0:
                scaled_D = (means.norm_base * delta_D.double() / delta_D.double().norm()).float()
                logp_V = pair.unembed("finetuned", scaled_D[None])[0].log_softmax(-1).cpu()
                tokens += _most_probable(logp_V, pair.tokenizer, self.name, position)
        return Evidence(tokens=tuple(tokens), stats=stats, detection=None if tokens else NOTHING_TO_READ)


def _most_probable(logp_V: torch.Tensor, tokenizer, source: str, position: int) -> list[Token]:
    logp_V = logp_V.clone()
    logp_V[[i for i in tokenizer.all_special_ids if i < len(logp_V)]] = -torch.inf
    top = logp_V.topk(min(N_TOP, len(logp_V)))
    return [Token(tokenizer.decode([int(i)]), round(float(value) + math.log(len(logp_V)), 6), source, position)
            for value, i in zip(top.values, top.indices, strict=True)]
