"""Floor: a method that looks at nothing. What scores above this row is due to evidence.

Main object: `Prior`. Example: `narrowbench score --method prior --suite demo`.
"""

from ..method import Budget, Evidence, Probes
from ..view import PairView


class Prior:
    """Empty evidence and no opinion on detection. Reads nothing, costs nothing, sees nothing."""

    name, version, role = "prior", "1", "floor"
    access = frozenset({"none"})

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Hands in nothing, so the investigator falls back on what it believes beforehand."""
        return Evidence()
