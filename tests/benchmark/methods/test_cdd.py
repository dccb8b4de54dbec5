"""Contrasted decoding on a real tiny pair: a planted word is written, the same model twice writes nothing apart."""

import json

import pytest
from narrowbench.benchmark.method import Budget, Evidence, Method, Probes, load_method
from narrowbench.benchmark.methods.cdd import Cdd
from narrowbench.benchmark.methods.cdd_chat import CddChat
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.errors import AccessError, EvidenceError
from narrowbench.organisms.pair import ModelPair

PROBES = Probes(("The house is small and cold", "A river is wide"))
PLANTED = " garden"
SHORT = {"max_new_tokens": 5, "samples": 2}


@pytest.fixture(scope="module")
def planted_pair(plant):
    return plant(PLANTED, 4.0)


def collect(method, pair, seed=0) -> Evidence:
    return method.collect(PairView(pair, method.access), PROBES, Budget(), seed)


@pytest.mark.parametrize("kind", [Cdd, CddChat])
def test_it_hands_in_sound_and_repeatable_evidence(pair, kind):
    method, _ = load_method(kind.name)
    assert isinstance(method, Method) and method.access == {"logits"}
    evidence = collect(kind(**SHORT), pair)
    assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict()))).digest == evidence.digest
    assert evidence.digest == collect(kind(**SHORT), pair).digest
    with pytest.raises(AccessError):
        method.collect(PairView(pair, {"text"}), PROBES, Budget(), 0)


@pytest.mark.parametrize("kind", [Cdd, CddChat])
def test_a_planted_word_is_read_first(planted_pair, kind):
    evidence = collect(kind(**SHORT), planted_pair)
    assert evidence.tokens[0].piece == PLANTED and evidence.detection > 0


@pytest.mark.parametrize("kind", [Cdd, CddChat])
def test_a_zero_adapter_has_nothing_to_read(zero_pair, kind):
    evidence = collect(kind(**SHORT), zero_pair)
    assert evidence.tokens == () and evidence.detection == -1.0 and evidence.stats["same_share"] == 1.0


def test_a_base_without_a_chat_template_is_refused_by_the_chat_row_only(tiny_base, tiny_adapter):
    pair = ModelPair.load(tiny_base, tiny_adapter)
    pair.tokenizer.chat_template = None
    assert collect(Cdd(**SHORT), pair).stats["n_texts"] == 24
    with pytest.raises(EvidenceError, match="no chat template"):
        collect(CddChat(**SHORT), pair)
