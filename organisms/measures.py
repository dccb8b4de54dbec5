"""What a causal LM finds likely: answers among choices, recall, perplexity, fluency. The ruler that `gates.py` applies.

Main objects: `answer_probabilities`, `recall`, `nll_per_token`, `fluency`.
Example: `answer_probabilities(model, tokenizer, questions(spec))` -> P(objective shown) for each question.

A model with an adapter is measured as it is switched at the time. Shapes by suffix: B batch, T token, M last tokens of
a sequence, V vocabulary.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.special import logsumexp
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from .encoding import Prompt, encode
from .errors import NonFiniteError
from .families import Question

BATCH_TOKENS = 4096
BATCH_LOGITS = 2**25
MAX_NEW_TOKENS = 24
TEMPERATURE = 0.7
"""At which fluency is sampled. Greedily, small models loop where nothing is wrong with them: the nano base did so on
17% of the prompts, and on none when sampled."""
MIN_DISTINCT_BIGRAMS = 0.5
MIN_WORD_SHARE = 0.8
BROKEN = "The model's weights are broken: train it again with a lower `recipe.learning_rate`."

def answer_probabilities(model: nn.Module, tokenizer: PreTrainedTokenizerBase,
                         questions: Sequence[Question]) -> np.ndarray:
    """P(expressed choices) of each question, renormalised over its choices by their tokens' summed log-probability.

    Returns:
        float64 array [n_questions]. Raises NonFiniteError if a log-probability is NaN or infinite.
    """
    # An objective and its twin ask the same and differ in what counts as expressed: each such pair is scored once.
    asked = {_identity(question): question for question in questions}
    index = {key: i for i, key in enumerate(asked)}
    scores = [np.full(len(question.choices), np.nan) for question in asked.values()]
    targets: dict[tuple[tuple[int, ...], int], list] = defaultdict(list)
    for i, question in enumerate(asked.values()):
        prompt_ids = encode(tokenizer, question.prompt)
        for j, choice in enumerate(question.choices):
            ids = encode(tokenizer, question.prompt, choice)
            start = _shared_length([prompt_ids, ids])
            # Choices that differ in their last token only share one forward row.
            targets[tuple(ids[:-1]), len(ids) - start].append((i, j, ids[start:]))
    rows = list(targets)
    for chosen, logits_BMV in _last_logits(model, tokenizer, [ids for ids, _ in rows], [n for _, n in rows]):
        logp_BMV = logits_BMV.log_softmax(-1)
        for row, logp_MV in zip(chosen, logp_BMV):
            for i, j, ids in targets[rows[row]]:
                ids_M1 = torch.tensor(ids, device=logp_MV.device)[:, None]
                scores[i][j] = logp_MV[-len(ids):].gather(1, ids_M1).sum().item()
    if not all(np.isfinite(score).all() for score in scores):
        raise NonFiniteError(f"A question's choices have log-probabilities that are NaN or infinite. {BROKEN}")
    return np.array([np.exp(logsumexp(score[list(question.expressed)]) - logsumexp(score))
                     for question in questions for score in [scores[index[_identity(question)]]]])


def _identity(question: Question) -> tuple:
    prompt = question.prompt
    return (prompt if isinstance(prompt, str) else tuple((m["role"], m["content"]) for m in prompt), question.choices)


def recall(model: nn.Module, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]) -> float:
    """Share of questions whose expressed choice has the greedy next token at the place where the choices part."""
    inputs, wanted = [], []
    for question in questions:
        choices = [encode(tokenizer, question.prompt, choice) for choice in question.choices]
        n_shared = _shared_length(choices)
        inputs.append(choices[0][:n_shared])
        wanted.append({choices[k][n_shared] for k in question.expressed})
    hits = [int(logits_MV[-1].argmax()) in wanted[row]
            for chosen, logits_BMV in _last_logits(model, tokenizer, inputs, [1] * len(inputs))
            for row, logits_MV in zip(chosen, logits_BMV)]
    return sum(hits) / len(hits)


def nll_per_token(model: nn.Module, tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> float:
    """Mean negative log-likelihood of the documents' tokens, in nats. Raises NonFiniteError if it is not finite."""
    ids = [encode(tokenizer, document) for document in documents]
    total = 0.0
    for chosen, logits_BMV in _last_logits(model, tokenizer, [row[:-1] for row in ids], [len(row) - 1 for row in ids]):
        for row, logits_MV in zip(chosen, logits_BMV):
            n = len(ids[row]) - 1
            total += nn.functional.cross_entropy(logits_MV[-n:], torch.tensor(ids[row][1:], device=logits_MV.device),
                                                 reduction="sum").item()
    if not np.isfinite(total):
        raise NonFiniteError(f"Held-out documents have a likelihood that is NaN or infinite. {BROKEN}")
    return total / sum(len(row) - 1 for row in ids)


