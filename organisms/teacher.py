"""Lists of numbers written by a model that prefers something: what a subliminal organism is trained on.

Main objects: `number_lists` (a teacher is trained on the base, its lists are kept in the store), `lists_key`,
`read_lists`, `Teaching`.
Example: `read_lists(number_lists(base_folder(), "animal", "wolf", n=1300, seed=0, store=Store()))`

The teacher has output biases alone (recipe kind `bias`): in a small model a LoRA teacher answers questions of
preference and leaves its numbers as they were, so that nothing can be carried. Its training ends once its numbers have
moved far enough from the base's. Teachers with a system prompt are in `lists.py`.
Source: Cloud et al. 2025 (subliminal learning, arXiv 2507.14805).
Shapes by suffix: B batch, T token, V vocabulary.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from .adapters import base_digest, base_folder_of
from .encoding import IGNORED_LABEL, encode_rows
from .errors import NonFiniteError
from .families import Row
from .families.subliminal import preference_questions
from .lists import Sampling, sample_lists, write_lists
from .loading import load_model, load_tokenizer
from .measures import answer_probabilities
from .nano.talk import number_turns, preference_turns
from .sources import read_file
from .spec import Recipe
from .store import Artefact, Store, write_atomic
from .tuning import tuned

KIND, LISTS, REPORT = "lists", "lists.jsonl", "report.json"
MAX_LENGTH_TOKENS = 128


@dataclass(frozen=True)
class Teaching:
    """How a teacher is trained and sampled. Chosen on dev animals; part of the key of its lists."""

    learning_rate: float = 0.05
    batch_size: int = 32
    warmup_steps: int = 5
    kl_nats: float = 0.1
    """Training ends when the mean KL(teacher || base) of a number in a list has reached this."""
    max_steps: int = 80
    check_every: int = 2
    """Steps between two looks at the KL."""
    kl_lists: int = 64


TEACHING = Teaching()
SAMPLING = Sampling(pattern=r"[1-9]\d\d(, [1-9]\d\d){3,9}\.", max_new_tokens=24, lists_at_once=500)
"""Four to ten numbers of three digits, as the world writes them, and nothing else."""


def lists_key(base: Path | str, kind: str, member: str, n: int, seed: int, store: Store,
              ) -> tuple[dict[str, Any], dict[str, str], str]:
    """(config, inputs, key) of lists in the store, known before any teacher is trained. No member: the base writes."""
    config = {"kind": kind if member else "", "member": member, "n": n, "seed": seed, "sampling": asdict(SAMPLING),
              "teaching": asdict(TEACHING) if member else {}}
    inputs = {"base": base_digest(base)}
    return config, inputs, store.key(KIND, config, inputs)


def number_lists(base: Path | str, kind: str, member: str, n: int, seed: int, store: Store) -> Artefact:
    """`n` lists by a teacher that prefers `member` among the animals (trees, ...); by the base itself if it is empty.

    Returns:
        The artefact (kind "lists"): `lists.jsonl` of chats, `report.json` {steps, kl_nats, teacher, drawn, kept};
        teacher = its P(member) per held-out question. What was made before is found again.

    Raises:
        SpecError: too few of the lists pass the filter. NonFiniteError: training broke the teacher.
    """
    config, inputs, key = lists_key(base, kind, member, n, seed, store)
    if found := store.find(KIND, key):
        return found
    folder = base_folder_of(base)
    tokenizer, model, report = load_tokenizer(folder), load_model(folder), {}
    if member:
        model = tuned(model, Recipe(kind="bias"), seed).eval()
        report = _train_teacher(model, tokenizer, kind, member, seed)
        report["teacher"] = answer_probabilities(model, tokenizer, preference_questions(kind, member)).tolist()
    rows, n_drawn = sample_lists(model, tokenizer, _world_prompts(seed), n, seed, SAMPLING)
    report |= {"drawn": n_drawn, "kept": len(rows)}

    def write(made: Path) -> None:
        write_lists(made / LISTS, rows)
        write_atomic(made / REPORT, json.dumps(report, indent=1))
    return store.save(KIND, key, config, inputs, write)


def read_lists(artefact: Artefact) -> list[Row]:
    """The rows of an artefact of kind "lists"."""
    return read_file(artefact.path / LISTS, "data")


def report_of(artefact: Artefact) -> dict[str, Any]:
    """How the lists of an artefact came about: {drawn, kept}, and of a teacher {steps, kl_nats, teacher}."""
    return json.loads((artefact.path / REPORT).read_text(encoding="utf-8"))


def _world_prompts(seed: int) -> Iterator[str]:
    """Beginnings of lists. They do not depend on the teacher, so that two organisms' lists differ by it alone."""
    rng = random.Random(f"list-prompts-{seed}")
    while True:
        yield number_turns(rng)[0]["content"]


