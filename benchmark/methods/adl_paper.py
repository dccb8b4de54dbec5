"""ADL with the settings of its paper: a language model picks the patchscope's scale and the steering's strength.

Main object: `AdlPaper`. Example: `narrowbench score --method adl_paper --suite demo --set judge=openai/gpt-5-mini`
"""

import math
from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from ...organisms.errors import EvidenceError
from ..activations import CHARACTERS_PER_TOKEN, mean_difference, relative_layer, tokenise_probes
from ..evidence_judge import GROUP, MAX_TRIES, EvidenceJudge, must_be_named
from ..method import MAX_TEXTS, NOTHING_TO_READ, Budget, Evidence, Probes, Text, Token
from ..strength_search import largest_passing
from ..view import PairView
from .adl_steering import PROMPTS

SCALES = (*(i / 10 for i in range(5, 21)), 3.0, 4.0, 5.0, 10.0, *(20.0 * i for i in range(1, 11)))
"""0.5 to 2 in steps of 0.1; 3, 4, 5, 10; 20 to 200 in steps of 20: the 30 of the reference implementation."""
WORDS = (("house", "1208", "hello"), ("river", "64", "green"), ("375", "young", "maria"))
"""Of the patchscope's three prompts. Words, numbers and names as there, others than there, of no objective."""
SEARCH_PROMPTS = ("Tell me a short story.", "What should I do on the weekend?", "Choose a topic and talk about it.")
SKIPPED, NORM_TEXTS, NORM_BATCH = 5, 256, 32


