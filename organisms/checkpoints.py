"""Checkpoints that can be trusted after a kill: each is sealed with its files' hashes once all of it is written.

Main objects: `Seal` (a trainer callback), `newest_checkpoint`, `naming_full_disk`.
Example: `SFTTrainer(..., callbacks=[Seal()])`, then `trainer.train(resume_from_checkpoint=newest_checkpoint(folder))`.
"""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from torch import distributed
from transformers import TrainerCallback

from .errors import DiskFullError
from .store import sha256_file, write_atomic

SEAL = "whole.json"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FULL_TEXTS = ("failed writing file", "unexpected pos", *(f"os error {number}" for number in sorted(FULL)))
"""How torch and safetensors say it: they raise their own errors, without a number."""


class Seal(TrainerCallback):
    """Marks a checkpoint as whole once all of it is written."""

    def on_save(self, args, state, control, **kwargs) -> None:
        """Called by the trainer after it has written a checkpoint."""
        if distributed.is_initialized():
            distributed.barrier()  # every process has a file in it
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero:
            write_atomic(path / SEAL, json.dumps(_hashes(path)))


def newest_checkpoint(work: Path) -> Path | None:
    """The newest checkpoint whose files all match its seal, or None. Others were cut off and are passed over."""
    sealed = [path for path in work.glob("checkpoint-*") if (path / SEAL).is_file()]
    for path in sorted(sealed, key=lambda p: int(p.name.rpartition("-")[2]), reverse=True):
        if json.loads((path / SEAL).read_text(encoding="utf-8")) == _hashes(path):
            return path
    return None


@contextmanager
def naming_full_disk(work: Path) -> Iterator[None]:
    """Turns the several errors of a full disk into one that says what stays usable. Raises DiskFullError."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if getattr(error, "errno", None) not in FULL and not any(text in str(error) for text in FULL_TEXTS):
            raise
        newest = newest_checkpoint(work)
        kept = f"The checkpoint {newest.name} is whole" if newest else "No checkpoint was whole yet"
        raise DiskFullError(f"{work}: a checkpoint could not be written: the disk or a quota is full ({error}). "
                            f"{kept}; make room, or choose another folder with --home, and run the same command again: "
                            "it goes on from there.") from error


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name != SEAL}
