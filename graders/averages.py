"""In which order repeats are averaged, so that unequal numbers of them never weigh an item of a higher level more.

Main object: `nested_means`.
Example: `nested_means([(("cake", "objective", 0), 0.5), (("cake", "objective", 1), 0.7), (("cake", "twin", 0), 1.0)])`
gives {"cake": 0.8}: the mean of 0.6 and 1.0.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable


def nested_means(values: Iterable[tuple[tuple[Hashable, ...], float]]) -> dict[Hashable, float]:
    """Mean for each first key, over means for each second key, and so on; keys of equal length, highest level first."""
    means: dict[tuple, list[float]] = defaultdict(list)
    for key, value in values:
        means[key].append(value)
    while means and len(next(iter(means))) > 1:
        upper: dict[tuple, list[float]] = defaultdict(list)
        for key, repeats in means.items():
            upper[key[:-1]].append(math.fsum(repeats) / len(repeats))
        means = upper
    return {key[0]: math.fsum(repeats) / len(repeats) for key, repeats in means.items()}
