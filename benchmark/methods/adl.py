"""ADL, whole: logit lens, patchscope and steering of one mean activation difference, handed in together.

Main object: `Adl`. Example: `narrowbench score --method adl --suite demo`.
"""

from pathlib import Path

from ...organisms.store import sha256_file
from ..method import Budget, Evidence, Probes
from ..view import PairView
from .adl_logit_lens import AdlLogitLens
from .adl_patchscope import AdlPatchscope
from .adl_steering import AdlSteering

PARTS = {"adl_logit_lens": AdlLogitLens, "adl_patchscope": AdlPatchscope, "adl_steering": AdlSteering}


class Adl:
    """The paper's combination: what each of the three readouts says, under its own name, as on its own row.

    Reads: what `adl_logit_lens`, `adl_patchscope` and `adl_steering` read, with their settings. An investigator sees
        which part said what; a word that several parts say counts for more.
    Detection: the largest of those of its parts that have one: of today's parts only the logit lens's, as neither
        patchscope nor steering tells dev organisms from dev nulls.
    Source: arXiv 2510.13900, section 2. Cost: the sum of its parts; base activations at one layer are computed once.
    Blind spots: those that its parts share.

    Args:
        parts: which readouts, by name.
    """

    name, version, role = "adl", "1", "method"
    access = frozenset().union(*(part.access for part in PARTS.values()))

    def __init__(self, parts: tuple[str, ...] = tuple(PARTS)) -> None:
        self.parts = tuple(parts)
        self.code = {part: sha256_file(Path(__file__).parent / f"{part}.py") for part in self.parts}
        """Keys the evidence: another version of a part is another version of the whole."""

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """The parts one after another, merged."""
        found = {part: PARTS[part]().collect(pair, probes, budget, seed) for part in self.parts}
        opinions = [one.detection for one in found.values() if one.detection is not None]
        return Evidence(tuple(token for one in found.values() for token in one.tokens),
                        tuple(text for one in found.values() for text in one.texts),
                        {f"{part}_{name}": value for part, one in found.items() for name, value in one.stats.items()},
                        max(opinions, default=None))
