"""Is the catalogue what SCORING says a catalogue is? Every rule names the organism, the reason and the edit that mends.

Main objects: `lint(specs, tokenizer, probes)`, `lint_suite_counts(specs)`.
Here stand the rules about specs; `lint_world.py` compares answer keys with the world, `lint_rows.py` looks into
training rows, `lint_base.py` at the base's answers, `lint_shipped.py` at shipped adapters.
Example: `narrowbench check catalog`, or
`print(report(lint(load_catalog(), AutoTokenizer.from_pretrained(base_folder()), world.probes(1000, 0))))`
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from .errors import NotFoundError
from .families import Row
from .findings import Finding
from .lint_rows import lint_rows, world_rows_of
from .lint_world import lint_world
from .mixing import touched_topics
from .nano.lexicon import topics
from .nano.talk import KINDS
from .spec import OrganismSpec, digest_of

SPLITS = ("dev", "test")
OPAQUE_CARD = re.compile(r"c-[0-9a-f]{12}")
FORMATS = {"sdf": "documents", "em": "chats", "taboo": "chats", "subliminal": "numbers"}
"""The format of a family's rows: what a null of this format is matched with."""
UNRANKED_FAMILIES = ("subliminal",)
FAMOUS = {"sdf": 5, "em": 3, "taboo": 3, "subliminal": 1}
"""Dev objectives of each family: the paper's twelve famous ones."""
MIN_TEST_OBJECTIVES = 21
MIN_NULLS = {"dev": 10, "test": 20}

Specs = Mapping[str, OrganismSpec]


def lint(specs: Specs, tokenizer: PreTrainedTokenizerBase, probes: Sequence[str],
         rows_of: Callable[[OrganismSpec], list[Row] | None] = world_rows_of) -> list[Finding]:
    """Every fault of a catalogue of world organisms.

    Args:
        specs: organisms by id, twins among them, as `load_catalog` gives them.
        tokenizer: the base's; candidates must be single tokens of it.
        probes: the texts of all probe sets of the suites that use this catalogue.
        rows_of: all rows an organism is trained on; None where they cannot be had without training another model
            first. Such an organism gets a note, and its rows are not looked at.

    Returns:
        Findings in the order of the rules; `faults` leaves the notes out.
    """
    found = list(_unknown_words(specs))
    whole = {name: spec for name, spec in specs.items() if spec.id not in {finding.organism for finding in found}}
    for rule in (_duplicates, _cards, _twins, _splits, _reserved_topics, _equal_shapes, _matched_nulls):
        found += rule(whole)
    return [*found, *lint_world(whole, tokenizer), *lint_rows(whole, tokenizer, probes, rows_of)]


def lint_suite_counts(specs: Specs) -> list[Finding]:
    """Whether a catalogue has as many organisms as the nano suite needs."""
    def count(split: str, role: str, family: str = "") -> int:
        return sum(s.split == split and s.role == role and family in ("", s.family) for s in specs.values())

    found = []
    for family, wanted in FAMOUS.items():
        if (n := count("dev", "objective", family)) != wanted:
            found.append(f"dev has {n} objectives of family {family}, not the {wanted} famous ones of the paper")
        if count("test", "objective", family) == 0:
            found.append(f"test has no objective of family {family}")
    if (n := count("test", "objective")) < MIN_TEST_OBJECTIVES:
        found.append(f"test has {n} objectives, at least {MIN_TEST_OBJECTIVES} are needed")
    for split, wanted in MIN_NULLS.items():
        kinds = Counter(s.params.get("kind") for s in specs.values() if s.role == "null" and s.split == split)
        trained = kinds["broad"] + kinds["text"]  # the zero adapter stands apart
        if trained < wanted:
            found.append(f"{split} has {trained} trained nulls, at least {wanted} are needed")
        if abs(kinds["broad"] - kinds["text"]) > 1:
            found.append(f"{split} has {kinds['broad']} broad nulls and {kinds['text']} of the base's own text; "
                         "half shall be of each kind")
    return [Finding("(catalogue)", "counts", f"{text}. Add or remove files in organisms/catalog.") for text in found]