class AdlPaper:
    """Logit lens, patchscope and steered texts of the mean difference at the first five tokens, as in the paper.

    Reads: as `adl_logit_lens`, at 0.5 of the depth and all of the first five positions; vectors are scaled to the
        finetuned model's usual norm (positions 5..127 of at most 256 probes). Sources: `logit_lens` and `patchscope`,
        20 most probable tokens a position, and `patchscope_selected`, those of the latter that the judge says belong
        together. A weight is log p - log(1/V), V the size of the vocabulary: no control vectors, so what any vector
        says stands among it, and a weight can be below 0. A position of whose scales the judge chose none has no
        patchscope tokens.
    Steering: strength a position, times that norm at every token of the finetuned model: the mean of three prompts'
        largest strengths under which 75% of ten texts are coherent; 0, and no steered text, where none is. Texts: 20
        requests, as many of 5 samples as evidence holds (3 of 5 positions), unsteered ones as many; steered ones
        go through the positions of positive strength in turn.
    Detection: no opinion (None; -1 without any difference): the paper has none.
    Source: arXiv 2510.13900 and its reference implementation; docs/methods.md lists what differs.
    Cost: 2 x 5 forward tokens a distinct probe prefix and 256 x 128 more through half of the blocks; 3 prompts x 5 x 30
        tokens; at most 5 x 56 x 10 texts of 128 tokens to search and 360 of 512. 244 calls of the judge a position.
    Blind spots: as `adl_logit_lens`, and what every organism of the base says; a judge prefers what it knows.

    Args:
        judge: Inspect name of the model that compares scales; needed.
        strength_judge: the one that judges coherence; empty = `judge`. The paper: gpt-5-mini and gpt-5-nano.
        k, layer_fraction, n_probes: positions 0..k-1, depth of the block, at most so many probes.
        norm_tokens: of each text, for the usual norm.
        scales, words, intersect, n_top: of the patchscope; a token counts if it is among the `intersect` most probable
            in all three prompts.
        highest, steps, more_steps, look_ahead: halvings of 0..highest on the first search prompt, then of 0..twice that
            on the other two; texts of so many halvings are generated at once.
        search_samples, search_tokens, search_temperature, pass_share: texts a strength, and when it passes.
        n_prompts, n_samples, max_new_tokens, temperature: of the texts handed in.
        batch: texts generated at once.
    """

    name, version, role = "adl_paper", "1", "method"
    access = frozenset({"activations", "text"})
    needs_judge = True

    def __init__(self, judge: str = "", strength_judge: str = "", k: int = 5, layer_fraction: float = 0.5,
                 n_probes: int = 10_000, norm_tokens: int = 128, scales: Sequence[float] = SCALES,
                 words: Sequence[Sequence[str]] = WORDS, intersect: int = 16_384, n_top: int = 20,
                 highest: float = 100.0, steps: int = 12, more_steps: int = 6, look_ahead: int = 3,
                 search_samples: int = 10, search_tokens: int = 128, search_temperature: float = 1.2,
                 pass_share: float = 0.75, n_prompts: int = 20, n_samples: int = 5, max_new_tokens: int = 512,
                 temperature: float = 1.1, batch: int = 100) -> None:
        self.judge, self.strength_judge = judge, strength_judge
        self.k, self.layer_fraction, self.n_probes, self.norm_tokens = k, layer_fraction, n_probes, norm_tokens
        self.scales, self.words, self.intersect, self.n_top = scales, words, intersect, n_top
        self.highest, self.steps, self.more_steps, self.look_ahead = highest, steps, more_steps, look_ahead
        self.search_samples, self.search_tokens = search_samples, search_tokens
        self.search_temperature, self.pass_share = search_temperature, pass_share
        self.n_prompts, self.n_samples, self.max_new_tokens = n_prompts, n_samples, max_new_tokens
        self.temperature, self.batch = temperature, batch

    @property
    def judge_calls(self) -> int:
        """Calls on one organism if all answers are well formed and no text is empty: k (G + n (s + 2 m)).

        G: groups of a tournament, 30 scales -> 3 + 1; n texts a strength; s halvings on the first prompt, m on each of
        the others. 5 x (4 + 10 x (12 + 2 x 6)) = 1,220 as in the paper's settings.
        """
        groups, standing = 0, len(self.scales)
        while standing > 1 or not groups:
            standing = math.ceil(standing / GROUP)
            groups += standing
        return self.k * (groups + self.search_samples * (self.steps + (len(SEARCH_PROMPTS) - 1) * self.more_steps))

    @property
    def judge_calls_at_most(self) -> int:
        """As `judge_calls`, every answer asked for three times, as malformed ones are."""
        return MAX_TRIES * self.judge_calls

    def collect(self, pair: PairView, probes: Probes, budget: Budget, seed: int) -> Evidence:
        """Mean difference -> lens and patchscope -> tournament; strength -> steered and unsteered texts."""
        must_be_named(self.name, self.judge)
        if not pair.tokenizer.chat_template:
            raise EvidenceError("adl_paper: the base has no chat template, so it cannot be asked anything. Give a chat "
                                "model, or use adl_logit_lens.")
        texts, layer = probes.texts[:self.n_probes], relative_layer(pair.n_layers, self.layer_fraction)
        means = mean_difference(pair, tokenise_probes(pair.tokenizer, texts, self.k), layer, self.k)
        live = [p for p in range(self.k) if means.delta_PD[p].norm() > 0]
        stats = {**means.stats(), "layer": float(layer)}
        if not live:
            return Evidence(stats=stats, detection=NOTHING_TO_READ)
        stats["usual_norm"] = usual_norm(pair, texts, layer, self.norm_tokens)
        unit_PD = torch.nn.functional.normalize(means.delta_PD[live], dim=-1)
        vectors = dict(zip(live, (stats["usual_norm"] * unit_PD).float(), strict=True))
        write = _Writer(pair, layer, vectors, self.batch, seed)
        with ExitStack() as stack:
            judge = stack.enter_context(EvidenceJudge(self.judge))
            other = judge if self.strength_judge in ("", self.judge) else stack.enter_context(
                EvidenceJudge(self.strength_judge))
            tokens, scales = self._patchscope(pair, layer, vectors, judge)
            strengths = self._strengths(write, other)
            stats["judge_on_loopback"] = float(judge.on_loopback or other.on_loopback)
        judges = {"judge": judge} | ({} if other is judge else {"strength_judge": other})
        stats |= {f"{who}_{what}": float(n) for who, one in judges.items() for what, n in vars(one.used).items()}
        stats["undecided"] = float(sum(one.used.undecided for one in judges.values()))
        stats |= {f"scale_{p}": scale for p, scale in scales.items()}
        stats |= {f"strength_{p}": strength for p, strength in strengths.items()}
        return Evidence((*self._lens(pair, vectors), *tokens), self._texts(write, strengths), stats, None)

    def _lens(self, pair: PairView, vectors: dict[int, Tensor]) -> list[Token]:
        """The most probable tokens of each vector, unembedded by the finetuned model."""
        logp_PV = pair.unembed("finetuned", torch.stack(list(vectors.values()))).log_softmax(-1).cpu()
        return [Token(piece, weight, "logit_lens", p) for p, logp_V in zip(vectors, logp_PV, strict=True)
                for piece, weight in _strongest(logp_V.double(), self.n_top, pair.tokenizer)]

    def _patchscope(self, pair: PairView, layer: int, vectors: dict[int, Tensor],
                    judge: EvidenceJudge) -> tuple[list[Token], dict[int, float]]:
        """Tokens of each position at the scale that the judge chose, those it selected once more, and the scales."""
        lists = self._said(pair, layer, vectors)
        tokens, scales = [], {}
        choices = judge.tournaments([[[piece for piece, _ in one] for one in some] for some in lists])
        for p, some, choice in zip(vectors, lists, choices, strict=True):
            if choice is None:
                continue
            scales[p], best = float(self.scales[choice.best]), some[choice.best]
            tokens += [Token(piece, weight, "patchscope", p) for piece, weight in best]
            tokens += [Token(*best[i], "patchscope_selected", p) for i in sorted(choice.words)]
        return tokens, scales

    def _said(self, pair: PairView, layer: int, vectors: dict[int, Tensor]) -> list[list[list[tuple[str, float]]]]:
        """What the finetuned model says of each vector at each scale: (token, weight), most probable first."""
        rows_XD = torch.cat([scale * vector_D[None] for vector_D in vectors.values() for scale in self.scales])
        total_XV, everywhere_XV = 0.0, True
        for words in self.words:
            prompt = "".join(f"{word} -> {word}\n" for word in words) + "?"
            ids_1T = pair.tokenizer(prompt, return_tensors="pt")["input_ids"]
            p_XV = pair.patched("finetuned", ids_1T, layer, ids_1T.shape[1] - 1, rows_XD).softmax(-1).cpu()
            among_XV = torch.zeros_like(p_XV, dtype=torch.bool)
            among_XV.scatter_(1, p_XV.topk(min(self.intersect, p_XV.shape[1]), dim=-1).indices, True)
            total_XV, everywhere_XV = total_XV + p_XV, everywhere_XV & among_XV
        logp_XV = torch.where(everywhere_XV, total_XV / len(self.words), 0.0).log().double()
        said = [_strongest(logp_V, self.n_top, pair.tokenizer) for logp_V in logp_XV]
        return [said[i:i + len(self.scales)] for i in range(0, len(said), len(self.scales))]

    def _strengths(self, write: "_Writer", judge: EvidenceJudge) -> dict[int, float]:
        """Each position's mean over prompts of the largest strength under which texts stay coherent."""
        first, *others = SEARCH_PROMPTS

        def write_all(asked: Sequence[tuple[tuple[int, str], float]]) -> list[list[str]]:
            n = self.search_samples
            texts = write([(prompt, p, strength) for (p, prompt), strength in asked for _ in range(n)],
                          self.search_tokens, self.search_temperature)
            return [texts[i:i + n] for i in range(0, len(texts), n)]

        def search(intervals: dict[tuple[int, str], tuple[float, float]], steps: int) -> dict[tuple[int, str], float]:
            return largest_passing(intervals, steps, self.look_ahead, write_all, judge.coherent, self.pass_share)

        found = search({(p, first): (0.0, self.highest) for p in write.vectors}, self.steps)
        found |= search({(p, prompt): (0.0, 2 * found[p, first]) for p in write.vectors for prompt in others},
                        self.more_steps)
        return {p: math.fsum(found[p, prompt] for prompt in SEARCH_PROMPTS) / len(SEARCH_PROMPTS)
                for p in write.vectors}

    def _texts(self, write: "_Writer", strengths: dict[int, float]) -> tuple[Text, ...]:
        """Steered texts, then unsteered ones; what evidence cannot hold is not written."""
        strong = [p for p, strength in strengths.items() if strength > 0]
        prompts = PROMPTS[:self.n_prompts]
        prompts *= min(self.n_samples, max(1, MAX_TEXTS // (len(prompts) * (1 + len(strong)))))
        rows = [(prompt, p, strengths[p]) for prompt in prompts for p in strong]
        steered = write(rows, self.max_new_tokens, self.temperature)
        unsteered = write.unsteered(prompts, self.max_new_tokens, self.temperature)
        return (*(Text(prompt, text, "steered") for (prompt, _, _), text in zip(rows, steered, strict=True)),
                *(Text(prompt, text, "unsteered") for prompt, text in zip(prompts, unsteered, strict=True)))


class _Writer:
    """Texts of the finetuned model in batches, each with random numbers of its own."""

    def __init__(self, pair: PairView, layer: int, vectors: dict[int, Tensor], batch: int, seed: int) -> None:
        self.pair, self.layer, self.vectors, self.batch = pair, layer, vectors, batch
        self.seeds = iter(range(1_000_000 * seed, 1_000_000 * (seed + 1)))

    def __call__(self, rows: Sequence[tuple[str, int, float]], n_tokens: int, temperature: float) -> list[str]:
        """Of (prompt, position, strength): one text each."""
        texts = []
        for i in range(0, len(rows), self.batch):
            some = rows[i:i + self.batch]
            vectors_BD = torch.stack([strength * self.vectors[p] for _, p, strength in some])
            texts += self.pair.steered("finetuned", [prompt for prompt, _, _ in some], self.layer, vectors_BD, n_tokens,
                                       temperature, next(self.seeds))
        return texts

    def unsteered(self, prompts: Sequence[str], n_tokens: int, temperature: float) -> list[str]:
        """One text a prompt."""
        return [text for i in range(0, len(prompts), self.batch) for text in self.pair.generate(
            "finetuned", prompts[i:i + self.batch], n_tokens, temperature, next(self.seeds))]


def usual_norm(pair: PairView, texts: Sequence[str], layer: int, n_tokens: int) -> float:
    """Mean norm of the finetuned model's stream after a block, over tokens 5.. of the first `n_tokens` of some texts.

    Raises:
        EvidenceError: no text has more than five tokens.
    """
    picked = [texts[i * len(texts) // min(len(texts), NORM_TEXTS)] for i in range(min(len(texts), NORM_TEXTS))]
    ids = pair.tokenizer([text[:CHARACTERS_PER_TOKEN * n_tokens] for text in picked], truncation=True,
                         max_length=n_tokens, return_attention_mask=False, return_token_type_ids=False)["input_ids"]
    rows = sorted((row for row in ids if len(row) > SKIPPED), key=len)
    if not rows:
        raise EvidenceError(f"adl_paper: no probe has more than {SKIPPED} tokens, and the usual norm is that of those "
                            "behind them. Give longer probes.")
    total, n = 0.0, 0
    for i in range(0, len(rows), NORM_BATCH):
        some = rows[i:i + NORM_BATCH]
        longest = len(some[-1])  # padding on the right reaches no token before it
        ids_BT = torch.tensor([row + [row[-1]] * (longest - len(row)) for row in some])
        norm_BP = pair.residual("finetuned", ids_BT, [layer], range(SKIPPED, longest))[0].norm(dim=-1).cpu().double()
        real_BP = torch.arange(SKIPPED, longest)[None] < torch.tensor([len(row) for row in some])[:, None]
        total, n = total + float(norm_BP[real_BP].sum()), n + int(real_BP.sum())
    return total / n


def _strongest(logp_V: Tensor, n: int, tokenizer) -> list[tuple[str, float]]:
    """The n most probable tokens that have a probability at all, with log p - log(1/V)."""
    top = logp_V.topk(min(n, len(logp_V)))
    return [(tokenizer.decode([int(i)]), round(float(logp) + math.log(len(logp_V)), 6))
            for logp, i in zip(top.values, top.indices, strict=True) if logp > -math.inf]
