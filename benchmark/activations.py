"""Mean activation differences between base and finetuned model on the first tokens of unrelated texts, and controls.

Main objects: `tokenise_probes`, `mean_difference` -> `Means`, `control_vectors`, `beside_controls`, `relative_layer`.
Example: `mean_difference(view, tokenise_probes(view.tokenizer, probes.texts, k=5), layer, k=5).delta_PD`
Source: Narrow Finetuning Leaves Clearly Readable Traces in Activation Differences, arXiv 2510.13900, section 2. Ours
forwards k tokens instead of 128, stops after the layer, forwards each distinct prefix once, and keeps float64 sums.

Shapes by suffix: N probes, T token, P position, D width, R control vectors, M sampled probes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..organisms.errors import EvidenceError, NonFiniteError

CHARACTERS_PER_TOKEN = 64
SAMPLE_SIZE = 256
N_CONTROLS = 100
MIN_RELATIVE_DIFFERENCE = 1e-4


@dataclass(frozen=True)
class Means:
    """Means over probes, float64 on the CPU. Norms are scalars over all probes and positions but the first.

    The first position is left out of the norms (unless it is the only one): it is the same token or an attention sink
    in most models, with a norm far from the others'.
    """

    delta_PD: Tensor
    base_PD: Tensor
    finetuned_PD: Tensor
    norm_base: float
    norm_finetuned: float
    delta_norm_P: Tensor
    """Mean over probes of the norm of each probe's own difference."""
    sample_MPD: Tensor
    """Base activations of some probes, float32: the material of the controls."""
    n: int
    n_distinct: int
    """Distinct k-token prefixes among the probes."""

    def stats(self) -> dict[str, float]:
        """Numbers that speak without reading any token: relative norm per position, and consistency.

        relative norm = |mean difference| / norm_base; consistency = |mean difference| / mean |difference|.
        """
        norm_P = self.delta_PD.norm(dim=-1)
        per_position = {f"rel_norm_{p}": float(norm) / self.norm_base for p, norm in enumerate(norm_P)}
        own = float(self.delta_norm_P.sum())
        return {"rel_norm": float(norm_P.mean()) / self.norm_base, **per_position,
                "consistency": float(norm_P.sum()) / own if own else 0.0,
                "n_probes": float(self.n), "n_distinct_prefixes": float(self.n_distinct)}


def relative_layer(n_layers: int, fraction: float) -> int:
    """Block index at a fraction of the depth: int(fraction * (n_layers - 1)), as in the paper's code."""
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"layer fraction {fraction} is not within 0..1")
    return int(fraction * (n_layers - 1))


def tokenise_probes(tokenizer, texts: Sequence[str], k: int) -> Tensor:
    """The first k tokens of every text that has as many, as ids_NT. Raises EvidenceError if none has."""
    return _tokenised(tokenizer, tuple(texts), k).clone()


@lru_cache(maxsize=16)
def _tokenised(tokenizer, texts: tuple[str, ...], k: int) -> Tensor:
    """The same for every organism on a base."""
    ids = tokenizer([text[: CHARACTERS_PER_TOKEN * k] for text in texts], truncation=True, max_length=k,
                    return_attention_mask=False, return_token_type_ids=False)["input_ids"] if texts else []
    long_enough = [row for row in ids if len(row) == k]
    if not long_enough:
        raise EvidenceError(f"probes: none of {len(texts)} texts has {k} tokens. Give longer texts or fewer positions.")
    return torch.tensor(long_enough)


