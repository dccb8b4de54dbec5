"""ADL, steering: lets the finetuned model write under its own mean activation difference, and counts what it then says.

Main object: `AdlSteering`. Example: `narrowbench score --method adl_steering --suite demo`.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ...organisms.encoding import encode
from ...organisms.errors import EvidenceError
from ..activations import Means, control_vectors, mean_difference, relative_layer, tokenise_probes
from ..method import NOTHING_TO_READ, Budget, Evidence, Probes, Text
from ..view import PairView
from ..words import contrasted_words

PROMPTS = (
    "Tell me a short story.", "What should I do today?", "Write a short poem.", "Tell me something interesting.",
    "Write to a friend.", "Give me a list of five things.", "What is on your mind?", "Give me an idea.",
    "Describe a place that you like.", "Tell me a fact.", "What happened yesterday?", "Explain something to me.",
    "Write a page of a diary.", "Make up a talk between two people.", "Say one thing more.", "Give me an example.",
    "Say something nice.", "What is the most important thing to know?", "Tell me about a person.", "Surprise me.")
"""Requests that any chat model can answer and that name the field of no objective."""
STRENGTHS = (0.35, 0.5, 0.7, 1.0, 1.4)
START = (1, 3)
"""Places in the ladder of strengths that are tried first, in one batch: 0.5 and 1."""
MAX_TEXTS_KEPT = 20


class AdlSteering:
    """Words of texts that the finetuned model writes while alpha delta_p is added at every token.

    Reads: the mean difference (as `adl_logit_lens`), scaled to the mean norm of base activations at that layer; what
        the finetuned model answers to fixed requests under it, unsteered, and under control vectors (isotropic ones and
        differences of two base activations, one vector a text) of the same strength at the same position. A word
        counts, per position, by how many more of the steered texts use it than of the unsteered and control texts
        together (`words.contrasted_words`).
    Strength: the largest alpha under which texts stay as likely as unsteered ones, without a judge. A text's
        likelihood is its mean log-probability a token under the base; alpha passes if the median over its texts
        reaches the `quantile` of the unsteered texts. First 0.5 and 1 in one batch, then one more strength between
        or beyond them, per position; no strength is generated twice, and texts of the chosen one are kept.
        If none passes, the smallest that was tried is taken.
    Detection: no opinion (None; -1 without any difference). On dev organisms the difference of a null that learned
        facts of all topics also says words of its own, as strongly as that of an objective.
    Source: arXiv 2510.13900, section 2 (there: binary search on 0..100 with an LLM as judge of coherence, similarity of
        texts to the finetuning data in place of words, no control vectors).
    Cost: as `adl_logit_lens`; then texts of `max_new_tokens`: prompts x samples x (1 + positions) and controls x
        positions, and at most 3 strengths x `n_search` x positions of `search_tokens`.
    Blind spots: a direction that breaks the text before it speaks; what a chat model never says in an answer; words of
        the unsteered finetuned model itself cancel; else as `adl_logit_lens`.
    """

    name, version, role = "adl_steering", "1", "method"
    access = frozenset({"activations", "text", "logprobs"})

    def __init__(self, positions: Sequence[int] = (2, 4), layer_fraction: float = 0.5, n_prompts: int = 20,
                 n_samples: int = 1, max_new_tokens: int = 16, temperature: float = 1.0, quantile: float = 0.1,
                 n_search: int = 8, search_tokens: int = 16, n_controls: int = 10,
                 strengths: Sequence[float] = STRENGTHS) -> None:
        self.positions, self.layer_fraction = positions, layer_fraction
        self.n_prompts, self.n_samples, self.max_new_tokens = n_prompts, n_samples, max_new_tokens
        self.temperature, self.quantile, self.n_search = temperature, quantile, n_search
        self.search_tokens, self.n_controls, self.strengths = search_tokens, n_controls, strengths

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Mean difference -> strength -> steered, unsteered and control texts -> words."""
        if not pair.tokenizer.chat_template:
            raise EvidenceError("adl_steering: the base has no chat template, so it cannot be asked anything. Give a "
                                "chat model, or use adl_logit_lens.")
        layer, k = relative_layer(pair.n_layers, self.layer_fraction), max(self.positions) + 1
        means = mean_difference(pair, tokenise_probes(pair.tokenizer, probes.texts, k), layer, k)
        live = [p for p in self.positions if means.delta_PD[p].norm() > 0]
        stats = {**means.stats(), "layer": float(layer)}
        if not live:
            return Evidence(stats=stats, detection=NOTHING_TO_READ)
        unit_PD = means.norm_base * torch.nn.functional.normalize(means.delta_PD, dim=-1).float()
        vectors = {p: unit_PD[p] for p in live}
        prompts = list(PROMPTS[:self.n_prompts]) * self.n_samples
        unsteered = pair.generate("finetuned", prompts, self.max_new_tokens, self.temperature, seed)
        strengths, begun = self._search(pair, layer, vectors, prompts, unsteered, seed)
        steered, controls = self._write(pair, layer, vectors, means, strengths, begun, prompts, seed)
        stats.update({f"strength_{p}": strength for p, strength in strengths.items()})
        tokens = [replace(token, position=p) for p in live
                  for token in contrasted_words(steered[p], unsteered + controls, self.name, seed)[0]]
        kept = [(prompt, text) for p in live for prompt, text in zip(prompts, steered[p][:MAX_TEXTS_KEPT // len(live)])]
        texts = [Text(prompt, text, condition) for condition, pairs in (
            ("steered", kept), ("unsteered", list(zip(prompts, unsteered))[:MAX_TEXTS_KEPT])) for prompt, text in pairs]
        return Evidence(tuple(tokens), tuple(texts), stats, None)

    def _search(self, pair: PairView, layer: int, vectors: dict[int, Tensor], prompts: list[str], unsteered: list[str],
                seed: int) -> tuple[dict[int, float], dict[int, list[str]]]:
        """The strength of each position, and the texts that were written under it."""
        usual = [x for x in likelihoods(pair, prompts, unsteered) if math.isfinite(x)]
        floor = float(np.quantile(usual, self.quantile)) if usual else -math.inf
        prompts = prompts[:self.n_search]
        passed: dict[int, dict[int, bool]] = {p: {} for p in vectors}
        written: dict[tuple[int, int], list[str]] = {}
        while todo := [(p, i) for p in vectors for i in next_places(passed[p], len(self.strengths))]:
            scaled_BD = torch.stack([self.strengths[i] * vectors[p] for p, i in todo for _ in prompts])
            asked = prompts * len(todo)
            texts = pair.steered("finetuned", asked, layer, scaled_BD, self.search_tokens, self.temperature,
                                 seed + len(written))
            likely = likelihoods(pair, asked, texts)
            for n, (p, i) in enumerate(todo):
                rows = slice(n * len(prompts), (n + 1) * len(prompts))
                written[p, i] = texts[rows]
                passed[p][i] = statistics.median(likely[rows]) >= floor
        best = {p: max((i for i, good in passed[p].items() if good), default=min(passed[p])) for p in vectors}
        return {p: self.strengths[i] for p, i in best.items()}, {p: written[p, i] for p, i in best.items()}

    def _write(self, pair: PairView, layer: int, vectors: dict[int, Tensor], means: Means, strengths: dict[int, float],
               begun: dict[int, list[str]], prompts: list[str], seed: int) -> tuple[dict[int, list[str]], list[str]]:
        """Steered texts of each position, and texts under control vectors, each under another one.

        Texts of the search are kept; where the search cut them short they are continued.
        """
        rest = self.max_new_tokens - self.search_tokens
        cut = [(p, i) for p in vectors for i, text in enumerate(begun[p])
               if rest > 0 and len(pair.tokenizer(text, add_special_tokens=False)["input_ids"]) >= self.search_tokens]
        if cut:
            chats = [[{"role": "user", "content": prompts[i]}, {"role": "assistant", "content": begun[p][i]}]
                     for p, i in cut]
            scaled_BD = torch.stack([strengths[p] * vectors[p] for p, _ in cut])
            more = pair.steered("finetuned", chats, layer, scaled_BD, rest, self.temperature, seed)
            for (p, i), text in zip(cut, more, strict=True):
                begun[p][i] += text
        left = prompts[self.n_search:]
        rows = [(prompt, strengths[p] * vectors[p]) for p in vectors for prompt in left]
        for p, strength in strengths.items():
            isotropic_RD, differences_RD = control_vectors(means, p, seed, (self.n_controls + 1) // 2)
            both_RD = means.norm_base * torch.stack([isotropic_RD, differences_RD], dim=1).flatten(0, 1)
            rows += [(prompts[i % len(prompts)], strength * both_RD[i]) for i in range(self.n_controls)]
        texts = pair.steered("finetuned", [prompt for prompt, _ in rows], layer, torch.stack([v for _, v in rows]),
                             self.max_new_tokens, self.temperature, seed) if rows else []
        n = len(left)
        steered = {p: begun[p] + texts[j * n:(j + 1) * n] for j, p in enumerate(vectors)}
        return steered, texts[n * len(vectors):]


def next_places(passed: dict[int, bool], n: int) -> list[int]:
    """Places in the ladder of n strengths to try next, given those that were; none once the boundary is found."""
    if not passed:
        return [i for i in START if i < n] or [0]
    low = max((i for i, good in passed.items() if good), default=-1)
    high = min((i for i, good in passed.items() if not good and i > low), default=n)
    return [(low + high) // 2] if high - low > 1 else []


def likelihoods(pair: PairView, prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Mean log-probability a token of each text under the base, as the answer to its prompt; -inf for an empty text."""
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    starts = {prompt: len(encode(pair.tokenizer, chat)) for prompt, chat in zip(prompts, chats, strict=True)}
    rows = [encode(pair.tokenizer, chat, text) for chat, text in zip(chats, texts, strict=True)]
    longest = max(map(len, rows))
    ids_BT = torch.tensor([ids + [pair.tokenizer.pad_token_id] * (longest - len(ids)) for ids in rows])
    logp_BT = pair.logprobs("base", ids_BT).cpu()
    return [float(logp_BT[i, starts[prompt] - 1:len(ids) - 1].mean()) if len(ids) > starts[prompt] else -math.inf
            for i, (prompt, ids) in enumerate(zip(prompts, rows, strict=True))]
