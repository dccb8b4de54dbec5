"""Checkpoints that can be trusted after a kill: each is sealed with its files' hashes once all of it is written.

Main objects: `Seal` (a trainer callback), `newest_checkpoint`.
Example: `SFTTrainer(..., callbacks=[Seal()])`, then `trainer.train(resume_from_checkpoint=newest_checkpoint(folder))`.
"""

import json
from pathlib import Path

from transformers import TrainerCallback

from .store import sha256_file, write_atomic

SEAL = "whole.json"


class Seal(TrainerCallback):
    """Marks a checkpoint as whole once all of it is written."""

    def on_save(self, args, state, control, **kwargs) -> None:
        """Called by the trainer after it has written a checkpoint."""
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        write_atomic(path / SEAL, json.dumps(_hashes(path)))


def newest_checkpoint(work: Path) -> Path | None:
    """The newest checkpoint whose files all match its seal, or None. Others were cut off and are passed over."""
    sealed = [path for path in work.glob("checkpoint-*") if (path / SEAL).is_file()]
    for path in sorted(sealed, key=lambda p: int(p.name.rpartition("-")[2]), reverse=True):
        if json.loads((path / SEAL).read_text(encoding="utf-8")) == _hashes(path):
            return path
    return None


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name != SEAL}
