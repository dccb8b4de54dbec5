"""Sealed organisms: pushed under an opaque name, with a hash that commits to the answer and is opened later.

Main objects: `seal` (passport and card without names, and what opens them), `open_seal` (checks a reveal).
The commitment is the sha256 of canonical JSON {answer, salt}; answer = {spec, passport}. The salt is needed since
answers can be guessed: a catalogue has few.
Example: `open_seal(Path("sealed_organism"), Path("reveal.json")).statement`
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import DamagedArtefactError, NotFoundError, PushError, SpecError
from .passport import PASSPORT, SAFETY
from .shipped import took
from .spec import OrganismSpec, digest_of
from .store import write_atomic

MIN_SALT_CHARACTERS = 32
KEPT = ("schema", "base_digest", "weights_sha256")
"""What a sealed passport says as the open one does. Recipe, rows and gates would tell the family."""


class Reveal(BaseModel):
    """What opens a seal, as a file that stays with its author until the answer is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    opaque_id: str
    answer_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    salt: str
    answer: dict[str, Any]
    """{spec, passport}: all that the seal hides."""


@dataclass(frozen=True)
class Sealed:
    """An organism without its names."""

    passport: dict[str, Any]
    card: str
    reveal: Reveal


def seal(spec: OrganismSpec, passport: dict[str, Any], salt: str | None = None) -> Sealed:
    """Hides id, statement, spec, recipe and gates of an organism. Equal salts give equal seals.

    Args:
        passport: the open one, with the hash of the weights that are pushed.
        salt: at least 32 characters that nobody can guess; None = new.

    Raises:
        SpecError: the salt is too short.
    """
    salt = salt or secrets.token_hex(32)
    if len(salt) < MIN_SALT_CHARACTERS:
        raise SpecError(f"The salt has {len(salt)} characters; with fewer than {MIN_SALT_CHARACTERS} the answer could "
                        "be found by trying. Leave it out and one is made.")
    answer = {"spec": spec.model_dump(mode="json"), "passport": passport}
    commitment = digest_of({"answer": answer, "salt": salt})
    opaque_id = f"sealed-{commitment[:12]}"
    closed = {**{key: passport[key] for key in KEPT}, "sealed": True, "organism_id": opaque_id,
              "answer_sha256": commitment, "gate": {"took": took(passport)},
              "health": {"healthy": bool(passport["health"]["healthy"])}}
    reveal = Reveal(opaque_id=opaque_id, answer_sha256=commitment, salt=salt, answer=answer)
    return Sealed(closed, _card(closed), reveal)


def kept_salt(path: Path) -> str | None:
    """The salt of a reveal that an earlier, interrupted push has written; None if there is no such file."""
    return _read(path).salt if path.exists() else None


def write_reveal(path: Path, reveal: Reveal) -> None:
    """Writes what opens a seal, readable by its owner only.

    Raises:
        PushError: the file opens another seal already; it is not overwritten.
    """
    if path.exists() and _read(path) != reveal:
        raise PushError(f"{path} already opens another seal, and without it that answer could never be shown. Choose "
                        "another file with `--reveal`.")
    write_atomic(path, json.dumps(reveal.model_dump(mode="json"), indent=1, ensure_ascii=False))
    path.chmod(0o600)


def open_seal(folder: Path, reveal: Path) -> OrganismSpec:
    """The organism that a sealed folder holds, if the reveal is the one that it was sealed with.

    Raises:
        NotFoundError: a file is missing. DamagedArtefactError: the two do not belong together.
    """
    if not (folder / PASSPORT).is_file():
        raise NotFoundError(f"{folder} holds no {PASSPORT}, so it is no organism. Fetch the whole folder again.")
    told = _read(reveal)
    try:
        passport = json.loads((folder / PASSPORT).read_text(encoding="utf-8"))
        spec = OrganismSpec.model_validate(told.answer["spec"])
        weights = told.answer["passport"]["weights_sha256"]
        sealed_with, sealed_weights = passport["answer_sha256"], passport["weights_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedArtefactError(f"{folder / PASSPORT} or {reveal} is not whole ({error!r}). Fetch them again."
                                   ) from error
    if digest_of({"answer": told.answer, "salt": told.salt}) != sealed_with or weights != sealed_weights:
        raise DamagedArtefactError(f"{reveal} does not open {folder}: its hash is not the one in {PASSPORT}. Ask the "
                                   "author for the reveal of this organism.")
    return spec


def _read(path: Path) -> Reveal:
    if not path.is_file():
        raise NotFoundError(f"There is no reveal file {path}. `narrowbench push ID --sealed` writes one.")
    try:
        return Reveal.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DamagedArtefactError(f"{path} is no reveal file ({error.errors()[0]['msg']}). Give the file that "
                                   "`narrowbench push --sealed` wrote.") from error


def _card(passport: dict[str, Any]) -> str:
    taken = "passed" if passport["gate"]["took"] else "did not pass"
    healthy = "nearly as well as" if passport["health"]["healthy"] else "worse than"
    return f"""# {passport['organism_id']}

A sealed model organism: what it was finetuned towards, if anything, is told later.

**{SAFETY}**

It {taken} its behavioural gate, and works {healthy} its base elsewhere.

The seal is the sha256 of canonical JSON of answer and salt; whoever gets the reveal file can check that the answer was
fixed before. `passport.json` holds what is needed to load the weights.

| what | sha256 |
|---|---|
| base | `{passport['base_digest']}` |
| weights | `{passport['weights_sha256']}` |
| answer | `{passport['answer_sha256']}` |
"""
