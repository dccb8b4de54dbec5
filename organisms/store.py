"""Content-addressed artefacts on disk: a rerun finds what it made before, and a changed input is never silently reused.

Main objects: `Store`, `Artefact`, `sha256_file`, `write_atomic`.
Example: `Store().find("organism", key)`; the root is `$NARROWBENCH_HOME`, else the user's cache folder.

Layout: `<root>/<kind>/<key>/` holds the files and `manifest.json`; `<root>/work/<kind>/<key>/` is scratch for work that
can be resumed. A folder gets its final name by one rename after everything in it is on disk, so a kill at any moment
leaves either nothing or a whole artefact.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from .errors import DamagedArtefactError
from .spec import digest_of

SCHEMAS = {"organism": 2, "gate_base": 2, "evidence": 1, "background": 1, "controls": 1}
"""Part of every key: raise a kind's number when its files change meaning, and old artefacts are no longer found."""
DEFAULT_SCHEMA = 1
MANIFEST = "manifest.json"
RECORDED_LIBRARIES = ("torch", "transformers", "peft", "trl", "inspect-ai", "narrowbench")
_KIND = re.compile(r"[a-z][a-z0-9_]*")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Artefact:
    """One stored folder, verified when it was found."""

    kind: str
    key: str
    path: Path
    manifest: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """sha256 over {file: sha256}: the same content has the same digest under any key."""
        return digest_of(self.manifest["files"])


class Store:
    """Artefacts by kind and key under one root folder."""

    def __init__(self, home: Path | None = None) -> None:
        chosen = home or os.environ.get("NARROWBENCH_HOME") or user_cache_path("narrowbench")
        self.root = Path(chosen).expanduser().absolute()

    def key(self, kind: str, config: dict[str, Any], inputs: dict[str, str]) -> str:
        """sha256 of kind, its schema number, the resolved config and the digests of the inputs."""
        return digest_of({"kind": kind, "schema": _schema(kind), "config": config, "inputs": inputs})

    def find(self, kind: str, key: str) -> Artefact | None:
        """The artefact, or None if it was never made.

        Raises:
            DamagedArtefactError: it is there, but a file is missing, changed or unexpected. Nothing is deleted.
        """
        path = self._folder(kind, key)
        return _verified(kind, key, path) if path.exists() else None

    def save(self, kind: str, key: str, config: dict[str, Any], inputs: dict[str, str],
             write: Callable[[Path], None]) -> Artefact:
        """Makes an artefact: `write` fills an empty folder, which then takes its final name in one step.

        A process that makes the same artefact at the same time is no problem: the first one stays. Scratch work under
        the same kind and key is removed.
        """
        final = self._folder(kind, key)
        final.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".new-", dir=final.parent))
        try:
            write(made)
            manifest = {"kind": kind, "key": key, "schema": _schema(kind), "config": config, "inputs": inputs,
                        "files": _hashes(made), "versions": library_versions(),
                        "created": datetime.now(UTC).isoformat(timespec="seconds")}
            for name in manifest["files"]:
                _sync(made / name)
            write_atomic(made / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True))
            made.chmod(0o755)
            try:
                made.rename(final)
                _sync(final.parent)
            except OSError:
                if not final.exists():
                    raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
        artefact = _verified(kind, key, final)
        shutil.rmtree(self._folder(kind, key, scratch=True), ignore_errors=True)
        return artefact

    def work(self, kind: str, key: str) -> Path:
        """A scratch folder that survives a kill; `save` of the same kind and key removes it."""
        path = self._folder(kind, key, scratch=True)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def all(self, kind: str) -> Iterator[Artefact]:
        """Every artefact of a kind, each verified, in the order of their keys."""
        folder = self.root / kind
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if _KEY.fullmatch(path.name):
                yield _verified(kind, path.name, path)

    def _folder(self, kind: str, key: str, scratch: bool = False) -> Path:
        if not _KIND.fullmatch(kind) or kind == "work" or not _KEY.fullmatch(key):
            raise ValueError(f"store: {kind!r} / {key!r} is no kind and key; take the key from Store.key(...)")
        return (self.root / "work" if scratch else self.root) / kind / key


def sha256_file(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, text: str) -> None:
    """Writes a UTF-8 text file so that a reader, or a kill, sees the old file or the new one and never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
    _sync(path.parent)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that results depend on; recorded beside artefacts, never part of a key."""
    return {name: metadata.version(name) for name in RECORDED_LIBRARIES}


def _schema(kind: str) -> int:
    return SCHEMAS.get(kind, DEFAULT_SCHEMA)


def _hashes(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_file(path)
            for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MANIFEST}


def _verified(kind: str, key: str, path: Path) -> Artefact:
    mend = f"Nothing was deleted or used: move the folder {path} away and run the command again to make it anew."
    if not (path / MANIFEST).is_file():
        raise DamagedArtefactError(f"{path / MANIFEST} is missing, so this {kind} is not whole. {mend}")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        expected = manifest["files"]
        described = manifest["kind"], manifest["key"], manifest["config"], manifest["inputs"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedArtefactError(f"{path / MANIFEST} is no manifest ({error!r}). {mend}") from error
    # The schema of the manifest itself: an artefact of an older schema still verifies under its own key.
    body = {"kind": kind, "schema": manifest.get("schema"), "config": described[2], "inputs": described[3]}
    if described[:2] != (kind, key) or digest_of(body) != key:
        raise DamagedArtefactError(f"{path / MANIFEST} describes another artefact than its folder's name. {mend}")
    got = _hashes(path)
    for name in sorted(expected.keys() | got.keys()):
        if expected.get(name) != got.get(name):
            wanted, is_now = expected.get(name, "(no such file)"), got.get(name, "(no such file)")
            raise DamagedArtefactError(f"{path / name} is damaged: expected sha256 {wanted}, got {is_now}. {mend}")
    return Artefact(kind, key, path, manifest)


def _sync(path: Path) -> None:
    """Waits until a file, or a folder's entries, are on disk. Windows cannot open folders; there it skips them."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
