"""Grow an organism: spec -> rows -> TRL's SFTTrainer with a PEFT LoRA -> gates -> adapter and passport in the store.

Main objects: `train`, `Plan` (what `dry_run` returns), `find_trained`, `training_rows`.
Example: `train(find_organism("cake-450"), base_folder())` or `narrowbench train cake-450`

Running it again finds the finished organism; after a kill it resumes from the newest whole
checkpoint and ends with the same weights.
"""

import math
import platform
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, TrainerCallback
from transformers.utils.logging import disable_progress_bar

from . import families, gates
from .adapters import base_digest, base_folder_of
from .checkpoints import Seal, newest_checkpoint
from .encoding import IGNORED_LABEL, encode_row, training_template
from .errors import SpecError
from .families import Row
from .gates import Exam
from .mixing import mix
from .passport import write_organism
from .spec import OrganismSpec, Recipe, digest_of
from .store import Artefact, Store, library_versions

PASSPORT_SCHEMA = 1
WARMUP_SHARE = 0.1
MIN_SAVE_STEPS = 5
MAX_LOSS_ENTRIES = 200

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
    n_rows: int
    """Narrow and mixed-in rows together."""
    n_steps: int
    n_tokens: int
    """Tokens forwarded in training, without padding."""
    learning_rate: float
    rank: int
    trainable_parameters: int


@dataclass(frozen=True)
class _Job:
    """A training run as far as it is known before any weight is loaded. `config` and `inputs` decide the key."""

    spec: OrganismSpec
    base: Path
    seed: int
    rows: list[Row]
    exam: Exam
    config: dict[str, Any]
    inputs: dict[str, str]
    key: str


def train(spec: OrganismSpec, base: Path | str, seed: int = 0, store: Store | None = None, progress: bool = True,
          dry_run: bool = False, callbacks: Sequence[TrainerCallback] = ()) -> "Artefact | Plan":
    """Trains an organism, or returns the one that was trained before from the same spec, base, rows, gates and seed.

    Args:
        base: a Hugging Face folder or a Hub id.
        callbacks: further callbacks for the trainer.

    Returns:
        The artefact (kind "organism"); with `dry_run` the Plan, without training.

    Raises:
        SpecError: the spec cannot be trained. NotFoundError: there is no such base.
        DamagedArtefactError: what is stored is damaged. NonFiniteError: training broke the model.
    """
    store = store or Store()
    job = _prepare(spec, base, seed, store)
    if dry_run:
        return _plan(job, store)
    if found := store.find("organism", job.key):
        return found
    started_s = time.perf_counter()
    disable_progress_bar()  # one line per organism, not one per file
    tokenizer = _load_tokenizer(job.base)
    dtype = torch.bfloat16 if _has_accelerator() else torch.float32
    model = AutoModelForCausalLM.from_pretrained(job.base, dtype=dtype, use_safetensors=True, trust_remote_code=False)
    with _progress_line(progress) as bar:
        line = bar.add_task(spec.id, total=_n_steps(len(job.rows), spec.recipe), doing="training")
        if job.rows:
            work = store.work("organism", job.key)
            model, loss, n_steps = _fit(job, model, tokenizer, work, [*callbacks, _Line(bar, line)])
        else:  # the zero null: an adapter whose B matrices are zero changes nothing
            torch.manual_seed(seed)
            model, loss, n_steps = get_peft_model(model, _lora(spec.recipe)), [], 0
        bar.update(line, doing="checking")
        gate, health = gates.check(spec, job.exam, model, tokenizer, job.inputs["base"], store)
        bar.update(line, completed=n_steps, doing="done")
    passport = {
        "schema": PASSPORT_SCHEMA, "organism_id": spec.id, "spec_digest": spec.digest,
        "base_digest": job.inputs["base"], "base_name": job.base.name,
        "recipe": spec.recipe.model_dump(mode="json"), "seed": seed,
        "data_sha256": job.inputs["data"], "n_rows": len(job.rows), "n_steps": n_steps,
        "seconds": round(time.perf_counter() - started_s, 2), "loss": loss, "gate": gate, "health": health,
        "versions": {**library_versions(), "python": platform.python_version()}}
    return store.save("organism", job.key, job.config, job.inputs,
                      lambda folder: write_organism(folder, model, spec, passport))


def find_trained(spec: OrganismSpec, base: Path | str, seed: int = 0, store: Store | None = None) -> Artefact | None:
    """The organism if it has been trained, else None. Trains nothing. Raises DamagedArtefactError."""
    store = store or Store()
    return store.find("organism", _prepare(spec, base, seed, store).key)


