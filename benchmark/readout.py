"""From log-probabilities of a vector and of control vectors to tokens: what it says beyond what any vector says.

Main objects: `lift`, `Reading` (lifts, what counts, detection), `Controls`, `lens_readings`, `to_tokens`,
`detection_of`.
Source: SCORING, "Random-vector control". With r over control vectors of the same scale, in the same model and prompt:
    lift(t) = log p(t | delta) - log mean_r p(t | r)
A token counts only where log p(t | delta) exceeds the 95th percentile over r in both control sets.
Example: `to_tokens(lens_readings(view, means.delta_PD, means, seed)[1], view.tokenizer, "my_method", 1)`

Shapes by suffix: V vocabulary, R control vectors, N a vector and its controls, P position.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .activations import Means, beside_controls
from .method import NOTHING_TO_READ, Token

QUANTILE = 0.95
N_TOP = 20


def lift(logp_V: Tensor, logp_controls_RV: Tensor) -> Tensor:
    """log p(t | delta) - log mean over r of p(t | r), in nats."""
    return logp_V - (torch.logsumexp(logp_controls_RV, dim=0) - math.log(len(logp_controls_RV)))


def lifts_of_controls(logp_RV: Tensor) -> Tensor:
    """Each control's lift over the other controls, lifts_RV: what `lift` gives for a vector that carries nothing."""
    top_V, top_at_V = logp_RV.max(dim=0)
    p_RV = (logp_RV - top_V).double().exp()
    rest_V = p_RV.scatter(0, top_at_V[None], 0.0).sum(dim=0)
    others_RV = 1.0 + rest_V - p_RV  # at the largest row, subtracting would cost the digits of all others
    others_RV.scatter_(0, top_at_V[None], rest_V[None])
    return logp_RV - top_V - (others_RV.log() - math.log(len(logp_RV) - 1)).to(logp_RV.dtype)


@dataclass(frozen=True)
class Controls:
    """What vectors without objective say, and how much of it any vector may say by chance."""

    logp_RV: Tensor
    floor_V: Tensor
    """95th percentile of each token's log-probability, of the control set where it is higher."""
    top: float
    """95th percentile over controls of the mean of their 20 largest lifts."""

    @classmethod
    def of(cls, logp_RV: Tensor) -> "Controls":
        """From log-probabilities of the isotropic vectors, then as many differences, as in `beside_controls`."""
        isotropic_RV, differences_RV = logp_RV.chunk(2)
        return cls(logp_RV, torch.maximum(_quantile(isotropic_RV), _quantile(differences_RV)),
                   float(_quantile(_top_mean(lifts_of_controls(logp_RV)))))


@dataclass(frozen=True)
class Reading:
    """One vector's readout against its controls."""

    lifts_V: Tensor
    counts_V: Tensor
    """Whether a token exceeds the 95th percentile of both control sets."""
    detection: float
    """Mean of the 20 largest lifts minus the 95th percentile of the same statistic over all controls, in nats."""

    @classmethod
    def of(cls, logp_NV: Tensor) -> "Reading":
        """From log-probabilities of a vector and its controls, in the order of `beside_controls`."""
        return cls.beside(logp_NV[0], Controls.of(logp_NV[1:]))

    @classmethod
    def beside(cls, logp_V: Tensor, controls: Controls) -> "Reading":
        """From log-probabilities of a vector, beside controls that several vectors may share."""
        lifts_V = lift(logp_V, controls.logp_RV)
        return cls(lifts_V, logp_V > controls.floor_V, float(_top_mean(lifts_V)) - controls.top)


def _quantile(values_RX: Tensor) -> Tensor:
    """95th percentile over the first axis (torch.quantile is limited to 16M elements)."""
    rank = math.ceil(QUANTILE * len(values_RX))
    return values_RX.kthvalue(rank, dim=0).values


def _top_mean(lifts: Tensor) -> Tensor:
    return lifts.topk(min(N_TOP, lifts.shape[-1]), dim=-1).values.mean(dim=-1)


def to_tokens(reading: Reading, tokenizer, source: str, position: int | None, n: int = N_TOP) -> list[Token]:
    """The n tokens of largest positive lift that count, special tokens left out."""
    weights_V = torch.where(reading.counts_V, reading.lifts_V, -torch.inf)
    weights_V[[i for i in tokenizer.all_special_ids if i < len(weights_V)]] = -torch.inf
    top = weights_V.topk(min(n, len(weights_V)))
    return [Token(tokenizer.decode([int(i)]), round(float(w), 6), source, position)
            for w, i in zip(top.values, top.indices, strict=True) if w > 0]


def detection_of(readings: Sequence[Reading]) -> float:
    """Mean detection over positions; -1.0 (nothing to read) if no position had a direction."""
    return sum(r.detection for r in readings) / len(readings) if readings else NOTHING_TO_READ


def lens_readings(view, vectors_PD: Tensor, means: Means, seed: int, first: int = 0,
                  which: str = "finetuned") -> dict[int, Reading]:
    """Logit lens of one vector a position in one model, against that position's controls; from position `first` on.

    Final norms make the lens independent of a vector's length, so all vectors have the base's mean norm. Positions
    whose vector is zero have no direction and are left out.
    """
    readings = {}
    for position in range(first, len(vectors_PD)):
        if not vectors_PD[position].norm() > 0:
            continue
        vectors_ND = beside_controls(vectors_PD[position], means, position, seed)
        readings[position] = Reading.of(view.unembed(which, vectors_ND).log_softmax(-1).cpu())
    return readings
