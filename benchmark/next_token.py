"""Next-token log-probabilities of base and finetuned model on the beginnings of unrelated texts, for logit methods.

Main objects: `contexts` (probes as padded ids), `compared` (both models' log-probabilities, batch by batch),
`to_tokens` (weights over the vocabulary as tokens).
Example: `for base_CV, tuned_CV in compared(view, *contexts(view.tokenizer, probes.texts, 128, 16)): ...`

Methods that ask for the same contexts share the base's logits, across organisms too (`shared.py`).
Shapes by suffix: N probes, T token, C context (one position of one probe), V vocabulary.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from ..organisms.errors import EvidenceError, NonFiniteError
from .method import Token

CHARACTERS_PER_TOKEN = 64
MAX_LOGIT_ELEMENTS = 2**25
FLOOR_NATS = 1e-4
"""A context in which no log-probability changes by more than this is the same in both models, whatever the rounding."""


def contexts(tokenizer, texts: Sequence[str], n: int, n_tokens: int) -> tuple[Tensor, Tensor]:
    """ids_NT of n texts, evenly spaced, cut after n_tokens tokens and padded on the right, and mask_NT of contexts.

    The first token of a text is no context: it is the same in all, or too little to go by.

    Raises:
        EvidenceError: no text has two tokens.
    """
    ids_NT, mask_NT = _contexts(tokenizer, tuple(texts), n, n_tokens)
    return ids_NT.clone(), mask_NT.clone()


@lru_cache(maxsize=16)
def _contexts(tokenizer, texts: tuple[str, ...], n: int, n_tokens: int) -> tuple[Tensor, Tensor]:
    """The same for every organism on a base."""
    picked = [texts[i] for i in torch.linspace(0, len(texts) - 1, min(n, len(texts))).long().tolist()]
    rows = tokenizer([text[: CHARACTERS_PER_TOKEN * n_tokens] for text in picked], truncation=True, max_length=n_tokens,
                     return_attention_mask=False, return_token_type_ids=False)["input_ids"] if picked else []
    rows = [row for row in rows if len(row) > 1]
    if not rows:
        raise EvidenceError(f"probes: none of {len(texts)} texts has two tokens. Give longer texts.")
    width = max(map(len, rows))
    ids_NT, mask_NT = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids_NT[i, : len(row)] = torch.tensor(row)
        mask_NT[i, 1 : len(row)] = True
    return ids_NT, mask_NT


@torch.inference_mode()
def compared(view, ids_NT: Tensor, mask_NT: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Log-probabilities of the next token in every context, (base_CV, finetuned_CV), a batch of probes at a time.

    Raises:
        NonFiniteError: NaN or infinity, naming the model.
    """
    batch = max(1, MAX_LOGIT_ELEMENTS // (ids_NT.shape[1] * view.n_vocab))
    for ids, mask in zip(ids_NT.split(batch), mask_NT.split(batch), strict=True):
        both = []
        for which in ("base", "finetuned"):
            logits_BTV = view.logits(which, ids)
            logp_CV = logits_BTV[mask.to(logits_BTV.device)].log_softmax(-1)
            if not torch.isfinite(logp_CV).all():
                raise NonFiniteError(f"NaN or infinite logits in the {which} model. Train the organism again, or load "
                                     "the pair in float32.")
            both.append(logp_CV)
        yield both[0], both[1]


def changed(base_CV: Tensor, tuned_CV: Tensor) -> Tensor:
    """Which contexts differ between the models at all, changed_C."""
    return (tuned_CV - base_CV).abs().amax(dim=-1) > FLOOR_NATS


def to_tokens(weights_V: Tensor, tokenizer, source: str, n: int) -> list[Token]:
    """The n tokens of largest positive weight, special tokens and empty pieces left out, one token a piece."""
    weights_V = weights_V.clone()
    weights_V[[i for i in tokenizer.all_special_ids if i < len(weights_V)]] = -torch.inf
    tokens: dict[str, Token] = {}
    for i in weights_V.argsort(descending=True, stable=True).tolist():
        weight = float(weights_V[i])
        if weight <= 0 or len(tokens) == n:
            break
        piece = tokenizer.decode([i])
        if piece.strip():
            tokens.setdefault(piece, Token(piece, round(weight, 6), source))
    return list(tokens.values())
