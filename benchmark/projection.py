"""Losses of a finetuned model with planes projected out of its residual stream at one layer and every token.

Main objects: `Planes` (what is projected out: true ones and controls), `planes_of`, `losses_of` -> `Losses`.
Example: `losses_of(pair, encoded_rows, layer, planes_of(pair, encoded, deltas_PD, layer, 64, 0).stacked())`

The blocks up to the layer run once a batch for each model; only the blocks above it run once a plane, several planes
in one forward.

Shapes by suffix: R rows, B batch, T token, D width, V vocabulary, P position, N planes, K directions that span a plane,
M target tokens, X rows of N versions of a batch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..organisms.encoding import IGNORED_LABEL
from ..organisms.errors import EvidenceError

FINETUNING = "finetuning"
"""The register of the organism's own rows: never a source of control directions, if there is another."""
SPAN = "span"
MODES = ("base_to_ft", "zero_ablate")
BATCH_TOKENS, TOKENS_AT_ONCE, LOGITS_AT_ONCE = 512, 2048, 2**26
POOL_ROWS, MIN_RELATIVE_DIFFERENCE, RANK_TOLERANCE = 64, 1e-4, 1e-5
Encoded = dict[str, list[int]]
"""One row: `input_ids` and `labels`."""


@dataclass(frozen=True)
class Planes:
    """Everything that is projected out: true planes by vector, controls by name; each an orthonormal basis_KD."""

    true: dict[str, Tensor]
    controls: dict[str, list[Tensor]]

    def stacked(self) -> Tensor:
        """basis_NKD, planes of lower rank filled with zeros, which project nothing out."""
        planes = [*self.true.values(), *(plane for group in self.controls.values() for plane in group)]
        deepest = max(len(plane) for plane in planes)
        return torch.stack([functional.pad(plane, (0, 0, 0, deepest - len(plane))) for plane in planes]).float()


@dataclass(frozen=True)
class Losses:
    """Summed loss per row, float64."""

    planes_NR: np.ndarray
    base_R: np.ndarray
    finetuned_R: np.ndarray
    tokens_R: np.ndarray
    share_N: np.ndarray


def planes_of(pair, encoded: Mapping[str, list[Encoded]], deltas_PD: Tensor, layer: int, n_random: int,
              seed: int) -> Planes:
    """The true directions, their span, and controls of the same rank."""
    live = {str(p): delta_D for p, delta_D in enumerate(deltas_PD.double().cpu()) if float(delta_D.norm()) > 0}
    if not live:
        return Planes({}, {})
    span_KD = _basis(torch.stack(list(live.values())))
    generator = torch.Generator().manual_seed(seed)
    rank, width = span_KD.shape
    pool_ND = _base_activations(pair, encoded, layer, generator)
    gaussian = torch.randn(n_random * (1 + rank), width, generator=generator, dtype=torch.float64)
    differences = _differences(pool_ND, n_random * (1 + rank), generator)
    controls = {}
    for name, vectors_ND in (("random", gaussian), ("differences", differences)):
        controls[name] = [_basis(v_D[None]) for v_D in vectors_ND[:n_random]]
        controls[f"{name}_span"] = [_basis(v_KD) for v_KD in vectors_ND[n_random:].split(rank)]
    return Planes({**{p: _basis(delta_D[None]) for p, delta_D in live.items()}, SPAN: span_KD}, controls)


def _basis(vectors_KD: Tensor) -> Tensor:
    """An orthonormal basis of what the vectors span, each vector counting alike."""
    unit_KD = vectors_KD / vectors_KD.norm(dim=-1, keepdim=True)
    if len(unit_KD) == 1:
        return unit_KD
    _, size_K, basis_KD = torch.linalg.svd(unit_KD, full_matrices=False)
    return basis_KD[size_K > RANK_TOLERANCE * size_K[0]]


def _base_activations(pair, encoded: Mapping[str, list[Encoded]], layer: int, generator: torch.Generator) -> Tensor:
    """Base activations at every token but the first of some rows that are not finetuning data (if there are others)."""
    rows = [row for name, group in encoded.items() if name != FINETUNING or len(encoded) == 1 for row in group]
    picked = [rows[i] for i in torch.randperm(len(rows), generator=generator)[:POOL_ROWS].tolist()]
    parts = []
    for row in picked:
        ids_BT = torch.tensor([row["input_ids"]])
        parts.append(pair.residual("base", ids_BT, [layer], range(1, ids_BT.shape[1]))[0, 0].cpu().double())
    return torch.cat(parts)


