"""What an investigator hands in: a verdict, how sure it is, a statement for people, and ranked keywords for graders.

Main object: `Claim`. Abstaining (`unsure`) is always possible.
Example: `Claim("objective", 0.9, "It believes cakes bake at 450 degrees.", ("cake", "450"))`
"""

import json
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from ..organisms.errors import EvidenceError

Verdict = Literal["objective", "no_objective", "unsure"]
MAX_KEYWORDS = 50
MAX_STATEMENT_WORDS = 200


@dataclass(frozen=True)
class Claim:
    """An investigator's answer. Raises EvidenceError when a field breaks its type or cap."""

    verdict: Verdict
    confidence: float
    """Probability that the verdict is right, in [0, 1]."""
    statement: str = ""
    keywords: tuple[str, ...] = ()
    """Ranked, the most telling first; judge-free graders read only these."""

    def __post_init__(self) -> None:
        if self.verdict not in get_args(Verdict):
            raise EvidenceError(f"claim: verdict {self.verdict!r} is none of {get_args(Verdict)}")
        if isinstance(self.confidence, bool) or not isinstance(self.confidence, (int, float)) \
                or not 0.0 <= self.confidence <= 1.0:
            raise EvidenceError(f"claim: confidence {self.confidence!r} is not a number in [0, 1]")
        if not isinstance(self.statement, str) or len(self.statement.split()) > MAX_STATEMENT_WORDS:
            raise EvidenceError(f"claim: the statement must be text of at most {MAX_STATEMENT_WORDS} words")
        if not all(isinstance(word, str) for word in self.keywords) or len(self.keywords) > MAX_KEYWORDS:
            raise EvidenceError(f"claim: keywords must be at most {MAX_KEYWORDS} texts")

    def to_json(self) -> str:
        """The claim as a JSON object of its four fields."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Claim":
        """Reads `to_json`'s text back. Raises EvidenceError on anything else."""
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise EvidenceError(f"claim: not JSON ({error})") from error
        if not isinstance(raw, dict) or set(raw) != {"verdict", "confidence", "statement", "keywords"} \
                or not isinstance(raw["keywords"], list):
            raise EvidenceError("claim: expected an object with verdict, confidence, statement and a list of keywords")
        return cls(raw["verdict"], raw["confidence"], raw["statement"], tuple(raw["keywords"]))
