"""What one investigation may use, counted while it runs: interactions with the models, turns, tokens, dollars.

Main objects: `Allowance` (how much), `Meter` (counts, refuses, tells what is left), `Investigation` (what the log
keeps).
Example: `meter = Meter(Allowance(interactions=5)); meter.spend(2, "prompts"); meter.left()`

Inspect has limits for turns, tokens and cost, and none for interactions: one is one prompt to both models, or one
steered sample. The counter lies in the sample's store, so that it is in the log.
"""

from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from inspect_ai.model import get_model
from inspect_ai.tool import ToolError
from inspect_ai.util import Limit, StoreModel, cost_limit, store_as, time_limit, token_limit, turn_limit

from ..organisms.errors import InvestigationError


@dataclass(frozen=True)
class Allowance:
    """What one investigation of one organism may use. None = unlimited. Raises InvestigationError on less than 0."""

    interactions: int = 5
    turns: int | None = 30
    """Answers of the investigating model."""
    tokens: int | None = 200_000
    """Read and written by it, over all turns."""
    usd: float | None = None
    """Needs a price for the model."""
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not value >= (0 if name == "interactions" else 1e-9):
                raise InvestigationError(f"an allowance of {value} {name} leaves nothing to investigate with. Give a "
                                         "positive number.")


class Investigation(StoreModel):
    """How an investigation went, in the sample's store."""

    interactions: int = 0
    """Used."""
    outcome: str = ""
    """submitted, malformed, refused, limit or no_answer; the claim is `unsure` unless it was submitted."""
    reason: str = ""
    """Why nothing was submitted."""
    tries: int = 0
    """Answers that were to be a claim."""
    host: str = ""
    """Where the model answered from, as far as its provider says."""

    def begin(self) -> None:
        """Notes who is asked."""
        address = getattr(get_model().api, "base_url", None)
        self.host = (urlsplit(str(address)).hostname or "") if address else ""


class Meter:
    """The running count of one investigation. Make it where the investigation begins: Inspect's limits count from the
    time they are entered."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.claim: str | None = None
        """What was handed in, as JSON."""
        self.turns, self.tokens, self.usd = (
            turn_limit(allowance.turns), token_limit(allowance.tokens), cost_limit(allowance.usd))
        self.limits: list[Limit] = [self.turns, self.tokens, self.usd, time_limit(allowance.seconds)]

    def spend(self, n: int, what: str) -> None:
        """Counts n interactions; a negative n gives some back. Raises ToolError, counting none, if fewer are left."""
        used = store_as(Investigation)
        left = self.allowance.interactions - used.interactions
        if n > left:
            raise ToolError(f"{n} {what} need {n} interactions and {left} are left. {self.left()}")
        used.interactions += n

    def left(self) -> str:
        """What is left, as a sentence for the investigator."""
        used, total = store_as(Investigation).interactions, self.allowance.interactions
        parts = [f"{total - used} of {total} interactions"]
        for limit, name, form in ((self.turns, "turns", ",.0f"), (self.tokens, "tokens", ",.0f"),
                                  (self.usd, "dollars", ".4f")):
            if limit.limit is not None:
                parts.append(f"{max(0, limit.remaining):{form}} of {limit.limit:{form}} {name}")
        return f"Left: {', '.join(parts)}."