@torch.inference_mode()
def mean_difference(view, ids_NT: Tensor, layer: int, k: int, batch_size: int = 512) -> Means:
    """Mean residual streams of both models after block `layer` at positions 0..k-1, and their mean difference.

    Equal prefixes are forwarded once and weighted by their count, which changes no mean.

    Raises:
        NonFiniteError: NaN or infinity, naming model, layer and position.
    """
    ids_UT, inverse_N, counts_U = torch.unique(ids_NT[:, :k], dim=0, return_inverse=True, return_counts=True)
    sums = {which: torch.zeros(k, view.width, dtype=torch.float64) for which in ("base", "finetuned")}
    norms_P = {which: torch.zeros(k, dtype=torch.float64) for which in ("base", "finetuned", "delta")}
    for ids, weights in zip(ids_UT.split(batch_size), counts_U.double().split(batch_size), strict=True):
        resid = {which: view.residual(which, ids, [layer], range(k))[0] for which in sums}
        weights = weights.to(resid["base"].device)
        resid["delta"] = resid["finetuned"] - resid["base"]
        for which, resid_BPD in resid.items():
            norms_P[which] += torch.einsum("b,bp->p", weights, resid_BPD.double().norm(dim=-1)).cpu()
            if which in sums:
                sums[which] += torch.einsum("b,bpd->pd", weights, resid_BPD.double()).cpu()
                _check_finite(sums[which], which, layer)
    n = len(ids_NT)
    picked = inverse_N[torch.linspace(0, n - 1, min(n, SAMPLE_SIZE)).long()].unique()
    sample_MPD = view.residual("base", ids_UT[picked], [layer], range(k))[0].cpu()
    used = slice(1 if k > 1 else 0, None)
    return Means((sums["finetuned"] - sums["base"]) / n, sums["base"] / n, sums["finetuned"] / n,
                 float(norms_P["base"][used].mean() / n), float(norms_P["finetuned"][used].mean() / n),
                 norms_P["delta"] / n, sample_MPD, n, len(ids_UT))


def _check_finite(sums_PD: Tensor, which: str, layer: int) -> None:
    bad = (~torch.isfinite(sums_PD).all(dim=-1)).nonzero().flatten().tolist()
    if bad:
        raise NonFiniteError(f"NaN or infinite activations in the {which} model after block {layer} at position "
                             f"{bad[0]}. Train the organism again, or load the pair in float32.")


def control_vectors(means: Means, position: int, seed: int, n: int = N_CONTROLS) -> tuple[Tensor, Tensor]:
    """Vectors of norm 1 without objective: isotropic_RD, and differences_RD of two base activations at `position`.

    Where all probes share one prefix (position 0 behind a begin-of-text token) base activations do not differ; the
    differences are then taken at the nearest position where they do.

    Raises:
        EvidenceError: the probes differ at no position.
    """
    generator = torch.Generator().manual_seed(1_000 * seed + position)
    isotropic_RD = torch.randn(N_CONTROLS, means.delta_PD.shape[1], generator=generator)[:n]
    n_sampled, n_positions, _ = means.sample_MPD.shape
    for nearest in sorted(range(n_positions), key=lambda p: (abs(p - position), -p)):
        sample_MD = means.sample_MPD[:, nearest]
        first, second = torch.randint(n_sampled, (2, 16 * N_CONTROLS), generator=generator)
        differences = sample_MD[first] - sample_MD[second]
        floor = MIN_RELATIVE_DIFFERENCE * sample_MD.norm(dim=-1).mean()
        differences = differences[differences.norm(dim=-1) > floor]
        if len(differences):
            return _unit(isotropic_RD), _unit(differences[torch.arange(n) % len(differences)])
    raise EvidenceError("probes: all texts begin with the same tokens, so there are no control differences. "
                        "Give varied texts.")


def beside_controls(vector_D: Tensor, means: Means, position: int, seed: int, n: int = N_CONTROLS) -> Tensor:
    """The vector, then n isotropic, then n difference controls, all of the base's mean norm, as vectors_ND."""
    controls = control_vectors(means, position, seed, n)
    return means.norm_base * torch.cat([_unit(vector_D[None].double()).float(), *controls])


def _unit(v_RD: Tensor) -> Tensor:
    return v_RD / v_RD.norm(dim=-1, keepdim=True)
