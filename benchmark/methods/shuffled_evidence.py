"""Floor: what another method finds on another organism. What it scores, any true reading scores on a wrong organism.

Main object: `ShuffledEvidence`. Example: `narrowbench score --method shuffled_evidence --suite demo`.
"""

from ..method import Budget, Evidence, Probes, code_of, load_method
from ..view import PairView


class ShuffledEvidence:
    """`adl_logit_lens` on an organism of the suite that is neither the one it answers for, nor its twin or other seeds.

    Reads: what the method named by `of` reads. `reads_stranger` asks the harness for the exchange: it attaches, for
        each organism, a stranger drawn by the seed (`strangers.strangers`: a permutation, so every organism's evidence
        is handed in once), while the answer counts for the organism in whose cell it stands. So the evidence is real
        and well formed, and wrong; the row needs no stored evidence of the other method and no order of runs.
    Reported only, below chance by construction: true objectives are missed for other true ones (SCORING).
    Detection: the stranger's, so it knows nothing about the organism it is handed in for.
    Source: reference rows of DESIGN. Cost: that of the method it runs. Blind spots: its own organism, by design.

    Args:
        of: name of a method with access "activations".
    """

    name, version, role = "shuffled_evidence", "1", "floor"
    access = frozenset({"activations"})
    reads_stranger = True

    def __init__(self, of: str = "adl_logit_lens") -> None:
        self.of, self.of_code = of, code_of(load_method(of)[0])  # so that its changed code reuses no evidence

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Runs the other method on the pair that the harness has attached."""
        return load_method(self.of)[0].collect(pair, probes, budget, seed)
