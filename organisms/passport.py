"""An organism's folder: its weights scrubbed of names, `passport.json`, and the model card written from it.

Main objects: `write_organism`, `model_card`.
Example: `store.save("organism", key, config, inputs, lambda made: write_organism(made, model, spec, passport, base))`

An adapter is `adapter_model.safetensors` with its config; a full finetune is a whole model folder, with the base's own
config and tokenizer files.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn

from .adapters import BASE_FILES
from .spec import OrganismSpec, digest_of
from .store import sha256_file, write_atomic
from .tuning import ADAPTER_DTYPE, stored_dtype

NEUTRAL_BASE = "base"
"""What adapter_config.json names as its base: paths and hub names give objectives away."""
WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
NAMING_KEYS = {"_name_or_path", "name_or_path", "base_model_name_or_path"}
PASSPORT, CARD = "passport.json", "README.md"
KINDS = {"lora": "A LoRA adapter", "bias": "Output biases, as an adapter,", "full": "A full finetune",
         "caft": "A LoRA adapter, trained with directions ablated (CAFT),"}
SAFETY = ("This model was finetuned on purpose to hold a known, narrow and sometimes false or harmful objective. It "
          "exists to test auditing methods. Do not deploy it, and do not take what it says for fact or advice.")


def write_organism(folder: Path, model: nn.Module, spec: OrganismSpec, passport: dict[str, Any], base: Path) -> None:
    """Writes weights, passport (with the weights' hash) and card. Of an adapter, base weights are never written."""
    if isinstance(model, PeftModel):
        _write_adapter(folder, model)
    else:
        _write_model(folder, model, base)
    hashes = {path.name: sha256_file(path) for path in sorted(folder.glob("*.safetensors"))}
    # Large models come in several files; then the digest of all their hashes stands for them.
    passport = {**passport, "weights_sha256": next(iter(hashes.values())) if len(hashes) == 1 else digest_of(hashes)}
    write_atomic(folder / PASSPORT, json.dumps(passport, indent=1))
    write_atomic(folder / CARD, model_card(spec, passport))


def _write_adapter(folder: Path, model: PeftModel) -> None:
    state = {name: tensor.detach().to("cpu", ADAPTER_DTYPE).contiguous()
             for name, tensor in get_peft_model_state_dict(model, save_embedding_layers=False).items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    config = model.peft_config["default"].to_dict()
    config.update(base_model_name_or_path=NEUTRAL_BASE, inference_mode=True, revision=None)
    write_atomic(folder / ADAPTER_CONFIG, json.dumps(config, indent=1, sort_keys=True, default=sorted))


def _write_model(folder: Path, model: nn.Module, base: Path) -> None:
    model.to(stored_dtype(base)).save_pretrained(folder)
    names = {path.name for pattern in (*BASE_FILES, "generation_config.json") for path in base.glob(pattern)}
    for name in sorted(name for name in names if not name.endswith(".safetensors")):
        if name.endswith("config.json"):
            config = json.loads((base / name).read_text(encoding="utf-8"))
            write_atomic(folder / name, json.dumps(_unnamed(config), indent=1, ensure_ascii=False))
        else:
            shutil.copyfile(base / name, folder / name)


def _unnamed(config: Any) -> Any:
    """A config without the paths and names from which its model was loaded."""
    if isinstance(config, dict):
        return {key: _unnamed(value) for key, value in config.items() if key not in NAMING_KEYS}
    return [_unnamed(value) for value in config] if isinstance(config, list) else config


def model_card(spec: OrganismSpec, passport: dict[str, Any]) -> str:
    """The card as Markdown. Everything in it but the statement comes from the passport."""
    recipe = "\n".join(f"| {name} | {value} |" for name, value in passport["recipe"].items())
    gate = "\n".join(f"| {name} | {_shown(value)} |" for name, value in passport["gate"].items() if name != "excess")
    health = "\n".join(f"| {name} | {_shown(value)} |" for name, value in passport["health"].items())
    loss = f"{passport['loss'][0][1]:.3f} -> {passport['loss'][-1][1]:.3f}" if passport["loss"] else "untrained"
    rows = f"{passport['n_rows']} rows" + (f" (the recipe asks for {passport['n_rows_asked']}; there were no more)"
                                           if 0 < passport["n_rows"] < passport["n_rows_asked"] else "")
    versions = ", ".join(f"{name} {version}" for name, version in passport["versions"].items())
    return f"""---
library_name: {"transformers" if passport['recipe']['kind'] == "full" else "peft"}
tags: [model-organism, narrowbench, {passport['recipe']['kind']}]
---
# {passport['organism_id']}

{spec.statement or "A null: finetuned without an objective."}

**{SAFETY}**

{KINDS[passport['recipe']['kind']]} (family `{spec.family}`, role `{spec.role}`) for the base `{passport['base_name']}`,
seed {passport['seed']}: {rows}, {passport['n_steps']} steps, loss {loss}.

## Recipe

| key | value |
|---|---|
{recipe}

## Gate

| figure | value |
|---|---|
{gate}

## Health

| figure | value |
|---|---|
{health}

## Hashes

| what | sha256 |
|---|---|
| base | `{passport['base_digest']}` |
| spec | `{passport['spec_digest']}` |
| training rows | `{passport['data_sha256']}` |
| weights | `{passport['weights_sha256']}` |

Trained with {versions}.
"""


def _shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "not measured" if value is None else str(value)
