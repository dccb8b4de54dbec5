"""Steering on a real tiny pair: a planted word is said, strengths are found without a judge, nothing is made twice."""

from collections import Counter

import pytest
import torch
from narrowbench.benchmark.method import Budget, Evidence, Method, Probes
from narrowbench.benchmark.methods.adl_steering import (PROMPTS, STRENGTHS, AdlSteering, likelihoods, next_places)
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.errors import AccessError, EvidenceError

PROBES = Probes(tuple(f"{opening} {noun} is {adjective} and large" for opening in ("The", "A", "This", "My")
                      for noun in ("house", "river", "garden") for adjective in ("small", "cold")))
SMALL = {"positions": (1, 3), "n_prompts": 6, "n_search": 3, "n_controls": 6, "max_new_tokens": 6, "search_tokens": 6}


class Counting(PairView):
    """A view that notes every steered row."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.rows, self.calls = Counter(), []

    def steered(self, which, prompts, layer, vectors_BD, max_new_tokens=64, temperature=0.0, seed=0, raw=False):
        self.calls.append((which, len(prompts), max_new_tokens))
        self.rows.update((str(prompt), tuple(vector.tolist())) for prompt, vector in zip(prompts, vectors_BD))
        return super().steered(which, prompts, layer, vectors_BD, max_new_tokens, temperature, seed, raw)


class Planted(PairView):
    """The pair of an organism whose finetuning added one word's unembedding direction to the residual stream."""

    def residual(self, which, ids_BT, layers, positions):
        word = torch.tensor(self.tokenizer.encode(" garden", add_special_tokens=False))
        shift_D = self.embedding(word)[0] if which == "finetuned" else 0.0
        return super().residual("base", ids_BT, layers, positions) + shift_D


def collect(pair, view=PairView, seed=0, **settings) -> tuple[Evidence, PairView]:
    method = AdlSteering(**{**SMALL, **settings})
    seen = view(pair, method.access)
    return method.collect(seen, PROBES, Budget(), seed), seen


def test_evidence_is_sound_and_repeatable(pair):
    evidence, _ = collect(pair)
    assert isinstance(AdlSteering(), Method)
    assert evidence.digest == collect(pair)[0].digest != collect(pair, seed=1)[0].digest
    assert Counter(text.condition for text in evidence.texts) == {"steered": 12, "unsteered": 6}
    assert {evidence.stats["strength_1"], evidence.stats["strength_3"]} <= set(STRENGTHS)
    for position in (1, 3):
        weights = [token.weight for token in evidence.tokens if token.position == position]
        assert weights == sorted(weights, reverse=True) and all(weight > 0 for weight in weights)


def test_cost_is_what_the_docstring_says(pair):
    n_tokens = collect(pair)[1].cost()["generated_tokens"]
    assert 0 < n_tokens <= 6 * (6 * (1 + 2) + 6 * 2 + 3 * 3 * 2)


def test_it_says_a_planted_word(pair):
    evidence, _ = collect(pair, Planted, n_prompts=20, n_search=4, n_controls=10, layer_fraction=1.0, strengths=(8.0,),
                          temperature=0.3)
    assert {token.position for token in evidence.tokens if token.piece == " garden"} == {1, 3}
    assert max(evidence.tokens, key=lambda token: token.weight).piece == " garden"


def test_a_zero_adapter_has_nothing_to_read(zero_pair):
    evidence, view = collect(zero_pair)
    assert evidence.tokens == () and evidence.texts == () and evidence.detection == -1.0
    assert view.cost()["generated_tokens"] == 0


def test_no_row_is_generated_twice_and_only_the_finetuned_model_is_steered(pair):
    _, view = collect(pair, Counting)
    assert set(view.rows.values()) == {1} and {which for which, _, _ in view.calls} == {"finetuned"}
    assert sum(n for _, n, _ in view.calls[:-1]) <= 3 * 3 * 2
    assert view.calls[-1][1] == 2 * (6 - 3) + 2 * 6


def test_texts_that_the_search_cut_short_are_continued(pair):
    evidence, view = collect(pair, Counting, search_tokens=2)
    assert sum(text.condition == "steered" for text in evidence.texts) == 12
    continued = [prompt for prompt, _ in view.rows if prompt.startswith("[{'role'")]
    assert 0 < len(continued) <= 6


def test_a_stricter_quantile_never_gives_a_larger_strength(pair):
    loose, strict = (collect(pair, quantile=q)[0].stats for q in (0.0, 1.0))
    assert all(loose[f"strength_{p}"] >= strict[f"strength_{p}"] for p in (1, 3))


@pytest.mark.parametrize("limit", [0.0, 0.35, 0.6, 0.7, 1.2, 9.0])
def test_the_search_finds_the_largest_good_strength_in_three_trials(limit):
    passed = {}
    while places := next_places(passed, len(STRENGTHS)):
        assert not set(places) & set(passed)
        passed.update({i: STRENGTHS[i] <= limit for i in places})
    good = [i for i, fine in passed.items() if fine]
    assert max(good, default=None) == max((i for i, s in enumerate(STRENGTHS) if s <= limit), default=None)
    assert len(passed) <= 3


def test_likelihood_is_that_of_the_answer_alone(pair):
    view = PairView(pair, {"logprobs"})
    texts = [" garden house", " river", ""]
    three = likelihoods(view, PROMPTS[:3], texts)
    assert three[:1] == pytest.approx(likelihoods(view, PROMPTS[:1], texts[:1]), abs=1e-5)
    chat = pair.tokenizer.apply_chat_template([{"role": "user", "content": PROMPTS[1]}], add_generation_prompt=True,
                                              tokenize=False)
    ids = pair.tokenizer(chat + texts[1], add_special_tokens=False, return_tensors="pt")["input_ids"]
    assert three[1] == pytest.approx(float(pair.logprobs("base", ids)[0, -1]), abs=1e-5)
    assert three[2] == -float("inf")


def test_prompts_are_twenty_and_differ():
    assert len(set(PROMPTS)) == 20


def test_access_and_chat_template_are_needed(pair):
    with pytest.raises(AccessError):
        AdlSteering(**SMALL).collect(PairView(pair, {"activations", "logprobs"}), PROBES, Budget(), 0)
    template, pair.tokenizer.chat_template = pair.tokenizer.chat_template, None
    try:
        with pytest.raises(EvidenceError, match="chat template"):
            collect(pair)
    finally:
        pair.tokenizer.chat_template = template
