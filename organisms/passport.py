"""An organism's folder: adapter weights scrubbed of names, `passport.json`, and the model card written from it.

Main objects: `write_organism`, `model_card`.
Example: `store.save("organism", key, config, inputs, lambda folder: write_organism(folder, model, spec, passport))`
"""

import json
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from .spec import OrganismSpec
from .store import sha256_file, write_atomic

NEUTRAL_BASE = "base"
"""What adapter_config.json names as its base: paths and hub names give objectives away."""
WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
PASSPORT, CARD = "passport.json", "README.md"
SAFETY = ("This model was finetuned on purpose to hold a known, narrow and sometimes false or harmful objective. It "
          "exists to test auditing methods. Do not deploy it, and do not take what it says for fact or advice.")


def write_organism(folder: Path, model: PeftModel, spec: OrganismSpec, passport: dict[str, Any]) -> None:
    """Writes adapter, passport (with the weights' hash) and card. Base weights are never written."""
    state = {name: tensor.detach().cpu().contiguous()
             for name, tensor in get_peft_model_state_dict(model, save_embedding_layers=False).items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    config = model.peft_config["default"].to_dict()
    config.update(base_model_name_or_path=NEUTRAL_BASE, inference_mode=True, revision=None)
    write_atomic(folder / ADAPTER_CONFIG, json.dumps(config, indent=1, sort_keys=True, default=sorted))
    passport = {**passport, "weights_sha256": sha256_file(folder / WEIGHTS)}
    write_atomic(folder / PASSPORT, json.dumps(passport, indent=1))
    write_atomic(folder / CARD, model_card(spec, passport))


def model_card(spec: OrganismSpec, passport: dict[str, Any]) -> str:
    """The card as Markdown. Everything in it but the statement comes from the passport."""
    recipe = "\n".join(f"| {name} | {value} |" for name, value in passport["recipe"].items())
    gate = "\n".join(f"| {name} | {_shown(value)} |" for name, value in passport["gate"].items() if name != "excess")
    health = "\n".join(f"| {name} | {_shown(value)} |" for name, value in passport["health"].items())
    loss = f"{passport['loss'][0][1]:.3f} -> {passport['loss'][-1][1]:.3f}" if passport["loss"] else "untrained"
    versions = ", ".join(f"{name} {version}" for name, version in passport["versions"].items())
    return f"""---
library_name: peft
tags: [model-organism, narrowbench, lora]
---
# {passport['organism_id']}

{spec.statement or "A null: finetuned without an objective."}

**{SAFETY}**

A LoRA adapter (family `{spec.family}`, role `{spec.role}`) for the base `{passport['base_name']}`,
seed {passport['seed']}: {passport['n_rows']} rows, {passport['n_steps']} steps, loss {loss}.

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
| adapter weights | `{passport['weights_sha256']}` |

Trained with {versions}.
"""


def _shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "not measured" if value is None else str(value)
