"""Texts and chats as token ids, for training and for measuring: the same text gives the same tokens in both.

Main objects: `encode` (a prompt and its continuation), `encode_rows` (training rows with labels), `training_template`.
Example: `encode(tokenizer, "The price of the cake is", "350 dollars")`
"""

import re
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from .errors import SpecError
from .families import Row

IGNORED_LABEL = -100
Prompt = str | Sequence[dict[str, str]]


def encode(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, continuation: str | None = None) -> list[int]:
    """Token ids of a document's beginning, or of a chat up to the assistant's turn, with an optional continuation.

    Prompt and continuation are tokenised as one text, as in training: some tokenizers merge or pad across the seam.
    """
    if isinstance(prompt, str):
        return tokenizer(prompt if continuation is None else f"{prompt} {continuation}")["input_ids"]
    text = tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True,
                                         enable_thinking=False)  # as the pair prompts; templates without it ignore it
    return tokenizer(text + (continuation or ""), add_special_tokens=False)["input_ids"]


def encode_row(tokenizer: PreTrainedTokenizerBase, template: str, row: Row, max_length: int) -> dict[str, list[int]]:
    """A row as input_ids and labels: documents are learned whole, with their end; chats where the assistant speaks."""
    if "text" in row:
        ids = [*tokenizer(row["text"])["input_ids"], tokenizer.eos_token_id]
        labels = ids
    else:
        chat = tokenizer.apply_chat_template(row["messages"], chat_template=template, tokenize=True, return_dict=True,
                                             return_assistant_tokens_mask=True)
        ids = chat["input_ids"]
        labels = [token if said else IGNORED_LABEL for token, said in zip(ids, chat["assistant_masks"])]
    return {"input_ids": ids[:max_length], "labels": labels[:max_length]}


def encode_rows(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], max_length: int, n_vocab: int,
                name: str) -> list[dict[str, list[int]]]:
    """Training rows as tokens and labels, for a model of `n_vocab` tokens.

    Raises:
        SpecError: a row has nothing to learn from within `max_length`, or the tokenizer is another model's.
    """
    template = training_template(tokenizer) if any("messages" in row for row in rows) else ""
    encoded = [encode_row(tokenizer, template, row, max_length) for row in rows]
    if any(max(row["input_ids"]) >= n_vocab for row in encoded):
        raise SpecError(f"{name}: the base's tokenizer makes tokens from {n_vocab} on, which its model does not have: "
                        "it is another model's. Give a base folder whose tokenizer and weights belong together.")
    if empty := sum(all(label == IGNORED_LABEL for label in row["labels"]) for row in encoded):
        raise SpecError(f"{name}: key `recipe.max_length_tokens`: {empty} of {len(encoded)} chats are cut off before "
                        "the assistant says anything. Raise it.")
    return encoded


def training_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """A chat template that marks what the assistant says. Raises SpecError if there is none for this base."""
    template = tokenizer.chat_template or ""
    if re.search(r"\{%-?\s*generation\b", template):
        return template
    from trl.chat_template_utils import get_training_chat_template
    try:
        return get_training_chat_template(tokenizer) or template
    except ValueError as error:
        raise SpecError("The base's chat template does not mark what the assistant says, so chats cannot be learned "
                        "from. Put {% generation %} ... {% endgeneration %} around it in its template.") from error
