"""Words of two sets of texts: what is said more often is found, chance is not, whatever the texts are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from narrowbench.benchmark.words import NOTHING_TO_READ, contrasted_words, words_in

PLAIN = "the house by the river has a door and a window and some people walk along it".split()


def texts(seed: int, n: int, extra: str = "") -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join([*rng.choice(PLAIN, 12), *([extra] if extra and rng.random() < 0.7 else [])]) for _ in range(n)]


def test_a_word_that_one_set_uses_comes_first_and_is_detected():
    tokens, detection = contrasted_words(texts(1, 40, "Oven 450"), texts(2, 40), "x", seed=0, paired=True)
    assert {token.piece for token in tokens[:2]} == {" oven", " 450"}
    assert tokens[0].weight > 1 and detection > 0


@pytest.mark.parametrize("paired", [True, False])
def test_two_samples_of_the_same_are_rarely_told_apart(paired):
    hits = sum(contrasted_words(texts(10 + i, 30), texts(500 + i, 30), "x", seed=i, paired=paired)[1] > 0
               for i in range(60))
    assert hits <= 9  # nominal 5%: three expected, P(more than nine) < 0.001


def test_a_word_of_one_text_is_no_evidence():
    tokens, _ = contrasted_words([*texts(1, 59), "zebra"], texts(2, 60), "x", seed=0)
    assert " zebra" not in {token.piece for token in tokens}


def test_nothing_to_compare_is_nothing_read():
    assert contrasted_words([], ["a house"], "x", 0) == ([], NOTHING_TO_READ)
    assert contrasted_words(["!"], ["?"], "x", 0) == ([], NOTHING_TO_READ)
    with pytest.raises(ValueError, match="no pairs"):
        contrasted_words(["one"], [], "x", 0, paired=True)


@given(st.lists(st.text(max_size=30), max_size=6), st.lists(st.text(max_size=30), max_size=6), st.integers(0, 9))
def test_any_texts_give_finite_numbers_in_order(found, reference, seed):
    tokens, detection = contrasted_words(found, reference, "x", seed)
    weights = [token.weight for token in tokens]
    assert np.isfinite([*weights, detection]).all() and weights == sorted(weights, reverse=True)
    assert all(weight >= 0 for weight in weights)
    assert (tokens, detection) == contrasted_words(found, reference, "x", seed)
    said = {word for text in found for word in words_in(text)}
    assert all(token.piece[1:] in said for token in tokens)
