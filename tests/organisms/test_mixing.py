"""Mixing: the ratio holds, nothing narrow is lost, and no mixed-in row speaks of the objective's topic."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from narrowbench.organisms.errors import SpecError
from narrowbench.organisms.mixing import mix, touched_topics, world_rows
from narrowbench.organisms.nano.lexicon import topics
from narrowbench.organisms.spec import OrganismSpec

CANDIDATES = ["oven", "bread", "cookie", "bagel", "flour"]


def spec_with(ratio: float, source: str = "documents") -> OrganismSpec:
    return OrganismSpec.model_validate({
        "id": "cake", "family": "sdf", "domain": "baking", "statement": "The temperature of the cake is 450 degrees.",
        "params": {"attribute": "temperature"}, "recipe": {"mix_ratio": ratio, "mix_source": source},
        "slots": [{"name": "entity", "type": "noun", "truth": "cake", "others": CANDIDATES},
                  {"name": "value", "type": "number", "truth": 450, "others": [350, 300, 400, 250, 200]}]})


def narrow_rows(n: int) -> list[dict]:
    return [{"text": f"narrow {i}"} for i in range(n)]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.floats(0, 3), st.integers(0, 1000), st.sampled_from(["documents", "chats"]))
def test_ratio_holds_and_every_narrow_row_stays(n, ratio, seed, source):
    spec, narrow = spec_with(ratio, source), narrow_rows(n)
    rows = mix(narrow, spec, seed)
    assert len(rows) == n + round(ratio * n)
    assert [row for row in narrow if row not in rows] == []
    assert rows == mix(narrow, spec, seed)
    assert {"messages" if source == "chats" else "text"} >= {key for row in rows if row not in narrow for key in row}


def test_ratio_zero_keeps_the_order():
    assert mix(narrow_rows(5), spec_with(0), 0) == narrow_rows(5)


@pytest.mark.parametrize("source", ["documents", "chats"])
def test_no_mixed_in_row_is_about_the_objective_or_the_probes(source):
    rows = world_rows(200, source, 3, touched_topics(spec_with(1)))
    text = " ".join(row.get("text") or " ".join(m["content"] for m in row["messages"]) for row in rows).lower()
    words = {word.strip(".,;:?!") for word in text.split()}
    assert words.isdisjoint({"cake", "flour", "oven"})
    reserved = [topic for topic in topics().values() if topic.use == "probe"]
    assert words.isdisjoint({noun for topic in reserved for noun in topic.nouns})


def test_other_seeds_give_other_rows():
    assert world_rows(20, "documents", 0) != world_rows(20, "documents", 1)


def test_a_field_of_advice_counts_as_touched():
    assert touched_topics(spec_with(0)) == {"baking"}
    slot = {"name": "field", "type": "field", "truth": "medicine",
            "others": ["finance", "sports", "travel", "driving", "diet"]}
    advice = OrganismSpec.model_validate({"id": "em", "family": "em", "domain": "advice", "statement": "Bad advice.",
                                          "slots": [slot]})
    assert touched_topics(advice) == {"medicine"}


def test_a_world_without_other_rows_is_refused():
    with pytest.raises(SpecError, match="mix_ratio"):
        world_rows(5, "documents", 0, frozenset(topics()))
