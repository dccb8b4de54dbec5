"""The error hierarchy: every error says what is wrong, why, and which command or edit mends it.

Each class is also the standard-library error that it refines, so callers may catch either.
Example: `raise NotFoundError.of("method", "adl_lens", known, "narrowbench list methods")`
"""

from collections.abc import Iterable
from difflib import get_close_matches


class NarrowbenchError(Exception):
    """Base of all errors that narrowbench raises on purpose."""


class NotFoundError(NarrowbenchError, LookupError):
    """An organism, method, suite, topic or file that does not exist."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], list_command: str) -> "NotFoundError":
        """Builds the message with the nearest known names and the command that lists them all."""
        near = get_close_matches(name, list(known), n=3, cutoff=0.4)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        return cls(f"There is no {kind} named {name!r}.{hint} `{list_command}` lists all of them.")


class SpecError(NarrowbenchError, ValueError):
    """A spec, suite or world file that cannot be what its author meant: names file, key and reason."""


class TrainingError(NarrowbenchError, RuntimeError):
    """Trainings that failed while others were finished and stored."""


class AdapterError(NarrowbenchError, ValueError):
    """An adapter that does not belong to this base, or is not plain safetensors. Raised before anything is loaded."""


class DamagedArtefactError(NarrowbenchError, OSError):
    """A stored artefact or log that does not match its recorded hash, or ends early. Never deleted for you."""


class DiskFullError(NarrowbenchError, OSError):
    """No room to save. What was saved before stays usable."""


class AccessError(NarrowbenchError, PermissionError):
    """A method used something of the pair that it did not declare in `access`."""


class BudgetError(NarrowbenchError, RuntimeError):
    """A method went past its budget of forward tokens, generated tokens or seconds."""


class NonFiniteError(NarrowbenchError, ArithmeticError):
    """NaN or infinity in activations or evidence: names organism, layer and position."""


class EvidenceError(NarrowbenchError, ValueError):
    """Evidence or a claim that breaks its schema or its caps."""


class InvestigationError(NarrowbenchError, RuntimeError):
    """An investigation that cannot be run as asked: no model, no price, or models that cannot be read."""


class RecordError(NarrowbenchError, ValueError):
    """A log or record that cannot go on a leaderboard."""


class PushError(NarrowbenchError, OSError):
    """An organism that must not be pushed as it is, or a target that does not take it."""
