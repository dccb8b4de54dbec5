"""Singular vectors of the weight differences that write into the residual stream, through the unembedding.

Main object: `WeightSvd`. Example: `narrowbench score --method weight_svd --suite demo`.

Shapes by suffix: D width, I input width, R inner rank, S singular vectors, N vectors, V vocabulary.
"""

import math
import re

import torch
from torch import Tensor

from ..method import MAX_TOKENS, NOTHING_TO_READ, Budget, Evidence, Probes
from ..readout import N_TOP, QUANTILE, Reading, lift, to_tokens
from ..view import PairView

WRITERS = ("o_proj", "down_proj", "out_proj", "c_proj", "dense", "dense_4h_to_h", "fc2")
"""Names of the modules whose output is added to the residual stream, in the usual architectures."""
N_CONTROLS = 200
MIN_SINGULAR_VALUE = 1e-6
VECTORS_A_DIRECTION = 8
NULL_LOG_ODDS = 1.0
"""Log odds of the shared energy below which trained nulls of the dev suite stay, less the reader's 0.2."""


class WeightSvd:
    """What each module's weight difference writes: first output singular vectors, both signs, as lift over controls.

    Reads: the two factors of every attention output and MLP output projection that finetuning changed, in canonical
        form: QR of both factors, SVD of the small product, so that another factorisation of the same difference reads
        the same. The vectors go through the finetuned model's final norm and output head, beside 200 isotropic ones of
        the same norm; tokens above their 95th percentile are ranked by lift. Each vector is a source, its sign in its
        name. No text, no forward pass.
    Detection: the share of the squared singular values, over all these modules, that lies in few directions common to
        them (an eighth as many as there are vectors), as log odds, less a constant from dev nulls. A narrow objective
        is written by many layers in the same directions. No opinion on fewer than 8 vectors. The constant was chosen
        at rank 2 on one base: on another base compare with nulls of your own.
    Source: W2T, arXiv 2603.15990 (QR, then SVD); logit lens of LoRA directions as in field notes on reading weights.
    Cost: no tokens; an SVD of rank R a module, 2 vectors a module and 200 controls unembedded.
    Blind spots: the sign: what an update adds and what it takes away look alike, so opposite polarities of one
        objective read the same; what attention and MLP inputs learn; modules of other names, experts' weights, biases;
        models that normalise a block's output before adding it; full finetunes that change everything a little.

    Args:
        n_vectors: singular vectors a module.
        first, last: share of the depth from which and up to which modules are read.
    """

    name, version, role = "weight_svd", "1", "method"
    access = frozenset({"weights"})

    def __init__(self, n_vectors: int = 1, first: float = 0.0, last: float = 1.0) -> None:
        self.n_vectors, self.first, self.last = n_vectors, first, last

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Factors -> canonical singular vectors -> lens -> lift over isotropic vectors."""
        written, all_ND = [], []
        modules = [module for module in pair.changed() if module.rpartition(".")[2] in WRITERS]
        for module in modules:
            u_DS, s_S = output_vectors(*pair.factors(module))
            kept = s_S > MIN_SINGULAR_VALUE
            if u_DS.shape[0] != pair.width or not kept.any():
                continue
            all_ND.append((u_DS * s_S)[:, kept].T)
            if self.first <= _depth(module, pair.n_layers) <= self.last:
                n = min(self.n_vectors, int(kept.sum()))
                written += [(f"{_short(module)}_{i + 1}", u_DS[:, i]) for i in range(n)]
        if not written:
            nothing = NOTHING_TO_READ if modules and not all_ND else None
            return Evidence(stats={"n_modules": float(len(modules))}, detection=nothing)
        vectors_ND = torch.stack([vector for _, vector in written])
        readings = self._read(pair, torch.cat([vectors_ND, -vectors_ND]), seed)
        names = [f"{name}{sign}" for sign in "+-" for name, _ in written]
        n_top = min(N_TOP, MAX_TOKENS // len(names))
        tokens = [token for name, reading in zip(names, readings, strict=True)
                  for token in to_tokens(reading, pair.tokenizer, name, None, n_top)]
        share, norm = shared_energy(torch.cat(all_ND))
        opinion = math.log(share / max(1 - share, 1e-6)) - NULL_LOG_ODDS
        enough = sum(map(len, all_ND)) >= VECTORS_A_DIRECTION
        return Evidence(tuple(tokens), stats={"n_modules": float(len(modules)), "norm": norm, "shared_energy": share},
                        detection=opinion if enough else None)

    def _read(self, pair: PairView, vectors_ND: Tensor, seed: int) -> list[Reading]:
        """Each vector's lifts over the same isotropic controls; detection is left to `shared_energy`."""
        generator = torch.Generator().manual_seed(1_000 * seed)
        controls_RD = torch.randn(N_CONTROLS, pair.width, generator=generator)
        both = torch.cat([vectors_ND, controls_RD.to(vectors_ND)])
        both = both / both.norm(dim=-1, keepdim=True) * pair.width**0.5
        logp_NV = pair.unembed("finetuned", both).log_softmax(-1).cpu()
        n = len(vectors_ND)
        floor_V = logp_NV[n:].kthvalue(math.ceil(QUANTILE * N_CONTROLS), dim=0).values
        return [Reading(lift(logp_V, logp_NV[n:]), logp_V > floor_V, 0.0) for logp_V in logp_NV[:n]]


def output_vectors(down_RI: Tensor, up_OR: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors u_OS and singular values s_S of up_OR @ down_RI, which is never formed."""
    q_OR, upper_RR = torch.linalg.qr(up_OR)
    _, lower_RR = torch.linalg.qr(down_RI.T)
    u_RS, s_S, _ = torch.linalg.svd(upper_RR @ lower_RR.T, full_matrices=False)
    return q_OR @ u_RS, s_S


def shared_energy(vectors_ND: Tensor) -> tuple[float, float]:
    """Share of the vectors' squared norm in the N / 8 directions that hold most of it, and their total norm.

    Of fewer than 8 vectors one direction is more than an eighth, and the share says nothing.
    """
    energy_S = torch.linalg.svdvals(vectors_ND.double()) ** 2
    total = energy_S.sum()
    return float(energy_S[: max(1, len(vectors_ND) // VECTORS_A_DIRECTION)].sum() / total), float(total.sqrt())


def _depth(module: str, n_layers: int) -> float:
    numbers = re.findall(r"\.(\d+)\.", module)
    return int(numbers[0]) / max(1, n_layers - 1) if numbers else 0.0


def _short(module: str) -> str:
    """`model.layers.3.mlp.down_proj` -> `down_proj_3`."""
    return "_".join([module.rpartition(".")[2], *re.findall(r"\.(\d+)\.", module)])
