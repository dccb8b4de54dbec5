"""What a method gets to see: a model pair cut down to its declared access, with every use counted.

Main objects: `PairView` (handed to `Method.collect` as `pair`), `Reference` (answers, for ceiling rows only).
Example: `view = PairView(pair, method.access, budget); method.collect(view, probes, budget, seed); view.cost()`
"""

import resource
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from ..organisms.errors import AccessError, BudgetError
from ..organisms.spec import OrganismSpec
from .activations import departure
from .method import ACCESS, Budget
from .shared import Shared, wait_for

if TYPE_CHECKING:  # a second run asks what there is, and needs no models
    from ..organisms.generation import Prompt
    from ..organisms.pair import ModelPair

Result = TypeVar("Result")


@dataclass(frozen=True)
class Reference:
    """What ceilings may read: the organism's spec (access "objective") and its finetuning rows (access "data")."""

    spec: OrganismSpec | None = None
    rows: tuple[dict, ...] = ()


class PairView:
    """A `ModelPair` behind the access that a method declared. One view at a time on a pair, or costs mix.

    Tokenizer and sizes are always there. "logits" includes log-probabilities; "none" includes nothing else.
    """

    def __init__(self, pair: "ModelPair", access: Iterable[str], budget: Budget = Budget(),
                 reference: Reference | None = None, shared: Shared | None = None) -> None:
        self._access = frozenset(access)
        if unknown := self._access - ACCESS:
            raise AccessError(f"unknown access {sorted(unknown)}; a method declares some of {sorted(ACCESS)}")
        self._pair, self._budget, self._reference = pair, budget, reference
        self._shared, self._reused_tokens = shared or Shared(None, "this view's base"), 0
        self._started_s, self._before = self._shared.clock(), replace(pair.usage)
        if pair.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pair.device)
        self.tokenizer, self.n_layers, self.width, self.n_vocab = (
            pair.tokenizer, pair.n_layers, pair.width, pair.n_vocab)

    def generate(self, which: str, prompts: "Sequence[Prompt]", max_new_tokens: int = 64,
                 temperature: float = 0.0, seed: int = 0, raw: bool = False) -> list[str]:
        """Completions; needs access "text". See `ModelPair.generate`."""
        self._need("generate", "text")
        arguments = {"prompts": prompts, "max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed,
                     "raw": raw}
        return self._from(which, "generate", arguments)

    def logprobs(self, which: str, ids_BT: Tensor) -> Tensor:
        """Log-probability of each next token; needs access "logprobs" or "logits"."""
        self._need("logprobs", "logprobs", "logits")
        return self._from(which, "logprobs", {"ids_BT": ids_BT})

    def logits(self, which: str, ids_BT: Tensor) -> Tensor:
        """Next-token logits_BTV; needs access "logits"."""
        self._need("logits", "logits")
        return self._from(which, "logits", {"ids_BT": ids_BT})

    def contrasted(self, prompts: "Sequence[Prompt]", alpha: float | Sequence[float], max_new_tokens: int = 64,
                   temperature: float = 0.0, seed: int = 0, raw: bool = False, keep: float = 0.1) -> list[str]:
        """Completions that the organism favours over the base; needs access "logits". See `ModelPair.contrasted`."""
        self._need("contrasted", "logits")
        return self._charged(self._pair.contrasted(prompts, alpha, max_new_tokens, temperature, seed, raw, keep))

    def residual(self, which: str, ids_BT: Tensor, layers: Sequence[int], positions: Sequence[int]) -> Tensor:
        """Residual streams resid_LBPD; needs access "activations"."""
        self._need("residual", "activations")
        return self._from(which, "residual", {"ids_BT": ids_BT, "layers": layers, "positions": positions})

    def departure(self, ids_BT: Tensor, layers: Sequence[int], positions: Sequence[int], counts_B: Tensor,
                  base_LBPD: Tensor) -> dict[str, Tensor]:
        """Sums that mean differences are made of (`activations.departure`), computed once for all methods that read the
        same texts at the same depths; needs access "activations". `base_LBPD` is what `residual` gives for the base."""
        self._need("departure", "activations")
        arguments = {"ids_BT": ids_BT, "layers": layers, "positions": positions, "counts_B": counts_B,
                     "base_LBPD": base_LBPD}  # a caller's own stream must not pass for the base's in another's result
        return self._from("finetuned", "departure", arguments, lambda: departure(
            base_LBPD, self.residual("finetuned", ids_BT, layers, positions), counts_B))

    def steered(self, which: str, prompts: "Sequence[Prompt]", layer: int, vectors_BD: Tensor, max_new_tokens: int = 64,
                temperature: float = 0.0, seed: int = 0, raw: bool = False) -> list[str]:
        """Completions under a vector added after a block, one a prompt; needs access "activations"."""
        self._need("steered", "activations")
        return self._from(which, "steered", {
            "prompts": prompts, "layer": layer, "vectors_BD": vectors_BD, "max_new_tokens": max_new_tokens,
            "temperature": temperature, "seed": seed, "raw": raw})

    def patched(self, which: str, ids_BT: Tensor, layer: int, position: int, vectors_BD: Tensor) -> Tensor:
        """Last-token logits_BV under a patch; needs access "activations"."""
        self._need("patched", "activations")
        return self._charged(self._pair.patched(which, ids_BT, layer, position, vectors_BD))

    def unembed(self, which: str, v_ND: Tensor) -> Tensor:
        """Logit lens logits_NV of residual vectors; needs access "activations" or "weights"."""
        self._need("unembed", "activations", "weights")
        return self._charged(self._pair.unembed(which, v_ND))

    def embedding(self, ids: Tensor) -> Tensor:
        """Input embeddings of token ids; needs access "activations" or "weights"."""
        self._need("embedding", "activations", "weights")
        return self._charged(self._pair.embedding(ids))

    def delta(self, module: str) -> Tensor:
        """Weight difference of a module; needs access "weights"."""
        self._need("delta", "weights")
        return self._charged(self._pair.delta(module))

    def changed(self) -> list[str]:
        """Names of the modules that finetuning changed, for `delta` and `factors`; needs access "weights"."""
        self._need("changed", "weights")
        return self._pair.changed()

    def factors(self, module: str) -> tuple[Tensor, Tensor]:
        """(down_RI, up_OR) whose product is a module's weight difference; needs access "weights"."""
        self._need("factors", "weights")
        return self._charged(self._pair.factors(module))

    def amplified(self, factor: float, prompts: "Sequence[Prompt]", max_new_tokens: int = 64, temperature: float = 0.0,
                  seed: int = 0, raw: bool = False) -> list[str]:
        """Completions with the weight difference times `factor`; needs access "weights"."""
        self._need("amplified", "weights")
        with self._pair.amplified(factor):
            return self._charged(self._pair.generate("finetuned", prompts, max_new_tokens, temperature, seed, raw))

    @property
    def reference(self) -> Reference:
        """The answers, as far as "objective" (spec) and "data" (rows) were declared. For ceilings only."""
        self._need("reference", "objective", "data")
        if self._reference is None:
            raise AccessError("this run has no reference: the pair is the user's own, so nobody knows its objective")
        return Reference(self._reference.spec if "objective" in self._access else None,
                         self._reference.rows if "data" in self._access else ())

    def cost(self) -> dict[str, float]:
        """What was used since the view was made; `reused_tokens` of the forward tokens were there already.

        `seconds` are by the clock, with what was there already charged at the time it took when it was computed.
        `peak_bytes` is the most memory held at once: of the accelerator since then, else of the process since it began.
        """
        used, before = self._pair.usage, self._before
        wait_for(self._pair.device)
        if self._pair.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._pair.device)
        else:  # kibibytes on Linux, bytes on macOS
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return {"forward_tokens": used.forward_tokens - before.forward_tokens,
                "generated_tokens": used.generated_tokens - before.generated_tokens, "flops": used.flops - before.flops,
                "reused_tokens": self._reused_tokens, "seconds": self._shared.clock() - self._started_s,
                "peak_bytes": peak}

    def _need(self, what: str, *any_of: str) -> None:
        if not self._access & set(any_of):
            raise AccessError(f"`{what}` needs access {' or '.join(map(repr, any_of))}, but the method declares "
                              f"{sorted(self._access)}. Add it to the method's `access`.")

    def _from(self, which: str, what: str, arguments: dict[str, Any], make: Callable[[], Any] | None = None) -> Any:
        """A result that may be there already; `make` = None: the pair's own method of that name makes it."""
        result, reused = self._shared.get(self._pair, what, which, arguments,
                                          make or (lambda: getattr(self._pair, what)(which, **arguments)))
        self._reused_tokens += reused
        return self._charged(result)

    def check_budget(self) -> None:
        """Raises BudgetError if more has been used than the budget allows."""
        cost = self.cost()
        for key in ("forward_tokens", "generated_tokens", "seconds"):
            cap = getattr(self._budget, key)
            if cap is not None and cost[key] > cap:
                raise BudgetError(f"the method used {cost[key]:.6g} {key.replace('_', ' ')} of a budget of {cap:.6g}. "
                                  "Read fewer probes or positions, or raise the suite's budget.")

    def _charged(self, result: Result) -> Result:
        """Passes a result on, unless what it took went past the budget."""
        self.check_budget()
        return result
