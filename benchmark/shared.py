"""Results that several methods and organisms need: computed once, kept in memory and in the store.

Main object: `Shared`: what the base gives is the same for every organism of a suite, and what an organism says, steered
or not, and how its mean activations differ is the same for every method. `PairView` asks it before it runs a model.
Example: `PairView(pair, access, budget, shared=Shared(store, base_digest(base)).of(organism.digest))`

What a method gets is its own copy. A reused result is charged as if it had been computed: tokens, FLOPs and the seconds
it took when it was. So the cost of a method does not depend on what ran before it. How much of it was reused stands
beside it as `reused_tokens`.
"""

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from ..organisms.code import code_sha256
from ..organisms.spec import digest_of
from ..organisms.store import Store

if TYPE_CHECKING:  # a second run asks what there is, and needs no models
    import torch

    from ..organisms.pair import ModelPair, Usage

KIND = "shared"
MAX_STORED_BYTES = 2**26
"""A larger result is not written to disk: reading it back would take as long as computing it."""
MAX_HELD_BYTES = 2**29
ALONE = "value"
TENSOR, TEXTS, USAGE = "tensor.safetensors", "texts.json", "usage.json"
KEPT = {"residual": ("base",), "logprobs": ("base",), "logits": ("base",), "generate": ("base", "finetuned"),
        "steered": ("finetuned",), "departure": ("finetuned",)}
"""Which results, of which side, are shared; the rest belongs to one organism and one method."""
NEVER_STORED = ("logits",)
CODE_SHA256 = code_sha256(Path(__file__), Path(__file__).with_name("activations.py"))
"""Over what computes and keeps the results: part of every key, so changed code reuses nothing."""

Value = Tensor | dict[str, Tensor] | list[str]


@dataclass(frozen=True)
class _Held:
    value: Value
    usage: "Usage"
    seconds: float

    @property
    def n_bytes(self) -> int:
        if isinstance(self.value, list):
            return sum(map(len, self.value))
        return sum(one.numel() * one.element_size() for one in _tensors(self.value).values())

    def copied(self, device: "torch.device") -> Value:
        """The value as a method's own."""
        if isinstance(self.value, list):
            return list(self.value)
        if isinstance(self.value, Tensor):
            return self.value.to(device, copy=True)
        return {name: one.to(device, copy=True) for name, one in self.value.items()}


class Shared:
    """Results by (what was asked, of which model).

    Args:
        store: None = in memory only.
        base: digest of the base.
        organism: digest of the organism that is attached; None = only the base's results are shared.
    """

    def __init__(self, store: Store | None, base: str, organism: str | None = None) -> None:
        self.store, self.base, self.organism = store, base, organism
        self._ahead_s = 0.0
        self._held: OrderedDict[str, _Held] = OrderedDict()

    def of(self, organism: str) -> "Shared":
        """The same results, with another organism attached."""
        other = Shared(self.store, self.base, organism)
        other._held = self._held
        return other

    def clock(self) -> float:
        """Seconds as methods are charged for them: a result takes as long as it took to compute, found or not, and
        keeping results takes no time."""
        return time.monotonic() + self._ahead_s

    def get(self, pair: "ModelPair", what: str, which: str, arguments: dict[str, Any],
            make: Callable[[], Value]) -> tuple[Value, int]:
        """The result of `make`, found or computed, and how many of its tokens no model had to run for.

        Args:
            arguments: everything besides the models that decides the result; tensors by content.
        """
        entered_s = self.clock()
        organism = self.organism if which == "finetuned" else ""
        if which not in KEPT.get(what, ()) or organism is None:
            return make(), 0
        config = {"what": what, "which": which, "device": pair.device.type, "dtype": str(pair.dtype), "ends": pair.ends,
                  "arguments": {name: _plain(value) for name, value in arguments.items()}}
        inputs = {"base": self.base, "organism": organism, "code": CODE_SHA256}
        key = digest_of({"config": config, "inputs": inputs}) if self.store is None else self.store.key(
            KIND, config, inputs)
        held = self._held.get(key) or self._read(key, type(pair.usage))
        found = held is not None
        if not found:
            wait_for(pair.device)
            before, started_s = replace(pair.usage), self.clock()
            value = make()
            wait_for(pair.device)
            held = _Held(value, _less(pair.usage, before), self.clock() - started_s)
            if self.store is not None and what not in NEVER_STORED and held.n_bytes <= MAX_STORED_BYTES:
                self.store.save(KIND, key, config, inputs, lambda folder: _write(folder, held))
        else:
            for name, spent in asdict(held.usage).items():
                setattr(pair.usage, name, getattr(pair.usage, name) + spent)
        self._hold(key, held)
        copied = held.copied(pair.device)
        self._ahead_s += held.seconds - (self.clock() - entered_s)
        return copied, held.usage.forward_tokens if found else 0

    def _hold(self, key: str, held: _Held) -> None:
        """Keeps a result in memory; the least recently used ones go where room is needed."""
        self._held[key] = held
        self._held.move_to_end(key)
        while len(self._held) > 1 and sum(one.n_bytes for one in self._held.values()) > MAX_HELD_BYTES:
            self._held.popitem(last=False)

    def _read(self, key: str, usage_type: "type[Usage]") -> _Held | None:
        artefact = self.store.find(KIND, key) if self.store is not None else None
        if artefact is None:
            return None
        spent = json.loads((artefact.path / USAGE).read_text(encoding="utf-8"))
        seconds, usage = spent.pop("seconds"), usage_type(**spent)
        if (artefact.path / TENSOR).is_file():
            tensors = load_file(artefact.path / TENSOR)
            return _Held(tensors.get(ALONE, tensors), usage, seconds)
        return _Held(json.loads((artefact.path / TEXTS).read_text(encoding="utf-8")), usage, seconds)


def kind_of_device(device: str) -> str:
    """`cuda:1` -> `cuda`: what decides number formats, and how long things take."""
    return device.partition(":")[0]


def wait_for(device: "torch.device") -> None:
    """An accelerator computes while the program goes on; seconds are counted when it is done."""
    if device.type != "cpu":
        import torch

        torch.accelerator.synchronize(device)


def _write(folder: Path, held: _Held) -> None:
    (folder / USAGE).write_text(json.dumps(asdict(held.usage) | {"seconds": held.seconds}), encoding="utf-8")
    if isinstance(held.value, list):
        (folder / TEXTS).write_text(json.dumps(held.value, ensure_ascii=False), encoding="utf-8")
    else:
        save_file({name: one.cpu().contiguous() for name, one in _tensors(held.value).items()}, folder / TENSOR)


def _tensors(value: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    return {ALONE: value} if isinstance(value, Tensor) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return {"shape": list(value.shape), "sha256": hashlib.sha256(value.cpu().contiguous().numpy()).hexdigest()}
    return list(value) if isinstance(value, range | tuple) else value


def _less(after: "Usage", before: "Usage") -> "Usage":
    return type(after)(**{name: spent - getattr(before, name) for name, spent in asdict(after).items()})
