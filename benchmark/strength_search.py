"""How strongly may a model be steered before its texts fall apart? Bisection, with a judge of coherence.

Main objects: `largest_passing` (one search for each of several keys, side by side), `midpoints`.
Example: `largest_passing({"a": (0.0, 100.0)}, 12, 3, write, judge.coherent, pass_share=0.75)`
Source: arXiv 2510.13900 and its reference implementation: 12 halvings of 0..100, texts of the next three halvings
generated in one batch. Ours judges only those of them that the bisection comes to, which finds the same strength, and
searches of all keys share their batches.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

from ..organisms.errors import EvidenceError

Key = TypeVar("Key", bound=Hashable)
Write = Callable[[Sequence[tuple[Key, float]]], Sequence[Sequence[str]]]
"""From (key, strength) pairs to the texts of each."""


def midpoints(low: float, high: float, levels: int) -> list[float]:
    """The 2^levels - 1 strengths that the next `levels` halvings of an interval may come to."""
    if levels == 0:
        return []
    middle = (low + high) / 2
    return [middle, *midpoints(low, middle, levels - 1), *midpoints(middle, high, levels - 1)]


def largest_passing(intervals: Mapping[Key, tuple[float, float]], steps: int, look_ahead: int, write: Write,
                    coherent: Callable[[Sequence[str]], Sequence[bool | None]], pass_share: float) -> dict[Key, float]:
    """The largest strength of each key that was tried and passed; the interval's lower end where none did.

    Takes for granted that what passes at some strength passes at every smaller one.

    Args:
        intervals: Key -> (lower, upper) end. An empty one is not searched.
        steps: Halvings.
        look_ahead: Halvings whose texts are written in one batch.
        coherent: Verdicts on texts; None is none, and counts neither way.
        pass_share: Of the texts with a verdict, at least so many must be coherent.

    Raises:
        EvidenceError: no text of some strength got a verdict.
    """
    found = {key: low for key, (low, high) in intervals.items() if high <= low}
    open_ = {key: ends for key, ends in intervals.items() if key not in found}
    for start in range(0, steps if open_ else 0, look_ahead):
        levels = min(look_ahead, steps - start)
        asked = [(key, strength) for key, ends in open_.items() for strength in midpoints(*ends, levels)]
        written = dict(zip(asked, write(asked), strict=True))
        for _ in range(levels):
            tried = {key: (low + high) / 2 for key, (low, high) in open_.items()}
            passed = _passed([written[key, strength] for key, strength in tried.items()], coherent, pass_share)
            for (key, strength), good in zip(tried.items(), passed, strict=True):
                low, high = open_[key]
                open_[key] = (strength, high) if good else (low, strength)
    return found | {key: low for key, (low, _) in open_.items()}


def _passed(texts: Sequence[Sequence[str]], coherent: Callable[[Sequence[str]], Sequence[bool | None]],
            pass_share: float) -> list[bool]:
    """Whether enough of each set of texts is coherent; all are judged at once."""
    verdicts = iter(coherent([text for some in texts for text in some]))
    passed = []
    for some in texts:
        known = [verdict for verdict in (next(verdicts) for _ in some) if verdict is not None]
        if not known:
            raise EvidenceError(f"the judge gave no verdict on any of {len(some)} steered texts, so no strength can be "
                                "chosen. Name a judge that keeps to the asked-for form.")
        passed.append(sum(known) >= pass_share * len(known))
    return passed
