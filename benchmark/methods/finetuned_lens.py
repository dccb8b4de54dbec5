"""Floor: the finetuned model's mean activation, unembedded without taking the base's off.

Main object: `FinetunedLens`. Example: `narrowbench score --method finetuned_lens --suite demo`.
"""

from ..method import Budget, Evidence, Probes
from ..probe_sources import read_means
from ..readout import lens_readings, to_tokens
from ..view import PairView


class FinetunedLens:
    """What the first tokens of unrelated texts make the finetuned model expect.

    Reads: the mean over probes of the finetuned residual stream after one block, in the finetuned model, with the same
        lens and controls as `adl_logit_lens`. What it scores can be had without the base.
    Detection: no opinion (None): any model's mean activation rises above control vectors.
    Source: arXiv 2510.13900, section 2, baselines. Cost: as `adl_logit_lens`.
    Blind spots: a difference that is small beside what the base expects anyway, as of most narrow finetuning.

    Args:
        k, skip, layer_fraction, n_probes, source: as of `adl_logit_lens`.
    """

    name, version, role = "finetuned_lens", "1", "floor"
    access = frozenset({"activations"})

    def __init__(self, k: int = 5, skip: int = 1, layer_fraction: float = 0.8, n_probes: int | None = None,
                 source: str = "probes") -> None:
        self.k, self.skip, self.layer_fraction, self.n_probes, self.source = k, skip, layer_fraction, n_probes, source

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Mean -> lens -> lift over controls."""
        [(_, means, first, stats)] = read_means(pair, probes.texts, self.layer_fraction, self.k, self.skip,
                                                self.n_probes, self.source, remove_mean=False, whiten=False)
        readings = lens_readings(pair, means.finetuned_PD, means, seed, first, "finetuned")
        tokens = [token for p, r in readings.items() for token in to_tokens(r, pair.tokenizer, self.name, p)]
        return Evidence(tokens=tuple(tokens), stats={"layer": stats["layer"]}, detection=None)
