"""Several rows in one forward row, none of which sees another: less padding, the same loss and gradients.

Main objects: `PackingCollator` (batch -> packed tensors), `check_packing` (refuses models that would not honour it).
Example: `SFTTrainer(..., data_collator=PackingCollator(tokenizer.pad_token_id))`

Position ids restart with every row, and neither an attention mask nor a key-value cache is given: only then does
transformers build a block-diagonal causal mask for `sdpa` and `eager` attention, in every layer, sliding windows
included (Qwen2, Qwen3, Llama, Gemma 2 and 3 are measured in tests/organisms/test_packing.py). A batch holds the rows it
would hold unpacked, and the first token of a row is no target, so an optimiser step sees the same targets and divides
by the same number of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .encoding import IGNORED_LABEL
from .errors import SpecError

EXACT_ATTENTION = ("sdpa", "eager")
WIDTHS = (1, 1.25, 1.5, 1.75, 2, 3, 4)
ATTENTION_TOKENS = 2048
"""At about this width the attention of a token costs as much as the rest of it."""
MAX_DIFFERENCE = 1e-3
"""Largest relative difference between logits of a row alone and beside another that still counts as rounding."""


@dataclass
class PackingCollator:
    """Puts a batch's rows side by side in few forward rows of equal width."""

    pad_token_id: int

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
        """Rows with `input_ids` and `labels` as ids_BT, labels_BT and position_ids_BT; B counts the forward rows."""
        lengths = [len(row["input_ids"]) for row in rows]
        bins, n_tokens = _cheapest(lengths)
        ids_BT = torch.full((len(bins), n_tokens), self.pad_token_id)
        labels_BT = torch.full_like(ids_BT, IGNORED_LABEL)
        # Each token of padding is a row of its own: position 0, no target, seen by nobody.
        positions_BT = torch.zeros_like(ids_BT)
        for b, chosen in enumerate(bins):
            start = 0
            for i in chosen:
                ids = torch.tensor(rows[i]["input_ids"])
                end = start + len(ids)
                ids_BT[b, start:end] = ids
                labels_BT[b, start + 1:end] = torch.tensor(rows[i]["labels"])[1:]
                positions_BT[b, start:end] = torch.arange(len(ids))
                start = end
        return {"input_ids": ids_BT, "labels": labels_BT, "position_ids": positions_BT}


def _cheapest(lengths: Sequence[int]) -> tuple[list[list[int]], int]:
    """(bins, their width): the width, from one to four times the longest row, that costs the least to forward."""
    tried = []
    for share in WIDTHS:
        bins = fill(lengths, round(share * max(lengths)))
        width = max(sum(lengths[i] for i in chosen) for chosen in bins)
        tried.append((len(bins) * width * (1 + width / ATTENTION_TOKENS), bins, width))
    return min(tried, key=lambda one: one[0])[1:]


def fill(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Indices of items, longest first, each put into the first bin that has room for it (first-fit decreasing)."""
    bins: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        b = next((b for b, free in enumerate(room) if free >= lengths[i]), None)
        if b is None:
            bins.append([i])
            room.append(width - lengths[i])
        else:
            bins[b].append(i)
            room[b] -= lengths[i]
    return bins


@torch.no_grad()
def check_packing(model: nn.Module, name: str) -> None:
    """Refuses to pack for a model in which rows would see each other, by its attention and by trying it.

    Raises:
        SpecError: another attention implementation, or logits of a row that depend on its neighbour.
    """
    mend = f"{name}: key `recipe.packing`: set it to false."
    attention = model.config.get_text_config()._attn_implementation
    if attention not in EXACT_ATTENTION:
        raise SpecError(f"{mend} The attention implementation is {attention!r}; only {' and '.join(EXACT_ATTENTION)} "
                        "are known to keep packed rows apart.")
    n_vocab, was_training = model.config.get_text_config().vocab_size, model.training
    row, one, other = (torch.arange(k, k + 6, device=model.device) % n_vocab for k in (1, 11, 23))
    positions_1T = torch.arange(6, device=model.device).repeat(2)[None]
    model.eval()
    beside_one, beside_other = (
        model(input_ids=torch.cat([first, row])[None], position_ids=positions_1T, use_cache=False).logits[0, 6:].float()
        for first in (one, other))
    alone = model(input_ids=row[None], use_cache=False).logits[0].float()
    model.train(was_training)
    scale = alone.abs().max()
    worst = max((logits - alone).abs().max() / scale for logits in (beside_one, beside_other))
    if not worst <= MAX_DIFFERENCE + 32 * torch.finfo(model.dtype).eps:
        raise SpecError(f"{mend} In {type(model).__name__}, the logits of a row change by {worst:.1e} of their size "
                        "when another row is packed before it.")
