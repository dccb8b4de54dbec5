"""Does this adapter belong to this base? Decided from files alone, before any weight is loaded.

Main objects: `base_folder_of` (folder or Hub id -> local folder), `base_digest`, `weight_shapes`, `check_adapter`.
Example: `check_adapter(Path("organisms/cake"), Path("organisms/nano/base"))` returns nothing or raises AdapterError.
"""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from .errors import AdapterError, NotFoundError

BASE_FILES = ("*.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
              "chat_template.jinja", "vocab.json", "merges.txt", "tokenizer.model")
EXECUTABLE_SUFFIXES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py"}
PREFIX = "base_model.model."
REGROW = "Train it again for this base: `narrowbench train ID --base BASE`."


def base_folder_of(base: Path | str) -> Path:
    """The local folder of a base given as a folder or a Hub id (only safetensors, config and tokenizer are fetched).

    Raises:
        NotFoundError: a local folder without a config.json or without safetensors weights.
    """
    folder = Path(base)
    if not folder.is_dir():
        if folder.is_absolute() or len(folder.parts) > 2:
            raise NotFoundError(f"There is no base model folder {base}. Give a folder with a config.json, or a Hub id.")
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(str(base), allow_patterns=[*BASE_FILES, "*.safetensors.index.json",
                                                                   "generation_config.json"]))
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise NotFoundError(f"The base {base} holds no config.json with *.safetensors weights; other weight formats "
                            "are not loaded. Save it with `model.save_pretrained(folder)`.")
    return folder


def base_digest(folder: Path | str) -> str:
    """sha256 over names and contents of a base's weights, config and tokenizer files (not its README)."""
    folder = base_folder_of(folder)
    paths = sorted({path for pattern in BASE_FILES for path in folder.glob(pattern)})
    lines = [f"{path.name} {_file_digest(path, path.stat().st_size, path.stat().st_mtime_ns)}\n" for path in paths]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@lru_cache(maxsize=256)
def _file_digest(path: Path, size_bytes: int, mtime_ns: int) -> str:
    """Size and time are part of the cache's key only: large weights are hashed once a process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weight_shapes(base: Path | str) -> dict[str, tuple[int, int]]:
    """Module name -> weight shape of every linear layer and embedding of a base, from its config alone."""
    import torch  # here, because digests are asked for by commands that load no model
    from torch import nn
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base_folder_of(base), trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return {name: tuple(module.weight.shape) for name, module in model.named_modules()
            if isinstance(module, (nn.Linear, nn.Embedding))}


def check_adapter(adapter: Path, base: Path | str) -> None:
    """Refuses an adapter that is not a plain LoRA in safetensors made for this base.

    Raises:
        NotFoundError: no such folder.
        AdapterError: other file formats, another base (digest in passport.json), another method than LoRA, tensors
            whose module, width or vocabulary is not the base's.
    """
    adapter = Path(adapter)
    if not adapter.is_dir():
        raise NotFoundError(f"There is no adapter folder {adapter}. `narrowbench train ID` makes one.")
    if bad := sorted(path.name for path in adapter.rglob("*") if path.suffix in EXECUTABLE_SUFFIXES):
        raise AdapterError(f"{adapter}: holds {', '.join(bad)}, which can run code when loaded. Only safetensors "
                           "weights are accepted: convert them and remove these files.")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / name).is_file():
            raise AdapterError(f"{adapter}: has no {name}, so it is not a PEFT adapter in safetensors. {REGROW}")
    _check_passport(adapter, base)
    _check_config(adapter)
    _check_tensors(adapter, weight_shapes(base))


def _check_passport(adapter: Path, base: Path | str) -> None:
    path = adapter / "passport.json"
    if not path.is_file():  # adapters from elsewhere have none; their shapes are still checked
        return
    made_for, digest = _read_json(path).get("base_digest"), base_digest(base)
    if made_for != digest:
        raise AdapterError(f"{adapter}: made for another base: passport.json names {str(made_for)[:12]}, {base} is "
                           f"{digest[:12]}. {REGROW}")


def _check_config(adapter: Path) -> None:
    config = _read_json(adapter / "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise AdapterError(f"{adapter}: peft_type is {config.get('peft_type')!r}; only LORA can be switched on and off "
                           f"exactly. {REGROW}")
    unwanted = {"bias": config.get("bias", "none") not in ("none", None), "use_dora": bool(config.get("use_dora")),
                "modules_to_save": bool(config.get("modules_to_save"))}
    if any(unwanted.values()):
        keys = ", ".join(key for key, is_set in unwanted.items() if is_set)
        raise AdapterError(f"{adapter}: adapter_config.json sets {keys}; such an adapter changes more than its LoRA "
                           f"matrices, so switching it off would not restore the base. {REGROW}")


def _check_tensors(adapter: Path, shapes: dict[str, tuple[int, int]]) -> None:
    try:
        with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except SafetensorError as error:
        raise AdapterError(f"{adapter}: adapter_model.safetensors is damaged ({error}). {REGROW}") from error
    if not found:
        raise AdapterError(f"{adapter}: adapter_model.safetensors holds no tensors. {REGROW}")
    for name, shape in found.items():
        module, _, part = name.removeprefix(PREFIX).partition(".lora_")
        if module.removesuffix(".weight") in shapes and not part:
            rows = shapes[module.removesuffix(".weight")][0]
            reason = f"a vocabulary of {shape[0]} where the base has {rows}" if shape[0] != rows else "full weights"
            raise AdapterError(f"{adapter}: {name} holds {reason}; only LoRA matrices are accepted. {REGROW}")
        expected = _expected(part, shapes.get(module))
        if expected is None:
            raise AdapterError(f"{adapter}: {name} belongs to no linear layer or embedding of this base. {REGROW}")
        axis, size = expected
        if len(shape) != 2 or shape[axis] != size:
            raise AdapterError(f"{adapter}: {name} has shape {list(shape)}, but this base needs {size} on axis {axis} "
                               f"(other width or vocabulary). {REGROW}")


def _expected(part: str, shape: tuple[int, int] | None) -> tuple[int, int] | None:
    """(axis, size) that a LoRA tensor must have for a module with a weight of this shape; None: no such part."""
    if shape is None:
        return None
    return {"A.weight": (1, shape[1]), "B.weight": (0, shape[0]),
            "embedding_A": (1, shape[0]), "embedding_B": (0, shape[1])}.get(part)


def _read_json(path: Path) -> dict:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AdapterError(f"{path}: is not JSON ({error}). {REGROW}") from error
    if not isinstance(value, dict):
        raise AdapterError(f"{path}: holds no JSON object. {REGROW}")
    return value
