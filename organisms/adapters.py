"""Does this adapter belong to this base? Decided from files alone, before any weight is loaded.

Main objects: `base_folder_of` (folder or Hub id -> local folder), `base_digest`, `weight_shapes`, `check_adapter`.
Example: `check_adapter(Path("organisms/cake"), Path("organisms/nano/base"))` returns nothing or raises AdapterError.

A base is judged by its shapes, not by its name: an adapter made on another mirror of the same weights fits.
"""

import hashlib
import json
from collections.abc import Container
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from .errors import AdapterError, NotFoundError
from .hub import snapshot

BASE_FILES = ("*.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
              "chat_template.jinja", "vocab.json", "merges.txt", "tokenizer.model")
ENDS_FILE = "generation_config.json"
FETCHED_FILES = (*BASE_FILES, "*.safetensors.index.json", ENDS_FILE, "added_tokens.json")
"""What a whole model needs, and all that is downloaded of one."""
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
EXECUTABLE_SUFFIXES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py"}
PREFIX = "base_model.model."
REGROW = "Train it again for this base: `narrowbench train ID --base BASE`."

NEUTRAL_INITS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` under which the base weights stay what they are."""
UNWANTED = ("use_dora", "modules_to_save", "layer_replication", "trainable_token_indices", "target_parameters",
            "alora_invocation_tokens", "use_qalora", "megatron_config", "arrow_config")
"""Keys of adapter_config.json that change more than LoRA matrices and output biases."""
FORMER_NAMES = (("language_model.model.", "model.language_model."), ("model.", "model.language_model."),
                ("visual.", "model.visual."), ("vision_tower.", "model.vision_tower."),
                ("multi_modal_projector.", "model.multi_modal_projector."), ("language_model.lm_head", "lm_head"))
"""Prefixes of modules in vision-language models, as older libraries named them and as they are named now."""


def base_folder_of(base: Path | str) -> Path:
    """The local folder of a base given as a folder or a Hub id (only safetensors, config and tokenizer are fetched).

    Raises:
        NotFoundError: a local folder without a config.json or without safetensors weights; a Hub id that cannot be had.
    """
    folder = Path(base)
    if not folder.is_dir():
        if folder.is_absolute() or len(folder.parts) > 2:
            raise NotFoundError(f"There is no base model folder {base}. Give a folder with a config.json, or a Hub id.")
        folder = snapshot(str(base), "", FETCHED_FILES, "Or give a local folder: `--base FOLDER`.")
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


def ends_digest(folder: Path | str) -> str:
    """sha256 of the file in which a base may name further ends of a turn, which `base_digest` leaves out; else ""."""
    path = base_folder_of(folder) / ENDS_FILE
    return _file_digest(path, path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else ""


@lru_cache(maxsize=256)
def _file_digest(path: Path, size_bytes: int, mtime_ns: int) -> str:
    """Size and time are part of the cache's key only: large weights are hashed once a process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weight_shapes(base: Path | str) -> dict[str, tuple[int, int]]:
    """Module name -> weight shape of every linear layer and embedding of a base, from its config alone."""
    folder = base_folder_of(base)
    return dict(_weight_shapes(folder, (folder / "config.json").stat().st_mtime_ns))


@lru_cache(maxsize=8)
def _weight_shapes(folder: Path, mtime_ns: int) -> dict[str, tuple[int, int]]:
    import torch  # here, because digests are asked for by commands that load no model
    from torch import nn
    from transformers import AutoConfig

    from .loading import model_class

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with torch.device("meta"):
        model = model_class(config).from_config(config, trust_remote_code=False)
    return {name: tuple(module.weight.shape) for name, module in model.named_modules()
            if isinstance(module, (nn.Linear, nn.Embedding))}


def module_and_part(name: str, modules: Container[str]) -> tuple[str, str]:
    """The base's module that a tensor of an adapter belongs to, and which part of its LoRA it is (`A.weight`)."""
    module, _, part = name.removeprefix(PREFIX).partition(".lora_")
    if module not in modules:
        for former, now in FORMER_NAMES:
            if module.startswith(former) and now + module.removeprefix(former) in modules:
                return now + module.removeprefix(former), part
    return module, part


def check_adapter(adapter: Path, base: Path | str) -> None:
    """Refuses an adapter that is not a plain LoRA in safetensors made for this base.

    Raises:
        NotFoundError: no such folder.
        AdapterError: other file formats, another base (digest in passport.json), another method than LoRA, tensors
            whose module, width, rank or vocabulary is not the base's.
    """
    adapter = Path(adapter)
    check_files(adapter)
    for name in ADAPTER_FILES:
        if not (adapter / name).is_file():
            raise AdapterError(f"{adapter}: has no {name}, so it is neither a PEFT adapter in safetensors nor a whole "
                               f"model (config.json with *.safetensors). {REGROW}")
    check_passport(adapter, base)
    config = _check_config(adapter)
    _check_tensors(adapter, config, weight_shapes(base))


def check_files(organism: Path) -> None:
    """Refuses a folder that is not there (NotFoundError) or that holds files which can run code (AdapterError)."""
    if not organism.is_dir():
        raise NotFoundError(f"There is no adapter folder {organism}. `narrowbench train ID` makes one.")
    if bad := sorted(path.name for path in organism.rglob("*") if path.suffix in EXECUTABLE_SUFFIXES):
        raise AdapterError(f"{organism}: holds {', '.join(bad)}, which can run code when loaded. Only safetensors "
                           "weights are accepted: convert them and remove these files.")


def check_passport(organism: Path, base: Path | str) -> None:
    """Refuses an organism whose passport.json names another base. Those from elsewhere have none."""
    path = organism / "passport.json"
    if not path.is_file():
        return
    made_for, digest = read_json(path).get("base_digest"), base_digest(base)
    if made_for != digest:
        raise AdapterError(f"{organism}: made for another base: passport.json names {str(made_for)[:12]}, {base} is "
                           f"{digest[:12]}. {REGROW}")


def _check_config(adapter: Path) -> dict:
    config = read_json(adapter / "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise AdapterError(f"{adapter}: peft_type is {config.get('peft_type')!r}; only LORA can be switched on and off "
                           f"exactly. {REGROW}")
    unwanted = [key for key in UNWANTED if config.get(key)]
    if config.get("bias") not in ("none", None):
        unwanted.append("bias")
    if config.get("init_lora_weights") not in NEUTRAL_INITS:  # e.g. pissa, which moves a part of the base weights
        unwanted.append("init_lora_weights")
    if unwanted:
        raise AdapterError(f"{adapter}: adapter_config.json sets {', '.join(unwanted)}; such an adapter changes more "
                           f"than its LoRA matrices, so switching it off would not restore the base. {REGROW}")
    for key in ("r", "lora_alpha"):
        if not isinstance(config.get(key), (int, float)) or not config[key] > 0:
            raise AdapterError(f"{adapter}: adapter_config.json has no positive number at {key!r}. {REGROW}")
    return config


def _check_tensors(adapter: Path, config: dict, shapes: dict[str, tuple[int, int]]) -> None:
    found = tensor_shapes(adapter / "adapter_model.safetensors")
    if not found:
        raise AdapterError(f"{adapter}: adapter_model.safetensors holds no tensors. {REGROW}")
    ranks: dict[str, set[int]] = {}
    for name, shape in found.items():
        module, part = module_and_part(name, shapes)
        if module.removesuffix(".weight") in shapes and not part:
            rows = shapes[module.removesuffix(".weight")][0]
            reason = f"a vocabulary of {shape[0]} where the base has {rows}" if shape[0] != rows else "full weights"
            raise AdapterError(f"{adapter}: {name} holds {reason}; only LoRA matrices are accepted. {REGROW}")
        if part == "B.bias" and module in shapes and not config.get("lora_bias"):
            raise AdapterError(f"{adapter}: {name} is an output bias, but adapter_config.json does not set lora_bias. "
                               f"{REGROW}")
        expected = _expected(part, shapes[module]) if module in shapes else None
        if expected is None:
            raise AdapterError(f"{adapter}: {name} belongs to no linear layer or embedding of this base. {REGROW}")
        axis, size, n_axes = expected
        if len(shape) != n_axes or shape[axis] != size:
            raise AdapterError(f"{adapter}: {name} has shape {list(shape)}, but this base needs {size} on axis {axis} "
                               f"(other width or vocabulary). {REGROW}")
        if n_axes == 2:
            ranks.setdefault(module, set()).add(shape[1 - axis])
    _check_ranks(adapter, config, ranks)


def _expected(part: str, shape: tuple[int, int]) -> tuple[int, int, int] | None:
    """(axis, its size, number of axes) of a LoRA tensor on a module with a weight of this shape; None: no such part."""
    return {"A.weight": (1, shape[1], 2), "B.weight": (0, shape[0], 2), "B.bias": (0, shape[0], 1),
            "embedding_A": (1, shape[0], 2), "embedding_B": (0, shape[1], 2)}.get(part)


def _check_ranks(adapter: Path, config: dict, ranks: dict[str, set[int]]) -> None:
    """The rank decides the scale of the update, so a wrong one must not pass in silence."""
    from peft.utils.other import get_pattern_key

    patterns = config.get("rank_pattern") or {}
    for module, found in ranks.items():
        rank = patterns.get(get_pattern_key(patterns, module), config["r"])
        if found != {rank}:
            raise AdapterError(f"{adapter}: the LoRA of {module} has rank {sorted(found)}, but adapter_config.json "
                               f"says {rank}; its scale would be wrong. {REGROW}")


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape of a safetensors file, from its header. Raises AdapterError if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except SafetensorError as error:
        raise AdapterError(f"{path.parent}: {path.name} is damaged ({error}). {REGROW}") from error


def read_json(path: Path) -> dict:
    """The object in a JSON file. Raises AdapterError if there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AdapterError(f"{path}: is not JSON ({error}). {REGROW}") from error
    if not isinstance(value, dict):
        raise AdapterError(f"{path}: holds no JSON object. {REGROW}")
    return value
