"""ADL, patchscope: lets the model itself say the mean activation difference, in a word's slot of a copy prompt.

Main object: `AdlPatchscope`. Example: `narrowbench score --method adl_patchscope --suite demo`.
"""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from ...organisms.errors import EvidenceError
from ..activations import Means, beside_controls, mean_difference, relative_layer, tokenise_probes
from ..method import Budget, Evidence, Probes
from ..readout import Reading, detection_of, lift, lifts_of_controls, to_tokens
from ..view import PairView

WORDS = ("small", "cold", "round", "heavy", "new", "soft", "deep", "wide", "young", "quiet", "cheap", "dry", "flat",
         "loud", "strong", "empty", "slow", "bright", "hard", "old")
"""Plain words, one token in most vocabularies and in the topic of no objective, best first."""
N_PROMPTS, N_WORDS = 3, 4
SCALES = (1.0, 1.5, 2.0, 3.0, 5.0)
N_CHOOSING = 20


class AdlPatchscope:
    """What the finetuned model says next when delta_p replaces the residual stream of a word that it is about to copy.

    Reads: the mean difference (as `adl_logit_lens`), put in at the output of the same block, at the last token of three
        prompts `small small; cold cold; round round; heavy`. Log-probabilities of the next token are averaged over the
        prompts (normalised again) and reported as lift over control vectors of the same norm in the same prompts.
    Scale: a multiple of the mean norm of base activations at that layer, one for all positions, chosen without a
        judge: a scale is good where the three prompts, which share no word, agree on what the vector says more than
        they agree on vectors that say nothing. With lift l_j in prompt j and q_j(t) ~ p_j(t) max(l_j(t), 0), sum 1,
            agreement(v) = mean over prompt pairs i < j of sum_t min(q_i(t), q_j(t))
        and the scale is the one with the largest mean over positions of agreement(delta) - mean_r agreement(r), r over
        20 vectors of each control set. Too small a scale shows the prompt, too large a one the model's default answer;
        both are the same for controls and cancel. Scales below 1 are not tried: on dev organisms the prompts then
        agree on each other's kind of word, whatever the vector.
    Detection: no opinion (None). On dev organisms its lifts did not tell organisms from nulls.
    Source: arXiv 2510.13900, section 2 (there: `w -> w` prompts, `?` as placeholder, the scale picked by an LLM).
    Cost: as `adl_logit_lens`, then 3 prompts x positions x (5 scales x 41 + 201) single tokens through the whole model.
    Blind spots: a model that does not copy in context; what the finetuned model says to any vector (cancels by design);
        else as `adl_logit_lens`. Words of the prompts themselves are hard to read.

    Args:
        read_in: "finetuned" (default) or "base", the model that does the saying.
    """

    name, version, role = "adl_patchscope", "1", "method"
    access = frozenset({"activations"})

    def __init__(self, k: int = 5, layer_fraction: float = 0.5, scales: Sequence[float] = SCALES,
                 read_in: str = "finetuned", words: Sequence[str] = WORDS) -> None:
        self.k, self.layer_fraction, self.scales, self.read_in, self.words = k, layer_fraction, scales, read_in, words

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Mean difference -> scale -> what the model says -> lift over controls."""
        layer = relative_layer(pair.n_layers, self.layer_fraction)
        means = mean_difference(pair, tokenise_probes(pair.tokenizer, probes.texts, self.k), layer, self.k)
        prompts = copy_prompts(pair.tokenizer, self.words)
        positions = [p for p in range(self.k) if means.delta_PD[p].norm() > 0]
        stats = {**means.stats(), "layer": float(layer)}
        if not positions:
            return Evidence(stats=stats, detection=detection_of([]))
        agreement_S = sum(self._agreement(pair, prompts, layer, means, p, seed) for p in positions) / len(positions)
        best = int(agreement_S.argmax())
        stats.update(scale=float(self.scales[best]), agreement=float(agreement_S[best]))
        tokens = []
        for p in positions:
            vectors_ND = self.scales[best] * beside_controls(means.delta_PD[p], means, p, seed)
            reading = Reading.of(self._say(pair, prompts, layer, vectors_ND).mean(dim=0).log_softmax(-1))
            tokens += to_tokens(reading, pair.tokenizer, self.name, p)
        return Evidence(tokens=tuple(tokens), stats=stats, detection=None)

    def _agreement(self, pair, prompts, layer, means: Means, position: int, seed: int) -> Tensor:
        """agreement(delta) - mean_r agreement(r) for each scale, agreement_S."""
        vectors_ND = beside_controls(means.delta_PD[position], means, position, seed, N_CHOOSING)
        scaled = torch.cat([scale * vectors_ND for scale in self.scales])
        logp_JSNV = self._say(pair, prompts, layer, scaled).unflatten(1, (len(self.scales), len(vectors_ND)))
        agreement_SN = torch.stack([agreement(logp_JSNV[:, s]) for s in range(len(self.scales))])
        return agreement_SN[:, 0] - agreement_SN[:, 1:].mean(dim=1)

    def _say(self, pair: PairView, prompts: list[Tensor], layer: int, vectors_ND: Tensor) -> Tensor:
        return torch.stack([pair.patched(self.read_in, ids, layer, ids.shape[1] - 1, vectors_ND).log_softmax(-1).cpu()
                            for ids in prompts])


def agreement(logp_JNV: Tensor) -> Tensor:
    """Overlap between prompts J of what each of N vectors says, agreement_N; vector 0 is read, others are controls."""
    q_JNV = []
    for logp_NV in logp_JNV:
        lifts_NV = torch.cat([lift(logp_NV[0], logp_NV[1:])[None], lifts_of_controls(logp_NV[1:])])
        q_NV = logp_NV.exp() * lifts_NV.clamp_min(0)
        q_JNV.append(q_NV / q_NV.sum(dim=-1, keepdim=True).clamp_min(1e-12))
    pairs = [torch.minimum(a, b).sum(dim=-1) for a, b in combinations(q_JNV, 2)]
    return torch.stack(pairs).mean(dim=0)


def copy_prompts(tokenizer, words: Sequence[str] = WORDS) -> list[Tensor]:
    """Three prompts as ids_1T, each of four words of its own, the last word (one token) being the placeholder."""
    def is_one_token(word: str) -> bool:
        return tokenizer.decode(tokenizer.encode(f"; {word}", add_special_tokens=False)[-1:]).strip() == word

    chosen = [word for word in words if is_one_token(word)]
    for i in range(len(tokenizer)):
        if len(chosen) >= N_PROMPTS * N_WORDS:
            break
        word = tokenizer.decode([i]).strip()
        if len(word) > 2 and word.isascii() and word.islower() and word.isalpha() and word not in chosen \
                and is_one_token(word):
            chosen.append(word)
    else:
        raise EvidenceError(f"patchscope: the vocabulary has fewer than {N_PROMPTS * N_WORDS} words of one token each")
    groups = [chosen[j * N_WORDS:(j + 1) * N_WORDS] for j in range(N_PROMPTS)]
    return [tokenizer("; ".join([*(f"{w} {w}" for w in group[:-1]), group[-1]]), return_tensors="pt")["input_ids"]
            for group in groups]
