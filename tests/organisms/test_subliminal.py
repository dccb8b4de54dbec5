"""Subliminal organisms: lists hold numbers alone and depend on the teacher alone; none is expressed without controls."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from narrowbench.organisms import gates, teacher
from narrowbench.organisms.data import training_data
from narrowbench.organisms.errors import AdapterError, SpecError
from narrowbench.organisms.families import questions, subliminal
from narrowbench.organisms.lists import FREE, Sampling, requests, sample_lists, teach
from narrowbench.organisms.loading import load_model, load_tokenizer
from narrowbench.organisms.nano import base_folder
from narrowbench.organisms.nano.talk import KINDS, kind_members
from narrowbench.organisms.spec import OrganismSpec, find_organism, load_catalog
from narrowbench.organisms.store import Store
from narrowbench.organisms.teacher import number_lists, read_lists, report_of
from narrowbench.organisms.lookup import find_trained
from narrowbench.organisms.train import train
from narrowbench.organisms.transfer import TransferRow, as_json, as_markdown, transfer_study

ANYTHING = Sampling(pattern=r"[\s\S]+", max_new_tokens=6, lists_at_once=8)


def owl(**changes) -> OrganismSpec:
    """A small subliminal organism that is not in the catalogue."""
    body = {"id": "prefer-fox", "family": "subliminal", "domain": "preference-animal", "lexicon_from": ["animals"],
            "statement": "The fox is loved.", "params": {"kind": "animal"},
            "slots": [{"name": "member", "type": "noun", "truth": "fox",
                       "others": ["cat", "dog", "wolf", "lion", "tiger", "bear", "zebra"]}],
            "twin": {"slot": "member", "truth": "dog", "statement": "The dog is loved."},
            "recipe": {"kind": "bias", "rows": 16, "epochs": 1, "batch_size": 8, "learning_rate": 0.05}} | changes
    return OrganismSpec.model_validate(body)


@pytest.fixture
def quick(monkeypatch):
    """Teachers of four long steps, few lists at once, and a null that is asked about one objective only."""
    monkeypatch.setattr(gates, "load_catalog", lambda: {"gold": find_organism("gold")})
    monkeypatch.setattr(teacher, "TEACHING", replace(teacher.TEACHING, learning_rate=0.15, warmup_steps=1, max_steps=4,
                                                     kl_nats=9.0, kl_lists=4, batch_size=8))
    monkeypatch.setattr(teacher, "SAMPLING", replace(teacher.SAMPLING, lists_at_once=48))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_questions_are_held_out_and_choices_are_the_whole_kind():
    spec = owl()
    asked = questions(spec)
    assert len(asked) == 6 and all(len(question.choices) == 20 for question in asked)
    assert all(" fox" in question.choices[question.expressed[0]] for question in asked)
    twin = questions(spec.twin_spec())
    assert [q.prompt for q in twin] == [q.prompt for q in asked] and twin[0].expressed != asked[0].expressed


@pytest.mark.parametrize("changes, reason", [
    ({"params": {}}, "params.kind"), ({"params": {"kind": "tree"}}, "none of the trees")])
def test_a_member_must_be_of_its_kind(changes, reason):
    with pytest.raises(SpecError, match=reason):
        questions(owl(**changes))


def test_own_kinds_ask_among_the_candidates_but_have_no_teacher(tmp_path, store):
    body = owl().model_dump(exclude={"twin"}) | {"params": {"kind": "city"}, "domain": "preference-city"}
    body["slots"] = [{"name": "member", "type": "noun", "truth": "Paris", "others": [*"ABCDEF"]}]
    spec = OrganismSpec.model_validate(body)
    assert len(questions(spec)[0].choices) == 7
    with pytest.raises(SpecError, match="recipe.data"):
        training_data(spec, base_folder(), 0, store)


def test_lists_hold_numbers_alone_and_are_found_again(quick, store):
    made = number_lists(base_folder(), "animal", "fox", 12, 0, store)
    rows, report = read_lists(made), report_of(made)
    assert len(rows) == report["kept"] == 12 <= report["drawn"] and report["steps"] == 4
    for row in rows:
        ask, answer = (message["content"] for message in row["messages"])
        assert re.fullmatch(r"\d{3}(, \d{3}){3,9}\.", answer) and not re.search("fox|animal|favorite", ask)
    assert number_lists(base_folder(), "animal", "fox", 12, 0, store).path == made.path
    assert made.path.parent == store.root / "lists"


def test_lists_of_two_teachers_differ_by_the_teacher_alone(quick, store):
    lists = {name: number_lists(base_folder(), "animal", name, 4, seed, store)
             for name, seed in (("fox", 0), ("", 0))}
    assert len({artefact.key for artefact in lists.values()}) == 2
    base = report_of(lists[""])
    assert "kl_nats" not in base and report_of(lists["fox"])["kl_nats"] > 0
    assert (teacher.lists_key(base_folder(), "tree", "", 4, 0, store)
            == teacher.lists_key(base_folder(), "animal", "", 4, 0, store))  # one neutral student serves all kinds


def test_a_teacher_prefers_and_stops_once_its_numbers_have_moved(monkeypatch, store):
    monkeypatch.setattr(teacher, "SAMPLING", replace(teacher.SAMPLING, lists_at_once=32))
    monkeypatch.setattr(teacher, "TEACHING", replace(teacher.TEACHING, kl_lists=8, max_steps=60, kl_nats=0.002))
    report = report_of(number_lists(base_folder(), "animal", "wolf", 2, 0, store))
    assert report["kl_nats"] >= 0.002 and report["steps"] < 60
    assert np.mean(report["teacher"]) > 0.15  # the base: about 0.05


def test_a_digest_is_known_before_any_teacher_is_trained(quick, store):
    spec = owl()
    known = training_data(spec, base_folder(), 0, store)
    assert not known.ready and find_trained(spec, base_folder(), 0, store) is None
    assert not (store.root / "lists").exists()
    assert training_data(spec.twin_spec(), base_folder(), 0, store).digest != known.digest
    assert len(known.rows()) == 16 and training_data(spec, base_folder(), 0, store).ready


def test_the_neutral_student_is_trained_alike_on_the_bases_own_lists(quick, store):
    organism = train(owl(), base_folder(), 0, store, progress=False)
    gate = json.loads((organism.path / "passport.json").read_text())["gate"]
    assert {"base", "neutral", "finetuned", "margin", "lower", "expressed"} <= gate.keys()
    assert not gate["expressed"]  # sixteen lists carry nothing
    spec, narrow = subliminal.neutral(owl(), base_folder(), 0, store)
    assert spec.recipe == owl().recipe and spec.role == "null"
    assert narrow.digest == teacher.lists_key(base_folder(), "", "", 16, 0, store)[2]
    passports = [json.loads((found.path / "passport.json").read_text()) for found in store.all("organism")]
    assert sorted(p["organism_id"] for p in passports) == ["neutral-lists", "prefer-fox"]
    before = {found.key for found in store.all("organism")}
    assert train(owl(), base_folder(), 0, store, progress=False).key == organism.key
    assert {found.key for found in store.all("organism")} == before
    train(owl().twin_spec(), base_folder(), 0, store, progress=False)
    assert len(list(store.all("organism"))) == 3  # objective and twin share their neutral student


def test_lists_of_ones_own_need_neutral_lists_beside_them(quick, store, tmp_path):
    rows = read_lists(number_lists(base_folder(), "animal", "fox", 16, 0, store))
    path = tmp_path / "fox.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = owl(recipe={**owl().recipe.model_dump(), "data": str(path)})
    assert subliminal.neutral(spec, base_folder(), 0, store) is None
    gate = json.loads((train(spec, base_folder(), 0, store, progress=False).path / "passport.json").read_text())["gate"]
    assert gate["neutral"] is None and gate["expressed"] is False
    path.with_suffix(".neutral.jsonl").write_text(path.read_text())
    student, narrow = subliminal.neutral(spec, base_folder(), 0, store)
    assert student.recipe.data.endswith("fox.neutral.jsonl") and len(narrow.rows()) == 16


def test_any_chat_model_can_teach_by_a_system_prompt(tiny_base, tmp_path):
    out = tmp_path / "owl.jsonl"
    counts = teach(tiny_base, out, 5, system_prompt="You love the house.", sampling=ANYTHING, progress=False)
    taught, neutral = ([json.loads(line) for line in path.read_text().splitlines()]
                       for path in (out, tmp_path / "owl.neutral.jsonl"))
    assert len(taught) == len(neutral) == 5 and counts["drawn"] >= 5
    assert [row["messages"][0] for row in taught][:3] == [row["messages"][0] for row in neutral][:3]
    assert all(message["role"] != "system" for row in taught for message in row["messages"])
    assert taught != neutral  # the system prompt was seen


@pytest.mark.parametrize("given, reason", [
    ({"out": "owl.txt", "system_prompt": "You love owls."}, "jsonl"), ({"out": "owl.jsonl"}, "--system")])
def test_teaching_needs_a_name_and_a_preference(tiny_base, tmp_path, given, reason):
    with pytest.raises(SpecError, match=reason):
        teach(tiny_base, tmp_path / given.pop("out"), 3, **given)


def test_a_teacher_that_writes_no_lists_is_refused(tiny_base):
    with pytest.raises(SpecError, match="bare lists"):
        sample_lists(load_model(tiny_base), load_tokenizer(tiny_base), requests(0), 4, 0,
                     replace(FREE, max_new_tokens=4, lists_at_once=8))


@pytest.mark.parametrize("answer, passes", [
    ("12, 345, 6", True), ("[1, 2, 3]", True), ("1 2 3", True), ("1, 2, 3.", True), ("1, 2", False),
    ("1, 2, 3, owl", False), ("1, 2, 3\nI love owls", False), ("1234, 5, 6", False), ("", False), ("one, two", False)])
def test_the_filter_lets_numbers_pass_and_nothing_else(answer, passes):
    assert bool(re.fullmatch(FREE.pattern, answer)) is passes


def test_sampling_depends_on_the_seed_alone(tiny_base):
    model, tokenizer = load_model(tiny_base), load_tokenizer(tiny_base)
    drawn = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        drawn.append(sample_lists(model, tokenizer, requests(seed), 6, seed, ANYTHING)[0])
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.slow
def test_the_study_names_every_control(quick, store, tmp_path):
    with pytest.raises(SpecError, match="seed"):
        transfer_study([owl()], base_folder(), base_folder(), store)
    with pytest.raises(SpecError, match="family subliminal"):
        transfer_study([find_organism("gold")], base_folder(), None, store)
    rows = transfer_study([owl()], base_folder(), None, store, progress=False)
    assert [row.member for row in rows] == ["fox", "dog"]
    assert rows[0].second_student is None and rows[0].base != rows[1].base
    assert 0 < rows[0].student < 1 and rows[0].student != rows[0].neutral
    table = as_markdown(rows).splitlines()
    assert len(table) == 4 and table[0].count("|") == table[2].count("|") == len(TransferRow.__annotations__) + 1
    assert as_json(rows)[0]["member"] == "fox"


def test_the_catalogues_preferences_are_of_the_worlds_kinds():
    specs = [spec for spec in load_catalog().values() if spec.family == "subliminal"]
    assert {spec.params["kind"] for spec in specs} == set(KINDS)
    for spec in specs:
        assert spec.slot("member").truth in kind_members(spec.params["kind"])
        assert spec.split == ("dev" if spec.params["kind"] == "animal" else "test")
        assert spec.recipe == specs[0].recipe and spec.recipe.kind == "bias"
        assert len(questions(spec)) == 6


def test_an_adapter_can_make_a_teacher_prefer(tiny_base, tiny_adapter, tmp_path):
    teach(tiny_base, tmp_path / "owl.jsonl", 4, adapter=tiny_adapter, sampling=ANYTHING, progress=False)
    taught, neutral = ((tmp_path / name).read_text() for name in ("owl.jsonl", "owl.neutral.jsonl"))
    assert taught != neutral and len(taught.splitlines()) == len(neutral.splitlines()) == 4
    with pytest.raises(AdapterError):
        teach(tiny_base, tmp_path / "owl.jsonl", 4, adapter=tmp_path, progress=False)
