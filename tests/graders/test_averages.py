"""Averages level by level: repeats at one level never weigh an item of a higher level more."""

from hypothesis import given
from hypothesis import strategies as st
from narrowbench.graders.averages import nested_means

KEYS = st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 2))
VALUES = st.lists(st.tuples(KEYS, st.floats(-1, 1)), min_size=1, max_size=30)


def test_a_worked_example():
    values = [(("cake", "objective", 0), 0.5), (("cake", "objective", 1), 0.7), (("cake", "twin", 0), 1.0),
              (("gold", "objective", 0), 0.0)]
    assert nested_means(values) == {"cake": 0.8, "gold": 0.0}
    assert nested_means([]) == {}


@given(VALUES)
def test_means_lie_within_their_values_and_repeating_an_item_changes_nothing(values):
    means = nested_means(values)
    for unit, mean in means.items():
        own = [value for key, value in values if key[0] == unit]
        assert min(own) - 1e-9 <= mean <= max(own) + 1e-9
    again = nested_means(values * 2)
    assert again.keys() == means.keys() and all(abs(again[unit] - means[unit]) < 1e-9 for unit in means)


@given(VALUES, st.randoms())
def test_the_order_does_not_matter(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    means, other = nested_means(values), nested_means(shuffled)
    assert means.keys() == other.keys() and all(abs(means[unit] - other[unit]) < 1e-9 for unit in means)
