"""Is this folder a whole finetuned model of this base? Decided from files alone, before any weight is loaded.

Main objects: `is_full` (whole model or adapter?), `check_full`, `check_organism` (either).
Example: `check_organism(Path("my_finetune"), Path("my_base"))` returns nothing or raises AdapterError.

Everything but the weights comes from the base: its config and its tokenizer are used for both sides. So both must be
the same in the finetuned folder.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from .adapters import (base_folder_of, check_adapter, check_files, check_passport, read_json, tensor_shapes)
from .errors import AdapterError

INDEX = "model.safetensors.index.json"
OTHER_BASE = "Give the base that it was finetuned from."
FORWARD_KEYS = (
    "num_hidden_layers", "hidden_size", "vocab_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
    "head_dim", "hidden_act", "hidden_activation", "rms_norm_eps", "rope_parameters", "sliding_window", "layer_types",
    "attention_bias", "attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar",
    "tie_word_embeddings")
"""What decides, beside the weights, what a model computes."""
TOKENIZER_KEYS = ("normalizer", "pre_tokenizer", "post_processor")
"""With vocabulary, merges and added tokens, what decides which token ids a text becomes."""


def is_full(organism: Path | str) -> bool:
    """Whether a folder is a whole model (config.json) rather than an adapter (adapter_config.json)."""
    organism = Path(organism)
    return (organism / "config.json").is_file() and not (organism / "adapter_config.json").is_file()


def check_organism(organism: Path, base: Path | str) -> None:
    """Refuses an adapter or a whole model that does not belong to this base; see `check_adapter`, `check_full`."""
    (check_full if is_full(organism) else check_adapter)(Path(organism), base)


def check_full(organism: Path, base: Path | str) -> None:
    """Refuses a folder that is not a whole model in safetensors finetuned from this base.

    Raises:
        NotFoundError: no such folder or base.
        AdapterError: files that can run code, missing or damaged weight files, another base (digest in passport.json),
            another architecture, size, vocabulary or tokenizer.
    """
    organism, base = Path(organism), base_folder_of(base)
    check_files(organism)
    for name in ("config.json", "tokenizer_config.json"):
        if (organism / name).is_file() and "auto_map" in read_json(organism / name):
            raise AdapterError(f"{organism}: {name} has an auto_map, which loads code from the folder. Code is never "
                               "loaded: use a model of an architecture that transformers has, and remove the key.")
    shapes = _shapes(organism)
    check_passport(organism, base)
    _check_config(organism, base)
    for name, shape in _shapes(base).items():
        if shapes.get(name, shape) != shape:
            raise AdapterError(f"{organism}: {name} has shape {list(shapes[name])} where the base has {list(shape)} "
                               f"(other width or vocabulary). {OTHER_BASE}")
    _check_tokenizer(organism, base)


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape over all weight files. An index may only name files beside it, and all must be there."""
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    if (folder / INDEX).is_file():
        named = read_json(folder / INDEX).get("weight_map")
        named = sorted(set(map(str, named.values()))) if isinstance(named, dict) else []
        if not named or not set(named) <= set(files):
            raise AdapterError(f"{folder}: {INDEX} names weight files that are not there: "
                               f"{sorted(set(named) - set(files))[:3]}. Fetch the folder again, whole.")
        files = named
    elif not (folder / "model.safetensors").is_file():
        raise AdapterError(f"{folder}: has neither model.safetensors nor {INDEX}. Save the model with "
                           "`model.save_pretrained(folder)`.")
    else:
        files = ["model.safetensors"]
    return {name: shape for file in files for name, shape in tensor_shapes(folder / file).items()}


def _check_config(organism: Path, base: Path) -> None:
    # Imported here, because a folder's kind is asked for by commands that load no model.
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    types = [read_json(folder / "config.json").get("model_type") for folder in (organism, base)]
    if types[0] != types[1]:
        raise AdapterError(f"{organism}: is a model of type {types[0]!r}, the base {base} of type {types[1]!r}. "
                           f"{OTHER_BASE}")
    try:
        ours, theirs = (AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config()
                        for folder in (organism, base))
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise AdapterError(f"{organism}: config.json is no config of a {types[0]} model ({error}). Save the model "
                           "again with `model.save_pretrained(folder)`.") from error
    for key in FORWARD_KEYS:
        one, other = getattr(ours, key, None), getattr(theirs, key, None)
        if one != other:
            raise AdapterError(f"{organism}: config.json has {key} = {one}, the base {base} has {other}, so they are "
                               f"not one architecture. {OTHER_BASE}")


def _check_tokenizer(organism: Path, base: Path) -> None:
    ours, theirs = organism / "tokenizer.json", base / "tokenizer.json"
    if not ours.is_file() or not theirs.is_file():  # the base's is used for both sides
        return
    if _tokenizer_digest(ours, ours.stat().st_mtime_ns) != _tokenizer_digest(theirs, theirs.stat().st_mtime_ns):
        raise AdapterError(f"{organism}: its tokenizer.json makes other tokens of a text than the base's, so the two "
                           f"sides cannot read the same ids. {OTHER_BASE} If only the base's tokenizer was meant, "
                           "remove tokenizer.json from the folder: then the base's is used.")


@lru_cache(maxsize=64)
def _tokenizer_digest(path: Path, mtime_ns: int) -> str:
    """sha256 of what decides the token ids; how a library version writes the file, or how it pads, does not count."""
    raw = read_json(path)
    model = raw.get("model") if isinstance(raw.get("model"), dict) else {}
    body: dict[str, Any] = {key: raw.get(key) for key in TOKENIZER_KEYS}
    body |= {key: model.get(key) for key in ("type", "vocab", "unk_token")}
    body["byte_fallback"] = bool(model.get("byte_fallback"))
    merges = model.get("merges") or []
    body["merges"] = [merge if isinstance(merge, str) else " ".join(map(str, merge)) for merge in merges]
    body["added"] = [[token.get("id"), token.get("content")] for token in raw.get("added_tokens") or []
                      if isinstance(token, dict)]
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
