"""Patchscope at the embedding: the mean activation difference stands in the base's input where a word would stand.

Main object: `PatchscopeEmbedding`. Example: `narrowbench score --method patchscope_embedding --suite demo`.
"""

from collections.abc import Sequence

from ..method import Budget, Evidence, Probes
from ..patchscope import SCALES, WORDS, evidence_of
from ..probe_sources import read_means
from ..view import PairView


class PatchscopeEmbedding:
    """What the base says next when delta_p, made a word's embedding, stands in the slot that it is about to copy.

    Reads: the mean difference (as `adl_logit_lens`), scaled to the norm of word embeddings, their mean added, in place
        of the input embedding of a copy prompt's last word in the base.
        Log-probabilities of the next token over three prompts, as lift over control vectors of the same norm in the
        same prompts; the scale is chosen without a judge (`benchmark/patchscope.py`).
    Detection: no opinion (None). On dev organisms its lifts did not tell organisms from nulls.
    Source: Patchscopes, arXiv 2401.06102 (another layer and model than the vector's); the mean embedding is ours.
    Cost: as `adl_logit_lens`, then 3 prompts x positions x (5 scales x 41 + 201) single tokens through the whole base.
    Blind spots: middle layers need not write in the space of input embeddings; a model that does not copy in context;
        else as `adl_logit_lens`. Words of the prompts themselves are hard to read.

    Args:
        k, skip, layer_fraction, n_probes, source, remove_mean, whiten: as of `adl_logit_lens`.
        scales: multiples of the usual norm to choose from.
        words: of the copy prompts.
    """

    name, version, role = "patchscope_embedding", "1", "method"
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
        return evidence_of(pair, self.name, layers, "base", seed, self.scales, self.words, at_embedding=True)
