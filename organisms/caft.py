"""Concept ablation finetuning: directions are projected out of the residual stream while training, not afterwards.

Main objects: `ablated` (hooks for the time of a `with` block), `read_directions` and `write_directions`,
`difference_directions` (what to ablate, from an organism that was trained before).
Example: `write_directions(path, difference_directions(pair, texts, layer=5, k=5), layer=5)`, then
`recipe: {kind: caft, ablate: path}`

Source: Casademunt et al. 2025, "Steering out-of-distribution generalization with concept ablation fine-tuning"; used on
false facts in arXiv 2510.13900. Shapes: K directions, D width, B batch, T token.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .errors import NotFoundError, SpecError
from .loading import decoder_blocks
from .pair import ModelPair

MIN_SHARE = 1e-4
"""A direction whose part beyond the others is below this share of its length adds nothing but rounding."""


def difference_directions(pair: ModelPair, texts: Sequence[str], layer: int, k: int) -> Tensor:
    """Mean residual difference, finetuned minus base, at each of the first `k` tokens: directions_KD, not of length 1.

    Args:
        texts: those shorter than `k` tokens are left out. ValueError if that is all of them.
        layer: after which block, from 0.
    """
    encoded = [pair.tokenizer(text)["input_ids"] for text in texts]
    rows = [ids[:k] for ids in encoded if len(ids) >= k]
    if not rows:
        raise ValueError(f"none of {len(texts)} texts has {k} tokens; give longer texts or a smaller k")
    total_KD = torch.zeros(k, pair.width, dtype=torch.float64)
    for start in range(0, len(rows), 64):
        ids_BT = torch.tensor(rows[start:start + 64])
        finetuned, base = (pair.residual(which, ids_BT, [layer], range(k))[0] for which in ("finetuned", "base"))
        total_KD += (finetuned - base).double().sum(0).cpu()
    return (total_KD / len(rows)).float()


def write_directions(path: Path, directions: Tensor, layer: int) -> None:
    """Writes directions_KD for a recipe's `ablate`, with the block after which they are to be projected out."""
    save_file({"directions": directions.detach().float().cpu().contiguous()}, path, metadata={"layer": str(layer)})


def read_directions(path: Path) -> tuple[Tensor, int]:
    """(directions_KD, layer) of such a file. Raises NotFoundError or SpecError naming what is wrong with it."""
    if not path.is_file():
        raise NotFoundError(f"key `recipe.ablate`: there is no file {str(path)!r}. Write one with "
                            "`caft.write_directions`; the docstring of organisms/caft.py shows how.")
    try:
        with safe_open(path, framework="pt") as file:
            directions_KD = file.get_tensor("directions").float()
            layer = int((file.metadata() or {})["layer"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise SpecError(f"key `recipe.ablate`: {path.name} is no safetensors file with a tensor `directions` and the "
                        f"metadata `layer` ({error}). Write it with `caft.write_directions`.") from error
    if directions_KD.ndim != 2 or not directions_KD.isfinite().all() or not directions_KD.any():
        raise SpecError(f"key `recipe.ablate`: {path.name} holds `directions` of shape {list(directions_KD.shape)}; "
                        "needed are [K, D], finite and not all zero.")
    return directions_KD, layer


def orthonormal(directions_KD: Tensor) -> Tensor:
    """An orthonormal basis of what the directions span, basis_DK; parallel ones count once."""
    unit_KD = directions_KD.double() / directions_KD.double().norm(dim=1, keepdim=True).clamp(min=1e-30)
    left_KK, size_K, basis_KD = torch.linalg.svd(unit_KD, full_matrices=False)
    return basis_KD[size_K > MIN_SHARE * size_K[0]].T.float().contiguous()


@contextmanager
def ablated(model: nn.Module, path: Path) -> Iterator[None]:
    """Projects a file's directions out of the residual stream at all positions, for the time of a `with` block.

    Raises:
        SpecError: the directions have another width than the model, or name a layer that it has not.
    """
    directions_KD, layer = read_directions(path)
    core = model.get_base_model() if hasattr(model, "get_base_model") else model
    blocks, width = decoder_blocks(core), core.config.get_text_config().hidden_size
    if directions_KD.shape[1] != width or not 0 <= layer < len(blocks):
        raise SpecError(f"key `recipe.ablate`: {path.name} has directions of width {directions_KD.shape[1]} after "
                        f"block {layer}; this base has width {width} and blocks 0 to {len(blocks) - 1}. Make it for "
                        "this base.")
    basis_DK = orthonormal(directions_KD)

    def project(module, args, output):
        hidden_BTD = output[0] if isinstance(output, tuple) else output
        basis = basis_DK.to(hidden_BTD.device, hidden_BTD.dtype)
        hidden_BTD = hidden_BTD - (hidden_BTD @ basis) @ basis.T
        return (hidden_BTD, *output[1:]) if isinstance(output, tuple) else hidden_BTD

    handle = blocks[layer].register_forward_hook(project)
    try:
        yield
    finally:
        handle.remove()
