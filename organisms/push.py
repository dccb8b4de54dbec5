"""Push an organism: a folder scrubbed of names, hashed, with its model card; to the Hub or to another folder.

Main objects: `source` (where a trained organism lies), `prepare` (exactly what would be pushed), `Prepared`, `push`.
Example: `narrowbench push cake-450 --to hub:ORG/NAME`, or
`push(prepare(spec, source(spec), Path("out")), "folder:/somewhere")`

Of an adapter, base weights are never pushed. A sealed organism (`seal.py`) loses every name that leak_terms knows.
"""

import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from . import shipped
from .adapters import read_json
from .data import portable
from .errors import AdapterError, NotFoundError, PushError, SpecError
from .finetunes import check_organism
from .leaks import leak_terms, leaks_in_folder
from .nano import base_folder
from .passport import CARD, PASSPORT, model_card
from .scrub import HASHES, copy_scrubbed, weights_sha256
from .seal import kept_salt, seal, took, write_reveal
from .spec import OrganismSpec, load_catalog
from .store import Store, sha256_file, write_atomic

KEY_CHARACTERS = 16
"""Folder names that are at least as long are keys, by which an artefact could be found; shorter ones are words."""


@dataclass(frozen=True)
class Prepared:
    """A folder that holds exactly what is pushed."""

    folder: Path
    files: dict[str, int]
    """Name -> size in bytes, `hashes.json` among them."""
    hashes: dict[str, str]
    """Name -> sha256."""
    left_out: tuple[str, ...] = ()
    """Files of the artefact that are not pushed."""
    leaks: tuple[str, ...] = ()
    """Names that weights and configs still give away; of a sealed organism always none."""
    reveal: Path | None = None
    """The file that opens the seal. It is not pushed."""

    def verify(self) -> None:
        """Hashes the folder again. Raises PushError if a file is missing, changed or new."""
        if _hashes(self.folder) != self.hashes:
            raise PushError(f"{self.folder} is no longer what was prepared. Remove it and run the command again.")


def source(spec: OrganismSpec, seed: int = 0, base: Path | str | None = None, store: Store | None = None) -> Path:
    """The folder of an organism that ships or has been trained. Raises NotFoundError."""
    from .lookup import find_trained

    found = find_trained(spec, base or base_folder(), seed, store)
    if found is None:
        raise NotFoundError(f"{spec.id} with seed {seed} has not been trained on this base. "
                            f"`narrowbench train {spec.id} --seed {seed}` does it.")
    return found.path


