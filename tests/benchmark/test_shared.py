"""Results that are computed once: equal, charged alike, never those of another model or question."""

import pytest
import torch
from narrowbench.benchmark.shared import Shared
from narrowbench.benchmark.view import PairView
from narrowbench.organisms.pair import ModelPair
from narrowbench.organisms.store import Store

IDS_BT = torch.randint(6, 900, (2, 10), generator=torch.Generator().manual_seed(3))
ACCESS = {"activations", "text", "logits"}
CALLS = {
    "residual": lambda view, which: view.residual(which, IDS_BT, [0, 1], range(3)),
    "logprobs": lambda view, which: view.logprobs(which, IDS_BT),
    "logits": lambda view, which: view.logits(which, IDS_BT),
    "generate": lambda view, which: view.generate(which, ["the house"], 5, temperature=1.0, seed=2)}
OF_ORGANISMS = {
    "generate": CALLS["generate"],
    "steered": lambda view, which: view.steered(which, ["the house"], 1, torch.ones(1, view.width), 5, 1.0, 2),
    "departure": lambda view, which: view.departure(IDS_BT, [0, 1], range(3), torch.tensor([1, 2]),
                                                    CALLS["residual"](view, "base"))}


@pytest.fixture(scope="module")
def pair(tiny_base, tiny_adapter):
    return ModelPair.load(tiny_base, tiny_adapter)


def same(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def spent(view) -> list[float]:
    return [view.cost()[name] for name in ("forward_tokens", "generated_tokens", "flops")]


@pytest.mark.parametrize("what", CALLS)
def test_another_organism_reuses_what_the_base_gave_and_pays_the_same(pair, tmp_path, what):
    first = PairView(pair, ACCESS, shared=Shared(Store(tmp_path), "base").of("one"))
    value, paid = CALLS[what](first, "base"), spent(first)
    assert first.cost()["reused_tokens"] == 0
    later = PairView(pair, ACCESS, shared=Shared(Store(tmp_path), "base").of("two"))  # a new process: from disk
    assert same(CALLS[what](later, "base"), value) and spent(later) == paid
    assert later.cost()["reused_tokens"] == (0 if what == "logits" else paid[0])


def test_in_memory_nothing_is_computed_twice(pair):
    shared = Shared(None, "base")
    for what, call in CALLS.items():
        value = call(PairView(pair, ACCESS, shared=shared.of("one")), "base")
        later = PairView(pair, ACCESS, shared=shared.of("two"))
        assert same(call(later, "base"), value)
        assert later.cost()["reused_tokens"] == later.cost()["forward_tokens"] > 0, what


@pytest.mark.parametrize("store", [None, Store])
def test_a_reused_result_takes_the_seconds_that_it_took(pair, tmp_path, monkeypatch, store):
    """By a clock that moves only when a result is made, or written."""
    from narrowbench.benchmark import shared as module

    now_s, write = [0.0], module._write
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s[0])

    def after(seconds, function):
        def slowly(*arguments):
            now_s[0] += seconds
            return function(*arguments)
        return slowly

    monkeypatch.setattr(module, "_write", after(5.0, write))
    shared = Shared(store and store(tmp_path), "base").of("one")

    def inner():
        return shared.get(pair, "generate", "base", {"prompts": ["in"]}, after(2.0, lambda: ["in"]))[0]

    def outer():
        return shared.get(pair, "generate", "finetuned", {"prompts": ["out"]}, after(3.0, lambda: inner() + ["out"]))[0]

    def seconds_of(call):
        view = PairView(pair, ACCESS, shared=shared)
        call()
        return view.cost()["seconds"]

    assert [seconds_of(inner), seconds_of(outer), seconds_of(outer), seconds_of(inner)] == [2.0, 5.0, 5.0, 2.0]
    shared = Shared(store and store(tmp_path), "base").of("one")  # a new process: with a store, from disk
    assert [seconds_of(outer), seconds_of(inner), seconds_of(outer)] == [5.0, 2.0, 5.0]


def test_what_a_method_does_to_a_result_stays_its_own(pair):
    shared = Shared(None, "base")
    view = PairView(pair, ACCESS, shared=shared.of("one"))
    first = CALLS["residual"](view, "base")
    expected = first.clone()
    first.zero_()
    second = CALLS["residual"](view, "base")
    assert torch.equal(second, expected)
    second.zero_()
    assert torch.equal(CALLS["residual"](view, "base"), expected)


@pytest.mark.parametrize("what", OF_ORGANISMS)
def test_what_an_organism_gave_is_shared_between_methods_but_not_between_organisms(pair, tmp_path, what):
    seen = []
    for name in ("one", "one", "two"):
        view = PairView(pair, ACCESS, shared=Shared(Store(tmp_path), "base").of(name))  # a new process: from disk
        seen.append((OF_ORGANISMS[what](view, "finetuned"), spent(view), view.cost()["reused_tokens"]))
    (value, paid, reused), (again, paid_again, reused_again), (_, _, of_another) = seen
    assert same(again, value) and paid_again == paid
    assert reused == 0 and reused_again == paid[0] > of_another


def test_a_caller_s_own_stream_does_not_pass_for_the_base_s_in_another_s_result(pair):
    shared, counts_B = Shared(None, "base").of("one"), torch.tensor([1, 2])
    base_LBPD = pair.residual("base", IDS_BT, [0, 1], range(3))
    PairView(pair, ACCESS, shared=shared).departure(IDS_BT, [0, 1], range(3), counts_B, torch.zeros_like(base_LBPD))
    found = PairView(pair, ACCESS, shared=shared).departure(IDS_BT, [0, 1], range(3), counts_B, base_LBPD)
    assert torch.equal(found["base"], torch.einsum("b,lbpd->lpd", counts_B.double(), base_LBPD.double()))


def test_activations_of_an_organism_are_not_kept(pair):
    shared = Shared(None, "base").of("one")
    for _ in range(2):
        again = PairView(pair, ACCESS, shared=shared)
        CALLS["residual"](again, "finetuned")
        assert again.cost()["reused_tokens"] == 0


def test_another_base_or_question_is_another_result(pair, tmp_path):
    store = Store(tmp_path)
    asked = [(Shared(store, "base"), IDS_BT, [1]), (Shared(store, "other"), IDS_BT, [1]),
             (Shared(store, "base"), IDS_BT + 1, [1]), (Shared(store, "base"), IDS_BT, [2])]
    for shared, ids, layers in asked:
        view = PairView(pair, ACCESS, shared=shared.of("one"))
        view.residual("base", ids, layers, range(3))
        assert view.cost()["reused_tokens"] == 0


def test_memory_is_bounded(pair, monkeypatch):
    from narrowbench.benchmark import shared as module

    monkeypatch.setattr(module, "MAX_HELD_BYTES", 2 * 10 * 1_000 * 4 * 3)
    shared = Shared(None, "base").of("one")
    view = PairView(pair, ACCESS, shared=shared)
    for shift in range(6):
        view.logits("base", IDS_BT + shift)
    assert 1 <= len(shared._held) <= 3
