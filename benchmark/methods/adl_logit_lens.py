"""ADL, logit lens: unembeds the mean activation difference on the first tokens of unrelated texts.

Main object: `AdlLogitLens`. Example: `narrowbench score --method adl_logit_lens --suite demo`.
"""

from collections.abc import Sequence

from ..method import Budget, Evidence, Probes
from ..probe_sources import read_means
from ..readout import detection_of, lens_readings, to_tokens
from ..view import PairView


class AdlLogitLens:
    """softmax(unembed(delta_p)) in the finetuned model, as lift over control vectors, at positions skip..k-1.

    Reads: the mean over probes of finetuned minus base residual stream after one block, at positions skip..k-1; the
        final norm and output head. Tokens are ranked by lift (SCORING, "Random-vector control"), at most 20 a position.
    Source: arXiv 2510.13900, section 2 (there: ranked by probability, no control vectors).
    Cost: 2 x k forward tokens a distinct probe prefix through the blocks up to the layer; no generation. 201 unembedded
        vectors a position.
    Blind spots: what is not written along unembedding directions at that depth; objectives that only show late in a
        text or under a trigger; a false value against its true one; organisms mixed with much pretraining text.

    Args:
        k, skip: positions skip..k-1 are read. The first (a begin-of-text token, or an attention sink)
            is left out: with it, detection told dev organisms from dev nulls less well.
        layer_fraction: depth of the block, or several depths, each a source of tokens of its own.
        n_probes: only the first so many probes; None = all.
        source: what the models are compared on, see `probe_sources`: probes, chat, bos or whitespace.
        remove_mean: take the mean over the read positions off the difference of each.
        whiten: read in coordinates in which the base's activations vary alike in all directions.
    """

    name, version, role = "adl_logit_lens", "2", "method"
    access = frozenset({"activations"})

    def __init__(self, k: int = 5, skip: int = 1, layer_fraction: float | Sequence[float] = 0.8,
                 n_probes: int | None = None, source: str = "probes", remove_mean: bool = False,
                 whiten: bool = False) -> None:
        self.k, self.skip, self.layer_fraction, self.n_probes = k, skip, layer_fraction, n_probes
        self.source, self.remove_mean, self.whiten = source, remove_mean, whiten

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Mean difference -> lens -> lift over controls, at each depth."""
        tokens, readings, told = [], [], {}
        layers = read_means(pair, probes.texts, self.layer_fraction, self.k, self.skip, self.n_probes, self.source,
                            self.remove_mean, self.whiten)
        for layer, means, first, stats in layers:
            found = lens_readings(pair, means.delta_PD, means, seed, first)
            source = self.name if len(layers) == 1 else f"{self.name}_{layer}"
            tokens += [token for p, r in found.items() for token in to_tokens(r, pair.tokenizer, source, p)]
            readings += found.values()
            told |= {key if len(layers) == 1 else f"{key}_at_{layer}": value for key, value in stats.items()}
        return Evidence(tokens=tuple(tokens), stats=told, detection=detection_of(readings))