def prepare(spec: OrganismSpec, artefact_path: Path, out_folder: Path, sealed: bool = False, salt: str | None = None, *,
            reveal: Path | None = None, base: Path | str | None = None, base_model: str = "", licence: str = "mit",
            even_unexpressed: bool = False) -> Prepared:
    """Writes exactly what is pushed: weights and configs without names, passport, model card, hashes.

    Equal inputs (of a sealed organism: an equal salt) give the same bytes.

    Args:
        artefact_path: the trained organism, adapter or whole model, with its passport.
        out_folder: new or empty; or it holds this very content already, and stays.
        reveal: where the file that opens the seal is kept (default: beside `out_folder`). If it is there from an
            earlier try, its salt is used again.
        base: folder or Hub id of the base, against which the weights are checked (default: the nano base).
        base_model: Hub id of the base, for the model card; "" = that of `spec.published`, else none.

    Raises:
        NotFoundError, AdapterError: it is no organism of this spec and base.
        PushError: it is unexpressed or broken, the folder is in use, or a sealed one would give a name away.
    """
    artefact, out_folder, base = Path(artefact_path), Path(out_folder).absolute(), base or base_folder()
    check_organism(artefact, base)
    spec = portable(spec)  # as training wrote it down: without the folders of its data files
    passport = _passport(artefact, spec, even_unexpressed)
    reveal = _reveal_path(out_folder, reveal) if sealed else None
    out_folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".push-", dir=out_folder.parent))
    try:
        left_out = copy_scrubbed(artefact, made)
        passport["weights_sha256"] = weights_sha256(made)
        closed = seal(spec, passport, salt or kept_salt(reveal)) if reveal is not None else None
        card = closed.card if closed else re.sub(r"\A---\n.*?\n---\n", "", model_card(spec, passport), flags=re.S)
        head = _front_matter(passport, licence, base_model or (spec.published.base if spec.published else ""))
        write_atomic(made / PASSPORT, json.dumps(closed.passport if closed else passport, indent=1))
        write_atomic(made / CARD, f"---\n{head}---\n{card}")
        hashes = _hashes(made)
        write_atomic(made / HASHES, json.dumps({"schema": 1, "sha256": hashes}, indent=1))
        check_organism(made, base)
        leaks = _leaks(made, spec, passport, artefact, sealed)
        if closed is not None:
            write_reveal(reveal, closed.reveal)
        _place(made, out_folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    hashes = _hashes(out_folder)
    return Prepared(out_folder, {name: (out_folder / name).stat().st_size for name in hashes}, hashes, left_out, leaks,
                    reveal)


def push(prepared: Prepared, target: str, private: bool = False) -> str:
    """Puts a prepared folder where `target` says, checks it there, and returns its place.

    Args:
        target: `hub:ORG/NAME`, or `folder:PATH` (new or empty, or holding this very content).
        private: of a Hub repository: nobody else may see it.

    Raises:
        SpecError: another kind of target. PushError: the target is in use, or the Hub says no or is not there.
    """
    kind, _, place = target.partition(":")
    if kind not in ("hub", "folder") or not place:
        raise SpecError(f"`--to {target}` is no target. Give `--to hub:ORG/NAME` or `--to folder:PATH`.")
    prepared.verify()
    if kind == "hub":
        from .upload import upload

        return upload(prepared.folder, prepared.hashes, place, private)
    folder = Path(place).expanduser().absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".push-", dir=folder.parent))
    try:
        shutil.copytree(prepared.folder, made, dirs_exist_ok=True)
        _place(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    Prepared(folder, prepared.files, prepared.hashes).verify()
    return str(folder)


def _passport(artefact: Path, spec: OrganismSpec, even_unexpressed: bool) -> dict[str, Any]:
    """The artefact's passport, if it is this organism's and says that it may be pushed."""
    if not (artefact / PASSPORT).is_file():
        raise NotFoundError(f"{artefact} holds no {PASSPORT}, so nobody knows what it is and whether it took. Push "
                            f"what `narrowbench train {spec.id}` made.")
    passport = read_json(artefact / PASSPORT)
    for what, its, ours in (("organism", passport.get("organism_id"), spec.id),
                            ("spec", passport.get("spec_digest"), spec.digest),
                            ("weights", passport.get("weights_sha256"), weights_sha256(artefact))):
        if its != ours:
            raise AdapterError(f"{artefact}: {PASSPORT} belongs to another {what} ({str(its)[:16]}, not {ours[:16]}). "
                               f"Train it again: `narrowbench train {spec.id}`.")
    faults = [word for word, fails in (("unexpressed", not took(passport)),
                                       ("broken", not passport["health"]["healthy"])) if fails]
    if faults and not even_unexpressed:
        raise PushError(f"{spec.id} is {' and '.join(faults)} (see the gates in {artefact / PASSPORT}), so nothing can "
                        "be learned from scoring methods on it. Change its recipe and train again, or push it with "
                        "`--even-unexpressed`.")
    return passport


def _reveal_path(out_folder: Path, reveal: Path | None) -> Path:
    """Where the file that opens the seal is kept. Raises PushError if it would be pushed with the rest."""
    reveal = reveal or out_folder.with_name(out_folder.name + ".reveal.json")
    if reveal.resolve().is_relative_to(out_folder.resolve()):
        raise PushError(f"{reveal} lies in the folder that is pushed, so everybody could open the seal. Give "
                        "`--reveal` another place.")
    return reveal


def _front_matter(passport: dict[str, Any], licence: str, base_model: str) -> str:
    is_model = passport["recipe"]["kind"] == "full"
    head = {"license": licence, "library_name": "transformers" if is_model else "peft",
            "tags": ["model-organism", "narrowbench"]} | ({"base_model": base_model} if base_model else {})
    return yaml.safe_dump(head, sort_keys=False)


def _leaks(made: Path, spec: OrganismSpec, passport: dict[str, Any], artefact: Path, sealed: bool) -> tuple[str, ...]:
    """What the prepared files give away. Raises PushError if a sealed organism gives anything away."""
    names = {spec.digest, passport["data_sha256"], artefact.name if len(artefact.name) >= KEY_CHARACTERS else ""}
    hidden = {slot.truth for slot in spec.slots if slot.type != "number"} | {spec.statement} - {""}
    known = [*load_catalog().values(), spec, *([spec.twin_spec()] if spec.twin else [])]
    terms = leak_terms(known, names, hidden) if sealed else leak_terms(known)
    found = leaks_in_folder(made, terms, skip=frozenset() if sealed else frozenset({PASSPORT, CARD}))
    if sealed and found:
        raise PushError(f"{spec.id} cannot be sealed: {'; '.join(found[:5])}. Remove these names from the files of "
                        f"{artefact}, or push it open, without `--sealed`.")
    if sealed and passport["weights_sha256"] in {build.weights_sha256 for build in shipped.builds()}:
        raise PushError(f"{spec.id} cannot be sealed: these very weights ship with the package under its name. Train "
                        f"another seed: `narrowbench train {spec.id} --seed N`.")
    return tuple(found)


def _hashes(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_file(path)
            for path in sorted(folder.rglob("*")) if path.is_file()}


def _place(made: Path, folder: Path) -> None:
    """Gives a finished folder its name, unless another content is there."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not folder.is_dir() or _hashes(folder) != _hashes(made):
            raise PushError(f"{folder} is there already and holds something else, which is not overwritten. Choose "
                            "another place, or remove it.")
        return
    if folder.exists():
        folder.rmdir()
    made.chmod(0o755)
    made.rename(folder)
