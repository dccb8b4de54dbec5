"""Base and finetuned model behind one handle: one base in memory, the LoRA adapter switched on and off on it.

Main objects: `ModelPair` (residual streams, logits, generations and patches of either side), `Usage` (what that cost).
Example: `pair = ModelPair.load(base, organism); pair.residual("finetuned", ids_BT, layers=[5], positions=[0, 1, 2])`

An organism is a folder: a LoRA adapter, or a whole finetuned model, which then is resident beside the base.
Shapes by suffix: B batch, T token, L layer, D width, V vocabulary, P position, N vectors.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import (DynamicCache, LogitsProcessor, LogitsProcessorList, PreTrainedModel,
                          PreTrainedTokenizerBase)

from .adapters import base_digest, base_folder_of, check_adapter
from .errors import AdapterError
from .finetunes import check_organism, is_full
from .generation import Contrast, Prompt, encode, sampling, steered
from .hooks import Stop, hidden_of, hooks, replaced
from .loading import (ADAPTER_NAME, cache_argument, decoder_blocks, forget_positions, load_adapter, load_model,
                      load_tokenizer, plain_generation, replace_adapter, switched_off)

__all__ = ["ModelPair", "Usage", "base_digest", "check_adapter", "check_organism", "decoder_blocks"]

MAX_LOGIT_ELEMENTS = 2**26


@dataclass
class Usage:
    """What a pair has spent. FLOPs = 2 x parameters of the executed blocks x tokens (+ unembedding where used)."""

    forward_tokens: int = 0
    generated_tokens: int = 0
    flops: int = 0


class ModelPair:
    """A base model and one organism. `which` is "base" or "finetuned" everywhere; results are float32."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, base: Path) -> None:
        self.tokenizer, self.base = tokenizer, base
        self.usage = Usage()
        self.model: nn.Module = model.eval()
        """The base, with the adapter on it if there is one."""
        self._core = model
        self._full: PreTrainedModel | None = None
        model.generation_config = plain_generation(model, tokenizer)
        blocks, config = decoder_blocks(model), model.config.get_text_config()
        self.n_layers, self.width, self.n_vocab = len(blocks), config.hidden_size, config.vocab_size
        self._block_params = [sum(p.numel() for p in block.parameters()) for block in blocks]
        self._head_params = self.n_vocab * self.width

    @classmethod
    def load(cls, base: Path | str, organism: Path | None = None, device: str = "cpu",
             dtype: torch.dtype | None = None) -> "ModelPair":
        """Loads a base (folder or Hub id) and, if given, an organism. Only safetensors, never code from the folder.

        Args:
            organism: a folder with a LoRA adapter or with a whole finetuned model.
            dtype: of both sides; None = float32 on the CPU, the base checkpoint's own elsewhere.

        Raises:
            NotFoundError, AdapterError: before any weight is loaded.
        """
        folder = base_folder_of(base)
        if organism is not None:
            check_organism(organism, folder)
        pair = cls(load_model(folder, device, dtype), load_tokenizer(folder), folder)
        if organism is not None:
            pair._put(Path(organism))
        return pair

    def attach(self, organism: Path) -> None:
        """Puts another organism beside the resident base; the former one leaves no trace. Raises AdapterError."""
        check_organism(organism, self.base)
        self._put(Path(organism))

    def _put(self, organism: Path) -> None:
        if isinstance(self.model, PeftModel) and not is_full(organism) and replace_adapter(self.model, organism):
            return
        if isinstance(self.model, PeftModel):
            self.model.unload()
        self.model, self._full = self._core, None  # frees the former organism before the next is loaded
        if is_full(organism):
            self._full = load_model(organism, self.device, self._core.dtype, self._core.config)
            self._full.generation_config = self._core.generation_config
        else:
            self.model = load_adapter(self._core, organism)

    @property
    def device(self) -> torch.device:
        """Where the base lies."""
        return next(self._core.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the base computes in."""
        return self._core.dtype

    @property
    def ends(self) -> list[int]:
        """Token ids that end a text, on both sides."""
        return list(self._core.generation_config.eos_token_id or [])

    @contextmanager
    def side(self, which: str) -> Iterator[nn.Module]:
        """The Hugging Face model of one side, for the time of a `with` block."""
        if which not in ("base", "finetuned"):
            raise ValueError(f"which is {which!r}; it must be 'base' or 'finetuned'")
        wrapped = isinstance(self.model, PeftModel)
        if which == "finetuned" and not wrapped and self._full is None:
            raise AdapterError("this pair has no organism, so there is no finetuned side. Call `attach(folder)` first.")
        model = self._full if which == "finetuned" and self._full is not None else self._core
        forget_positions(model)
        with switched_off(self.model) if which == "base" and wrapped else nullcontext():
            yield model

    @torch.inference_mode()
    def residual(self, which: str, ids_BT: Tensor, layers: Sequence[int], positions: Sequence[int]) -> Tensor:
        """Residual stream after blocks `layers` at `positions`, as resid_LBPD.

        Only the tokens up to the last position are forwarded, and the forward ends after the last block.
        """
        _in_range("layer", layers, self.n_layers)
        _in_range("position", positions, ids_BT.shape[1])
        ids_BT = ids_BT[:, : max(positions) + 1].to(self.device)
        kept: dict[int, Tensor] = {}
        index = torch.tensor(list(positions), device=self.device)

        def keep(layer: int) -> Callable:
            def hook(module, args, output):
                kept[layer] = hidden_of(output).index_select(1, index).float()
                if layer == max(layers):
                    raise Stop
            return hook

        with self.side(which) as model:
            blocks = decoder_blocks(model)
            with hooks((blocks[layer], keep(layer)) for layer in set(layers)), suppress(Stop):
                model(input_ids=ids_BT, use_cache=False, logits_to_keep=1)
        self._count(ids_BT.numel(), max(layers) + 1, 0)
        return torch.stack([kept[layer] for layer in layers])

    @torch.inference_mode()
    def logits(self, which: str, ids_BT: Tensor) -> Tensor:
        """Next-token logits_BTV. Rows may be padded on the right: causal attention keeps earlier tokens unaffected."""
        with self.side(which) as model:
            out = model(input_ids=ids_BT.to(self.device), use_cache=False).logits.float()
        self._count(ids_BT.numel(), self.n_layers, ids_BT.numel())
        return out

    @torch.inference_mode()
    def logprobs(self, which: str, ids_BT: Tensor) -> Tensor:
        """Log-probability of each next token, logp_BT-1. Rows may be padded on the right."""
        chunk = max(1, MAX_LOGIT_ELEMENTS // (ids_BT.shape[1] * self.n_vocab))
        parts = []
        for ids in ids_BT.to(self.device).split(chunk):
            logp_BTV = self.logits(which, ids)[:, :-1].log_softmax(-1)
            parts.append(logp_BTV.gather(-1, ids[:, 1:, None])[..., 0])
        return torch.cat(parts)

    def generate(self, which: str, prompts: Sequence[Prompt], max_new_tokens: int = 64, temperature: float = 0.0,
                 seed: int = 0, raw: bool = False) -> list[str]:
        """Completions of prompts (texts, or lists of chat messages). temperature 0 = greedy.

        Args:
            prompts: a text is a user's turn; a list of messages whose last one is the assistant's is continued.
            raw: continue the text as it stands instead of answering it as a chat turn (without thinking aloud first).
        """
        return self._sample(which, prompts, max_new_tokens, temperature, seed, raw)

    def steered(self, which: str, prompts: Sequence[Prompt], layer: int, vectors_BD: Tensor, max_new_tokens: int = 64,
                temperature: float = 0.0, seed: int = 0, raw: bool = False) -> list[str]:
        """As `generate`, with `vectors_BD[i]` added after block `layer` at every token of prompt i and its completion.

        Rows are independent, so positions, strengths and prompts of one organism go into one batch; a zero vector is
        an unsteered row.
        """
        _in_range("layer", [layer], self.n_layers)
        if len(vectors_BD) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts and {len(vectors_BD)} vectors; give one vector a prompt")
        with self.side(which) as model:
            block = decoder_blocks(model)[layer]
        with steered(block, vectors_BD):
            return self._sample(which, prompts, max_new_tokens, temperature, seed, raw)

    def contrasted(self, prompts: Sequence[Prompt], alpha: float | Sequence[float], max_new_tokens: int = 64,
                   temperature: float = 0.0, seed: int = 0, raw: bool = False, keep: float = 0.1) -> list[str]:
        """Completions by log p_finetuned + alpha (log p_finetuned - log p_base), alpha one for all prompts or one each.

        See `generation.Contrast`. Raises ValueError if there are not as many alphas as prompts.
        """
        if not isinstance(alpha, (int, float)) and len(alpha) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts and {len(alpha)} alphas; give one alpha, or one a prompt")
        return self._sample("finetuned", prompts, max_new_tokens, temperature, seed, raw,
                            lambda mask_BT: Contrast(lambda: self.side("base"), mask_BT, alpha, keep))

    @torch.inference_mode()
    def _sample(self, which: str, prompts: Sequence[Prompt], max_new_tokens: int, temperature: float, seed: int,
                raw: bool, beside: Callable[[Tensor], LogitsProcessor] | None = None) -> list[str]:
        """`beside`: from the prompts' mask to a processor that runs the other side on every token too."""
        batch = encode(self.tokenizer, prompts, raw).to(self.device)
        devices = [self.device] if self.device.type == "cuda" else []
        processors = LogitsProcessorList([beside(batch["attention_mask"])] if beside else [])
        with self.side(which) as model, torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            ids = model.generate(**batch, max_new_tokens=max_new_tokens, **sampling(temperature),
                                 logits_processor=processors)
        new = ids[:, batch["input_ids"].shape[1]:]
        n_new = int((new != self.tokenizer.pad_token_id).sum())
        n_prompt = int(batch["attention_mask"].sum())
        n_sides = 2 if beside else 1
        self._count(n_sides * (n_prompt + n_new), self.n_layers, n_sides * n_new)
        self.usage.generated_tokens += n_new
        return self.tokenizer.batch_decode(new, skip_special_tokens=True)

    @contextmanager
    def amplified(self, factor: float) -> Iterator[None]:
        """The finetuned side with its weight difference times `factor`, for the time of a `with` block.

        A whole finetuned model is changed in place, with a copy of it kept for that time.
        """
        if self._full is not None:
            kept = {name: parameter.data for name, parameter in self._full.named_parameters()}
            base = dict(self._core.named_parameters())
            try:
                for name, parameter in self._full.named_parameters():
                    parameter.data = torch.lerp(base[name].data, kept[name], factor)
                yield
            finally:
                for name, parameter in self._full.named_parameters():
                    parameter.data = kept[name]
            return
        layers = [self._core.get_submodule(name) for name in self.changed()]
        kept_scales = [layer.scaling[ADAPTER_NAME] for layer in layers]
        try:
            for layer, scale in zip(layers, kept_scales, strict=True):
                layer.scaling[ADAPTER_NAME] = factor * scale
            yield
        finally:
            for layer, scale in zip(layers, kept_scales, strict=True):
                layer.scaling[ADAPTER_NAME] = scale

    @torch.inference_mode()
    def patched(self, which: str, ids_BT: Tensor, layer: int, position: int, vectors_BD: Tensor) -> Tensor:
        """logits_BV at the last token when the output of block `layer` at `position` is replaced by `vectors_BD`.

        Layer -1 is the input embedding, as `embedding` gives it. `ids_BT` with one row stands for all vectors; with the
        patch on its last token the tokens before it run once, and at it only the blocks above `layer` run.
        """
        _in_range("layer", [layer + 1], self.n_layers + 1)
        ids_BT, vectors_BD = ids_BT.to(self.device), vectors_BD.to(self.device)
        _in_range("position", [position], ids_BT.shape[1])
        if len(ids_BT) == 1 and position == ids_BT.shape[1] - 1:
            return self._patched_end(which, ids_BT[:, :-1], layer, vectors_BD)

        def put(module, args, output):
            hidden = hidden_of(output).clone()
            hidden[:, position] = vectors_BD.to(hidden.dtype)
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        ids_BT = ids_BT.expand(len(vectors_BD), -1)
        with self.side(which) as model:
            module = decoder_blocks(model)[layer] if layer >= 0 else model.get_input_embeddings()
            with hooks([(module, put)]):
                out = model(input_ids=ids_BT, logits_to_keep=1, use_cache=False)
        self._count(ids_BT.numel(), self.n_layers, len(ids_BT))
        return out.logits[:, -1].float()

    def _patched_end(self, which: str, prefix_1T: Tensor, layer: int, vectors_BD: Tensor) -> Tensor:
        """logits_BV at a token behind `prefix_1T` whose stream after block `layer` is `vectors_BD`.

        What the blocks up to `layer` make of that token is replaced, so only their prefix is run: it gives the blocks
        above it what they attend to, which all rows share.
        """
        n_rows = len(vectors_BD)
        with self.side(which) as model:
            cached = {"use_cache": False}
            if prefix_1T.shape[1]:
                cache = DynamicCache(config=model.config)
                cached = {"use_cache": True, cache_argument(model): cache}
                model(input_ids=prefix_1T, logits_to_keep=1, **cached)
                for above in cache.layers[layer + 1:]:
                    above.batch_repeat_interleave(n_rows)
            rows_B1D = vectors_BD[:, None].to(model.dtype)
            with replaced(decoder_blocks(model)[: layer + 1], rows_B1D):
                out = model(inputs_embeds=rows_B1D, logits_to_keep=1, **cached)
        self._count(prefix_1T.numel(), self.n_layers, 0)
        self._count(n_rows, self.n_layers, n_rows, first_block=layer + 1)
        return out.logits[:, -1].float()

    @torch.inference_mode()
    def unembed(self, which: str, v_ND: Tensor) -> Tensor:
        """logits_NV of residual vectors: final norm, then output head (with its soft cap, if the model has one)."""
        with self.side(which) as model:
            head = model.get_output_embeddings()
            weight = next(head.parameters())
            logits = head(model.get_decoder().norm(v_ND.to(weight.device, weight.dtype))).float()
            cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
            self.usage.flops += 2 * self._head_params * len(v_ND)
            return cap * torch.tanh(logits / cap) if cap else logits

    @torch.inference_mode()
    def resume(self, which: str, resid_BTD: Tensor, layer: int) -> Tensor:
        """logits_BTV when the residual stream after block `layer` is `resid_BTD`: only the blocks above it run.

        Rows may be padded on the right, as in `logits`.
        """
        _in_range("layer", [layer], self.n_layers)
        with self.side(which) as model:
            resid_BTD = resid_BTD.to(self.device, model.dtype)
            with replaced(decoder_blocks(model)[: layer + 1], resid_BTD):
                out = model(inputs_embeds=resid_BTD, use_cache=False).logits.float()
        n_tokens = resid_BTD.shape[0] * resid_BTD.shape[1]
        self._count(n_tokens, self.n_layers, n_tokens, first_block=layer + 1)
        return out

    @torch.inference_mode()
    def embedding(self, ids: Tensor) -> Tensor:
        """Input embeddings of token ids in the base, float32."""
        with self.side("base") as model:
            return model.get_input_embeddings()(ids.to(self.device)).float()

    @torch.inference_mode()
    def delta(self, module: str) -> Tensor:
        """Finetuned minus base weight of a module by its base name, e.g. `model.layers.0.mlp.up_proj`; float32."""
        with self.side("finetuned") as model:
            layer = model.get_submodule(module)
            if self._full is not None:
                return layer.weight.float() - self._core.get_submodule(module).weight.float()
            if ADAPTER_NAME in getattr(layer, "lora_A", {}) or ADAPTER_NAME in getattr(layer, "lora_embedding_A", {}):
                return layer.get_delta_weight(ADAPTER_NAME).float()
            return torch.zeros_like(layer.weight, dtype=torch.float32)

    @torch.inference_mode()
    def delta_bias(self, module: str) -> Tensor | None:
        """Finetuned minus base output bias of a module, float32; None if neither has one."""
        with self.side("finetuned") as model:
            layer = model.get_submodule(module)
            if getattr(layer, "lora_bias", {}).get(ADAPTER_NAME):
                return layer.lora_B[ADAPTER_NAME].bias.float() * layer.scaling[ADAPTER_NAME]
            if getattr(layer, "bias", None) is None:
                return None
            base = self._core.get_submodule(module).bias
            return layer.bias.float() - base.float()

    def changed(self) -> list[str]:
        """Names of the modules whose weight finetuning changed, in the model's order, as `delta` takes them."""
        if self._full is not None:
            return [name for name, module in self._core.named_modules()
                    if isinstance(getattr(module, "weight", None), nn.Parameter) and module.weight.ndim == 2
                    and not torch.equal(module.weight, self._full.get_submodule(name).weight)]
        return [name for name, layer in self._core.named_modules()
                if any(ADAPTER_NAME in getattr(layer, part, {}) for part in ("lora_A", "lora_embedding_A"))]

    @torch.no_grad()
    def factors(self, module: str) -> tuple[Tensor, Tensor]:
        """(down_RI, up_OR), float32, with `delta(module)` = up_OR @ down_RI; R inner, I input, O output width.

        Of a LoRA on a linear layer its own two matrices, the scale in the second; else the difference itself and an
        identity on its shorter side.
        """
        with self.side("finetuned") as model:
            layer = model.get_submodule(module)
            if ADAPTER_NAME in getattr(layer, "lora_A", {}):
                scale = layer.scaling[ADAPTER_NAME]
                down_RI, up_OR = layer.lora_A[ADAPTER_NAME].weight, layer.lora_B[ADAPTER_NAME].weight
                return down_RI.detach().float(), scale * up_OR.detach().float()
        delta_OI = self.delta(module)
        n_out, n_in = delta_OI.shape
        identity = torch.eye(min(n_out, n_in), device=delta_OI.device)
        return (delta_OI, identity) if n_out <= n_in else (identity, delta_OI)

    def _count(self, n_tokens: int, n_blocks: int, n_unembedded: int, first_block: int = 0) -> None:
        self.usage.forward_tokens += n_tokens
        blocks = sum(self._block_params[first_block:n_blocks])
        self.usage.flops += 2 * (blocks * n_tokens + self._head_params * n_unembedded)


def _in_range(what: str, values: Sequence[int], size: int) -> None:
    if not values or not all(0 <= value < size for value in values):
        raise ValueError(f"{what}s {list(values)} are not all within 0..{size - 1}")
