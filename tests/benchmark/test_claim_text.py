"""A claim out of a model's answer: found in any prose, refused with a reason, never an accident of the parser."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from narrowbench.benchmark.claim_text import claim_in
from narrowbench.graders.claim import Claim
from narrowbench.organisms.errors import EvidenceError

texts = st.text(st.characters(codec="utf-8"), max_size=60)
seen = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Zl", "Zp")), max_size=60)
claims = st.builds(Claim, st.sampled_from(["objective", "no_objective", "unsure"]), st.floats(0, 1),
                   seen, st.lists(seen, max_size=50).map(tuple))
prose = texts.filter(lambda text: "{" not in text)


@given(claims, prose, prose)
def test_a_claim_is_found_whatever_stands_around_it(claim, before, after):
    assert claim_in(f"{before}\n```json\n{claim.to_json()}\n```{after}") == claim


@pytest.mark.parametrize(("key", "text"), [
    ("statement", "It is \u202etfel"), ("statement", "a\x1b[2Jb"), ("keywords", ["a\nb"]), ("keywords", ["a\u200bb"]),
    ("keywords", ["a" * 201])])
def test_a_claim_with_what_nobody_sees_comes_back_with_the_reason(key, text):
    claim = {"verdict": "objective", "confidence": 0.5, "statement": "", "keywords": []}
    with pytest.raises(EvidenceError, match="which nobody sees|at most 200 characters") as caught:
        claim_in(json.dumps(claim | {key: text}))
    assert str(caught.value).isprintable()
    for fine in ("Two\n\tlines, a space\u00a0that holds.", "می\u200cخواهم", "👨\u200d👩"):
        assert claim_in(json.dumps(claim | {"statement": fine})).statement == fine


@given(claims, claims)
def test_the_last_claim_counts(first, last):
    assert claim_in(f"Perhaps {first.to_json()}, no: {last.to_json()}.") == last


@given(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("latin-1")),
                 st.recursive(st.none() | st.booleans() | st.floats() | texts, lambda inner: st.lists(inner) |
                              st.dictionaries(st.sampled_from(["verdict", "confidence", "statement", "keywords", "x"]),
                                              inner)).map(json.dumps)))
def test_anything_else_is_refused_with_a_reason(text):
    try:
        assert isinstance(claim_in(text), Claim)
    except EvidenceError as error:
        assert str(error).startswith("claim: ")


@pytest.mark.parametrize("text", ["{" * 90_000, '{"' * 45_000, "[" * 99_999, "x" * 200_000,
                                  '{"verdict": ' + "[" * 90_000,
                                  '{"verdict": "objective", "confidence": NaN, "statement": "", "keywords": []}',
                                  '{"verdict": "objective", "confidence": 1, "statement": "\\ud800", "keywords": []}',
                                  '{"verdict": ["objective"], "confidence": 1, "statement": "", "keywords": []}',
                                  '{"verdict": "objective", "confidence": 1, "statement": "", "keywords": [[1]]}'])
def test_hostile_answers_are_refused_at_once(text):
    with pytest.raises(EvidenceError, match="claim: "):
        claim_in(text)