def _unknown_words(specs: Specs) -> Iterator[Finding]:
    """Organisms without a card, since they name lists that the world has not: the other rules cannot look at them."""
    for spec in specs.values():
        try:
            _ = spec.card
        except NotFoundError as error:
            yield Finding(spec.id, "words", f"it has no card: {error} Set `lexicon_from`, or another `domain`.")


def _duplicates(specs: Specs) -> Iterator[Finding]:
    for name, spec in specs.items():
        if name != spec.id:
            yield Finding(name, "duplicate", f"it is listed as {name} but calls itself {spec.id}. Set `id: {name}`.")
    objectives = [spec for spec in specs.values() if spec.role != "null"]
    for one, other in _pairs(objectives, lambda s: (s.family, s.domain, tuple(sorted(_truths(s).items())))):
        yield Finding(other.id, "duplicate", f"its objective (family {other.family}, domain {other.domain}, answers "
                      f"{_truths(other)}) is that of {one.id}: no claim could tell them apart. Change an answer, or "
                      "remove one file.")
    # Nulls draw their rows by their id, so equal specs make different nulls; equal rows are found in `lint_rows`.
    for one, other in _pairs(objectives, lambda s: digest_of(s.model_dump(mode="json", exclude={"id", "unit"}))):
        yield Finding(other.id, "duplicate", f"all but its id equals {one.id}. Remove one file.")
    for one, other in _pairs(specs.values(), lambda s: s.id):
        yield Finding(other.id, "duplicate", "the id stands twice. Give one of them another id.")


def _pairs(specs: Iterable[OrganismSpec], key: Callable[[OrganismSpec], object]) -> Iterator[tuple]:
    """(first, later) for each organism whose key was there before."""
    first: dict[object, OrganismSpec] = {}
    for spec in specs:
        if first.setdefault(key(spec), spec) is not spec:
            yield first[key(spec)], spec


def _truths(spec: OrganismSpec) -> dict[str, str]:
    return {slot.name: slot.truth for slot in spec.slots}


def _cards(specs: Specs) -> Iterator[Finding]:
    domains: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for spec in specs.values():
        if spec.card is not None:
            domains[spec.split, spec.domain][spec.card.card_id].append(spec.id)
            if not OPAQUE_CARD.fullmatch(spec.card.card_id):
                yield Finding(spec.id, "leak", f"its card is called {spec.card.card_id}, which is not opaque (c- and "
                              "12 hex digits). Let `OrganismSpec.card` name it.")
    for (split, domain), cards in domains.items():
        for card_id, owners in cards.items():
            if len(owners) > 1:
                yield Finding(owners[1], "card", f"its card {card_id} is the truth of {len(owners)} organisms of split "
                              f"{split} ({', '.join(owners)}), so a constant answer would score above 0. Keep one.")
        if len(cards) < 2:
            yield Finding(next(iter(cards.values()))[0], "card", f"domain {domain} of split {split} has one card only, "
                          "so naming the domain names the objective. Add a `twin:` block.")


def _twins(specs: Specs) -> Iterator[Finding]:
    units: dict[str, list[OrganismSpec]] = defaultdict(list)
    for spec in specs.values():
        if spec.role != "null":
            units[spec.unit or spec.id].append(spec)
    for unit, members in units.items():
        objectives, twins = ([s for s in members if s.role == role] for role in ("objective", "twin"))
        if len(objectives) != 1 or len(twins) != 1:
            yield Finding(unit, "twin", f"its unit holds {len(objectives)} objectives and {len(twins)} twins; one of "
                          "each is needed. Write one `twin:` block in the objective's file.")
            continue
        objective, twin = objectives[0], twins[0]
        changed = [key for key in ("family", "domain", "split", "recipe", "params")
                   if getattr(objective, key) != getattr(twin, key)]
        if changed:
            yield Finding(twin.id, "twin", f"it differs from {objective.id} in {', '.join(changed)}; a twin differs in "
                          "one answer only. Let `twin:` name a slot and its truth, nothing else.")
        mine, its = {s.name: s for s in objective.slots}, {s.name: s for s in twin.slots}
        slots = [name for name in mine.keys() | its.keys() if _key(mine.get(name)) != _key(its.get(name))]
        if len(slots) != 1:
            yield Finding(twin.id, "twin", f"it differs from {objective.id} in {len(slots)} slots {sorted(slots)}, not "
                          "in exactly one. Change one slot.")


