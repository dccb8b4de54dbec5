"""Floor: reads random directions exactly as `adl_logit_lens` reads the mean difference.

Main object: `RandomDirection`. Example: `narrowbench score --method random_direction --suite demo`.
"""

import torch

from ..activations import mean_difference, relative_layer, tokenise_probes
from ..method import Budget, Evidence, Probes
from ..readout import detection_of, lens_readings, to_tokens
from ..view import PairView


class RandomDirection:
    """One isotropic vector a position in place of the difference, through the same lens and the same controls.

    Reads: nothing of the finetuning; base activations only serve as control vectors. What it scores, the lens and the
        investigator score on any vector.
    Cost: as `adl_logit_lens`. Source: SCORING, "Random-vector control". Blind spots: everything, by design.
    """

    name, version, role = "random_direction", "1", "floor"
    access = frozenset({"activations"})

    def __init__(self, k: int = 5, layer_fraction: float = 0.8) -> None:
        self.k, self.layer_fraction = k, layer_fraction

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Random vectors -> lens -> lift over controls."""
        layer = relative_layer(pair.n_layers, self.layer_fraction)
        means = mean_difference(pair, tokenise_probes(pair.tokenizer, probes.texts, self.k), layer, self.k)
        generator = torch.Generator().manual_seed(1_000 * seed + 999)  # a stream that no control vector is drawn from
        vectors_PD = torch.randn(self.k, pair.width, generator=generator)
        readings = lens_readings(pair, vectors_PD, means, seed)
        tokens = [token for p, r in readings.items() for token in to_tokens(r, pair.tokenizer, self.name, p)]
        return Evidence(tokens=tuple(tokens), stats={"layer": float(layer)},
                        detection=detection_of(list(readings.values())))
