"""Models and organisms from folders: safetensors only, never code from a folder, no weight left to chance.

Main objects: `load_model`, `load_tokenizer`, `load_adapter`, `decoder_blocks`, `text_targets` (what a LoRA may touch).
Example: `model = load_adapter(load_model(base_folder_of("organisms/nano/base")), Path("organisms/cake"))`

Vision-language models (Qwen2.5-VL, Gemma 3 from 4B on) are read through their text path: its blocks, norm and head.
"""

import copy
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, PeftModelForCausalLM, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from torch import nn
from transformers import (MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoConfig,
                          AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer, GenerationConfig,
                          PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast)

from .adapters import PREFIX, module_and_part, read_json
from .errors import AdapterError

ADAPTER_NAME = "organism"
GENERAL_TOKENIZERS = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Tokenizer classes that add nothing to tokenizer.json, under their names of several releases."""


def model_class(config: PreTrainedConfig) -> Any:
    """The Auto class that loads a model of this config with its output head. Raises AdapterError if there is none."""
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    raise AdapterError(f"{config.model_type}: no model of this type continues texts, so it can be neither base nor "
                       "organism. Use a decoder-only language model.")


def load_model(folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype | str | None = None,
               config: PreTrainedConfig | None = None) -> PreTrainedModel:
    """A model in evaluation mode, with the ends of turn that its folder names but none of its sampling settings.

    Args:
        dtype: None = float32 on the CPU, the checkpoint's own elsewhere.
        config: use this instead of the folder's, so that nothing in the folder but its weights counts.

    Raises:
        AdapterError: weights are missing, so that they would be random.
    """
    config = copy.deepcopy(config) or AutoConfig.from_pretrained(folder, trust_remote_code=False)
    dtype = dtype or (torch.float32 if str(device) == "cpu" else "auto")
    model, info = model_class(config).from_pretrained(folder, config=config, dtype=dtype, use_safetensors=True,
                                                      trust_remote_code=False, output_loading_info=True)
    if missing := sorted(info["missing_keys"]):
        raise AdapterError(f"{folder}: {len(missing)} weights of the model are not in its files, first {missing[0]}; "
                           "they would be random. Save the whole model with `model.save_pretrained(folder)`.")
    model.config._name_or_path = model.name_or_path = ""  # paths can give an objective away
    return model.to(device).eval()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """A base's tokenizer, with something to pad with.

    A folder that declares a general tokenizer gets what its tokenizer.json says: for some types of model (Qwen2),
    AutoTokenizer would silently split texts as that model's own tokenizer does.
    """
    declared = folder / "tokenizer_config.json"
    general = declared.is_file() and read_json(declared).get("tokenizer_class") in GENERAL_TOKENIZERS
    loader = PreTrainedTokenizerFast if general and (folder / "tokenizer.json").is_file() else AutoTokenizer
    tokenizer = loader.from_pretrained(folder, trust_remote_code=False)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.name_or_path = ""
    return tokenizer


def plain_generation(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """Where a model ends its turn (its own ends and the tokenizer's), and nothing else.

    Checkpoints bring sampling settings such as a repetition penalty, which would change what is said unseen.
    """
    own = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])} - {None}
    return GenerationConfig(eos_token_id=sorted(ends) or None, pad_token_id=tokenizer.pad_token_id,
                            bos_token_id=tokenizer.bos_token_id)


def load_adapter(core: PreTrainedModel, adapter: Path) -> PeftModel:
    """Puts a checked adapter on a model. Of its config only ranks, scales and biases count, of its modules only those
    whose tensors are in the file; so what the file does not name stays the base's.
    """
    settings, tensors = _read_adapter(core, adapter)
    config = LoraConfig(task_type="CAUSAL_LM", inference_mode=True, **settings)
    model = PeftModelForCausalLM(core, config, adapter_name=ADAPTER_NAME)
    outcome = set_peft_model_state_dict(model, tensors, adapter_name=ADAPTER_NAME)
    missing = [key for key in outcome.missing_keys if ".lora_" in key]
    if missing or outcome.unexpected_keys:
        model.unload()
        raise AdapterError(f"{adapter}: {len(missing)} LoRA tensors are missing and {len(outcome.unexpected_keys)} are "
                           f"too many, first {(missing + outcome.unexpected_keys)[0]}. Save the adapter again with "
                           "`model.save_pretrained(folder)`.")
    return model.eval()


def replace_adapter(model: PeftModel, adapter: Path) -> bool:
    """Puts the values of a checked adapter in the place of those that are there, which is faster than building anew.

    False, and nothing is changed, where its modules, ranks or scales are others.
    """
    settings, tensors = _read_adapter(model.get_base_model(), adapter)
    there = model.peft_config[ADAPTER_NAME]
    if any(getattr(there, key) != value for key, value in settings.items() if key != "target_modules"):
        return False
    places = {before + part + after.replace(f".{ADAPTER_NAME}", "", 1): parameter
              for name, parameter in model.named_parameters()
              for before, part, after in [name.partition(".lora_")] if part}
    if {name: place.shape for name, place in places.items()} != {name: new.shape for name, new in tensors.items()}:
        return False
    with torch.no_grad():
        for name, tensor in tensors.items():
            places[name].copy_(tensor)
    return True


@contextmanager
def switched_off(model: PeftModel) -> Iterator[None]:
    """The base without its adapter, for the time of a `with` block.

    PEFT's `disable_adapter` does the same, but takes stock of all modules first: 35 ms on 84 LoRA layers, here 0.4.
    Contrastive decoding changes sides twice a token.
    """
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    kept = [layer.disable_adapters for layer in layers]
    for layer in layers:
        layer._disable_adapters = True  # what `enable_adapters` sets, which would make the LoRA trainable on the way
    try:
        yield
    finally:
        for layer, was in zip(layers, kept, strict=True):
            layer._disable_adapters = was


def _read_adapter(core: nn.Module, adapter: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What of an adapter counts: settings of its LoRA, and tensors by the names that PEFT gives them on this model."""
    raw = read_json(adapter / "adapter_config.json")
    modules = {name for name, _ in core.named_modules()}
    tensors, targets = {}, set()
    for name, tensor in load_file(adapter / "adapter_model.safetensors").items():
        module, part = module_and_part(name, modules)
        tensors[f"{PREFIX}{module}.lora_{part}"] = tensor
        targets.add(module)
    return {"r": raw["r"], "lora_alpha": raw["lora_alpha"], "use_rslora": bool(raw.get("use_rslora")),
            "lora_bias": bool(raw.get("lora_bias")), "rank_pattern": raw.get("rank_pattern") or {},
            "alpha_pattern": raw.get("alpha_pattern") or {}, "target_modules": sorted(targets)}, tensors


def decoder_blocks(model: nn.Module) -> nn.ModuleList:
    """The list of decoder blocks of a language model, found by its length: the same rule for Qwen, Llama and Gemma."""
    n_layers = model.config.get_text_config().num_hidden_layers
    for module in model.get_decoder().modules():
        if isinstance(module, nn.ModuleList) and len(module) == n_layers:
            return module
    raise AdapterError(f"{type(model).__name__}: no list of {n_layers} decoder blocks found; this architecture is not "
                       "supported. Use a decoder-only model with blocks in one list.")


def text_targets(model: PreTrainedModel, targets: str | Sequence[str]) -> str | list[str]:
    """`target_modules` for a LoRA on this model that leaves a vision tower alone.

    On a plain language model they stay as they are; on a vision-language model they become the full names of the
    linear layers of its decoder ("all-linear", or those that end like one of `targets`).
    """
    if model.config.get_text_config() is model.config:
        return targets if isinstance(targets, str) else list(targets)
    decoder = model.get_decoder()
    prefix = next(name for name, module in model.named_modules() if module is decoder)
    wanted = None if targets == "all-linear" else tuple([targets] if isinstance(targets, str) else targets)
    return [f"{prefix}.{name}" for name, module in decoder.named_modules() if isinstance(module, nn.Linear)
            and (wanted is None or any(f".{name}".endswith(f".{end}") for end in wanted))]


def cache_argument(model: PreTrainedModel) -> str:
    """What this model's forward calls its key-value cache; the name changed between releases of transformers."""
    return "cache" if "cache" in inspect.signature(type(model).forward).parameters else "past_key_values"


def forget_positions(model: PreTrainedModel) -> None:
    """Qwen-VL keeps the position offsets of its last generation, which another batch size cannot use."""
    inner = getattr(model, "model", None)
    if getattr(inner, "rope_deltas", None) is not None:
        inner.rope_deltas = None
