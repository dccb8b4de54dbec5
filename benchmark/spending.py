"""Money of a whole run: one purse for all its samples, methods and roles, and a clean end when it is empty.

Main objects: `Purse` (`open` it around a run), `within_purse` (around one investigation).
Example: `purse = Purse(2.0)`; `with purse.open(): evaluate(...)`; `purse.spent`

Inspect's `cost_limit` stacks: one that is entered around a whole eval counts the calls of all its samples, and refuses
the next call of any. A sample that is stopped so would count as done, on what it had so far; here it counts as failed,
so that the next run does it again, while those that were handed in are kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspect_ai.util import Limit, LimitExceededError, cost_limit

from ..organisms.errors import InvestigationError

if TYPE_CHECKING:
    from .investigating import Investigator

_OPEN: ContextVar[Limit | None] = ContextVar("narrowbench_purse", default=None)
EMPTY = "the dollars of --max-usd are spent"


@dataclass
class Purse:
    """What a command may spend on models, over all its runs, and what it has spent (as far as prices are known).

    Calls that are under way when the money ends are paid for: it may end up with less than nothing.
    """

    usd: float | None = None
    """None = no limit."""
    spent: float = 0.0

    def checked(self, who: "str | Investigator") -> "Purse":
        """Itself, if it can limit anything. Raises InvestigationError: no model is asked, or one has no price."""
        if self.usd is None:
            return self
        asked = [] if isinstance(who, str) else who.models()
        if not asked:
            raise InvestigationError("--max-usd limits what language models cost, and none is asked. Leave it out.")
        if unknown := [model for model in asked if model not in who.prices]:
            raise InvestigationError(f"--max-usd needs the price of {', '.join(unknown)}. Add it to the file given "
                                     "with `--prices`, in dollars for a million tokens.")
        return self

    @contextmanager
    def open(self) -> Iterator[None]:
        """Counts, and limits, what is spent inside. Raises InvestigationError if nothing is left to begin with."""
        left = None if self.usd is None else self.usd - self.spent
        if left is not None and left <= 1e-9:  # sums of cents are not exact
            raise InvestigationError(f"{EMPTY} ({self.spent:.4f} of {self.usd:g}). What is done is kept; the same "
                                     "command with more goes on from there.")
        with cost_limit(left) as limit:
            token = _OPEN.set(limit)
            try:
                yield
            finally:
                _OPEN.reset(token)
                self.spent += limit.usage


@contextmanager
def within_purse() -> Iterator[None]:
    """Makes the purse's limit an error of the sample inside. Limits of the sample's own pass as they are."""
    try:
        yield
    except LimitExceededError as error:
        if error.source is None or error.source is not _OPEN.get():
            raise
        raise InvestigationError(EMPTY) from error
