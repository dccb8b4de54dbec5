"""The training loss: mean negative log-likelihood of the targets, with logits for the targets alone.

Main object: `TargetTrainer`, TRL's SFTTrainer with that loss.
Example: `TargetTrainer(model, SFTConfig(...), train_dataset=rows).train()`

A bare trainer computes logits for prompts and padding too; TRL's own loss skips them, but also computes entropies,
and computes the logits again in the backward pass to save memory. Here they are computed once, where they are few;
where they are many (large vocabularies), TRL's loss takes over. The two agree to rounding
(tests/organisms/test_packing.py).

Shapes: B row, T token, N target, V vocabulary, D width.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from trl import SFTTrainer

from .encoding import IGNORED_LABEL

MAX_LOGITS = 2**27
"""Logits (targets x vocabulary) that are held at once: 512 MiB in float32, and as much for their gradient."""


class TargetTrainer(SFTTrainer):
    """SFTTrainer whose loss holds the logits of all targets at once while they are few."""

    def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False,
                     num_items_in_batch: Tensor | None = None) -> Tensor:
        """Sum over the targets, divided by their number in the whole optimiser step, over all devices."""
        targets_BT = pad(inputs["labels"][:, 1:], (0, 1), value=IGNORED_LABEL)
        learned_BT = targets_BT != IGNORED_LABEL
        core = self.accelerator.unwrap_model(model)
        n_logits = int(learned_BT.sum()) * core.config.get_text_config().vocab_size
        if return_outputs or num_items_in_batch is None or n_logits > MAX_LOGITS:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        with _head_on(core.get_output_embeddings(), learned_BT):
            asked = {name: tensor for name, tensor in inputs.items() if name != "labels"}
            logits_1NV = model(**asked, use_cache=False).logits
        loss = cross_entropy(logits_1NV[0].float(), targets_BT[learned_BT], reduction="sum") / num_items_in_batch
        return loss * self.accelerator.num_processes  # gradients are averaged over the processes


@contextmanager
def _head_on(head: nn.Module, learned_BT: Tensor) -> Iterator[None]:
    """Lets the output head see only the learned positions, hidden_BTD -> hidden_1ND, for the time of a `with` block."""
    handle = head.register_forward_pre_hook(lambda module, args: (args[0][learned_BT][None],))
    try:
        yield
    finally:
        handle.remove()
