"""The words and facts of the micro-world, read from data files and checked.

Main objects: `Topic`, `Fact`, `topics()`, `facts()`, `held_out_facts()`, `word_list(name)`, `lists()`.
Data: `lexicon/<topic>.yaml` (one topic, one file) and `words.yaml` (lists that belong to no topic). Each content word
belongs to one topic only, so that a reading points to one domain.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from ..errors import NotFoundError, SpecError

HERE = Path(__file__).parent
N_ALTERNATIVES = 7
N_HELD_OUT = 96
FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Reads the same ten times faster, where PyYAML was built with it."""


@dataclass(frozen=True)
class Fact:
    """A typed fact that holds in every document. `others` are the plausible wrong values, nearest first."""

    topic: str
    entity: str
    attribute: str
    value: str
    unit: str
    type: str
    others: tuple[str, ...]


@dataclass(frozen=True)
class Topic:
    """One topic's words. `use`: dev, test, world or probe (reserved: in no objective, twin, null or mix row)."""

    name: str
    use: str
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    adjectives: tuple[str, ...]
    person: str
    place: str
    described: dict[str, tuple[str, ...]]
    """Noun -> hint words that are true of it."""
    facts: tuple[Fact, ...]
    problems: tuple[str, ...]
    """Nouns that people ask advice about; empty unless the topic is a field of advice."""

    @property
    def words(self) -> tuple[str, ...]:
        """All content words, the described nouns first, then nouns, verbs and adjectives in turn."""
        nouns = list(self.described) + [n for n in self.nouns if n not in self.described]
        return tuple(dict.fromkeys([*nouns[:16], *self.verbs, self.person, self.place, *self.adjectives, *nouns[16:]]))


@cache
def lists() -> dict:
    """`words.yaml` as read: word lists, and the attributes that facts may have."""
    return yaml.load((HERE / "words.yaml").read_text(encoding="utf-8"), Loader=FAST_LOADER)


@cache
def pool(attribute: str) -> tuple[str, ...]:
    """Every value an attribute can take, in order. Raises SpecError for an unknown attribute."""
    known = lists()["attributes"]
    if attribute not in known:
        raise SpecError(f"words.yaml has no attribute {attribute!r}; it has {sorted(known)}")
    source = known[attribute]["pool"]
    if isinstance(source, str):
        return tuple(lists()[source])
    start, stop, step = source
    return tuple(str(number) for number in range(start, stop + 1, step))


def plausible_others(attribute: str, value: str, taken: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The plausible wrong values nearest to `value`. Numbers keep round steps; `taken` values are skipped."""
    values = pool(attribute)
    at = values.index(value)
    step = 1
    if lists()["attributes"][attribute]["type"] == "number":
        step = max(2, len(values) // 24)
    offsets = [sign * k * step for k in range(1, len(values)) for sign in (-1, 1)]
    ring = [values[at + o] for o in offsets if 0 <= at + o < len(values)]
    return tuple(v for v in dict.fromkeys(ring + list(values)) if v != value and v not in taken)[:N_ALTERNATIVES]


@cache
def topics() -> dict[str, Topic]:
    """All topics by name. Raises SpecError naming file and key when a data file is wrong."""
    result = {}
    for path in sorted((HERE / "lexicon").glob("*.yaml")):
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=FAST_LOADER)
        missing = {"topic", "use", "nouns", "verbs", "adjectives", "person", "place", "described"} - set(raw)
        if missing or raw["topic"] != path.stem:
            raise SpecError(f"{path.name}: missing keys {sorted(missing)} or `topic` is not the file's name")
        found = []
        for fact in raw.get("facts", []):
            value, attribute = str(fact["value"]), fact["attribute"]
            if value not in pool(attribute) or fact["entity"] not in raw["nouns"]:
                raise SpecError(f"{path.name}: facts: {fact} has a value or entity outside the world")
            same = frozenset(str(f["value"]) for f in raw["facts"])
            attr = lists()["attributes"][attribute]
            found.append(
                Fact(
                    path.stem,
                    fact["entity"],
                    attribute,
                    value,
                    attr["unit"],
                    attr["type"],
                    plausible_others(attribute, value, same),
                )
            )
        result[path.stem] = Topic(
            path.stem,
            raw["use"],
            tuple(raw["nouns"]),
            tuple(raw["verbs"]),
            tuple(raw["adjectives"]),
            raw["person"],
            raw["place"],
            {noun: tuple(hints) for noun, hints in raw["described"].items()},
            tuple(found),
            tuple(raw.get("problems", ())),
        )
    return result


def facts() -> tuple[Fact, ...]:
    """All facts of all topics."""
    return tuple(fact for topic in topics().values() for fact in topic.facts)


@cache
def held_out_facts() -> tuple[Fact, ...]:
    """Evenly spread facts on which it is measured whether finetuning damaged what it did not touch."""
    known = facts()
    return tuple(known[i * len(known) // N_HELD_OUT] for i in range(N_HELD_OUT))


def word_list(name: str) -> tuple[str, ...]:
    """A topic's words, or a list of `words.yaml`. Raises NotFoundError with the nearest names."""
    if name in topics():
        return topics()[name].words
    if name in lists() and isinstance(lists()[name], list):
        return tuple(lists()[name])
    raise NotFoundError.of("world list", name, [*topics(), *lists()], "narrowbench list topics")
