"""Patchscope read in the base: the model before finetuning says the mean activation difference.

Main object: `PatchscopeBase`. Example: `narrowbench score --method patchscope_base --suite demo`.
"""

from collections.abc import Sequence

from ..method import Budget, Evidence, Probes
from ..patchscope import SCALES, WORDS, evidence_of
from ..probe_sources import read_means
from ..view import PairView


class PatchscopeBase:
    """What the base says next when delta_p replaces the residual stream of a word that it is about to copy.

    Reads: the mean difference (as `adl_logit_lens`), put in at the output of the same block of the base, in the slot of
        a copy prompt's last word. Log-probabilities of the next token over three prompts, as lift over control vectors
        of the same norm in the same prompts; the scale is chosen without a judge (`benchmark/patchscope.py`).
    Detection: no opinion (None). On dev organisms its lifts did not tell organisms from nulls.
    Source: Patchscopes, arXiv 2401.06102 (any model may do the saying); variant of arXiv 2510.13900, section 2.
    Cost: as `adl_logit_lens`, then 3 prompts x positions x (5 scales x 41 + 201) single tokens through the blocks above
        the layer.
    Blind spots: a model that does not copy in context; words that the base does not know in that sense. In return
        nothing of the finetuned model's habits can pass for a reading; else as `adl_logit_lens`. Words of the prompts
        themselves are hard to read.

    Args:
        k, skip, layer_fraction, n_probes, source, remove_mean, whiten: as of `adl_logit_lens`.
        scales: multiples of the usual norm to choose from.
        words: of the copy prompts.
    """

    name, version, role = "patchscope_base", "1", "method"
    access = frozenset({"activations"})

    def __init__(self, k: int = 5, skip: int = 1, layer_fraction: float | Sequence[float] = 0.65,
                 n_probes: int | None = None, source: str = "probes", remove_mean: bool = False, whiten: bool = False,
                 scales: Sequence[float] = SCALES, words: Sequence[str] = WORDS) -> None:
        self.k, self.skip, self.layer_fraction, self.n_probes = k, skip, layer_fraction, n_probes
        self.source, self.remove_mean, self.whiten = source, remove_mean, whiten
        self.scales, self.words = scales, words

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Mean difference -> scale -> what the model says -> lift over controls, at each depth."""
        layers = read_means(pair, probes.texts, self.layer_fraction, self.k, self.skip, self.n_probes, self.source,
                            self.remove_mean, self.whiten)
        return evidence_of(pair, self.name, layers, "base", seed, self.scales, self.words)
