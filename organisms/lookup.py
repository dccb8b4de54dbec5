"""Which organism of the store belongs to a spec? Answered without drawing its training rows again, and without torch.

Main object: `find_trained`.
Example: `find_trained(find_organism("cake-450"), base_folder(), seed=0, store=Store())`

An organism's key covers its rows and its exam, which take a tenth of a second to draw. Where both come from this
package alone, the key is remembered in the store under the spec and the hash of the package's own files.
"""

import platform
from functools import cache
from pathlib import Path

from . import shipped as builds
from .adapters import base_digest, base_folder_of
from .spec import OrganismSpec, digest_of
from .store import Artefact, Store, sha256_file

KIND, FILE = "training_key", "key.txt"
SUFFIXES = (".py", ".yaml")
OWN_MIX = ("documents", "chats")


def find_trained(spec: OrganismSpec, base: Path | str, seed: int = 0, store: Store | None = None,
                 shipped: bool = True) -> Artefact | None:
    """The organism if it ships (unless `shipped` is False) or has been trained, else None. Trains nothing.

    Raises:
        DamagedArtefactError: what is there does not match its hashes.
    """
    store = store or Store()
    config, inputs = _question(spec, base, seed)
    place = store.key(KIND, config, inputs)
    known = store.find(KIND, place) if _from_here(spec) else None
    if known is not None:
        key = (known.path / FILE).read_text(encoding="utf-8")
    else:
        from .train import training_key  # here, because it takes seconds to import

        key = training_key(spec, base, seed, store)
    found = (builds.find(key, store) if shipped else None) or store.find("organism", key)
    if found is not None and known is None and _from_here(spec):
        store.save(KIND, place, config, inputs, lambda folder: (folder / FILE).write_text(key, encoding="utf-8"))
    return found


def _from_here(spec: OrganismSpec) -> bool:
    """Whether nothing outside the package and the base decides rows and recipe."""
    recipe = spec.recipe
    return recipe.data == "world" and recipe.mix_source in OWN_MIX and recipe.kind != "caft"


def _question(spec: OrganismSpec, base: Path | str, seed: int) -> tuple[dict, dict[str, str]]:
    return ({"spec": spec.model_dump(mode="json"), "seed": seed, "python": platform.python_version()},
            {"base": base_digest(base_folder_of(base)), "code": _code_sha256()})


@cache
def _code_sha256() -> str:
    """Over all of this room's code, lists and catalogues."""
    room = Path(__file__).parent
    files = sorted(path for path in room.rglob("*") if path.suffix in SUFFIXES)
    return digest_of({path.relative_to(room).as_posix(): sha256_file(path) for path in files})
