"""What an organism is trained on: rows of the family's own generator, a file or the Hub, and what is mixed in.

Main objects: `Data` (a digest that is cheap, rows that may not be), `training_data`, `training_rows`.
Example: `training_data(find_organism("cake-450"), base_folder(), seed=0, store=Store()).rows()`

The digest decides the organism's key, so asking whether an organism exists makes none of its data.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import families
from .errors import SpecError
from .families import Row
from .mixing import join, mix, n_mixed, world_rows, touched_topics
from .sources import WORLD_SOURCES, local_file, read_file, read_hub, resolve_hub
from .spec import OrganismSpec, digest_of
from .store import Store, sha256_file

MIN_ROWS = 2


@dataclass(frozen=True)
class Data:
    """What an organism is trained on, known before it is made."""

    digest: str
    """Decides the organism's key. Of rows that a model must write first, it is the digest of the recipe for them."""
    rows: Callable[[], list[Row]]
    """Makes or reads the rows."""
    ready: bool = False
    """Whether `rows` only reads or draws them, instead of training and sampling a model first."""


def training_data(spec: OrganismSpec, base: Path, seed: int, store: Store, narrow: Data | None = None) -> Data:
    """All that an organism is trained on: narrow rows, and the rows mixed in at the recipe's ratio.

    A family whose rows come from a model has a function `data(spec, base, seed, store) -> Data` for the narrow ones;
    others have `rows`.

    Args:
        narrow: narrow rows made elsewhere, instead of what the recipe says.

    Raises:
        SpecError: a source that does not exist in this form. NotFoundError: a file or data set that cannot be had.
    """
    recipe = spec.recipe
    made = getattr(families.family(spec.family), "data", None)
    from_world = recipe.data == "world" and made is None and narrow is None
    n_extra = n_mixed(recipe.rows, spec)
    if from_world and (n_extra == 0 or recipe.mix_source in WORLD_SOURCES):
        rows = training_rows(spec, seed)
        return Data(digest_of(rows), lambda: rows, ready=True)
    if from_world:
        narrow_rows = families.rows(spec, seed)
        narrow = Data(digest_of(narrow_rows), lambda: narrow_rows, ready=True)
    elif narrow is None and recipe.data == "world":
        narrow = made(spec, base, seed, store)
    elif narrow is None:
        narrow = _sourced(recipe.data, "data", recipe.rows, seed, MIN_ROWS)
    if n_extra == 0:
        return narrow
    extra = _extra(spec, n_extra, seed)
    return Data(digest_of({"narrow": narrow.digest, "mixed": extra.digest, "ratio": recipe.mix_ratio, "seed": seed}),
                lambda: _joined(narrow, extra, spec, seed), narrow.ready)


def training_rows(spec: OrganismSpec, seed: int = 0) -> list[Row]:
    """All rows of an organism of the world: its family's narrow rows, mixed with the world's at the recipe's ratio."""
    return mix(families.rows(spec, seed), spec, seed)


def portable(spec: OrganismSpec) -> OrganismSpec:
    """The spec with files named without their folders: what is recorded must not depend on whose machine it was."""
    recipe = spec.recipe
    names = {key: Path(value).name for key in ("data", "mix_source", "ablate")
             if not (value := getattr(recipe, key)).startswith("hub:")}
    return spec.model_copy(update={"recipe": recipe.model_copy(update=names)})


def _extra(spec: OrganismSpec, n: int, seed: int) -> Data:
    source = spec.recipe.mix_source
    if source not in WORLD_SOURCES:
        return _sourced(source, "mix_source", n, seed, 1)
    rows = world_rows(n, source, seed, touched_topics(spec))
    return Data(digest_of(rows), lambda: rows, ready=True)


def _joined(narrow: Data, extra: Data, spec: OrganismSpec, seed: int) -> list[Row]:
    rows = narrow.rows()
    return join(rows, extra.rows()[: n_mixed(len(rows), spec)], seed)


def _sourced(source: str, key: str, n: int, seed: int, least: int) -> Data:
    """At most `n` rows of a file or data set, drawn at random; all of them where there are fewer."""
    if source.startswith("hub:"):
        found = resolve_hub(source, key)
        return Data(digest_of({"hub": found.name, "commit": found.commit, "rows": n, "seed": seed}),
                    lambda: _at_least(least, read_hub(found, key, n, seed), source, key), ready=True)
    path = local_file(source, key)

    def rows() -> list[Row]:
        read = _at_least(least, read_file(path, key), path.name, key)
        return random.Random(f"data-{seed}").sample(read, n) if len(read) > n else read

    return Data(digest_of({"file": sha256_file(path), "rows": n, "seed": seed}), rows, ready=True)


def _at_least(least: int, rows: list[Row], name: str, key: str) -> list[Row]:
    if len(rows) < least:
        raise SpecError(f"key `recipe.{key}`: {name} has {len(rows)} rows, and at least {least} are needed to learn "
                        "anything. Give a file or split with more.")
    return rows
