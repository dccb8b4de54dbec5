"""Diff mining: what is raised in every context is found and detected, in each ranking; topics are told apart."""

import numpy as np
import pytest
import torch
from narrowbench.benchmark.method import Budget, Probes
from narrowbench.benchmark.methods.diff_mining import RANKINGS, DiffMining, _topics
from narrowbench.benchmark.view import PairView

PROBES = Probes(tuple(f"{opening} {noun} is {adjective} and large" for opening in ("The", "A", "This", "My")
                      for noun in ("house", "river", "garden") for adjective in ("small", "cold")))
PLANTED = (" light", " music", " story", " money")


class Shifted(PairView):
    """The base with noise on its logits, and some words raised (or lowered) by 9 nats in every context."""

    sign, words = 1.0, PLANTED

    def logits(self, which, ids_BT):
        out = super().logits("base", ids_BT)
        if which == "finetuned":
            out += torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
            words = [self.tokenizer.encode(word, add_special_tokens=False)[0] for word in self.words]
            out[..., words] += 9.0 * self.sign
        return out


class Lowered(Shifted):
    sign = -1.0


class Noise(Shifted):
    sign = 0.0


def collect(method, view):
    return method.collect(view, PROBES, Budget(), 0)


@pytest.mark.parametrize("ranking", RANKINGS)
def test_words_raised_everywhere_come_first_and_are_detected(pair, ranking):
    evidence = collect(DiffMining(ranking), Shifted(pair, {"logits"}))
    for source in {token.source for token in evidence.tokens}:
        pieces = [token.piece for token in evidence.tokens if token.source == source]
        assert set(pieces[:4]) == set(PLANTED)
    assert evidence.detection > 0.5


def test_words_lowered_everywhere_are_no_objective_and_noise_is_none_either(pair):
    assert collect(DiffMining(), Lowered(pair, {"logits"})).detection < -0.5
    assert abs(collect(DiffMining(), Noise(pair, {"logits"})).detection) < 0.2


def test_topics_of_different_contexts_become_different_sources(pair):
    delta_CX = np.zeros((40, 6), dtype=np.float32)
    delta_CX[:25, :3], delta_CX[25:, 3:] = [3.0, 2.0, 1.0], [1.0, 1.5, 2.0]
    first, second = _topics(delta_CX, 2, seed=0)
    np.testing.assert_allclose(first, [3, 2, 1, 0, 0, 0], atol=0.1)
    np.testing.assert_allclose(second, [0, 0, 0, 1, 1.5, 2], atol=0.1)
    evidence = collect(DiffMining("nmf", n_topics=2), Shifted(pair, {"logits"}))
    assert {token.source for token in evidence.tokens} <= {"diff_mining_topic_0", "diff_mining_topic_1"}


def test_weights_are_lifts_over_chance(pair):
    evidence = collect(DiffMining(k=10), Shifted(pair, {"logits"}))
    assert evidence.tokens[0].weight == pytest.approx(np.log(pair.n_vocab / 10), abs=1e-4)  # in every context


def test_an_unknown_ranking_is_refused():
    with pytest.raises(ValueError, match="top_k, positive, nmf"):
        DiffMining("best")
