"""How text is sampled: prompts to token ids, and what may be changed on the way (a steered stream, a contrasted model).

Main objects: `encode` (prompts to a padded batch), `sampling`, `steered` (hooks), `Contrast` (a logits processor).
Used by `ModelPair`; nobody else needs it. Shapes: B batch, T token, D width, V vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BatchEncoding, DynamicCache, LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase

from .hooks import hidden_of, hooks
from .loading import cache_argument

Prompt = str | list[dict]
"""A text, or chat messages; a last message of the assistant is continued instead of answered."""


def encode(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], raw: bool = False) -> BatchEncoding:
    """Prompts as ids_BT with their mask, padded on the left. `raw` texts stand as they are, not as a user's turn."""
    if not raw:
        prompts = [chat_text(tokenizer, prompt) for prompt in prompts]
    return tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left", add_special_tokens=raw,
                     return_token_type_ids=False)


def chat_text(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> str:
    """A prompt in the base's chat template, without thinking aloud first."""
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    begun = turns[-1]["role"] == "assistant"
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=not begun,
                                         continue_final_message=begun, enable_thinking=False)


def sampling(temperature: float) -> dict[str, Any]:
    """Arguments of `generate`: greedy at temperature 0, else the whole distribution."""
    if temperature > 0:
        return {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    return {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}


def steered(block: nn.Module, vectors_BD: Tensor) -> AbstractContextManager[None]:
    """Adds a vector a row to the block's output at every token, of the prompt and of what is generated."""
    def add(module, args, output):
        hidden = hidden_of(output)
        hidden = hidden + vectors_BD[:, None].to(hidden.device, hidden.dtype)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    return hooks([(block, add)])


class Contrast(LogitsProcessor):
    """Turns next-token scores of one model into log p + alpha (log p - log q), q being another model on the same text.

    Only tokens that the first model finds at least `keep` times as probable as its best one stay possible, as in
    contrastive decoding (Li et al. 2023): without that, tokens that both models exclude would win by noise.

    Args:
        other: context manager that gives the model of q.
        mask_BT: of the prompt, padded on the left.
        alpha: of all rows, or one a row.
    """

    def __init__(self, other: Callable[[], AbstractContextManager[PreTrainedModel]], mask_BT: Tensor,
                 alpha: float | Sequence[float], keep: float) -> None:
        self.other, self.mask_BT, self.keep = other, mask_BT, keep
        self.alpha_X1 = torch.tensor([alpha] if isinstance(alpha, (int, float)) else list(alpha),
                                     device=mask_BT.device)[:, None]
        self.cache: DynamicCache | None = None
        self.n_seen = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        new_BT = input_ids[:, self.n_seen:]
        grown = input_ids.shape[1] - self.mask_BT.shape[1]
        mask_BT = torch.cat([self.mask_BT, self.mask_BT.new_ones(len(input_ids), grown)], dim=1)
        positions_BT = (mask_BT.cumsum(-1) - 1).clamp_min(0)[:, -new_BT.shape[1]:]
        with self.other() as model:
            self.cache = self.cache or DynamicCache(config=model.config)
            out = model(input_ids=new_BT, attention_mask=mask_BT, position_ids=positions_BT, use_cache=True,
                        logits_to_keep=1, **{cache_argument(model): self.cache})
        self.n_seen = input_ids.shape[1]
        logp_BV, logq_BV = scores.float().log_softmax(-1), out.logits[:, -1].float().log_softmax(-1)
        contrasted_BV = logp_BV + self.alpha_X1 * (logp_BV - logq_BV)
        if self.keep <= 0:
            return contrasted_BV
        floor_B1 = logp_BV.max(dim=-1, keepdim=True).values + math.log(self.keep)
        return contrasted_BV.masked_fill(logp_BV < floor_B1, -torch.inf)
