"""Weight amplification on a real tiny pair: the factor changes what is said, and only for the time of the reading."""


import pytest
from narrowbench.benchmark.method import Budget, Probes
from narrowbench.benchmark.methods.weight_amplification import WeightAmplification
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.errors import AccessError

PROBES = Probes(tuple(f"{opening} {noun} is {adjective} and large" for opening in ("The", "A", "This", "My")
                      for noun in ("house", "river", "garden") for adjective in ("small", "cold")))
SHORT = {"samples": 1, "max_new_tokens": 6}


def collect(pair, seed=0, **settings):
    method = WeightAmplification(**SHORT, **settings)
    return method.collect(PairView(pair, method.access), PROBES, Budget(), seed)


def said(evidence, condition):
    return [text.completion for text in evidence.texts if text.condition == condition]


def test_the_factor_decides_what_is_said_and_the_base_stays(pair):
    before = pair.generate("finetuned", ["The house"], 6, raw=True)
    twice, thrice = collect(pair, factor=2.0), collect(pair, factor=3.0)
    assert said(twice, "amplified") != said(thrice, "amplified")
    assert set(said(twice, "base")) == set(said(thrice, "base"))
    assert collect(pair, factor=2.0).digest == twice.digest
    assert pair.generate("finetuned", ["The house"], 6, raw=True) == before


def test_factor_zero_is_the_base(pair):
    evidence = collect(pair, factor=0.0)
    assert evidence.tokens == () and evidence.detection == -1.0


def test_the_same_model_twice_says_nothing_at_any_factor(zero_pair):
    evidence = collect(zero_pair, factor=3.0)
    assert evidence.tokens == () and evidence.detection == -1.0


def test_it_needs_weights_and_text(pair):
    for access in ({"text"}, {"weights"}):
        with pytest.raises(AccessError):
            WeightAmplification(**SHORT).collect(PairView(pair, access), PROBES, Budget(), 0)
