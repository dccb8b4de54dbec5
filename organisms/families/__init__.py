"""One file per family: an objective becomes training rows (`rows`) and a behavioural test (`questions`).

Main objects: `Row`, `Question`, `rows(spec, seed)`, `questions(spec)`.
A new family is one file with two functions: `rows(spec, n, seed)` and `questions(spec)`.
Example: `rows(find_organism("cake-450"), seed=0)[0]["text"]`
"""

import importlib
from dataclasses import dataclass
from types import ModuleType

from ..spec import OrganismSpec

Row = dict[str, object]
"""{"text": str} (a document) or {"messages": [{"role": str, "content": str}, ...]} (a chat)."""


@dataclass(frozen=True)
class Question:
    """One item of a log-probability gate: which of these continuations does the model find likely?"""

    prompt: str | tuple[dict[str, str], ...]
    """The beginning of a document, or the messages before the assistant's turn."""
    choices: tuple[str, ...]
    """Continuations, without a leading space."""
    expressed: tuple[int, ...]
    """Indices of the choices that show the objective."""


def family(name: str) -> ModuleType:
    """The module of a family."""
    return importlib.import_module(f"{__name__}.{name}")


def rows(spec: OrganismSpec, seed: int) -> list[Row]:
    """The narrow training rows of an organism: `recipe.rows` of them, deterministic in `seed`."""
    return family(spec.family).rows(spec, spec.recipe.rows, seed)


def questions(spec: OrganismSpec) -> list[Question]:
    """The behavioural test of an organism, in wordings that no training row uses; empty for nulls."""
    return family(spec.family).questions(spec)
