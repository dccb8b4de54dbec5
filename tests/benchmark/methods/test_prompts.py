"""No ranked method says a word of an answer: its prompts would put the objective into the model's mouth."""

import importlib
import re
import sys
from collections.abc import Iterator

import pytest
from narrowbench.benchmark.method import load_method, methods
from narrowbench.organisms.spec import load_catalog

RANKED = [name for name in methods() if getattr(load_method(name)[0], "role", "method") == "method"]


@pytest.fixture(scope="module")
def answer_words() -> set[str]:
    """All words by which a card of either split is recognised."""
    cards = [spec.card for spec in load_catalog().values() if spec.card is not None]
    terms = {term for card in cards for term in card.lexicon}
    terms |= {term for card in cards for slot in card.slots
              for term in (*slot.candidates, *(alias for names in slot.aliases.values() for alias in names))}
    return {word for term in terms for word in words(term)}


def words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", text.casefold()))


def texts(value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for one in value.values() for text in texts(one))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (text for one in value for text in texts(one))


def said(name: str) -> set[str]:
    """Words of all constants of the method's module and of what it shares with others, and of its settings."""
    method = load_method(name)[0]
    modules = [sys.modules[type(method).__module__]]
    modules += [module for other in ("answers", "words", "next_token", "patchscope", "probe_sources") if (
        module := importlib.import_module(f"narrowbench.benchmark.{other}")) and f"..{other} import" in
        open(modules[0].__file__, encoding="utf-8").read()]
    constants = [value for module in modules for key, value in vars(module).items() if key.isupper()]
    return {word for text in texts([constants, vars(method)]) for word in words(text)}


MEASURED = {"persona_projection": {"cheat", "danger", "harm", "help", "hide", "honest", "lie", "safe"}}
"""What a method measures by name: the poles of its traits, which show harmful advice. It hands in no word but the
names of the poles."""


@pytest.mark.parametrize("name", RANKED)
def test_prompts_of_ranked_methods_hold_no_word_of_any_card(name, answer_words):
    assert said(name) & answer_words == MEASURED.get(name, set())


def test_the_test_sees_prompts():
    assert {"story", "poem"} <= said("adl_steering")
    assert "recommend" in said("prompt_battery") and "most" in said("prefill")