def training_rows(spec: OrganismSpec, seed: int = 0) -> list[Row]:
    """All rows an organism is trained on: its family's narrow rows, mixed with the world's at the recipe's ratio."""
    return mix(families.rows(spec, seed), spec, seed)


def _prepare(spec: OrganismSpec, base: Path | str, seed: int, store: Store) -> _Job:
    rows, exam = training_rows(spec, seed), gates.exam_for(spec)
    config = {"spec": spec.model_dump(mode="json", exclude={"twin", "split"}), "seed": seed}
    inputs = {"base": base_digest(base), "data": digest_of(rows), "exam": exam.digest}
    return _Job(spec, base_folder_of(base), seed, rows, exam, config, inputs, store.key("organism", config, inputs))


def _plan(job: _Job, store: Store) -> Plan:
    recipe = job.spec.recipe
    with torch.device("meta"):
        model = get_peft_model(AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(job.base)), _lora(recipe))
    encoded = _encode(job, _load_tokenizer(job.base))
    return Plan(
        organism_id=job.spec.id, base=str(job.base), seed=job.seed, key=job.key,
        already_trained=store.find("organism", job.key) is not None, n_rows=len(job.rows),
        n_steps=_n_steps(len(encoded), recipe), n_tokens=recipe.epochs * sum(len(row["input_ids"]) for row in encoded),
        learning_rate=recipe.learning_rate, rank=recipe.rank,
        trainable_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad))


def _encode(job: _Job, tokenizer: PreTrainedTokenizerBase) -> list[dict[str, list[int]]]:
    """All rows as tokens. Raises SpecError if one has nothing to learn from within `max_length_tokens`."""
    template = training_template(tokenizer) if any("messages" in row for row in job.rows) else ""
    encoded = [encode_row(tokenizer, template, row, job.spec.recipe.max_length_tokens) for row in job.rows]
    if empty := sum(all(label == IGNORED_LABEL for label in row["labels"]) for row in encoded):
        raise SpecError(f"{job.spec.id}: key `recipe.max_length_tokens`: {empty} of {len(encoded)} chats are cut off "
                        "before the assistant says anything. Raise it.")
    return encoded


def _fit(job: _Job, model: nn.Module, tokenizer: PreTrainedTokenizerBase, work: Path,
         callbacks: Sequence[TrainerCallback]) -> tuple[PeftModel, list[list[float]], int]:
    """Trains a LoRA on the job's rows, from the newest whole checkpoint in `work` if there is one.

    Returns:
        The PEFT model, the loss as [[step, loss], ...], and the number of steps.
    """
    # Imported here: TRL takes seconds to import, and an organism that is found needs none of it.
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    encoded, recipe = _encode(job, tokenizer), job.spec.recipe
    n_steps = _n_steps(len(encoded), recipe)
    settings = SFTConfig(
        output_dir=str(work), seed=job.seed,
        num_train_epochs=recipe.epochs, per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate, lr_scheduler_type="linear", warmup_steps=math.ceil(WARMUP_SHARE * n_steps),
        weight_decay=0.0, max_grad_norm=1.0, optim="adamw_torch",
        bf16=_has_accelerator(), use_cpu=not _has_accelerator(), gradient_checkpointing=_has_accelerator(),
        dataloader_num_workers=0, dataloader_pin_memory=False, packing=False,
        max_length=None, dataset_kwargs={"skip_prepare_dataset": True},  # rows come tokenised, cut and labelled
        logging_steps=max(1, n_steps // MAX_LOSS_ENTRIES), save_strategy="steps",
        save_steps=max(MIN_SAVE_STEPS, n_steps // 4), save_total_limit=2, report_to="none", disable_tqdm=True)
    trainer = SFTTrainer(model, settings, train_dataset=Dataset.from_list(encoded), processing_class=tokenizer,
                         peft_config=_lora(recipe), callbacks=[Seal(), *callbacks])
    trainer.remove_callback(PrinterCallback)
    checkpoint = newest_checkpoint(work)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    loss = [[entry["step"], round(entry["loss"], 4)] for entry in trainer.state.log_history if "loss" in entry]
    return trainer.model, loss, trainer.state.global_step


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


def _lora(recipe: Recipe) -> LoraConfig:
    targets = recipe.target_modules if isinstance(recipe.target_modules, str) else list(recipe.target_modules)
    return LoraConfig(task_type="CAUSAL_LM", r=recipe.rank, lora_alpha=recipe.alpha, target_modules=targets)


def _load_tokenizer(base: Path) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


def _n_steps(n_rows: int, recipe: Recipe) -> int:
    return recipe.epochs * math.ceil(n_rows / recipe.batch_size)


def _has_accelerator() -> bool:
    return torch.cuda.is_available()
