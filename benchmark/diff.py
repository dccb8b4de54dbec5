"""The user's own pair: what does a method read of a finetuned model, and what does the reader make of it? No score.

Main objects: `diff` -> `Finding`, `DEFAULT_METHOD`, `finetuned_folder_of`.
Example: `narrowbench diff Qwen/Qwen3-1.7B my_adapter --probes texts.txt`

Base and finetuned model are Hugging Face folders or Hub ids; the finetuned one is a LoRA adapter or a whole model. What
else lies in the folder (optimizer states, logs) is left alone and never loaded. Nobody knows the objective, so there is
nothing to score: the claim says what the words are, and how far they rise above those of control vectors.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..graders.claim import Claim
from ..organisms.adapters import ADAPTER_FILES, FETCHED_FILES, base_digest, base_folder_of, ends_digest
from ..organisms.errors import AccessError, EvidenceError, NotFoundError
from ..organisms.hub import snapshot
from ..organisms.spec import digest_of
from ..organisms.store import Store, library_versions, sha256_file
from .background import background_for, background_of
from .collecting import CEILING_ACCESS, own_randomness, settings_of, sound
from .method import Budget, Method, Probes, code_of, load_method
from .shared import kind_of_device
from .suite import nano_probes

DEFAULT_METHOD = "adl"
N_PROBES, PROBE_SEED = 2000, 1
KIND, FILE, SCHEMA = "diff", "diff.json", 1


@dataclass(frozen=True)
class Finding:
    """What was read of one pair."""

    base: str
    finetuned: str
    method: str
    version: str
    n_probes: int
    payload: dict[str, Any]
    """Of the evidence: tokens, texts, stats, detection."""
    cost: dict[str, float]
    claim: Claim

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self) | {"claim": json.loads(self.claim.to_json())}


def diff(base: str, finetuned: str, method: str = DEFAULT_METHOD, probes: Path | None = None, seed: int = 0,
         store: Store | None = None, device: str = "cpu") -> Finding:
    """Reads a pair with a method, and has the reader turn the evidence into a claim.

    Args:
        base: Folder or Hub id.
        finetuned: Folder or Hub id of a LoRA adapter or of a whole model.
        method: As for `narrowbench score`; one that needs the answers is refused.
        probes: A file with one text a line; None = texts of the nano world, plain English about everyday things.

    Raises:
        NotFoundError: no such model, method or file. AdapterError: the two do not belong together.
        AccessError: the method needs the answers. EvidenceError: it hands in nothing usable.
    """
    from .investigators.reader import read

    found, source_sha256 = load_method(method)
    if answers := found.access & CEILING_ACCESS:
        raise AccessError(f"method {found.name!r} reads {' and '.join(sorted(answers))} of an organism, which nobody "
                          "has of your own pair. `narrowbench list methods` shows the others.")
    texts, store, base_folder = _probes(probes), store or Store(), base_folder_of(base)
    with _only_weights(finetuned_folder_of(finetuned)) as organism:
        config = {"schema": SCHEMA, "method": found.name, "version": found.version, "settings": settings_of(found),
                  "seed": seed, "device": kind_of_device(device)}
        inputs = {"method": source_sha256, "code": code_of(found), "base": base_digest(base_folder),
                  "probes": texts.digest, "ends": ends_digest(base_folder),
                  "organism": digest_of({path.name: sha256_file(path) for path in sorted(organism.iterdir())})}
        key = store.key(KIND, config, inputs)
        kept = store.find(KIND, key)
        if kept is None:
            made = _collect(found, base_folder, organism, texts, seed, store, inputs, device)
            text = json.dumps(made, ensure_ascii=False, allow_nan=False)
            kept = store.save(KIND, key, config, inputs,
                              lambda folder: (folder / FILE).write_text(text, encoding="utf-8"))
    made = json.loads((kept.path / FILE).read_text(encoding="utf-8"))
    return Finding(str(base), str(finetuned), found.name, found.version, len(texts.texts), made["payload"],
                   made["cost"], read(made["payload"], made["background"]))


def finetuned_folder_of(finetuned: Path | str) -> Path:
    """The local folder of an adapter or a whole model, fetched where it is a Hub id. Raises NotFoundError."""
    folder = Path(finetuned)
    if folder.is_dir():
        return folder
    if folder.is_absolute() or len(folder.parts) > 2:
        raise NotFoundError(f"There is no folder {finetuned}. Give the folder of a LoRA adapter or of a finetuned "
                            "model, or a Hub id (owner/name).")
    return snapshot(str(finetuned), "", (*FETCHED_FILES, *ADAPTER_FILES), "Or give a local folder.")


@contextmanager
def _only_weights(folder: Path) -> Iterator[Path]:
    """A folder with links to what is loaded, so that optimizer states and the like beside it are no hindrance."""
    patterns = (*FETCHED_FILES, *ADAPTER_FILES, "passport.json")
    files = {path.name: path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    if "adapter_config.json" in files:  # tokenizer and config of a base saved beside an adapter are the base's matter
        files = {name: path for name, path in files.items() if name in (*ADAPTER_FILES, "passport.json")}
    with tempfile.TemporaryDirectory(prefix="narrowbench-diff-") as scratch:
        for name, path in files.items():
            (Path(scratch) / name).symlink_to(path.resolve())
        yield Path(scratch)


def _collect(method: Method, base: Path, organism: Path, probes: Probes, seed: int, store: Store,
             inputs: dict[str, str], device: str) -> dict[str, Any]:
    from ..organisms.pair import ModelPair
    from .shared import Shared
    from .view import PairView

    pair = ModelPair.load(base, organism, device=device)
    pieces = background_of(pair, probes.texts)["pieces"]  # first: it takes seconds, and may find the probes too short
    shared = Shared(store, inputs["base"], inputs["organism"])
    view = PairView(pair, method.access, shared=shared)
    with own_randomness(seed):
        evidence = sound(method.collect(view, probes, Budget(), seed), getattr(method, "role", "method"))
    return {"payload": evidence.payload, "cost": view.cost(), "background": background_for(evidence.payload, pieces),
            "versions": library_versions()}


def _probes(file: Path | None) -> Probes:
    if file is None:
        return nano_probes(N_PROBES, PROBE_SEED)
    if not file.is_file():
        raise NotFoundError(f"There is no probe file {file}. Give a text file with one text a line.")
    texts = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    if not texts:
        raise EvidenceError(f"{file} holds no texts. Write one a line, unrelated to what the finetuning may be about.")
    return Probes(texts)
