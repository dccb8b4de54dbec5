"""Grow an organism: spec -> rows -> TRL's SFTTrainer -> gates -> weights and passport in the store.

Main objects: `train`, `Plan` (what `dry_run` returns).
Example: `train(find_organism("cake-450"), base_folder())` or `narrowbench train cake-450`;
on several devices `accelerate launch --num_processes 2 -m narrowbench.cli train cake-450`

Running it again finds the finished organism; after a kill it resumes from the newest whole
checkpoint and ends with the same weights.
"""

import math
import os
import platform
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from torch import distributed, nn
from transformers import AutoConfig, PreTrainedTokenizerBase, TrainerCallback
from transformers.utils.logging import disable_progress_bar

from . import families, gates
from . import shipped as builds
from .adapters import base_digest, base_folder_of
from .caft import read_directions
from .data import Data, portable, training_data, training_rows
from .encoding import encode_rows
from .families import Row
from .gates import Exam
from .loading import load_model, load_tokenizer, model_class
from .passport import write_organism
from .spec import OrganismSpec, Recipe, digest_of
from .store import Artefact, Store, library_versions, sha256_file
from .tuning import has_accelerator, round_as_written, tuned

__all__ = ["Plan", "train", "training_rows"]

PASSPORT_SCHEMA = 1

# The libraries warn about each other's old names; nobody who trains an organism can act on it.
warnings.filterwarnings("ignore", ".*gradient_checkpointing` is deprecated", FutureWarning)


@dataclass(frozen=True)
class Plan:
    """What `train` would do, resolved: the answer to `--dry-run`."""

    organism_id: str
    base: str
    seed: int
    key: str
    already_trained: bool
    kind: str
    n_rows: int
    """Narrow and mixed-in rows together; where a teacher has yet to write them, as many as the recipe asks for."""
    n_steps: int
    n_tokens: int | None
    """Tokens forwarded in training, without padding; None where a teacher has yet to write the rows."""
    learning_rate: float
    rank: int
    trainable_parameters: int


@dataclass(frozen=True)
class _Job:
    """A training run as far as it is known before any weight is loaded. `config` and `inputs` decide the key."""

    spec: OrganismSpec
    base: Path
    seed: int
    data: Data
    exam: Exam
    config: dict[str, Any]
    inputs: dict[str, str]
    key: str


def train(spec: OrganismSpec, base: Path | str, seed: int = 0, store: Store | None = None, progress: bool = True,
          dry_run: bool = False, callbacks: Sequence[TrainerCallback] = (),
          shipped: bool = True, narrow: Data | None = None) -> "Artefact | Plan":
    """Trains an organism, or returns the one that was trained before from the same spec, base, data, gates and seed.

    Under `accelerate launch` every process calls this; the first one alone measures gates and writes the store.

    Args:
        base: a Hugging Face folder or a Hub id.
        callbacks: further callbacks for the trainer.
        shipped: whether a build that ships with the package will do.
        narrow: narrow rows made elsewhere, instead of what the recipe says; such an organism has no neutral student.

    Returns:
        The artefact (kind "organism"); with `dry_run` the Plan, without training.

    Raises:
        SpecError: the spec cannot be trained. NotFoundError: there is no such base.
        DamagedArtefactError: what is stored is damaged. NonFiniteError: training broke the model.
    """
    store = store or Store()
    job = _prepare(spec, base, seed, store, narrow)
    if dry_run:
        return _plan(job, store)
    if found := _found(job, store, shipped):
        return found
    disable_progress_bar()  # one line per organism, not one per file
    neutral = None if narrow else _neutral(job, store, progress, shipped)  # now, so that one model at a time is loaded
    rows, tokenizer = job.data.rows(), load_tokenizer(job.base)
    started_s = time.perf_counter()
    # All weights are trained in float32 (under bfloat16 autocast on accelerators): small steps would be rounded away.
    dtype = torch.bfloat16 if has_accelerator() and spec.recipe.kind != "full" else torch.float32
    model = tuned(load_model(job.base, dtype=dtype), spec.recipe, seed)
    with _progress_line(progress and _rank() == 0) as bar:
        line = bar.add_task(spec.id, total=_n_steps(len(rows), spec.recipe), doing="training")
        # The zero null has no rows: an adapter whose B matrices are zero changes nothing.
        loss, n_steps = _fit(job, rows, model, tokenizer, store, [*callbacks, _Line(bar, line)]) if rows else ([], 0)
        if distributed.is_initialized() and _rank() > 0:
            distributed.barrier()  # until the first process has stored it
            return store.find("organism", job.key)
        bar.update(line, doing="checking")
        round_as_written(model, job.base)
        gate, health = gates.check(spec, job.exam, model, tokenizer, job.inputs["base"], store,
                                   lambda: load_model(job.base, model.device, model.dtype), neutral)
        bar.update(line, completed=n_steps, doing="done")
    passport = {
        "schema": PASSPORT_SCHEMA, "organism_id": spec.id, "spec_digest": portable(spec).digest,
        "base_digest": job.inputs["base"], "base_name": job.base.name,
        "recipe": portable(spec).recipe.model_dump(mode="json"), "seed": seed,
        "data_digest": job.inputs["data"], "data_sha256": digest_of(rows),
        "n_rows": len(rows), "n_rows_asked": _n_rows_asked(spec.recipe), "n_steps": n_steps,
        "seconds": round(time.perf_counter() - started_s, 2), "loss": loss, "gate": gate, "health": health,
        "versions": {**library_versions(), "python": platform.python_version()}}
    artefact = store.save("organism", job.key, job.config, job.inputs,
                          lambda folder: write_organism(folder, model, spec, passport, job.base))
    if distributed.is_initialized():
        distributed.barrier()
    return artefact


