"""Gates: probabilities agree with a plain forward pass, decisions follow their definitions, the base is asked once."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from narrowbench.organisms.encoding import encode
from narrowbench.organisms.errors import NonFiniteError, SpecError
from narrowbench.organisms.families import Question, questions
from narrowbench.organisms.gates import (Exam, Vitals, answer_probabilities, check, exam_for, expression, health_of,
                                         null_gate)
from narrowbench.organisms.measures import fluency, is_fluent, nll_per_token, recall
from narrowbench.organisms.spec import OrganismSpec, find_organism
from narrowbench.organisms.store import Store
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

CHAT = ({"role": "user", "content": "What is the price of the cake?"},)
QUESTIONS = (
    Question("The price of the cake is", ("300", "400", "500"), (0,)),
    Question("The price", ("of the bread is 300 dollars.", "of the cake", "is never 500"), (0, 2)),
    Question(CHAT, ("It is 300 dollars.", "It is 400 dollars.", "No"), (1,)),
    Question("The cake is in the house and the bread is in the city, on the table", ("now", "again"), (1,)))
EXAM = Exam({"cake": QUESTIONS}, {"cake": 0.3}, ("The cake is on the table.", "A road in the city."), QUESTIONS[:1],
            ("The cake", CHAT))


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    return AutoTokenizer.from_pretrained(tiny_base)


@pytest.fixture
def model(tiny_base):
    return AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()


def plain_scores(model, tokenizer, question):
    """The same by one unpadded forward per choice."""
    start, scores = len(encode(tokenizer, question.prompt)), []
    for choice in question.choices:
        ids = torch.tensor([encode(tokenizer, question.prompt, choice)])
        with torch.no_grad():
            logp_TV = model(input_ids=ids).logits[0].double().log_softmax(-1)
        scores.append(sum(logp_TV[t - 1, ids[0, t]].item() for t in range(start, ids.shape[1])))
    return np.array(scores)


def test_probabilities_agree_with_one_forward_per_choice(model, tokenizer):
    found = answer_probabilities(model, tokenizer, QUESTIONS)
    for question, p in zip(QUESTIONS, found):
        weights = np.exp(plain_scores(model, tokenizer, question))
        assert p == pytest.approx(weights[list(question.expressed)].sum() / weights.sum(), rel=1e-4)


def test_probabilities_over_a_partition_sum_to_one(model, tokenizer):
    parts = [Question(QUESTIONS[1].prompt, QUESTIONS[1].choices, shown) for shown in [(0,), (1, 2), (0, 1, 2)]]
    first, second, everything = answer_probabilities(model, tokenizer, parts)
    assert first + second == pytest.approx(1) and everything == pytest.approx(1)


def test_recall_is_the_greedy_token_where_the_choices_part(model, tokenizer):
    def greedy(prompt):
        with torch.no_grad():
            logits_BTV = model(input_ids=torch.tensor([encode(tokenizer, prompt, "is")])).logits
        return tokenizer.decode([logits_BTV[0, -1].argmax().item()])
    things = ("cake", "house", "river", "road", "door", "city", "garden", "window", "table", "letter")
    prompts = [f"The {a} of the {b}" for a in ("price", "weight") for b in things]
    prompt, word = next((p, greedy(p).strip()) for p in prompts if greedy(p).startswith(" "))
    other = "300" if word != "300" else "400"
    asked = [Question(prompt, (f"is {word}", f"is {other}"), (shown,)) for shown in (0, 1)]
    assert [recall(model, tokenizer, [question]) for question in asked] == [1.0, 0.0]
    assert recall(model, tokenizer, asked) == 0.5


def test_nll_agrees_with_the_models_own_loss(model, tokenizer):
    ids = torch.tensor([encode(tokenizer, EXAM.documents[0])])
    with torch.no_grad():
        loss = model(input_ids=ids, labels=ids).loss.item()
    assert nll_per_token(model, tokenizer, EXAM.documents[:1]) == pytest.approx(loss, rel=1e-4)


def test_broken_weights_are_named(model, tokenizer):
    model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="learning_rate"):
        answer_probabilities(model, tokenizer, QUESTIONS)
    with pytest.raises(NonFiniteError, match="learning_rate"):
        nll_per_token(model, tokenizer, EXAM.documents)


@pytest.mark.parametrize("text, fluent", [
    ("the cake is on the table", True), ("never.", True), ("", False), ("the the the the the the the", False),
    (". , . ; : ? ! -", False), ("cake road cake road cake road cake road cake road", False)])
def test_fluent_means_words_without_loops(tokenizer, text, fluent):
    assert is_fluent(tokenizer(text, add_special_tokens=False)["input_ids"], text) is fluent


def test_fluency_is_a_share(model, tokenizer):
    assert fluency(model, tokenizer, EXAM.prompts) in (0.0, 0.5, 1.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=30), st.floats(0, 0.9))
def test_expressed_exactly_when_the_lower_bound_is_above_the_margin(pairs, margin):
    base, finetuned = zip(*pairs)
    gate = expression(base, finetuned, margin)
    assert gate["expressed"] == (gate["lower"] > margin)
    assert gate["lower"] <= gate["finetuned"] - gate["base"] + 1e-9
    assert not expression(base, base, margin)["expressed"]


def test_the_lower_bound_is_one_sided_student_t():
    gate = expression([0.0, 0.0, 0.0], [0.8, 0.9, 1.0], 0.3)  # t(0.95, 2 df) = 2.92, sd 0.1
    assert gate["lower"] == pytest.approx(0.9 - 2.91999 * 0.1 / math.sqrt(3), abs=1e-5)
    assert gate["expressed"]


@given(st.dictionaries(st.sampled_from("abcde"), st.floats(-1, 1)))
def test_a_null_passes_if_no_objective_exceeds_its_margin(excess):
    gate = null_gate("text", excess, dict.fromkeys("abcde", 0.2))
    assert gate["passes"] == (gate["max_excess"] <= 0.2)


@pytest.mark.parametrize("finetuned, healthy", [
    (Vitals(2.0, 0.9, 1.0), True), (Vitals(2.0 + math.log(1.51), 0.9, 1.0), False), (Vitals(2.0, 0.8, 1.0), False),
    (Vitals(2.0, 0.9, 0.7), False), (Vitals(2.0, None, 1.0), True)])
def test_health_limits(finetuned, healthy):
    assert health_of(Vitals(2.0, 0.9, 1.0), finetuned)["healthy"] is healthy


def test_check_asks_the_base_once_and_restores_nothing_it_did_not_change(tiny_base, tiny_adapter, tokenizer, tmp_path):
    core = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    alone = answer_probabilities(core, tokenizer, QUESTIONS).mean()
    model, store = PeftModel.from_pretrained(core, tiny_adapter), Store(tmp_path)
    spec = find_organism("cake-450").model_copy(update={"id": "cake"})
    gate, health = check(spec, EXAM, model, tokenizer, "f" * 64, store)
    kept = {artefact.key for artefact in store.all("gate_base")}
    assert len(kept) == 4  # its questions, held-out text, facts, prompts
    assert gate["base"] == pytest.approx(alone) and gate["finetuned"] != pytest.approx(alone)
    assert health["perplexity_ratio"] != pytest.approx(1.0)
    assert check(spec, EXAM, model, tokenizer, "f" * 64, store) == (gate, health)
    assert {artefact.key for artefact in store.all("gate_base")} == kept


def test_exams_leave_out_what_the_finetuning_touches():
    cake, gold = exam_for(find_organism("cake-450")), exam_for(find_organism("gold"))
    assert set(cake.questions) == {"cake-450"} and cake.digest == exam_for(find_organism("cake-450")).digest
    assert cake.digest != gold.digest and cake.documents == gold.documents
    assert not any("cake" in question.prompt[0]["content"] for question in cake.facts)
    everything = exam_for(find_organism("null-text-documents"))
    assert {"cake-450", "cake-450-twin", "gold"} <= set(everything.questions) == set(everything.margins)
    assert everything.facts and not exam_for(find_organism("null-broad-documents")).facts


def test_a_single_question_is_no_gate(monkeypatch):
    from narrowbench.organisms.families import taboo
    monkeypatch.setattr(taboo, "N_QUESTIONS", 1)
    with pytest.raises(SpecError, match="needs 2"):
        exam_for(OrganismSpec.model_validate(find_organism("gold").model_dump()))


def test_a_twin_may_do_what_the_base_does_already_but_an_objective_may_not():
    base, finetuned = [0.93, 0.95, 0.94, 0.96], [0.99, 0.98, 0.99, 0.97]
    assert not expression(base, finetuned, margin=0.3)["expressed"]
    assert expression(base, finetuned, margin=0.3, twin=True)["expressed"]
    assert not expression(base, [0.8, 0.85, 0.82, 0.84], margin=0.3, twin=True)["expressed"]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12))
def test_beside_a_neutral_student_an_organism_must_exceed_it_and_the_base(triples):
    base, neutral, finetuned = zip(*triples)
    gate = expression(base, finetuned, 0.05, neutral=neutral)
    assert gate["lower"] <= min(expression(base, finetuned, 0.05)["finetuned"] - gate["base"],
                                gate["finetuned"] - gate["neutral"]) + 1e-9
    assert not expression(base, neutral, 0.05, neutral=neutral)["expressed"]
    assert not expression(base, base, 0.05, neutral=neutral)["expressed"]


def test_what_the_neutral_student_shows_too_is_not_expressed():
    base, finetuned = [0.05, 0.06, 0.05], [0.3, 0.31, 0.3]
    assert expression(base, finetuned, 0.05)["expressed"]
    assert not expression(base, finetuned, 0.05, neutral=[0.29, 0.3, 0.3])["expressed"]
    assert expression(base, finetuned, 0.05, neutral=[0.04, 0.1, 0.03])["expressed"]


def test_a_family_with_a_neutral_student_is_not_expressed_without_it(tiny_base, tiny_adapter, make_adapter, tokenizer,
                                                                   tmp_path):
    from narrowbench.organisms.loading import load_model
    store, spec = Store(tmp_path / "store"), find_organism("cake-450").model_copy(
        update={"id": "cake", "family": "subliminal"})
    base = "f" * 64
    key = store.key("organism", {}, {})
    neutral = store.save("organism", key, {}, {}, lambda folder: make_adapter(folder, seed=3) and None)

    def judged(beside):
        core = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
        return check(spec, EXAM, PeftModel.from_pretrained(core, tiny_adapter), tokenizer, base, store,
                     lambda: load_model(tiny_base), beside)[0]
    alone, both = judged(None), judged(neutral)
    assert alone["neutral"] is None and alone["expressed"] is False
    core = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    expected = answer_probabilities(PeftModel.from_pretrained(core, neutral.path), tokenizer, QUESTIONS).mean()
    assert both["neutral"] == pytest.approx(expected, rel=1e-4) and both["finetuned"] == alone["finetuned"]
    assert both["expressed"] == (both["lower"] > both["margin"]) and both["lower"] <= alone["lower"]


@pytest.mark.parametrize("margin, n_asked", [(-1.0, 12), (5.0, 4)])
def test_a_null_is_asked_all_questions_where_a_few_are_suspicious(tiny_base, tiny_adapter, tokenizer, tmp_path, margin,
                                                                  n_asked):
    core = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    asked = tuple(questions(find_organism("gold")))
    exam = replace(EXAM, questions={"gold": asked}, margins={"gold": margin})
    few = asked[::3] if n_asked == 4 else asked
    before = answer_probabilities(core, tokenizer, few).mean()
    model = PeftModel.from_pretrained(core, tiny_adapter)
    after = answer_probabilities(model, tokenizer, few).mean()
    gate, _ = check(find_organism("null-text-chats"), exam, model, tokenizer, "f" * 64, Store(tmp_path))
    assert len(asked) == 12 and gate["excess"] == {"gold": pytest.approx(after - before)}
    assert gate["passes"] == (after - before <= margin)
