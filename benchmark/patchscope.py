"""Patchscopes: a model says a vector that stands in a word's slot of a prompt which asks it to copy that word.

Main objects: `Patchscope` (where vectors are put in and who says them), `evidence_of` (a mean difference, said),
`copy_prompts`, `agreement`.
Example: `readings, stats = Patchscope(view, "base", layer).read(means, positions=range(5), seed=0)`

The prompts are `small small; cold cold; round round; heavy`, the vector in place of the last word. Log-probabilities of
the next token are averaged over three prompts that share no word (and normalised again) and read as lift over control
vectors of the same norm in the same prompts.
Scale: a multiple of the usual norm there, one for all positions, chosen without a judge: a scale is good where the
prompts agree on what the vector says more than they agree on vectors that say nothing. With lift l_j in prompt j and
q_j(t) ~ p_j(t) max(l_j(t), 0), sum 1,
    agreement(v) = mean over prompt pairs i < j of sum_t min(q_i(t), q_j(t))
and the scale is the one with the largest mean over positions of agreement(delta) - mean_r agreement(r), r over 20
vectors of each control set. Too small a scale shows the prompt, too large a one the model's default answer; both are
the same for controls and cancel.

Shapes by suffix: J prompts, S scales, P positions, N a vector and its controls, V vocabulary, D width, T token.
"""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from ..organisms.errors import EvidenceError
from .activations import Means, beside_controls
from .method import NOTHING_TO_READ, Evidence
from .readout import Reading, lift, lifts_of_controls, to_tokens

WORDS = ("small", "cold", "round", "heavy", "new", "soft", "deep", "wide", "young", "quiet", "cheap", "dry", "flat",
         "loud", "strong", "empty", "slow", "bright", "hard", "old")
"""Plain words, one token in most vocabularies and in the topic of no objective, best first."""
N_PROMPTS, N_WORDS = 3, 4
SCALES = (1.0, 1.5, 2.0, 3.0, 5.0)
"""Scales below 1 are not tried: on dev organisms the prompts then agree on each other's kind of word, whatever the
vector."""
N_CHOOSING = 20
MAX_ELEMENTS = 2**26


class Patchscope:
    """Where vectors are put in, and which model says them.

    Args:
        which: the model that does the saying.
        layer: the block whose output is replaced; -1 = the input embedding. A vector then has the prompt words' usual
            norm, and their mean embedding is added to it, so that it stands where words stand.
    """

    def __init__(self, view, which: str, layer: int, words: Sequence[str] = WORDS) -> None:
        self.view, self.which, self.layer = view, which, layer
        self.prompts = copy_prompts(view.tokenizer, words)
        self._size, self._origin_D = None, torch.zeros(view.width)
        if layer < 0:
            slots = torch.cat([ids_1T[0, -1:] for ids_1T in self.prompts])
            words_XD = view.embedding(slots).cpu()
            self._size, self._origin_D = float(words_XD.norm(dim=-1).mean()), words_XD.mean(dim=0)

    def read(self, means: Means, positions: Sequence[int], seed: int,
             scales: Sequence[float] = SCALES) -> tuple[dict[int, Reading], dict[str, float]]:
        """A reading of the mean difference at each position that has one, and the chosen scale with its agreement."""
        positions = [p for p in positions if means.delta_PD[p].norm() > 0]
        if not positions:
            return {}, {}
        few_PND = torch.stack([beside_controls(means.delta_PD[p], means, p, seed, N_CHOOSING) for p in positions])
        gain_S = torch.zeros(len(scales))
        for logp_JSNV in self._each(few_PND, means, scales):
            agreement_SN = torch.stack([agreement(logp_JNV) for logp_JNV in logp_JSNV.unbind(1)])
            gain_S += (agreement_SN[:, 0] - agreement_SN[:, 1:].mean(dim=1)) / len(positions)
        best = int(gain_S.argmax())
        all_PND = torch.stack([beside_controls(means.delta_PD[p], means, p, seed) for p in positions])
        readings = {p: Reading.of(logp_JSNV[:, 0].mean(dim=0).log_softmax(-1)) for p, logp_JSNV in zip(
            positions, self._each(all_PND, means, [scales[best]]), strict=True)}
        return readings, {"scale": float(scales[best]), "agreement": float(gain_S[best])}

    def say(self, vectors_ND: Tensor, means: Means, scales: Sequence[float]) -> Tensor:
        """log p of the next token, logp_JSNV, when the vectors (of the base's usual norm) stand in the slot."""
        size = 1.0 if self._size is None else self._size / means.norm_base
        rows = torch.cat([self._origin_D + scale * size * vectors_ND for scale in scales])
        logp_JXV = torch.stack([self.view.patched(self.which, ids_1T, self.layer, ids_1T.shape[1] - 1,
                                                  rows).log_softmax(-1).cpu() for ids_1T in self.prompts])
        return logp_JXV.unflatten(1, (len(scales), len(vectors_ND)))

    def _each(self, vectors_PND: Tensor, means: Means, scales: Sequence[float]):
        """logp_JSNV of each position, in as few forward passes as fit: each runs the prompts' prefixes again."""
        n_positions, n_vectors, _ = vectors_PND.shape
        together = max(1, MAX_ELEMENTS // (N_PROMPTS * len(scales) * n_vectors * self.view.n_vocab))
        for some_PND in vectors_PND.split(together):
            logp_JSXV = self.say(some_PND.flatten(0, 1), means, scales)
            yield from logp_JSXV.unflatten(2, (len(some_PND), n_vectors)).unbind(2)


def evidence_of(view, name: str, layers: Sequence[tuple[int, Means, int, dict[str, float]]], which: str, seed: int,
                scales: Sequence[float], words: Sequence[str], at_embedding: bool = False) -> Evidence:
    """What a model says of the mean differences of `probe_sources.read_means`, at each depth; no opinion on detection.

    Args:
        which: the model that does the saying.
        at_embedding: put the vectors in at the input embedding instead of the block they come from.
    """
    tokens, told, read = [], {}, False
    for layer, means, first, stats in layers:
        scope = Patchscope(view, which, -1 if at_embedding else layer, words)
        found, chosen = scope.read(means, range(first, len(means.delta_PD)), seed, scales)
        source = name if len(layers) == 1 else f"{name}_{layer}"
        tokens += [token for p, r in found.items() for token in to_tokens(r, view.tokenizer, source, p)]
        told |= {key if len(layers) == 1 else f"{key}_at_{layer}": value for key, value in (stats | chosen).items()}
        read = read or bool(found)
    return Evidence(tokens=tuple(tokens), stats=told, detection=None if read else NOTHING_TO_READ)


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
