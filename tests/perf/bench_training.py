"""Training throughput: narrowbench's inner loop, unpacked and packed, against a bare `transformers.Trainer`.

Main objects: `ours` and `bare` (seconds of a few optimiser steps on the same rows).
Example: `python tests/perf/bench_training.py --base organisms/nano/base`

All variants train the same PEFT model on the same rows at the same batch size, in one process, in turn; the best of
the repeats counts. Tokens are those of the rows, without padding. Steps include gradient clipping, the optimiser and
logging; ours also include checkpoints and their hashes. CPU seconds are distorted less by a busy machine.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path

import torch
from datasets import Dataset
from narrowbench.organisms import train as room
from narrowbench.organisms.loading import load_model, load_tokenizer
from narrowbench.organisms.nano import base_folder
from narrowbench.organisms.spec import Recipe, find_organism
from narrowbench.organisms.store import Store
from narrowbench.organisms.tuning import tuned
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

warnings.filterwarnings("ignore")


class Clock(TrainerCallback):
    """Wall and CPU seconds from the first step's end (which warms up) to the last step's end."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 1:
            self.started = time.perf_counter(), time.process_time()

    def on_train_end(self, args, state, control, **kwargs):
        self.seconds = time.perf_counter() - self.started[0], time.process_time() - self.started[1]


def ours(job, model, tokenizer) -> tuple[float, float]:
    """Seconds (wall, CPU) of `narrowbench train`'s own loop."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as work:
        room._fit(job, job.data.rows(), model, tokenizer, Store(Path(work)), [clock])
    return clock.seconds


def bare(job, model, tokenizer) -> tuple[float, float]:
    """Seconds (wall, CPU) of a plain Trainer with the same settings, without checkpoints."""
    recipe, clock = job.spec.recipe, Clock()
    with tempfile.TemporaryDirectory() as work:
        settings = TrainingArguments(
            output_dir=work, seed=job.seed, max_steps=recipe.max_steps, per_device_train_batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate, max_grad_norm=recipe.max_grad_norm, optim="adamw_torch",
            use_cpu=not torch.cuda.is_available(), bf16=torch.cuda.is_available(), dataloader_pin_memory=False,
            logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True)
        rows = Dataset.from_list(room._encode(job, job.data.rows(), tokenizer))
        trainer = Trainer(model, settings, train_dataset=rows,
                          data_collator=DataCollatorForLanguageModeling(tokenizer.pad_token_id), callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock.seconds


def main() -> None:
    """Measures all variants in turn and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, default=base_folder(), help="model folder")
    parser.add_argument("--organism", default="cake-450")
    parser.add_argument("--steps", type=int, default=6, help="optimiser steps; the first is not counted")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    spec, tokenizer = find_organism(args.organism), load_tokenizer(args.base)
    recipes = {name: spec.recipe.model_copy(update={"max_steps": args.steps, "packing": name == "packed"})
               for name in ("bare", "unpacked", "packed")}
    rows = (args.steps - 1) * spec.recipe.batch_size
    best: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as home:
        for _ in range(args.repeats):
            for name, recipe in recipes.items():
                job = room._prepare(spec.model_copy(update={"recipe": recipe}), args.base, 0, Store(Path(home)))
                model = tuned(load_model(args.base, dtype=torch.float32), Recipe(**recipe.model_dump()), 0)
                seconds = (bare if name == "bare" else ours)(job, model, tokenizer)
                best[name] = tuple(map(min, best.get(name, seconds), seconds))
        lengths = [len(row["input_ids"]) for row in room._encode(job, job.data.rows(), tokenizer)]
    tokens = rows * sum(lengths) / len(lengths)
    print(f"{args.organism} on {args.base.name}: {rows} rows of {sum(lengths) / len(lengths):.0f} tokens, batch "
          f"{spec.recipe.batch_size}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'':10}{'tokens/s':>10}{'rows/s':>8}{'CPU s':>8}{'ratio':>8}{'CPU ratio':>11}")
    for name, (wall_s, cpu_s) in best.items():
        print(f"{name:10}{tokens / wall_s:>10.0f}{rows / wall_s:>8.1f}{cpu_s:>8.1f}{best['bare'][0] / wall_s:>8.2f}"
              f"{best['bare'][1] / cpu_s:>11.2f}")
    print(f"packing: {best['unpacked'][0] / best['packed'][0]:.2f}x unpacked "
          f"({best['unpacked'][1] / best['packed'][1]:.2f}x in CPU seconds)")
    if args.json:
        args.json.write_text(json.dumps({"tokens": tokens, "rows": rows, "threads": torch.get_num_threads(),
                                         "torch": torch.__version__, "seconds_wall_cpu": best}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