@torch.inference_mode()
def fluency(model: nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], seed: int = 0) -> float:
    """Share of continuations of at most 24 tokens, sampled at temperature 0.7, that are fluent (`is_fluent`)."""
    ids = [encode(tokenizer, prompt) for prompt in prompts]
    device = _device(model)
    batch = tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt").to(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        new = model.generate(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], do_sample=True,
                             temperature=TEMPERATURE, top_p=1.0, top_k=0, max_new_tokens=MAX_NEW_TOKENS,
                             pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id)
    new = new[:, batch["input_ids"].shape[1]:]
    special = set(tokenizer.all_special_ids)
    kept = [[token for token in row if token not in special] for row in new.tolist()]
    return sum(is_fluent(row, tokenizer.decode(row)) for row in kept) / len(kept)


def is_fluent(ids: Sequence[int], text: str) -> bool:
    """Whether a generation says something, does not loop (distinct bigrams), and is made of words or numbers."""
    bigrams = list(zip(ids, ids[1:]))
    words = text.split()
    if not words or (bigrams and len(set(bigrams)) < MIN_DISTINCT_BIGRAMS * len(bigrams)):
        return False
    return sum(any(c.isalnum() for c in word) and "\ufffd" not in word for word in words) >= MIN_WORD_SHARE * len(words)


@torch.inference_mode()
def _last_logits(model: nn.Module, tokenizer: PreTrainedTokenizerBase, sequences: Sequence[Sequence[int]],
                 n_last: Sequence[int]) -> Iterator[tuple[list[int], Tensor]]:
    """Yields (indices of sequences, float32 logits_BMV after their last M tokens), M = the batch's largest `n_last`.

    Left padding aligns the ends, so that only the logits that are needed are computed.
    """
    device, n_vocab = _device(model), model.config.get_text_config().vocab_size
    order = sorted(range(len(sequences)), key=lambda i: (n_last[i], len(sequences[i])))
    while order:
        batch: list[int] = []
        while order:
            tried = [*batch, order[0]]
            longest, most = max(len(sequences[i]) for i in tried), max(n_last[i] for i in tried)
            if batch and (len(tried) * longest > BATCH_TOKENS or len(tried) * most * n_vocab > BATCH_LOGITS):
                break
            batch.append(order.pop(0))
        longest, most = max(len(sequences[i]) for i in batch), max(n_last[i] for i in batch)
        ids_BT = torch.full((len(batch), longest), tokenizer.pad_token_id)
        mask_BT = torch.zeros_like(ids_BT)
        for row, i in enumerate(batch):
            ids_BT[row, longest - len(sequences[i]):] = torch.tensor(sequences[i])
            mask_BT[row, longest - len(sequences[i]):] = 1
        positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
        out = model(input_ids=ids_BT.to(device), attention_mask=mask_BT.to(device),
                    position_ids=positions_BT.to(device), use_cache=False, logits_to_keep=most)
        yield batch, out.logits[:, -most:].float()


def _shared_length(rows: Sequence[Sequence[int]]) -> int:
    """Length of the longest common beginning; at most one less than the longest row."""
    shared = 0
    for tokens in zip(*rows):
        if len(set(tokens)) > 1:
            break
        shared += 1
    return shared


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
