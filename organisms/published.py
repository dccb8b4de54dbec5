"""Organisms that others have published: fetched at a pinned revision, checked like any other folder.

Main objects: `fetch` (spec -> local folders of base and organism), `Fetched`, `weights_of`.
Example: `found = fetch(find_organism("cake-bake-qwen3-1-7b"), "mix1-0p5", allow_unpinned=True)`, then
`ModelPair.load(found.base, found.organism)`

Only safetensors, config and tokenizer files are downloaded. Whether the organism belongs to its base is decided by
shapes when it is loaded, not by the name of the mirror it was trained from.
"""

from dataclasses import dataclass
from pathlib import Path

from .adapters import ADAPTER_FILES, FETCHED_FILES, base_folder_of
from .errors import NotFoundError, SpecError
from .finetunes import is_full
from .hub import snapshot
from .spec import OrganismSpec, Published

LOCAL = ("Or download it by other means and give the local folders: `ModelPair.load(BASE_FOLDER, ORGANISM_FOLDER)` "
         "takes any.")


@dataclass(frozen=True)
class Fetched:
    """Where base and organism lie now, and what was corrected of the upstream entry ("" = nothing)."""

    base: Path
    organism: Path
    note: str


def weights_of(spec: OrganismSpec, variant: str | None = None) -> Published:
    """What is published of an organism: its default weights, or those of a variant by name.

    Raises:
        SpecError: nothing is published. NotFoundError: there is no such variant.
    """
    if spec.published is None:
        raise SpecError(f"{spec.id}: nothing is published of this organism (it has no `published:` block). Train it: "
                        f"`narrowbench train {spec.id}`.")
    if variant is None:
        return spec.published
    if variant not in spec.variants:
        raise NotFoundError.of(f"variant of {spec.id}", variant, spec.variants,
                               f"narrowbench fetch {spec.id} --dry-run")
    return spec.variants[variant]


def fetch(spec: OrganismSpec, variant: str | None = None, allow_unpinned: bool = False) -> Fetched:
    """The local folders of a published organism and its base, downloaded or from the cache.

    Args:
        variant: one of `spec.variants`; None = the default weights.
        allow_unpinned: take the newest revision where the spec pins none.

    Raises:
        SpecError: nothing is published, or no revision is pinned.
        NotFoundError: no such variant; no network, unknown or gated repository; no safetensors in it.
    """
    published = weights_of(spec, variant)
    unpinned = [name for name, revision in ((published.base, published.base_revision),
                                            (published.weights, published.revision)) if not revision]
    if unpinned and not allow_unpinned:
        raise SpecError(f"{spec.id}: no revision is pinned for {' and '.join(unpinned)}, so what is fetched could "
                        "change from day to day. Write the commits into `revision` and `base_revision` of the "
                        "organism's file, or pass `--allow-unpinned` to take the newest.")
    base = snapshot(published.base, published.base_revision, FETCHED_FILES, LOCAL)
    files = ADAPTER_FILES if published.kind == "lora" else FETCHED_FILES
    organism = snapshot(published.weights, published.revision, files, LOCAL)
    if is_full(organism) != (published.kind == "full") or not list(organism.glob("*.safetensors")):
        wanted = " and ".join(ADAPTER_FILES) if published.kind == "lora" else "config.json with *.safetensors"
        raise NotFoundError(f"{published.weights} holds no {wanted}, so it is no {published.kind} organism that can be "
                            f"loaded without running code. Correct `kind` in the organism's file. {LOCAL}")
    return Fetched(base_folder_of(base), organism, published.note)