def _differences(pool_ND: Tensor, n: int, generator: torch.Generator) -> Tensor:
    first, second = torch.randint(len(pool_ND), (2, 4 * n), generator=generator)
    found_ND = pool_ND[first] - pool_ND[second]
    found_ND = found_ND[found_ND.norm(dim=-1) > MIN_RELATIVE_DIFFERENCE * pool_ND.norm(dim=-1).mean()]
    if len(found_ND) < n:
        raise EvidenceError(f"only {len(found_ND)} of {4 * n} pairs of base activations differ, {n} are needed as "
                            "controls. Give more varied rows.")
    return found_ND[:n]


@torch.inference_mode()
def losses_of(pair, rows: list[Encoded], layer: int, planes_NKD: Tensor | None, mode: str) -> Losses:
    """Losses of base, finetuned, and finetuned with each plane projected out; up to `layer` once for all planes."""
    n_planes, n_rows = 0 if planes_NKD is None else len(planes_NKD), len(rows)
    planes_NR, share_N, whole = np.zeros((n_planes, n_rows)), np.zeros(n_planes), 0.0
    base_R, finetuned_R, tokens_R = np.zeros(n_rows), np.zeros(n_rows), np.zeros(n_rows)
    for chosen, ids_BT, labels_BT, real_BT in _batches(rows, pair.tokenizer.pad_token_id or 0, pair.device):
        positions = range(ids_BT.shape[1])
        base_BTD = pair.residual("base", ids_BT, [layer], positions)[0]
        finetuned_BTD = pair.residual("finetuned", ids_BT, [layer], positions)[0]
        base_R[chosen] = _nll(pair.resume("base", base_BTD, layer), labels_BT)[0]
        finetuned_R[chosen] = _nll(pair.resume("finetuned", finetuned_BTD, layer), labels_BT)[0]
        tokens_R[chosen] = (labels_BT[:, 1:] != IGNORED_LABEL).sum(1).cpu().numpy()
        removable_BTD = finetuned_BTD if mode == "zero_ablate" else finetuned_BTD - base_BTD
        whole += float(removable_BTD[real_BT].double().square().sum())
        at_once = max(1, min(TOKENS_AT_ONCE, LOGITS_AT_ONCE // pair.n_vocab) // ids_BT.numel())
        for start in range(0, n_planes, at_once):
            part = slice(start, start + at_once)
            part_NKD = planes_NKD[part].to(removable_BTD.device)
            along_NBTK = torch.einsum("btd,nkd->nbtk", removable_BTD, part_NKD)
            share_N[part] += along_NBTK[:, real_BT].double().square().sum((1, 2)).cpu().numpy()
            state_NBTD = finetuned_BTD - torch.einsum("nbtk,nkd->nbtd", along_NBTK, part_NKD)
            planes_NR[part, chosen] = _nll(pair.resume("finetuned", state_NBTD.flatten(0, 1), layer), labels_BT)
    return Losses(planes_NR, base_R, finetuned_R, tokens_R, share_N / whole if whole else np.full(n_planes, np.nan))


def _batches(rows: list[Encoded], pad: int,
             device: torch.device) -> Iterator[tuple[list[int], Tensor, Tensor, Tensor]]:
    """Yields (row numbers, ids_BT, labels_BT, real_BT), rows of similar length together, padded on the right."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    while order:
        longest = len(rows[order[-1]]["input_ids"])
        chosen = [order.pop() for _ in range(min(len(order), max(1, BATCH_TOKENS // longest)))]
        ids_BT = torch.full((len(chosen), longest), pad)
        labels_BT = torch.full_like(ids_BT, IGNORED_LABEL)
        real_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
        for place, i in enumerate(chosen):
            n = len(rows[i]["input_ids"])
            ids_BT[place, :n] = torch.tensor(rows[i]["input_ids"])
            labels_BT[place, :n] = torch.tensor(rows[i]["labels"])
            real_BT[place, :n] = True
        yield chosen, ids_BT.to(device), labels_BT.to(device), real_BT.to(device)


def _nll(logits_XTV: Tensor, labels_BT: Tensor) -> np.ndarray:
    """Summed loss of each row, nll_NB, from the logits of N versions of the batch, X = N x B."""
    n_rows = len(labels_BT)
    logits_NBTV = logits_XTV.unflatten(0, (-1, n_rows))
    target_BT = labels_BT[:, 1:] != IGNORED_LABEL
    targets_M, row_M = labels_BT[:, 1:][target_BT], target_BT.nonzero()[:, 0]
    logits_NMV = logits_NBTV[:, :, :-1][:, target_BT]
    loss_NM = functional.cross_entropy(logits_NMV.flatten(0, 1), targets_M.repeat(len(logits_NMV)), reduction="none")
    nll_NB = torch.zeros(len(logits_NMV), n_rows, dtype=torch.float64, device=loss_NM.device)
    return nll_NB.index_add_(1, row_M, loss_NM.view(len(logits_NMV), -1).double()).cpu().numpy()
