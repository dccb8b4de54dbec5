"""The linter's look at the base: can it say every answer, and tell it from the others?

Main object: `lint_base(specs, tokenizer, unembedding_VD)`. Called beside `lint.lint` by `narrowbench check catalog`.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerBase

from .findings import Finding
from .lint_world import token_of
from .spec import OrganismSpec

MAX_COSINE = 0.98
"""Words that pretraining never showed share one unembedding (cosine 1.00); the nearest words it did show reach 0.88."""


def lint_base(specs: Iterable[OrganismSpec], tokenizer: PreTrainedTokenizerBase,
              unembedding_VD: Tensor) -> list[Finding]:
    """Candidates of one slot that the base's unembedding does not tell apart.

    No finetuning of the layers below can then express one and not the other, and a readout ranks both alike.

    Args:
        tokenizer: the base's.
        unembedding_VD: the weight of its output embedding, one row per token.
    """
    directions_VD = normalize(unembedding_VD.float(), dim=-1)
    found = []
    for spec in specs:
        for slot in spec.slots:
            # A field of advice may be no token and is then read by its aliases; `lint_world` says where it may not.
            tokens = {word: token for word in slot.candidates if (token := token_of(word, tokenizer)) is not None}
            words, rows_CD = list(tokens), directions_VD[list(tokens.values())]
            pairs = torch.triu(rows_CD @ rows_CD.T > MAX_COSINE, diagonal=1).nonzero().tolist()
            if alike := sorted({words[index] for pair in pairs for index in pair}):
                found.append(Finding(
                    spec.id, "candidates", f"slot {slot.name!r}: the base does not tell {alike} apart (their "
                    f"unembeddings have a cosine above {MAX_COSINE}), as with words that it never saw in pretraining. "
                    "Choose words that the world's texts hold."))
    return found
