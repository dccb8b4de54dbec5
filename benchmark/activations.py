"""Mean activation differences between base and finetuned model on the first tokens of unrelated texts, and controls.

Main objects: `tokenise_probes`, `mean_difference` -> `Means`, `control_vectors`, `beside_controls`, `relative_layer`;
`without_mean` and `whitened` (options of the readouts).
Example: `mean_difference(view, tokenise_probes(view.tokenizer, probes.texts, k=5), layer, k=5).delta_PD`
Source: Narrow Finetuning Leaves Clearly Readable Traces in Activation Differences, arXiv 2510.13900, section 2. Ours
forwards k tokens instead of 128, stops after the layer, forwards each distinct prefix once, and keeps float64 sums.

Shapes by suffix: N probes, U distinct probes, T token, P position, D width, R control vectors, M sampled probes,
C sampled states.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from ..organisms.errors import EvidenceError, NonFiniteError

CHARACTERS_PER_TOKEN = 64
SAMPLE_SIZE = 256
N_CONTROLS = 100
MIN_RELATIVE_DIFFERENCE = 1e-4
MIN_SHRINKAGE = 0.01


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
    """Base activations of some probes, float32: the material of the controls. Of the reference's, where there is one;
    its positions are then not those of the means."""
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
    return _first_tokens(tokenizer, tuple(texts), k).clone()


@lru_cache(maxsize=8)
def _first_tokens(tokenizer, texts: tuple[str, ...], k: int) -> Tensor:
    """Kept, because every organism of a suite and many methods are compared on the same texts."""
    ids = tokenizer([text[: CHARACTERS_PER_TOKEN * k] for text in texts], truncation=True, max_length=k,
                    return_attention_mask=False, return_token_type_ids=False)["input_ids"] if texts else []
    long_enough = [row for row in ids if len(row) == k]
    if not long_enough:
        raise EvidenceError(f"probes: none of {len(texts)} texts has {k} tokens. Give longer texts or fewer positions.")
    return torch.tensor(long_enough)


def mean_difference(view, ids_NT: Tensor, layer: int, k: int, batch_size: int = 512) -> Means:
    """Mean residual streams of both models after block `layer` at positions 0..k-1, and their mean difference.

    Equal prefixes are forwarded once and weighted by their count, which changes no mean.

    Raises:
        NonFiniteError: NaN or infinity, naming model, layer and position.
    """
    return mean_differences(view, ids_NT, [layer], range(k), batch_size)[0]


@torch.inference_mode()
def mean_differences(view, ids_NT: Tensor, layers: Sequence[int], positions: range, batch_size: int = 512,
                     reference_NT: Tensor | None = None) -> list[Means]:
    """As `mean_difference`, after several blocks in one pass and at any run of positions.

    Args:
        reference_NT: ordinary texts, where `ids_NT` are too few or too odd to take norms and controls from.
    """
    ids_UT, inverse_N, counts_U = torch.unique(ids_NT[:, : positions.stop], dim=0, return_inverse=True,
                                               return_counts=True)
    n, shape = len(ids_NT), (len(layers), len(positions))
    picked = _spread(n, inverse_N)
    sums = {which: torch.zeros(*shape, view.width, dtype=torch.float64) for which in ("base", "finetuned")}
    norms_LP = {which: torch.zeros(shape, dtype=torch.float64) for which in ("base", "finetuned", "delta")}
    samples = []
    for start in range(0, len(ids_UT), batch_size):
        rows = slice(start, start + batch_size)
        base_LBPD = view.residual("base", ids_UT[rows], layers, positions)
        samples.append(base_LBPD[:, picked[(picked >= start) & (picked < rows.stop)] - start].cpu())
        found = view.departure(ids_UT[rows], layers, positions, counts_U[rows], base_LBPD)
        for which in sums:
            sums[which] += found[which].cpu()
            _check_finite(sums[which], which, layers)
        for which in norms_LP:
            norms_LP[which] += found[f"{which}_norm"].cpu()
    delta_LPD = (sums["finetuned"] - sums["base"]) / n
    sample_LMPD, size_L = torch.cat(samples, dim=1), {w: _past_the_first(norms_LP[w]) / n for w in sums}
    if reference_NT is not None:
        first = range(reference_NT.shape[1])
        reference = {which: view.residual(which, reference_NT[_spread(len(reference_NT))], layers, first).cpu()
                     for which in sums}
        size_L = {w: _past_the_first(resid.double().norm(dim=-1).mean(dim=1)) for w, resid in reference.items()}
        sample_LMPD = reference["base"]
    return [Means(delta_LPD[i], sums["base"][i] / n, sums["finetuned"][i] / n, float(size_L["base"][i]),
                  float(size_L["finetuned"][i]), norms_LP["delta"][i] / n, sample_LMPD[i], n, len(ids_UT))
            for i in range(len(layers))]


def departure(base_LBPD: Tensor, finetuned_LBPD: Tensor, counts_B: Tensor) -> dict[str, Tensor]:
    """What means are made of: sums over rows, each counted `counts_B` times, in float64.

    Returns:
        "base" and "finetuned": streams, as sums_LPD; "base_norm", "finetuned_norm" and "delta_norm": their norms and
        those of each row's difference, as sums_LP.
    """
    counts_B = exact(counts_B.to(base_LBPD.device))
    resid = {"base": base_LBPD, "finetuned": finetuned_LBPD, "delta": finetuned_LBPD - base_LBPD}
    norms = {f"{name}_norm": torch.einsum("b,lbp->lp", counts_B, exact(one.norm(dim=-1)))
             for name, one in resid.items()}
    return norms | {name: torch.einsum("b,lbpd->lpd", counts_B, exact(resid[name])) for name in ("base", "finetuned")}


def exact(tensor: Tensor) -> Tensor:
    """In float64, where it lies; on the CPU, if its device has no float64."""
    return tensor.cpu().double() if tensor.device.type == "mps" else tensor.double()


def _spread(n: int, inverse_N: Tensor | None = None) -> Tensor:
    """Indices of at most 256 of n texts, evenly spread; of their distinct prefixes, if `inverse_N` is given."""
    picked = torch.linspace(0, n - 1, min(n, SAMPLE_SIZE)).long()
    return picked if inverse_N is None else inverse_N[picked].unique()


def _past_the_first(norms_LP: Tensor) -> Tensor:
    """Mean over positions but the first, which often is an attention sink."""
    return norms_LP[:, 1 if norms_LP.shape[1] > 1 else 0:].mean(dim=-1)


def _check_finite(sums_LPD: Tensor, which: str, layers: Sequence[int]) -> None:
    bad = (~torch.isfinite(sums_LPD).all(dim=-1)).nonzero().tolist()
    if bad:
        layer, position = bad[0]
        raise NonFiniteError(f"NaN or infinite activations in the {which} model after block {layers[layer]} at "
                             f"position {position}. Train the organism again, or load the pair in float32.")


def without_mean(means: Means, first: int = 0) -> Means:
    """The same with the mean over positions `first`.. taken off the difference: what is said at one position only.

    Raises:
        EvidenceError: there is only one position, which would leave nothing.
    """
    if len(means.delta_PD) - first < 2:
        raise EvidenceError("remove_mean: one position less its own mean is nothing. Read at least two positions.")
    return replace(means, delta_PD=means.delta_PD - means.delta_PD[first:].mean(dim=0))


def whitened(means: Means) -> tuple[Means, float]:
    """The same in coordinates in which the base's activations vary alike in all directions, and the shrinkage.

    Difference and control material are multiplied by S^(-1/2), S = (1 - s) C + s (tr C / D) I: C the covariance of the
    sampled base states about each position's mean (the first position left out), s as Ledoit and Wolf (2004) estimate
    it, at least 0.01.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    sample_MPD = means.sample_MPD[:, 1 if means.sample_MPD.shape[1] > 1 else 0:].double()
    centred_CD = (sample_MPD - sample_MPD.mean(dim=0)).flatten(0, 1)
    shrinkage = max(MIN_SHRINKAGE, float(ledoit_wolf_shrinkage(centred_CD.numpy(), assume_centered=True)))
    _, scale_C, axes_CD = torch.linalg.svd(centred_CD, full_matrices=False)
    variance_C = scale_C**2 / len(centred_CD)
    isotropic = shrinkage * variance_C.sum() / centred_CD.shape[1]
    inside_C = ((1 - shrinkage) * variance_C + isotropic).rsqrt() - isotropic.rsqrt()

    def whiten(states: Tensor) -> Tensor:
        wide = states.double()
        return (wide * isotropic.rsqrt() + ((wide @ axes_CD.T) * inside_C) @ axes_CD).to(states.dtype)

    return replace(means, delta_PD=whiten(means.delta_PD), sample_MPD=whiten(means.sample_MPD)), shrinkage


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