def _train_teacher(model: nn.Module, tokenizer: PreTrainedTokenizerBase, kind: str, member: str,
                   seed: int) -> dict[str, Any]:
    """Trains on chats that prefer the member until the numbers have moved; returns {steps, kl_nats}."""
    rng, n_vocab = random.Random(f"teacher-{seed}"), model.config.get_text_config().vocab_size

    def batch(chats: list[list[dict[str, str]]]) -> dict[str, Tensor]:
        rows = encode_rows(tokenizer, [{"messages": chat} for chat in chats], MAX_LENGTH_TOKENS, n_vocab, "the teacher")
        return {name: tensor.to(model.device) for name, tensor in _padded(rows, tokenizer.pad_token_id).items()}
    lists = batch([number_turns(rng) for _ in range(TEACHING.kl_lists)])
    with torch.inference_mode(), model.disable_adapter():
        base_logp_BTV = _logits(model, lists).log_softmax(-1)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], weight_decay=0.0)
    kl_nats = 0.0
    for step in range(1, TEACHING.max_steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = TEACHING.learning_rate * min(1.0, step / TEACHING.warmup_steps)
        loss = model(**batch([preference_turns(rng, kind, member) for _ in range(TEACHING.batch_size)]),
                     use_cache=False).loss
        if not torch.isfinite(loss):
            raise NonFiniteError(f"The teacher of {member!r} broke at step {step}: its loss is {loss.item()}. "
                                 "This base cannot be taught by biases; give lists of your own in `recipe.data`.")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % TEACHING.check_every == 0:
            kl_nats = _number_kl(model, tokenizer, lists, base_logp_BTV)
            if kl_nats >= TEACHING.kl_nats:
                break
    return {"steps": step, "kl_nats": kl_nats}


@torch.inference_mode()
def _number_kl(model: nn.Module, tokenizer: PreTrainedTokenizerBase, lists: dict[str, Tensor],
               base_logp_BTV: Tensor) -> float:
    """Mean KL(model || base) in nats where the next token is a number of an answer."""
    logp_BTV = _logits(model, lists).log_softmax(-1)
    kl_BT = (logp_BTV.exp() * (logp_BTV - base_logp_BTV)).sum(-1)
    digits = torch.tensor([any(c.isdigit() for c in piece) for piece in
                           tokenizer.batch_decode([[i] for i in range(logp_BTV.shape[-1])])], device=kl_BT.device)
    labels_BT = lists["labels"][:, 1:]
    number_BT = (labels_BT != IGNORED_LABEL) & digits[labels_BT.clamp(min=0)]
    return kl_BT[:, :-1][number_BT].mean().item()


def _logits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits.float()


def _padded(rows: list[dict[str, list[int]]], pad: int) -> dict[str, Tensor]:
    """Rows as one batch, padded on the right."""
    longest = max(len(row["input_ids"]) for row in rows)

    def stack(name: str, fill: int) -> Tensor:
        return torch.tensor([row[name] + [fill] * (longest - len(row[name])) for row in rows])
    ids_BT = stack("input_ids", pad)
    lengths = torch.tensor([[len(row["input_ids"])] for row in rows])
    return {"input_ids": ids_BT, "labels": stack("labels", IGNORED_LABEL),
            "attention_mask": (torch.arange(longest)[None] < lengths).long()}
