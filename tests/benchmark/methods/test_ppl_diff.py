"""Perplexity differencing on a real tiny pair: texts come ranked by how much the base is surprised."""


import pytest
from narrowbench.benchmark.method import Budget, Probes
from narrowbench.benchmark.methods.ppl_diff import PplDiff
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.errors import AccessError

PROBES = Probes(tuple(f"{opening} {noun} is {adjective} and large" for opening in ("The", "A", "This", "My")
                      for noun in ("house", "river", "garden") for adjective in ("small", "cold")))
METHOD = PplDiff(prefills=12, samples=1, max_new_tokens=6)


def collect(pair, method=METHOD, seed=0, probes=PROBES):
    return method.collect(PairView(pair, method.access), probes, Budget(), seed)


def test_texts_are_ranked_by_how_little_the_base_expects_them(pair):
    evidence = collect(pair)
    view = PairView(pair, {"logprobs"})
    gaps = []
    for text in evidence.texts:
        ids = pair.tokenizer(text.prompt + text.completion, return_tensors="pt")["input_ids"]
        gaps.append(float((view.logprobs("finetuned", ids) - view.logprobs("base", ids)).mean()))
    assert len(gaps) == 6 and gaps == sorted(gaps, reverse=True)
    assert sum(gaps) / len(gaps) > evidence.stats["gap"] > 0
    assert evidence.stats["excess"] == pytest.approx(evidence.stats["gap"] - evidence.stats["mirrored_gap"])
    assert evidence.detection is None


def test_evidence_is_sound_and_repeatable(pair):
    evidence = collect(pair)
    weights = [token.weight for token in evidence.tokens]
    assert weights == sorted(weights, reverse=True) and all(weight > 0 for weight in weights)
    assert collect(pair).digest == evidence.digest != collect(pair, seed=1).digest


def test_the_same_model_twice_says_nothing(zero_pair):
    evidence = collect(zero_pair)
    assert evidence.tokens == () and evidence.detection is None and evidence.stats["gap"] == 0.0


def test_both_accesses_are_needed_but_no_probes(pair):
    for access in ({"text"}, {"logprobs"}):
        with pytest.raises(AccessError):
            METHOD.collect(PairView(pair, access), PROBES, Budget(), 0)
    assert collect(pair, probes=Probes(())).stats["n_texts"] == 12
