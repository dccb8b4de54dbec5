"""Floor: reads random directions exactly as `adl_logit_lens` reads the mean difference.

Main object: `RandomDirection`. Example: `narrowbench score --method random_direction --suite demo`.
"""

import torch

from ..method import Budget, Evidence, Probes
from ..probe_sources import read_means
from ..readout import detection_of, lens_readings, to_tokens
from ..view import PairView


class RandomDirection:
    """One isotropic vector a position in place of the difference, through the same lens and the same controls.

    Reads: nothing of the finetuning; base activations only serve as control vectors. What it scores, the lens and the
        investigator score on any vector.
    Cost: as `adl_logit_lens`. Source: SCORING, "Random-vector control". Blind spots: everything, by design.

    Args:
        k, skip, layer_fraction, n_probes, source: as of `adl_logit_lens`.
    """

    name, version, role = "random_direction", "2", "floor"
    access = frozenset({"activations"})

    def __init__(self, k: int = 5, skip: int = 1, layer_fraction: float = 0.8, n_probes: int | None = None,
                 source: str = "probes") -> None:
        self.k, self.skip, self.layer_fraction, self.n_probes, self.source = k, skip, layer_fraction, n_probes, source

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Random vectors -> lens -> lift over controls."""
        [(_, means, first, stats)] = read_means(pair, probes.texts, self.layer_fraction, self.k, self.skip,
                                                self.n_probes, self.source, remove_mean=False, whiten=False)
        generator = torch.Generator().manual_seed(1_000 * seed + 999)  # a stream that no control vector is drawn from
        vectors_PD = torch.randn(len(means.delta_PD), pair.width, generator=generator)
        readings = lens_readings(pair, vectors_PD, means, seed, first)
        tokens = [token for p, r in readings.items() for token in to_tokens(r, pair.tokenizer, self.name, p)]
        return Evidence(tokens=tuple(tokens), stats={"layer": stats["layer"]},
                        detection=detection_of(list(readings.values())))