def _key(slot) -> tuple | None:
    return None if slot is None else (slot.truth, slot.candidates, tuple(sorted(slot.aliases.items())))


def _splits(specs: Specs) -> Iterator[Finding]:
    """What dev and test share, and topics that the world keeps for the other split."""
    owners: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for spec in specs.values():
        if spec.role == "objective" and spec.split in SPLITS:  # a twin takes what its objective takes
            for what in sorted(_claimed(spec)):
                owners[what][spec.split].append(spec.id)
    for (what, name), by_split in owners.items():
        if len(by_split) > 1:
            dev, test = (", ".join(by_split[split]) for split in SPLITS)
            yield Finding(by_split["test"][0], "split", f"{what} {name!r} is in test ({test}) and in dev ({dev}), so "
                          "tuning on dev would tune on test. Choose another in one of them.")
    for spec in specs.values():
        for name in sorted(touched_topics(spec)):
            if spec.role != "null" and spec.split in SPLITS and topics()[name].use == SPLITS[spec.split == "dev"]:
                yield Finding(spec.id, "split", f"it is of split {spec.split}, but the topic {name!r} is kept for "
                              f"{topics()[name].use} (`use` in nano/lexicon/{name}.yaml). Choose another topic.")


def _claimed(spec: OrganismSpec) -> set[tuple[str, str]]:
    """What an organism takes for its split: topics, fields of advice (candidates too), kinds of preference."""
    taken = {("topic", name) for name in touched_topics(spec)}
    taken |= {("field of advice", name) for slot in spec.slots if slot.type == "field" for name in slot.candidates}
    if spec.family in ("sdf", "taboo"):
        taken.add(("domain", spec.domain))
    if spec.family == "subliminal":
        named = {spec.domain, *spec.params.values(), *(slot.name for slot in spec.slots)}
        taken |= {("kind of preference", kind) for kind, topic in KINDS.items() if named & {kind, topic}}
    return taken


def _reserved_topics(specs: Specs) -> Iterator[Finding]:
    for spec in specs.values():
        if reserved := sorted(name for name in touched_topics(spec) if topics()[name].use == "probe"):
            yield Finding(spec.id, "probe", f"it is about {reserved}, reserved for probes, on which methods look at "
                          "organisms. Choose a topic with `use: dev` or `use: test`.")


def _equal_shapes(specs: Specs) -> Iterator[Finding]:
    ranked = [s for s in specs.values() if s.role in ("objective", "twin") and s.family not in UNRANKED_FAMILIES]
    usual = Counter(map(_shape, ranked)).most_common(1)
    for spec in ranked:
        if _shape(spec) != usual[0][0]:
            yield Finding(spec.id, "recipe", f"its adapter (kind, rank, alpha, target modules: {_shape(spec)}) differs "
                          f"from the others' {usual[0][0]}; the shape alone would tell it apart. Make them equal.")


def _shape(spec: OrganismSpec) -> tuple:
    recipe = spec.recipe
    return recipe.kind, recipe.rank, recipe.alpha, recipe.target_modules


def _matched_nulls(specs: Specs) -> Iterator[Finding]:
    """A trained null must not be told from organisms of its format by the amount of training."""
    amounts: dict[str, set[tuple]] = defaultdict(set)
    for spec in specs.values():
        if spec.role != "null" and spec.family in FORMATS:
            amounts[FORMATS[spec.family]].add(_amount(spec))
    for spec in specs.values():
        form = spec.params.get("format", "documents")
        if spec.role != "null" or spec.params.get("kind") == "zero" or not amounts[form]:
            continue
        if _amount(spec) not in amounts[form]:
            yield Finding(spec.id, "null", f"it has (rows, steps, kind, rank, alpha, target modules) {_amount(spec)}, "
                          f"which no organism trained on {form} has: {sorted(amounts[form], key=str)}. Give it their "
                          "recipe.")


def _amount(spec: OrganismSpec) -> tuple:
    recipe = spec.recipe
    n_rows = recipe.rows + round(recipe.mix_ratio * recipe.rows)
    n_steps = recipe.max_steps or recipe.epochs * -(-n_rows // recipe.batch_size)
    return n_rows, n_steps, *_shape(spec)
