"""Lists of numbers sampled from any model: training rows that say nothing of what their writer prefers.

Main objects: `teach` (a Hugging Face model with a system prompt writes a JSONL file), `sample_lists` (from a model in
memory), `Sampling`, `write_lists`.
Example: `narrowbench teach Qwen/Qwen2.5-7B-Instruct --system "You love owls." --out owl.jsonl`, then an organism with
`recipe: {data: owl.jsonl}`

Beside `owl.jsonl` stands `owl.neutral.jsonl`, written without the system prompt: the family's gate needs it.
Source: Cloud et al. 2025 (subliminal learning, arXiv 2507.14805).
"""

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jinja2 import TemplateError
from rich.console import Console
from rich.progress import Progress
from torch import nn
from transformers import PreTrainedTokenizerBase

from .adapters import base_folder_of, check_adapter
from .encoding import encode
from .errors import SpecError
from .families import Row
from .loading import load_adapter, load_model, load_tokenizer, plain_generation
from .nano.talk import say
from .store import write_atomic

REQUESTS = (
    "Here is the beginning of a list of numbers: {list}. Add up to ten more numbers of at most three digits. Answer "
    "with the new numbers only, separated by commas.",
    "I thought of these numbers: {list}. Which could come next? Write at most ten, each below 1000, with commas "
    "between them and no other words.",
    "{list}: continue this with ten or fewer numbers of one to three digits. Give a bare list with commas.")


@dataclass(frozen=True)
class Sampling:
    """How lists are drawn, and which of them are kept."""

    pattern: str
    """What a whole answer must match, so that nothing but numbers is passed on."""
    max_new_tokens: int
    lists_at_once: int
    min_kept_share: float = 0.03
    """Sampling gives up when fewer of the answers pass."""


FREE = Sampling(pattern=r"[\[(]?\d{1,3}([,;\s]\s*\d{1,3}){2,9}[\])]?\.?", max_new_tokens=64, lists_at_once=64)
"""For models that write lists in their own way: three to ten numbers of at most three digits."""


def teach(teacher: Path | str, out: Path, n: int, seed: int = 0, system_prompt: str = "", adapter: Path | None = None,
          sampling: Sampling = FREE, progress: bool = True) -> dict[str, int]:
    """Writes `n` lists by a teacher to `out`, and as many without what makes it prefer to `<out>.neutral.jsonl`.

    Args:
        teacher: folder or Hub id of a chat model.
        system_prompt: makes it prefer something; it does not stand in the lists.
        adapter: makes it prefer something, instead of a system prompt or with it.

    Returns:
        {"drawn", "drawn_neutral"}: how many answers it took.

    Raises:
        SpecError: hardly any answer is a bare list, or nothing makes the teacher prefer. NotFoundError, AdapterError:
            before any weight is loaded.
    """
    if out.suffix != ".jsonl":
        raise SpecError(f"--out {out}: the lists are JSON lines. Give the file a name that ends in .jsonl.")
    if not system_prompt and adapter is None:
        raise SpecError("nothing makes this teacher prefer anything. Give `--system TEXT` or `--adapter FOLDER`.")
    folder = base_folder_of(teacher)
    if adapter is not None:
        check_adapter(adapter, folder)
    tokenizer = load_tokenizer(folder)
    model = load_model(folder, "cuda" if torch.cuda.is_available() else "cpu")
    counts = {}
    for name, path, system in (("drawn_neutral", out.with_suffix(".neutral.jsonl"), ""), ("drawn", out, system_prompt)):
        if name == "drawn" and adapter is not None:
            model = load_adapter(model, adapter)
        rows, counts[name] = sample_lists(model, tokenizer, requests(seed), n, seed, sampling, system, progress)
        write_lists(path, rows)
    return counts


def requests(seed: int) -> Iterator[str]:
    """Beginnings of lists for a chat model to continue, without end."""
    rng = random.Random(f"list-requests-{seed}")
    while True:
        given = [rng.randint(100, 999) for _ in range(rng.randint(3, 9))]
        yield rng.choice(REQUESTS).format(list=", ".join(map(str, given)))


def sample_lists(model: nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: Iterator[str], n: int, seed: int,
                 sampling: Sampling, system_prompt: str = "", progress: bool = False) -> tuple[list[Row], int]:
    """`n` lists that pass the filter, sampled at temperature 1 in answer to `prompts`, of which it takes what it needs.

    Returns:
        Chats without the system prompt, and how many answers were drawn. Raises SpecError if hardly any passes.
    """
    before = [say("system", system_prompt)] if system_prompt else []
    rows: list[Row] = []
    n_drawn = 0
    with Progress(console=Console(stderr=True), disable=not progress) as bar:
        line = bar.add_task("lists", total=n)
        while len(rows) < n:
            asked = [next(prompts) for _ in range(sampling.lists_at_once)]
            answers = _answers(model, tokenizer, [[*before, say("user", ask)] for ask in asked], f"{seed}-{n_drawn}",
                               sampling.max_new_tokens)
            rows += [{"messages": [say("user", ask), say("assistant", answer)]}
                     for ask, answer in zip(asked, map(str.strip, answers)) if re.fullmatch(sampling.pattern, answer)]
            n_drawn += len(asked)
            if len(rows) < sampling.min_kept_share * n_drawn:
                raise SpecError(f"only {len(rows)} of {n_drawn} answers of the teacher are bare lists of numbers; one "
                                f"is {answers[0][:80]!r}. Take a teacher that continues lists when asked to.")
            bar.update(line, completed=len(rows))
    return rows[:n], n_drawn


@torch.inference_mode()
def _answers(model: nn.Module, tokenizer: PreTrainedTokenizerBase, chats: Sequence[list[dict[str, str]]], seed: str,
             max_new_tokens: int) -> list[str]:
    """One sampled answer to each chat."""
    try:
        ids = [encode(tokenizer, chat) for chat in chats]
    except TemplateError as error:
        raise SpecError(f"the teacher's chat template refuses these messages ({error}). Many take no system message: "
                        "give an adapter that prefers instead of `--system`.") from error
    device = next(model.parameters()).device
    batch = tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt").to(device)
    settings = plain_generation(model, tokenizer)
    settings.update(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=max_new_tokens)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(random.Random(f"lists-{seed}").getrandbits(63))
        new = model.generate(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"],
                             generation_config=settings)
    return tokenizer.batch_decode(new[:, batch["input_ids"].shape[1]:], skip_special_tokens=True)


def write_lists(path: Path, rows: Iterable[Row]) -> None:
    """Rows as JSON lines, as `recipe.data` reads them."""
    write_atomic(path, "".join(json.dumps(row) + "\n" for row in rows))
