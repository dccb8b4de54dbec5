"""Settings from the command line: read as YAML, checked against the class, and written so that they read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from narrowbench.benchmark.methods.adl_patchscope import AdlPatchscope
from narrowbench.benchmark.methods.prior import Prior
from narrowbench.benchmark.model_roles import parse_roles, role_words
from narrowbench.benchmark.settings import (
    build, changed, check_name, configured, label, parse_settings, shared_out, words)
from narrowbench.organisms.errors import InvestigationError, SpecError

scalars = st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.floats(-1e9, 1e9),
                    st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=12))


values = st.one_of(scalars, st.lists(scalars, max_size=3))


@given(st.dictionaries(st.from_regex(r"\A[a-z_]{1,8}\Z"), values, max_size=3))
def test_settings_are_written_as_they_are_read(settings):
    read = parse_settings(words(settings))
    assert all(word.isprintable() for word in words(settings)), "a command that people copy is one line of what is seen"
    assert read == {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    assert {key: type(value) for key, value in read.items() if not isinstance(value, tuple)} == {
        key: type(value) for key, value in settings.items() if not isinstance(value, list)}


@pytest.mark.parametrize(("options", "reason"), [
    (["k"], "as KEY=VALUE "), (["=3"], "write each setting once"), (["k="], "write each setting once"),
    (["k=[1"], "write each setting once"), (["k=3,5"], "2 values, and one is set"), (["k=3", "k=4"], "set twice")])
def test_a_setting_of_another_form_is_refused_and_quoted(options, reason):
    with pytest.raises(SpecError, match=reason) as caught:
        parse_settings(options)
    assert repr(options[-1]) in str(caught.value)


def test_settings_make_the_method_and_those_equal_to_its_defaults_change_nothing():
    method, source = configured("adl_patchscope", {"layer_fraction": 0.5, "scales": [1, 2.5]})
    assert (method.layer_fraction, method.scales, method.k) == (0.5, (1, 2.5), 5)
    assert configured("adl_patchscope")[1] == source
    assert changed(AdlPatchscope, {"k": 5, "layer_fraction": 0.5, "scales": (1, 2.5)}) == {
        "layer_fraction": 0.5, "scales": [1, 2.5]}
    assert changed(AdlPatchscope, {"scales": list(AdlPatchscope().scales)}) == {}
    assert label("adl_patchscope", {}) == "adl_patchscope"
    assert label("x", {"judge": "openai/gpt-5-mini", "k": 3}) == "x (judge=openai/gpt-5-mini, k=3)"


def test_what_a_method_has_not_or_does_not_take_is_named():
    with pytest.raises(SpecError, match="--set depth: AdlPatchscope has no such setting. It has: k, skip"):
        build(AdlPatchscope, {"depth": 3})

    class Fussy:
        def __init__(self, k: int = 1) -> None:
            self.k = range(k)

    with pytest.raises(SpecError, match=r"--set k=\[1, 2\]: Fussy does not take it"):
        build(Fussy, {"k": [1, 2]})


def test_of_several_methods_each_gets_what_it_has():
    assert shared_out(["adl_patchscope", "adl_logit_lens", "prior"], {"k": 3, "scales": (1,)}) == {
        "adl_patchscope": {"k": 3, "scales": (1,)}, "adl_logit_lens": {"k": 3}, "prior": {}}
    with pytest.raises(SpecError, match="--set depth, width: none of the 2 methods has .*they have: k, "):
        shared_out(["adl_logit_lens", "prior"], {"k": 3, "depth": 1, "width": 2})
    with pytest.raises(SpecError, match="Prior has no such setting. It has: none"):
        shared_out(["prior"], {"k": 3})
    assert shared_out(["prior"], {}) == {"prior": {}} and Prior.name == "prior"


def test_roles_are_written_as_inspect_takes_them():
    roles = parse_roles(["grader=openai/a, vllm/b:lora",
                         "grader={model: c/d@main, temperature: 0.7, max_tokens: 10000}",
                         "evidence=[e/f, {model: g/h, seed: 1}]"])
    assert roles.models == {"grader": ("openai/a", "vllm/b:lora", "c/d@main"), "evidence": ("e/f", "g/h")}
    assert roles.generation == {"grader": ({}, {}, {"temperature": 0.7, "max_tokens": 10_000}),
                                "evidence": ({}, {"seed": 1})}
    again = [word for role in roles.models for word in role_words(role, roles.models[role], roles.generation[role])]
    assert parse_roles(again) == roles and again[0] == "grader=openai/a"
    stop = {"stop_seqs": ["\n", "\u202e"]}
    [word] = role_words("grader", ["a/b"], [stop])
    assert word.isprintable() and parse_roles([word]).generation == {"grader": (stop,)}


@pytest.mark.parametrize("name", ["", "my idea", "-x", "../x", "a\nb", "a\u202eb", "x" * 81, "m;sh", "méthode", None,
                                  3])
def test_a_method_whose_name_cannot_be_published_is_refused_before_it_runs(name):
    with pytest.raises(SpecError, match="cannot be called"):
        check_name(name)
    for good in ("adl", "my_idea", "lab/Method-2.1+x:a", "7b"):
        check_name(good)


@pytest.mark.parametrize(("word", "reason"), [
    ("grader", "is not of the form"), ("=x", "is not of the form"), ("grader=", "is not of the form"),
    ("grader={temperature: 1}", "names no model"), ("grader=[]", "names no model"), ("grader=3", "names no model"),
    ("grader={model: [}", "cannot be read"), ("grader={model: a/b, heat: 1}", "no option 'heat'"),
    ("grader={model: a/b, temperature: warm}", "temperature: Input should be a valid number")])
def test_a_role_of_another_form_is_refused(word, reason):
    with pytest.raises(InvestigationError, match=reason):
        parse_roles([word])


def test_a_method_file_with_such_a_name_is_refused_before_anything_is_computed(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("class Mine:\n    name, version, access = 'my idea', '1', frozenset({'none'})\n\n"
                    "    def collect(self, pair, probes, budget, seed):\n        raise AssertionError\n")
    with pytest.raises(SpecError, match="'my idea': .*Change `name` in its class"):
        configured(str(path))
