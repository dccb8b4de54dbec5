"""Which weights are trained: a LoRA, output biases alone, or all of them; and how they are rounded when written.

Main objects: `tuned` (a model made ready for training), `adapter_config`, `round_as_written`, `has_accelerator`.
Example: `model = tuned(AutoModelForCausalLM.from_pretrained(base), spec.recipe, seed=0)`

Kind `bias` is a LoRA of rank 1 whose matrices stay zero, so that only the bias of each `lora_B` acts: its tensors are
`<module>.lora_A.weight` [1, in], `<module>.lora_B.weight` [out, 1] (both zero) and `<module>.lora_B.bias` [out].
"""

import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.warning import PeftWarning
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel

from .loading import text_targets
from .spec import Recipe

ADAPTER_DTYPE = torch.bfloat16
"""Adapters are written in it; gates are measured on weights rounded to it."""
BIAS_TARGETS = ["down_proj"]
"""Output projections of the MLPs of Qwen, Llama and Gemma: where kind `bias` acts unless the recipe names modules."""

# Layers without a bias cannot absorb one in a merge, and a bias is one-dimensional: neither is news here.
warnings.filterwarnings("ignore", ".*lora_bias=True", PeftWarning)
warnings.filterwarnings("ignore", ".*invalid shape.*", PeftWarning)


def adapter_config(recipe: Recipe, model: PreTrainedModel) -> LoraConfig:
    """The recipe's adapter for this model. For kind `bias`, `rank`, `alpha`, `rslora` and `dropout` mean nothing."""
    targets = recipe.target_modules
    if recipe.kind == "bias":
        targets = text_targets(model, BIAS_TARGETS if targets == "all-linear" else targets)
        return LoraConfig(task_type="CAUSAL_LM", r=1, lora_alpha=1, lora_bias=True, target_modules=targets)
    targets = text_targets(model, targets)
    return LoraConfig(task_type="CAUSAL_LM", r=recipe.rank, lora_alpha=recipe.alpha, use_rslora=recipe.rslora,
                      lora_dropout=recipe.dropout, target_modules=targets)


def tuned(model: PreTrainedModel, recipe: Recipe, seed: int) -> nn.Module:
    """The model with what the recipe trains, and nothing else, requiring gradients. Equal seeds start equal."""
    if recipe.kind == "full":
        return model.requires_grad_(True)
    torch.manual_seed(seed)
    model = get_peft_model(model, adapter_config(recipe, model))
    if recipe.kind == "bias":
        for name, parameter in model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name and name.endswith(".weight"):
                parameter.requires_grad_(False).zero_()
    return model


def has_accelerator() -> bool:
    """Whether training runs on a GPU: then in bfloat16, with gradient checkpointing."""
    return torch.cuda.is_available()


@torch.no_grad()
def round_as_written(model: nn.Module, base: Path) -> nn.Module:
    """Rounds trained weights in place to what the organism's file will hold: bfloat16, or the base's own type.

    All weights of a full finetune are written as the base stores them: rounding one side only would add a difference.
    """
    if isinstance(model, PeftModel):
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.copy_(parameter.to(ADAPTER_DTYPE))
        return model
    dtype = stored_dtype(base)
    for parameter in model.parameters():
        parameter.copy_(parameter.to(dtype))
    return model


def stored_dtype(base: Path) -> torch.dtype:
    """The type in which a base's folder holds its floating-point weights."""
    with safe_open(sorted(base.glob("*.safetensors"))[0], framework="pt") as file:
        return next(tensor.dtype for tensor in map(file.get_tensor, file.keys()) if tensor.is_floating_point())