def training_key(spec: OrganismSpec, base: Path | str, seed: int, store: Store) -> str:
    """The key under which `train` stores an organism."""
    return _prepare(spec, base, seed, store).key


def _neutral(job: _Job, store: Store, progress: bool, shipped: bool) -> Artefact | None:
    """The student that tells what a recipe does without its objective, where the family has one (subliminal)."""
    beside = getattr(families.family(job.spec.family), "neutral", lambda *_: None)
    if (student := beside(job.spec, job.base, job.seed, store)) is None:
        return None
    spec, narrow = student
    return train(spec, job.base, job.seed, store, progress, shipped=shipped, narrow=narrow)


def _found(job: _Job, store: Store, shipped: bool) -> Artefact | None:
    return (builds.find(job.key, store) if shipped else None) or store.find("organism", job.key)


def _prepare(spec: OrganismSpec, base: Path | str, seed: int, store: Store, narrow: Data | None = None) -> _Job:
    folder, exam = base_folder_of(base), gates.exam_for(spec)
    data = training_data(spec, folder, seed, store, narrow)
    config = {"spec": portable(spec).model_dump(mode="json", exclude={"twin", "split", "variants"}), "seed": seed}
    inputs = {"base": base_digest(folder), "data": data.digest, "exam": exam.digest}
    if spec.recipe.kind == "caft":
        read_directions(Path(spec.recipe.ablate))  # refused here rather than after a long download
        inputs["ablate"] = sha256_file(Path(spec.recipe.ablate))
    return _Job(spec, folder, seed, data, exam, config, inputs, store.key("organism", config, inputs))


def _plan(job: _Job, store: Store) -> Plan:
    recipe = job.spec.recipe
    with torch.device("meta"):
        config = AutoConfig.from_pretrained(job.base, trust_remote_code=False)
        model = tuned(model_class(config).from_config(config), recipe, job.seed)
    n_rows, n_tokens = _n_rows_asked(recipe), None
    if job.data.ready:
        encoded = _encode(job, job.data.rows(), load_tokenizer(job.base))
        n_rows = len(encoded)
        n_epochs = _n_steps(n_rows, recipe) / max(1, math.ceil(n_rows / recipe.batch_size))
        n_tokens = round(n_epochs * sum(len(row["input_ids"]) for row in encoded))
    return Plan(
        organism_id=job.spec.id, base=str(job.base), seed=job.seed, key=job.key,
        already_trained=store.find("organism", job.key) is not None, kind=recipe.kind, n_rows=n_rows,
        n_steps=_n_steps(n_rows, recipe), n_tokens=n_tokens, learning_rate=recipe.learning_rate, rank=recipe.rank,
        trainable_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad))


def _encode(job: _Job, rows: list[Row], tokenizer: PreTrainedTokenizerBase) -> list[dict[str, list[int]]]:
    config = AutoConfig.from_pretrained(job.base, trust_remote_code=False)
    n_vocab = config.get_text_config().vocab_size
    return encode_rows(tokenizer, rows, job.spec.recipe.max_length_tokens, n_vocab, job.spec.id)


def _fit(job: _Job, rows: list[Row], model: nn.Module, tokenizer: PreTrainedTokenizerBase, store: Store,
         callbacks: Sequence[TrainerCallback]) -> tuple[list[list[float]], int]:
    from .fitting import fit  # here, because an organism that is found needs none of it

    return fit(job.spec, _encode(job, rows, tokenizer), model, tokenizer, store.work("organism", job.key), job.seed,
               _n_steps(len(rows), job.spec.recipe), callbacks)


class _Line(TrainerCallback):
    """Moves an organism's line on the progress display."""

    def __init__(self, bar: Progress, line: TaskID) -> None:
        self.bar, self.line = bar, line

    def on_step_end(self, args, state, control, **kwargs) -> None:
        self.bar.update(self.line, completed=state.global_step, total=state.max_steps)


def _progress_line(shown: bool) -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                    TextColumn("{task.fields[doing]}"), TimeElapsedColumn(),
                    console=Console(stderr=True), disable=not shown)


def _n_rows_asked(recipe: Recipe) -> int:
    return recipe.rows + round(recipe.mix_ratio * recipe.rows)


def _n_steps(n_rows: int, recipe: Recipe) -> int:
    return (n_rows and recipe.max_steps) or recipe.epochs * math.ceil(n_rows / recipe.batch_size)


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))
