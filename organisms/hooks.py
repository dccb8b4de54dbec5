"""Reading and changing what passes between the blocks of a model, for the time of a `with` block.

Main objects: `hooks` (on outputs), `replaced` (blocks that hand on a given stream), `Stop` (ends a forward pass early).
Example: `with hooks([(block, keep)]), suppress(Stop): model(input_ids=ids_BT)`
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn


class Stop(Exception):
    """Ends a forward pass once the last block that is needed has run."""


def hidden_of(output: Tensor | tuple) -> Tensor:
    """The residual stream in a block's output, which some architectures wrap in a tuple."""
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def hooks(pairs: Iterable[tuple[nn.Module, Callable]]) -> Iterator[None]:
    """Forward hooks on modules."""
    handles = [module.register_forward_hook(hook) for module, hook in pairs]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def replaced(blocks: Sequence[nn.Module], resid_BTD: Tensor) -> Iterator[None]:
    """Blocks that do nothing but hand on `resid_BTD`.

    They keep their place, so that a model that chooses masks and rotations by layer goes on choosing the right ones.
    """
    for block in blocks:
        block.forward = lambda *args, **kwargs: resid_BTD
    try:
        yield
    finally:
        for block in blocks:
            del block.forward
