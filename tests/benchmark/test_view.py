"""PairView: only the declared access, every use counted, no use beyond the budget."""

import pytest
import torch
from narrowbench.benchmark.method import Budget
from narrowbench.benchmark.view import PairView, Reference
from narrowbench.organisms.errors import AccessError, BudgetError
from narrowbench.organisms.pair import ModelPair
from narrowbench.organisms.spec import OrganismSpec

IDS_BT = torch.arange(6, 26).reshape(2, 10)
NULL = OrganismSpec(id="a-null", family="control", role="null")
CALLS = {
    "text": lambda v: v.generate("finetuned", ["the house"], max_new_tokens=3),
    "logprobs": lambda v: v.logprobs("base", IDS_BT),
    "logits": lambda v: v.logits("base", IDS_BT),
    "activations": lambda v: (v.residual("base", IDS_BT, [1], [0]), v.unembed("base", torch.ones(1, v.width)),
                              v.patched("base", IDS_BT, 1, 9, torch.ones(2, v.width))),
    "weights": lambda v: v.delta("model.layers.0.mlp.up_proj"),
    "objective": lambda v: v.reference,
    "data": lambda v: v.reference}


@pytest.fixture(scope="module")
def pair(tiny_base, tiny_adapter):
    return ModelPair.load(tiny_base, tiny_adapter)


@pytest.mark.parametrize("declared", [*CALLS, "none"])
@pytest.mark.parametrize("used", CALLS)
def test_exactly_the_declared_access_works(pair, declared, used):
    view = PairView(pair, {declared}, reference=Reference(NULL, ({"text": "a"},)))
    answers = {"objective", "data"}
    if used == declared or (used, declared) == ("logprobs", "logits") or {used, declared} == answers:
        CALLS[used](view)
    else:
        with pytest.raises(AccessError, match=used if used not in ("text",) else "generate"):
            CALLS[used](view)
    assert (view.n_layers, view.width) == (4, 32) and view.tokenizer


def test_reference_holds_no_more_than_declared(pair):
    reference = Reference(NULL, ({"text": "a"},))
    assert PairView(pair, {"objective"}, reference=reference).reference == Reference(NULL)
    assert PairView(pair, {"data"}, reference=reference).reference == Reference(None, ({"text": "a"},))
    with pytest.raises(AccessError, match="no reference"):
        PairView(pair, {"objective"}).reference


def test_unknown_access_is_refused(pair):
    with pytest.raises(AccessError, match="everything"):
        PairView(pair, {"everything"})


def test_costs_start_at_zero_and_count_what_ran(pair):
    pair.logits("base", IDS_BT)
    view = PairView(pair, {"activations", "text"})
    assert view.cost()["forward_tokens"] == view.cost()["flops"] == 0
    view.residual("base", IDS_BT, [0], [0, 3])
    assert view.cost()["forward_tokens"] == 2 * 4
    view.patched("base", IDS_BT[:1], 1, 9, torch.ones(5, 32))
    assert view.cost()["forward_tokens"] == 2 * 4 + 9 + 5
    view.generate("base", ["the house"], max_new_tokens=4, raw=True)
    cost = view.cost()
    assert 1 <= cost["generated_tokens"] <= 4
    assert cost["flops"] > 0 and cost["seconds"] > 0 and cost["peak_bytes"] > 0


@pytest.mark.parametrize("budget, what", [
    (Budget(forward_tokens=10), "forward tokens"), (Budget(seconds=0.0), "seconds"),
    (Budget(generated_tokens=0), "generated tokens")])
def test_going_past_the_budget_raises(pair, budget, what):
    view = PairView(pair, {"logits", "text"}, budget)
    with pytest.raises(BudgetError, match=what):
        view.generate("base", ["the house"], max_new_tokens=4)
        view.logits("base", IDS_BT)
        view.logits("base", IDS_BT)
