"""What the two models are compared on: the suite's texts, the same as a user's turn, one token, or white space.

Main objects: `probe_means` (mean differences on a source), `read_means` (with a readout's options), `SOURCES`.
Example: `probe_means(view, probes.texts, layers=[5], k=5, source="chat")[0].delta_PD`

    probes      the first k tokens of the suite's texts, as pretraining showed them
    chat        the first k tokens of the same texts as a user's turn in the chat template, which stands before them
    bos         the begin-of-text token alone (the first special token where there is none): one position
    whitespace  the first k tokens of a few texts of white space only

`bos` and `whitespace` are one or few texts, and odd ones: base activations on them do not differ, and the first token
is an attention sink in most models. So norms and control differences are those of the suite's texts, at the same
position. Source of the idea: readers of arXiv 2510.13900 asked whether any text is needed at all.
"""

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from ..organisms.errors import EvidenceError
from ..organisms.generation import chat_text
from .activations import (CHARACTERS_PER_TOKEN, Means, mean_differences, relative_layer, tokenise_probes, whitened,
                          without_mean)

SOURCES = ("probes", "chat", "bos", "whitespace")
BLANKS = (" ", "\n", "\t", " \n", "\n ", "\n\t", "\t ", "  \n")
MIN_REFERENCE_TOKENS = 5
"""Behind a begin-of-text token the first positions of ordinary texts may not differ."""


def probe_means(view, texts: Sequence[str], layers: Sequence[int], k: int, source: str = "probes",
                n_probes: int | None = None) -> list[Means]:
    """Means after each of the blocks on a source, at its first k positions (`bos` has one).

    Args:
        n_probes: take only the first so many texts.

    Raises:
        EvidenceError: an unknown source, or one that this tokenizer does not have.
    """
    texts, tokenizer = texts[:n_probes], view.tokenizer
    if source == "probes":
        return mean_differences(view, tokenise_probes(tokenizer, texts, k), layers, range(k))
    if source == "chat":
        ids_NT, start = _chat(tokenizer, texts, k)
        return mean_differences(view, ids_NT, layers, range(start, start + k))
    if source not in SOURCES:
        raise EvidenceError(f"unknown probe source {source!r}; there are {', '.join(SOURCES)}")
    ids_NT = _first_token(tokenizer) if source == "bos" else _whitespace(tokenizer, k)
    reference_NT = tokenise_probes(tokenizer, texts, max(k, MIN_REFERENCE_TOKENS))
    return mean_differences(view, ids_NT, layers, range(ids_NT.shape[1]), reference_NT=reference_NT)


def read_means(view, texts: Sequence[str], fractions: float | Sequence[float], k: int, skip: int, n_probes: int | None,
               source: str, remove_mean: bool, whiten: bool) -> list[tuple[int, Means, int, dict[str, float]]]:
    """For each layer fraction: the layer, what is to be read there, from which position on (`skip`, but the only
    position of `bos`), and what to tell about it as it was measured.

    Raises:
        EvidenceError: as `probe_means`; or `skip` leaves no position.
    """
    fractions = [fractions] if isinstance(fractions, int | float) else list(fractions)
    layers = [relative_layer(view.n_layers, fraction) for fraction in fractions]
    found = []
    for layer, means in zip(layers, probe_means(view, texts, layers, k, source, n_probes), strict=True):
        first = 0 if source == "bos" else skip
        if first >= len(means.delta_PD):
            raise EvidenceError(f"skip={skip} leaves none of {len(means.delta_PD)} positions to read on the source "
                                f"{source!r}. Skip fewer.")
        stats = {**means.stats(), "layer": float(layer)}
        means = without_mean(means, first) if remove_mean else means
        if whiten:
            means, stats["shrinkage"] = whitened(means)
        found.append((layer, means, first, stats))
    return found


def _chat(tokenizer, texts: Sequence[str], k: int) -> tuple[Tensor, int]:
    """Texts in the chat template, up to the user's k-th token, as ids_NT; and where the user's words begin."""
    if not tokenizer.chat_template:
        raise EvidenceError("chat probes: this tokenizer has no chat template. Use the source 'probes'.")

    def encode(turns: Sequence[str]) -> list[list[int]]:
        return tokenizer([chat_text(tokenizer, turn) for turn in turns], add_special_tokens=False,
                         return_attention_mask=False, return_token_type_ids=False)["input_ids"]

    around = encode(["A", "7"])
    start = len(os.path.commonprefix(around))
    end = len(os.path.commonprefix([row[start:][::-1] for row in around]))
    rows = encode([text[: CHARACTERS_PER_TOKEN * k] for text in texts])
    long_enough = [row[: start + k] for row in rows if len(row) >= start + k + end]
    if not long_enough:
        raise EvidenceError(f"chat probes: none of {len(texts)} texts has {k} tokens. Give longer texts or fewer "
                            "positions.")
    return torch.tensor(long_enough), start


def _first_token(tokenizer) -> Tensor:
    """The begin-of-text token, else the first special token, as ids_11."""
    bos = tokenizer.bos_token_id
    first = bos if bos is not None else min(tokenizer.all_special_ids, default=None)
    if first is None:
        raise EvidenceError("bos probes: this tokenizer has no special token. Use the source 'probes'.")
    return torch.tensor([[first]])


def _whitespace(tokenizer, k: int) -> Tensor:
    """Texts of nothing but white space, as ids_NT."""
    texts = [(blank * CHARACTERS_PER_TOKEN * k)[: CHARACTERS_PER_TOKEN * k] for blank in BLANKS]
    ids_NT = tokenise_probes(tokenizer, texts, k)
    known = (ids_NT != -1 if tokenizer.unk_token_id is None else ids_NT != tokenizer.unk_token_id).all(dim=1)
    if not known.any():
        raise EvidenceError("whitespace probes: this tokenizer knows no white space. Use the source 'probes'.")
    return ids_NT[known].unique(dim=0)
