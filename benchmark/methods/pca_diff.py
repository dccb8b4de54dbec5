"""Leading components of what finetuning changes from text to text, beyond its mean, through the logit lens.

Main object: `PcaDiff`. Example: `narrowbench score --method pca_diff --suite demo`.

Shapes by suffix: N probes, P position, D width, C components, V vocabulary.
"""

import torch
from torch import Tensor

from ..activations import Means, beside_controls, mean_difference, relative_layer, tokenise_probes
from ..method import NOTHING_TO_READ, Budget, Evidence, Probes
from ..readout import Controls, Reading, to_tokens
from ..view import PairView

BATCH = 512
MIN_SHARE = 1e-9
"""Of the base's squared norm: less variance than this is rounding."""


class PcaDiff:
    """Logit lens of the principal components, both signs, of single texts' differences around their mean.

    Reads: finetuned minus base residual stream after one block, probe by probe, at positions 0..k-1. At each position
        the mean over probes is taken off (that is `adl_logit_lens`) and the rest is decomposed. A component has no
        sign, so the side with more to say is read: the one whose 20 largest lifts stand higher over control vectors.
        Sources are `component_1`, `component_2`, ...; `centred=False` leaves the mean in, which then is most of the
        first component.
    Detection: no opinion (None). On dev organisms the lens's excess over controls did not tell organisms from trained
        nulls, whose components read as much (the numbers and units of their facts).
    Source: PCA of activation differences as in diffing-toolkit; asked for by readers of arXiv 2510.13900.
    Cost: 4 x k forward tokens a distinct probe prefix, of at most `n_probes`, through the blocks up to the layer;
        200 controls a position and 2 vectors a component unembedded.
    Blind spots: what finetuning adds to every text alike, its main trace; components mix several things; else as
        `adl_logit_lens`.
    """

    name, version, role = "pca_diff", "1", "method"
    access = frozenset({"activations"})

    def __init__(self, k: int = 5, layer_fraction: float = 0.5, n_components: int = 2, n_probes: int = 500,
                 centred: bool = True) -> None:
        self.k, self.layer_fraction, self.n_components = k, layer_fraction, n_components
        self.n_probes, self.centred = n_probes, centred

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Differences -> components -> lens of both sides -> lift over controls."""
        layer = relative_layer(pair.n_layers, self.layer_fraction)
        ids_NT = torch.unique(tokenise_probes(pair.tokenizer, probes.texts[: self.n_probes], self.k), dim=0)
        means = mean_difference(pair, ids_NT, layer, self.k)
        sides = [torch.cat([pair.residual(which, ids, [layer], range(self.k))[0].cpu() for ids in ids_NT.split(BATCH)])
                 for which in ("finetuned", "base")]
        difference_NPD = (sides[0] - sides[1]).double()
        if self.centred:
            difference_NPD = difference_NPD - difference_NPD.mean(dim=0)
        tokens, stats = [], {**means.stats(), "layer": float(layer)}
        for p in range(self.k):
            vectors_CD, share_C = components(difference_NPD[:, p], self.n_components, MIN_SHARE * means.norm_base**2)
            for c, reading in enumerate(self._read(pair, vectors_CD, means, p, seed), start=1):
                tokens += to_tokens(reading, pair.tokenizer, f"component_{c}", p)
                stats[f"share_{c}_{p}"] = float(share_C[c - 1])
        return Evidence(tuple(tokens), stats=stats, detection=None if tokens else NOTHING_TO_READ)

    def _read(self, pair: PairView, vectors_CD: Tensor, means: Means, position: int, seed: int) -> list[Reading]:
        """For each component the reading of its better side, all against the same controls."""
        if not len(vectors_CD):
            return []
        controls_RD = beside_controls(vectors_CD[0], means, position, seed)[1:]
        both_ND = means.norm_base * torch.cat([vectors_CD, -vectors_CD]).float()
        logp_NV = pair.unembed("finetuned", torch.cat([both_ND, controls_RD])).log_softmax(-1).cpu()
        n = len(both_ND)
        controls = Controls.of(logp_NV[n:])
        read = [Reading.beside(logp_V, controls) for logp_V in logp_NV[:n]]
        return [max(pair_of_signs, key=lambda reading: reading.detection)
                for pair_of_signs in zip(read[: n // 2], read[n // 2:], strict=True)]


def components(x_ND: Tensor, n: int, least: float) -> tuple[Tensor, Tensor]:
    """The first right singular vectors of x, unit vectors_CD, and the share_C of its squared norm that each holds.

    Those that hold less than `least` of squared norm a row are left out: there is nothing but rounding.
    """
    _, s_S, v_SD = torch.linalg.svd(x_ND, full_matrices=False)
    energy_S = s_S**2
    kept = int((energy_S[:n] > least * len(x_ND)).sum())
    return v_SD[:kept], (energy_S / energy_S.sum().clamp_min(1e-300))[:kept]
