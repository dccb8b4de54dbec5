"""Models of roles, in the words that Inspect's own `--model-role` takes: a name, several names, or names with options.

Main objects: `parse_roles` -> `Roles`, `role_words` (the way back), `generation` (checks options of generation).
Example: `parse_roles(["grader={model: openai/gpt-5-mini, temperature: 0.7, max_tokens: 10000}"]).models["grader"]`

    --model-role grader=openai/a                                   one model
    --model-role grader=openai/a,openai/b                          a panel; so does giving the role twice
    --model-role 'grader={model: openai/a, temperature: 0.7}'      with options of generation, as Inspect names them
    --model-role 'grader=[openai/a, {model: openai/b, seed: 1}]'   a panel of both
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from ..organisms.errors import InvestigationError
from .one_line import one_line

FORM = "--model-role ROLE=MODEL, or 'ROLE={model: MODEL, temperature: 0.7}'"


@dataclass(frozen=True)
class Roles:
    """Role -> its models, and beside it their options of generation, in the same order."""

    models: dict[str, tuple[str, ...]] = field(default_factory=dict)
    generation: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)


def parse_roles(words: Sequence[str]) -> Roles:
    """From the words of a command line; a role that comes twice is a panel.

    Raises:
        InvestigationError: a word of another form, or an option that generation does not have.
    """
    models: dict[str, tuple[str, ...]] = {}
    options: dict[str, tuple[dict[str, Any], ...]] = {}
    for word in words:
        role, _, text = word.partition("=")
        if not role or not text.strip():
            raise InvestigationError(f"`{word}` is not of the form {FORM}")
        for name, config in _models(word, text.strip()):
            models[role] = (*models.get(role, ()), name)
            options[role] = (*options.get(role, ()), config)
    return Roles(models, options)


def role_words(role: str, models: Sequence[str], options: Sequence[Mapping[str, Any]]) -> list[str]:
    """`ROLE=MODEL` for each model, as `parse_roles` reads it back."""
    told = []
    for i, name in enumerate(models):
        config = options[i] if i < len(options) else {}
        told.append(f"{role}={one_line({'model': name, **config}) if config else name}")
    return told


def generation(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Options of generation that Inspect takes, without those left out (None).

    Raises:
        InvestigationError: an option or a value that it does not take.
    """
    from inspect_ai.model import GenerateConfig
    from pydantic import ValidationError

    given = {key: value for key, value in options.items() if value is not None}
    if unknown := [key for key in given if key not in GenerateConfig.model_fields]:
        raise InvestigationError(f"{where}: generation has no option {unknown[0]!r}. The names are Inspect's, as "
                                 "temperature, max_tokens, top_p, seed, reasoning_effort.")
    try:
        GenerateConfig(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvestigationError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return given


def _models(word: str, text: str) -> list[tuple[str, dict[str, Any]]]:
    try:
        given = yaml.safe_load(text if text[0] in "{[" else f"[{text}]")
    except yaml.YAMLError as error:
        raise InvestigationError(f"`{word}` cannot be read as YAML. Write {FORM}") from error
    found = []
    for one in given if isinstance(given, list) else [given]:
        options = dict(one) if isinstance(one, dict) else {"model": one}
        name = options.pop("model", None)
        if not isinstance(name, str) or not name:
            raise InvestigationError(f"`{word}` names no model. Write {FORM}")
        found.append((name, generation(options, f"`--model-role {word}`")))
    if not found:
        raise InvestigationError(f"`{word}` names no model. Write {FORM}")
    return found
