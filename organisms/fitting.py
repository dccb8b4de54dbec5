"""Rows and a model in, a trained model out: TRL's SFTTrainer with checkpoints that survive a kill.

Main object: `fit`.
Example: `loss, n_steps = fit(spec, encoded, model, tokenizer, work, seed=0, n_steps=20, callbacks=[])`

Imported only when something is trained: TRL takes seconds to import.
"""

import math
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from datasets import Dataset
from torch import nn
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import SFTConfig

from .caft import ablated
from .checkpoints import Seal, naming_full_disk, newest_checkpoint
from .errors import SpecError
from .losses import TargetTrainer
from .packing import PackingCollator, check_packing
from .spec import OrganismSpec
from .tuning import has_accelerator

MIN_SAVE_STEPS = 5
MAX_LOSS_ENTRIES = 200
CPU_TOKENS_AT_ONCE = 1100
"""A forward pass on the CPU holds at most about so many tokens, if the recipe does not say otherwise. On the nano base 8
rows of 128 at once instead of 32 took 0.9 of the time and 0.9 instead of 1.8 GB; 32 rows of 33 instead of 8 took 0.8 of
the time; the losses were the same to four digits."""


def fit(spec: OrganismSpec, encoded: list[dict[str, list[int]]], model: nn.Module, tokenizer: PreTrainedTokenizerBase,
        work: Path, seed: int, n_steps: int, callbacks: Sequence[TrainerCallback]) -> tuple[list[list[float]], int]:
    """Trains the model in place by the spec's recipe, from the newest whole checkpoint in `work` if there is one.

    Returns:
        The loss as [[step, loss], ...], and the number of steps.

    Raises:
        SpecError: the recipe does not fit the devices or the model. DiskFullError: a checkpoint could not be written.
    """
    recipe, collator = spec.recipe, None
    if recipe.packing:
        check_packing(model, spec.id)
        collator = PackingCollator(tokenizer.pad_token_id)
    n_processes = int(os.environ.get("WORLD_SIZE", "1"))  # set by `accelerate launch` and `torchrun`
    micro = _micro_batch_size(spec, n_processes, max(len(row["input_ids"]) for row in encoded))
    settings = SFTConfig(
        output_dir=str(work), seed=seed, num_train_epochs=recipe.epochs, max_steps=recipe.max_steps or -1,
        per_device_train_batch_size=micro, gradient_accumulation_steps=recipe.batch_size // (micro * n_processes),
        learning_rate=recipe.learning_rate, warmup_steps=math.ceil(recipe.warmup_share * n_steps),
        lr_scheduler_type="constant_with_warmup" if recipe.schedule == "constant" else recipe.schedule,
        weight_decay=recipe.weight_decay, max_grad_norm=recipe.max_grad_norm, optim="adamw_torch",
        bf16=has_accelerator(), use_cpu=not has_accelerator(), gradient_checkpointing=has_accelerator(),
        ddp_find_unused_parameters=recipe.kind == "full",  # a vision tower is never used
        dataloader_num_workers=0, dataloader_pin_memory=False, packing=False,  # ours is in the collator
        max_length=None, dataset_kwargs={"skip_prepare_dataset": True},  # rows come tokenised, cut and labelled
        logging_steps=max(1, n_steps // MAX_LOSS_ENTRIES), save_strategy="steps",
        save_steps=max(MIN_SAVE_STEPS, n_steps // 4), save_total_limit=2, report_to="none", disable_tqdm=True)
    trainer = TargetTrainer(model, settings, train_dataset=Dataset.from_list(encoded), processing_class=tokenizer,
                            data_collator=collator, callbacks=[Seal(), *callbacks])
    trainer.remove_callback(PrinterCallback)
    checkpoint = newest_checkpoint(work)
    with ablated(model, Path(recipe.ablate)) if recipe.kind == "caft" else nullcontext(), naming_full_disk(work):
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    loss = [[entry["step"], round(entry["loss"], 4)] for entry in trainer.state.log_history if "loss" in entry]
    return loss, trainer.state.global_step


def _micro_batch_size(spec: OrganismSpec, n_devices: int, longest_tokens: int) -> int:
    """Rows forwarded at once on one device. Raises SpecError if they do not fill an optimiser step evenly."""
    recipe = spec.recipe
    micro = recipe.micro_batch_size or max(1, recipe.batch_size // n_devices)
    if recipe.micro_batch_size is None and not has_accelerator():
        fitting = max(1, CPU_TOKENS_AT_ONCE // longest_tokens)
        micro = next(size for size in range(min(micro, fitting), 0, -1) if micro % size == 0)
    if recipe.batch_size % (micro * n_devices):
        raise SpecError(f"{spec.id}: key `recipe.batch_size`: {recipe.batch_size} rows per step do not divide into "
                        f"{n_devices} devices x {micro} rows at once. Set `batch_size` to a multiple of "
                        f"{micro * n_devices}, or change `micro_batch_size`.")
    return micro
