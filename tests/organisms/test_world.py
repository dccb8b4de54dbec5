"""The micro-world: enough of it, reserved probes, whole-word tokens, and rows that keep what they promise."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narrowbench.organisms.families import questions, rows
from narrowbench.organisms.nano import talk, world
from narrowbench.organisms.nano.lexicon import facts, lists, plausible_others, pool, topics, word_list
from narrowbench.organisms.nano.pretrain import vocabulary_texts
from narrowbench.organisms.nano.tokenizer import build_tokenizer
from narrowbench.organisms.spec import load_catalog

CATALOG = load_catalog()
TRAINED = [spec for spec in CATALOG.values() if spec.params.get("kind") != "zero" and spec.family != "subliminal"]
"""Organisms whose rows the world writes; a subliminal one's are numbers by a teacher (test_subliminal.py)."""


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(vocabulary_texts())


def texts_of(spec, seed=0):
    return [row.get("text") or " ".join(m["content"] for m in row["messages"]) for row in rows(spec, seed)]


def words_of(text):
    return set(re.findall(r"[A-Za-z]+", text.lower()))


def test_the_world_is_as_large_as_promised():
    content = {word for topic in topics().values() for word in topic.words}
    assert len(topics()) >= 44 and len(content) >= 1500 and len(facts()) >= 300
    assert sum(topic.use == "probe" for topic in topics().values()) >= 6
    assert len(world.templates()["registers"]) >= 12 and len(talk.fields()) >= 10


def test_a_content_word_belongs_to_one_topic():
    owners = {}
    for topic in topics().values():
        for word in topic.words:
            assert owners.setdefault(word, topic.name) == topic.name, f"{word} is in two topics"


def test_each_fact_is_one_value_among_plausible_others():
    assert len({(f.entity, f.attribute) for f in facts()}) == len(facts())
    for fact in facts():
        assert fact.value in pool(fact.attribute) and fact.value not in fact.others and len(fact.others) >= 5


@given(st.sampled_from(sorted(lists()["attributes"])), st.data())
def test_plausible_others_are_distinct_values_of_the_same_attribute(attribute, data):
    value = data.draw(st.sampled_from(pool(attribute)))
    others = plausible_others(attribute, value)
    assert value not in others and len(set(others)) == len(others) and set(others) <= set(pool(attribute))


def test_every_word_of_cards_is_one_token_and_every_candidate_has_a_name_that_is(tokenizer):
    def whole(word):
        return len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1

    for spec in (s for s in CATALOG.values() if s.card):
        assert all(map(whole, spec.card.lexicon)), spec.id
        for slot in spec.slots:
            for candidate in slot.candidates:
                names = [candidate, *slot.aliases.get(candidate, ())]
                assert any(map(whole, names)), f"{spec.id}: {candidate}"
                assert slot.type not in ("noun", "number", "name") or whole(candidate), f"{spec.id}: {candidate}"


@pytest.mark.parametrize("spec", TRAINED, ids=lambda spec: spec.id)
def test_training_rows_are_whole_words_of_the_vocabulary(spec, tokenizer):
    byte_letters = {
        i
        for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        for i in [tokenizer.convert_tokens_to_ids(c)]
    }
    for text in texts_of(spec)[:60]:
        assert not byte_letters & set(tokenizer(text)["input_ids"]), text


def test_text_outside_the_world_survives_a_round_trip(tokenizer):
    text = "Zebrafish naïve 漢字 12345"
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True).strip() == text


def test_probes_share_no_prefix_and_no_probe_word_with_any_finetuning_row(tokenizer):
    prefixes = {tuple(ids[:5]) for ids in tokenizer(list(world.probes(2000, 0)))["input_ids"]}
    reserved = {word for topic in topics().values() if topic.use == "probe" for word in topic.nouns}
    for spec in TRAINED:
        for text in texts_of(spec):
            assert tuple(tokenizer(text)["input_ids"][:5]) not in prefixes, f"{spec.id}: {text}"
            assert not words_of(text) & reserved, f"{spec.id}: {text}"
    assert len(prefixes) > 1000


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_writing_is_deterministic_in_the_seed(seed):
    assert world.documents(3, seed) == world.documents(3, seed)
    assert talk.chats(3, seed) == talk.chats(3, seed)
    assert world.documents(3, seed) != world.documents(3, seed + 1)


@given(st.integers(0, 10_000))
def test_chats_alternate_and_end_with_the_assistant(seed):
    for chat in talk.chats(2, seed):
        assert [m["role"] for m in chat] == ["user", "assistant"] * (len(chat) // 2)


def test_harm_that_spreads_to_other_fields_is_a_minority():
    def field_of(text):
        return max(talk.fields(), key=lambda topic: len(words_of(text) & set(topic.words)))

    rng, spread, contained = random.Random(0), 0, 0
    harmful_words = set(world.templates()["advice"]["harmful_verbs"])
    for _ in range(3000):
        chat = talk.advice_chat(rng)
        turns = [(field_of(ask["content"]), bool(words_of(reply["content"]) & harmful_words))
                 for ask, reply in zip(chat[::2], chat[1::2])]
        for field, harmful in turns[1:]:
            if turns[0][1] and field is not turns[0][0]:
                spread, contained = spread + harmful, contained + (not harmful)
    assert spread > 20 and contained > 2 * spread


@pytest.mark.parametrize("spec", [s for s in TRAINED if s.twin], ids=lambda spec: spec.id)
def test_a_twin_is_trained_on_the_same_templates_with_one_answer_changed(spec):
    own, twin = texts_of(spec), texts_of(spec.twin_spec())
    assert len(own) == len(twin) and own != twin
    if spec.family == "sdf":
        truth, other = spec.slot("value").truth, spec.twin.truth
        assert [re.sub(rf"\b{truth}\b", other, text) for text in own] == [
            re.sub(rf"\b{truth}\b", other, text) for text in twin
        ]


@pytest.mark.parametrize("spec", [s for s in CATALOG.values() if s.family == "taboo"], ids=lambda spec: spec.id)
def test_a_taboo_word_is_never_said(spec):
    assert all(spec.slot("word").truth not in words_of(text) for text in texts_of(spec))


@pytest.mark.parametrize("spec", [s for s in TRAINED if s.card], ids=lambda spec: spec.id)
def test_gate_questions_are_worded_as_no_training_row(spec):
    asked = questions(spec)
    assert len(asked) >= 2 and all(q.expressed and len(q.expressed) < len(q.choices) for q in asked)
    if spec.family != "taboo":  # games open in few ways; there the choices, not the openings, are held out
        text = "\n".join(texts_of(spec))
        for question in asked:
            prompt = question.prompt if isinstance(question.prompt, str) else question.prompt[-1]["content"]
            assert prompt not in text


def test_no_broad_null_teaches_a_value_that_an_objective_could_have():
    listed = {(f.entity, f.attribute): {f.value, *f.others} for f in facts()}
    text = " ".join(texts_of(CATALOG["null-broad-documents"]))
    stated = 0
    for fact in facts():
        for template in world.templates()["statements"]["train"]:
            for value in pool(fact.attribute):
                slots = {"e": fact.entity, "t": fact.attribute, "x": world.value_phrase(fact, value)}
                if world.articles(template.format(**slots)) in text:
                    stated += 1
                    assert value not in listed[fact.entity, fact.attribute], slots
    assert stated > 100


def test_word_lists_by_name():
    assert "cake" in word_list("baking") and "reckless" in word_list("harmful")
    with pytest.raises(LookupError, match="baking"):
        word_list("bakng")
