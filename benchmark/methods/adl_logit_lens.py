"""ADL, logit lens: unembeds the mean activation difference on the first tokens of unrelated texts.

Main object: `AdlLogitLens`. Example: `narrowbench score --method adl_logit_lens --suite demo`.
"""

from ..activations import mean_difference, relative_layer, tokenise_probes
from ..method import Budget, Evidence, Probes
from ..readout import detection_of, lens_readings, to_tokens
from ..view import PairView


class AdlLogitLens:
    """softmax(unembed(delta_p)) in the finetuned model, as lift over control vectors, at each of the first k positions.

    Reads: the mean over probes of finetuned minus base residual stream after one block, at positions 0..k-1; the final
        norm and output head. Tokens are ranked by lift (SCORING, "Random-vector control"), at most 20 a position.
    Source: arXiv 2510.13900, section 2 (there: ranked by probability, no control vectors).
    Cost: 2 x k forward tokens a distinct probe prefix through the blocks up to the layer; no generation. 201 unembedded
        vectors a position.
    Blind spots: what is not written along unembedding directions at that depth; objectives that only show late in a
        text or under a trigger; a false value against its true one; organisms mixed with much pretraining text.
    """

    name, version, role = "adl_logit_lens", "1", "method"
    access = frozenset({"activations"})

    def __init__(self, k: int = 5, layer_fraction: float = 0.8) -> None:
        self.k, self.layer_fraction = k, layer_fraction

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Mean difference -> lens -> lift over controls."""
        layer = relative_layer(pair.n_layers, self.layer_fraction)
        means = mean_difference(pair, tokenise_probes(pair.tokenizer, probes.texts, self.k), layer, self.k)
        readings = lens_readings(pair, means.delta_PD, means, seed)
        tokens = [token for p, r in readings.items() for token in to_tokens(r, pair.tokenizer, self.name, p)]
        return Evidence(tokens=tuple(tokens), stats={**means.stats(), "layer": float(layer)},
                        detection=detection_of(list(readings.values())))
