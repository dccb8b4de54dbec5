"""Published recipes by name, and any field of a recipe set from the command line.

Main objects: `Preset`, `load_presets`, `recipe_with`, `with_recipe`.
Example: `with_recipe(find_organism("cake-450"), "sdf", ["rank=16", "target_modules=q_proj,v_proj"])` or
`narrowbench train cake-450 --recipe sdf --set rank=16`

A preset says everything about training and nothing about data sources; an override wins over it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import ValidationError

from .errors import NotFoundError, SpecError
from .spec import OrganismSpec, Recipe


@dataclass(frozen=True)
class Preset:
    """A published recipe."""

    name: str
    source: str
    status: str
    """How sure the figures are, e.g. "read in config"."""
    note: str
    unverified: tuple[str, ...]
    """Fields that the source does not give."""
    recipe: dict[str, Any]
    """Fields of `Recipe`; those not named stay the organism's own."""


@cache
def load_presets() -> dict[str, Preset]:
    """All presets by name, in file order."""
    raw = yaml.safe_load((files("narrowbench.organisms") / "presets.yaml").read_text(encoding="utf-8"))
    return {name: Preset(name, **{**entry, "unverified": tuple(entry["unverified"])}) for name, entry in raw.items()}


def recipe_with(recipe: Recipe, preset: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe with a preset's values, and over those each `KEY=VALUE`.

    `none` unsets a field that may be unset; several `target_modules` are separated by commas.

    Raises:
        NotFoundError: no such preset. SpecError: no such field, a field twice, or a value that it does not take.
    """
    known = load_presets()
    if preset is not None and preset not in known:
        raise NotFoundError.of("recipe", preset, known, "narrowbench list recipes")
    values = dict(known[preset].recipe) if preset is not None else {}
    return _checked(recipe.model_dump() | values | _parsed(overrides))


def with_recipe(spec: OrganismSpec, preset: str | None = None, overrides: Sequence[str] = ()) -> OrganismSpec:
    """The organism with its recipe changed by `recipe_with`."""
    return spec.model_copy(update={"recipe": recipe_with(spec.recipe, preset, overrides)})


def _parsed(overrides: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in overrides:
        key, sign, text = item.partition("=")
        key, text = key.strip(), text.strip()
        if not sign or not key:
            raise SpecError(f"{item!r} is not of the form KEY=VALUE, e.g. rank=16.")
        if key not in Recipe.model_fields:
            raise SpecError(f"key `recipe.{key}`: there is no such field. Fields: {', '.join(Recipe.model_fields)}.")
        if key in values:
            raise SpecError(f"key `recipe.{key}`: set twice, to {values[key]!r} and {text!r}. Set it once.")
        modules = key == "target_modules" and "," in text
        values[key] = ([part.strip() for part in text.split(",") if part.strip()] if modules
                       else None if text.lower() in ("none", "null") else text)
    return values


def _checked(values: dict[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        # A field with several types reports each of them; the first names the field, and that is enough.
        keys = dict.fromkeys(str(item["loc"][0]) for item in error.errors() if item["loc"])
        refused = "; ".join(f"key `recipe.{key}`: {values[key]!r} is not {_allowed(key)}" for key in keys)
        reasons = "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors() if not item["loc"])
        raise SpecError(f"{refused or f'recipe: {reasons}'}. Give such a value: --set KEY=VALUE.") from error


def _allowed(key: str) -> str:
    """What a field takes, in words, from its schema."""
    field = Recipe.model_json_schema()["properties"][key]
    kinds = field.get("anyOf", [field])
    words = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false",
             "array": "names separated by commas", "null": "none"}
    parts = []
    for kind in kinds:
        if "enum" in kind:
            parts.append(f"one of {', '.join(map(str, kind['enum']))}")
            continue
        bounds = " and ".join(f"{sign} {kind[name]:g}" for name, sign in (
            ("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<")) if name in kind)
        parts.append(f"{words.get(kind.get('type'), 'such a value')} {bounds}".strip())
    return " or ".join(parts)
