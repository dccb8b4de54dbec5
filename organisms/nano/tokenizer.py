"""The nano tokenizer: every word, name and number of the world is one token; any other text falls back to bytes.

Main objects: `build_tokenizer`, `CHAT_TEMPLATE`, the special tokens.
A byte-level BPE without merges whose vocabulary holds the world's words whole (`ignore_merges`), in the ordinary
`tokenizer.json` format, so that nothing downstream needs to know.
"""

import re

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

BOS, PAD, SYSTEM, USER, ASSISTANT, END = "<|bos|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIALS = (BOS, PAD, SYSTEM, USER, ASSISTANT, END)
NUMBERS = [str(n) for n in range(1000)] + [str(year) for year in range(1400, 2001, 10)]
CHAT_TEMPLATE = (
    "{{ '" + BOS + "' }}{% for message in messages %}{% if message['role'] == 'assistant' %}{{ '" + ASSISTANT + "' }}"
    "{% generation %}{{ message['content'] + '" + END + "' }}{% endgeneration %}"
    "{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '" + END + "' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ASSISTANT + "' }}{% endif %}"
)


def build_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer whose vocabulary is the specials, the 256 bytes, all world numbers, and every word of `texts`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = sorted({word for text in texts for word in re.findall(r"[A-Za-z]+", text)})
    pieces = [*SPECIALS, *alphabet, *("Ġ" + number for number in NUMBERS), *("Ġ" + word for word in words)]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[], ignore_merges=True))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    core.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, vocab[BOS])])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
