"""Copy an organism's weights, configs and tokenizer without the names and paths that their files may hold.

Main objects: `copy_scrubbed`, `weights_sha256`. Used by `push.py`.
Example: `left_out = copy_scrubbed(artefact, empty_folder)`
"""

import json
import shutil
from pathlib import Path
from typing import Any

from .adapters import read_json
from .errors import PushError
from .finetunes import is_full
from .leaks import safetensors_header
from .passport import ADAPTER_CONFIG, CARD, NAMING_KEYS, NEUTRAL_BASE, PASSPORT, WEIGHTS
from .spec import digest_of
from .store import sha256_file, write_atomic

HASHES = "hashes.json"
ADAPTER_FILES = (WEIGHTS, ADAPTER_CONFIG)
MODEL_FILES = ("*.safetensors", "model.safetensors.index.json", "config.json", "generation_config.json")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                   "chat_template.jinja", "vocab.json", "merges.txt", "tokenizer.model")
PATH_KEYS = NAMING_KEYS | {"_commit_hash", "revision", "tokenizer_file", "vocab_file", "merges_file", "cache_dir"}
"""Keys of config files that say where something was loaded from."""
PLAIN_METADATA = {"format": "pt"}
WRITTEN_ANEW = {PASSPORT, CARD, HASHES}


def copy_scrubbed(artefact: Path, made: Path) -> tuple[str, ...]:
    """Copies weights, configs and tokenizer into a folder. Tensors stay as they are.

    Returns:
        Names of the files that stay behind (passport, card and hashes are written anew, so they are not named).

    Raises:
        PushError: a file is a link, which could lead to anything on this machine.
    """
    patterns = (MODEL_FILES if is_full(artefact) else ADAPTER_FILES) + TOKENIZER_FILES
    wanted = {path for pattern in patterns for path in artefact.glob(pattern)}
    for path in sorted(wanted):
        if path.is_symlink():
            raise PushError(f"{path} is a link; what it leads to is not pushed. Put the file itself in its place.")
        if path.suffix == ".safetensors":
            _copy_safetensors(path, made / path.name)
        elif path.name.endswith(("config.json", "_map.json")):
            config = _unnamed(read_json(path))
            if path.name == ADAPTER_CONFIG:
                config |= {"base_model_name_or_path": NEUTRAL_BASE, "revision": None}
            write_atomic(made / path.name, json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False))
        else:
            shutil.copyfile(path, made / path.name)
    rest = {path for path in artefact.rglob("*") if path.is_file()} - wanted
    return tuple(sorted({path.relative_to(artefact).as_posix() for path in rest} - WRITTEN_ANEW))


def weights_sha256(folder: Path) -> str:
    """The weights' hash as passports have it: of one file, or of the hashes of several."""
    hashes = {path.name: sha256_file(path) for path in sorted(folder.glob("*.safetensors"))}
    return next(iter(hashes.values())) if len(hashes) == 1 else digest_of(hashes)


def _copy_safetensors(path: Path, to: Path) -> None:
    if safetensors_header(path).get("__metadata__") == PLAIN_METADATA:
        shutil.copyfile(path, to)
    else:  # metadata may say anything; the tensors are written again without it
        from safetensors.torch import load_file, save_file

        save_file(load_file(path), to, metadata=PLAIN_METADATA)


def _unnamed(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _unnamed(value) for key, value in config.items() if key not in PATH_KEYS}
    return [_unnamed(value) for value in config] if isinstance(config, list) else config
