"""Methods that only read what both models say: on a real tiny pair, they hear a planted word, and nothing where nothing
is."""

import json

import pytest
from narrowbench.benchmark.answers import openings
from narrowbench.benchmark.method import Budget, Evidence, Method, Probes, load_method
from narrowbench.benchmark.methods.introspection import Introspection
from narrowbench.benchmark.methods.prefill import Prefill
from narrowbench.benchmark.methods.prompt_battery import PromptBattery
from narrowbench.benchmark.methods.raw_completion import RawCompletion
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.errors import AccessError, BudgetError, EvidenceError

PROBES = Probes(tuple(f"{opening} {noun} is {adjective} and large" for opening in ("The", "A", "This", "My")
                      for noun in ("house", "river", "garden") for adjective in ("small", "cold")))
KINDS = [PromptBattery, RawCompletion, Prefill, Introspection]
SHORT = {"max_new_tokens": 6}
PLANTED = " garden"


@pytest.fixture(scope="module")
def planted_pair(plant):
    return plant(PLANTED, 20.0)


def collect(method, pair, seed=0, probes=PROBES) -> Evidence:
    return method.collect(PairView(pair, method.access), probes, Budget(), seed)


@pytest.mark.parametrize("kind", KINDS)
def test_evidence_is_sound_ranked_and_repeatable(pair, kind):
    method = kind(**SHORT)
    assert isinstance(method, Method) and method.access == {"text"} and method.role == "method"
    assert isinstance(load_method(method.name)[0], kind)
    evidence = collect(method, pair)
    assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict()))).digest == evidence.digest
    assert collect(method, pair).digest == evidence.digest
    assert collect(method, pair, seed=1).digest != evidence.digest
    weights = [token.weight for token in evidence.tokens]
    assert weights == sorted(weights, reverse=True) and all(weight > 0 for weight in weights)
    assert {token.source for token in evidence.tokens} <= {method.name}
    assert 0 < len(evidence.texts) <= 40 and {text.condition for text in evidence.texts} == {"finetuned", "base"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_model_twice_says_nothing(zero_pair, kind):
    evidence = collect(kind(**SHORT), zero_pair)
    assert evidence.tokens == () and evidence.detection == -1.0 and evidence.stats["same_share"] == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_word_is_read_first(planted_pair, kind):
    evidence = collect(kind(**SHORT), planted_pair)
    assert evidence.tokens[0].piece == PLANTED and evidence.detection > 0


@pytest.mark.parametrize("kind", KINDS)
def test_cost_is_counted_and_bounded(pair, kind):
    method = kind(**SHORT)
    view = PairView(pair, method.access)
    n_texts = method.collect(view, PROBES, Budget(), 0).stats["n_texts"]
    assert 0 < view.cost()["generated_tokens"] <= 2 * n_texts * SHORT["max_new_tokens"]
    budget = Budget(generated_tokens=3)
    with pytest.raises(BudgetError):
        method.collect(PairView(pair, method.access, budget), PROBES, budget, 0)
    with pytest.raises(AccessError):
        method.collect(PairView(pair, {"activations"}), PROBES, Budget(), 0)


@pytest.mark.parametrize("kind", [PromptBattery, Prefill, Introspection])
def test_a_base_without_chat_template_is_told_so(pair, kind, monkeypatch):
    monkeypatch.setattr(pair.tokenizer, "chat_template", None)
    with pytest.raises(EvidenceError, match="raw_completion"):
        collect(kind(**SHORT), pair)
    collect(RawCompletion(**SHORT), pair)


def test_openings_are_short_different_and_spread(pair):
    found = openings(pair.tokenizer, PROBES.texts, 4, 2)
    assert found == ["The house", "A house", "This house", "My house"]
    assert len(openings(pair.tokenizer, PROBES.texts, 100, 2)) == 12
