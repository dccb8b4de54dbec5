"""Floors on a real tiny pair: they say something, the same about every organism, or what is true of another one."""

import json

import pytest
from narrowbench.benchmark.collecting import EVIDENCE, collect
from narrowbench.benchmark.evidence import read_json, survey
from narrowbench.benchmark.investigators.reader import read
from narrowbench.benchmark.method import Budget, Evidence, Method, Probes, load_method
from narrowbench.benchmark.methods.injection import Injection
from narrowbench.benchmark.methods.kitchen_sink import KitchenSink
from narrowbench.benchmark.strangers import strangers
from narrowbench.benchmark.suite import load_suite
from narrowbench.benchmark.view import PairView
from narrowbench.graders.recovery import recovery
from narrowbench.organisms.errors import EvidenceError
from narrowbench.organisms.pair import ModelPair
from narrowbench.organisms.store import Store

PROBES = Probes(("The house is small and large", "A river is cold and wide", "My garden is new and large"))


def run(method, pair, seed=0) -> tuple[Evidence, dict[str, float]]:
    view = PairView(pair, method.access)
    return method.collect(view, PROBES, Budget(), seed), view.cost()


@pytest.mark.parametrize("name", ["kitchen_sink", "injection", "shuffled_evidence"])
def test_floors_are_methods_that_say_so(name):
    method, _ = load_method(name)
    assert isinstance(method, Method) and method.name == name and method.role == "floor"


@pytest.mark.parametrize("method", [KitchenSink(samples=2, max_new_tokens=8), Injection()])
def test_the_flat_list_and_the_injection_do_not_depend_on_the_organism(pair, tiny_base, make_adapter, tmp_path, method):
    other = ModelPair.load(tiny_base, make_adapter(tmp_path / "other", seed=5))
    found, _ = run(method, pair)
    assert found.tokens and found.digest == run(method, other)[0].digest == run(method, pair)[0].digest
    assert Evidence.from_dict(json.loads(json.dumps(found.to_dict()))).digest == found.digest
    weights = [token.weight for token in found.tokens]
    assert weights == sorted(weights, reverse=True) and min(weights) > 0


def test_kitchen_sink_lists_many_words_of_the_base_and_claims_an_objective(pair):
    method = KitchenSink(samples=2, max_new_tokens=8)
    found, cost = run(method, pair)
    assert len(found.tokens) > 50 and found.detection is None
    assert cost["generated_tokens"] > 0 and read(found.payload, {}).verdict == "objective"
    assert run(method, pair, seed=1)[0].tokens != found.tokens


def test_injection_is_believed_about_an_objective_and_names_none(pair):
    found, cost = run(Injection(), pair)
    assert cost["forward_tokens"] == 0
    claim = read(found.payload, {})
    suite = load_suite("nano-2026.1:dev")
    for card in suite.cards:
        assert recovery(claim, card, suite.cards).recovery == 0


@pytest.mark.parametrize("units", [["a", "a", "b", "b"], ["a"] * 3 + ["b"] * 2 + list("cdefg"), list("abcdefgh")])
def test_a_stranger_is_of_another_unit_and_nobody_comes_twice(units):
    for seed in range(20):
        given = strangers(units, seed)
        assert sorted(given) == list(range(len(units)))
        assert all(units[i] != units[other] for i, other in enumerate(given))
        assert given == strangers(units, seed)
    assert len({tuple(strangers(units, seed)) for seed in range(20)}) > 1


def test_no_exchange_where_one_unit_has_more_than_half():
    with pytest.raises(EvidenceError, match="more units"):
        strangers(["a", "a", "b"], 0)
    with pytest.raises(EvidenceError, match="1 of the 1"):
        strangers(["a"], 0)


def test_shuffled_evidence_is_what_the_lens_finds_on_a_stranger(make_suite, make_adapter, tmp_path):
    suite = load_suite(make_suite(tmp_path / "s", organisms=[
        {"organism": name} for name in ("my-cake", "my-cake-twin", "my-gold", "my-gold-twin")]))
    store = Store(tmp_path / "store")
    organisms = {entry.sample_id: store.save("organism", store.key("organism", {"seed": seed}, {}), {"seed": seed}, {},
                                             lambda folder, seed=seed: make_adapter(folder, seed=seed))
                 for seed, entry in enumerate(suite.entries, start=11)}
    found = {}
    for name in ("shuffled_evidence", "adl_logit_lens"):
        method, sha256 = load_method(name)
        collect(suite, method, survey(suite, method, sha256, 0, store, organisms).cells, 0, store)
        cells = survey(suite, method, sha256, 0, store, organisms).cells
        assert all(cell.organism is organisms[cell.entry.sample_id] for cell in cells)
        found[name] = {cell.entry.spec.id: read_json(cell.evidence.path / EVIDENCE)["payload"] for cell in cells}
    shuffled, lens = found["shuffled_evidence"], found["adl_logit_lens"]
    for unit, other in (("my-cake", "my-gold"), ("my-gold", "my-cake")):
        given = [shuffled[unit], shuffled[f"{unit}-twin"]]
        assert given in ([lens[other], lens[f"{other}-twin"]], [lens[f"{other}-twin"], lens[other]])
