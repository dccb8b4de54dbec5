"""The linter's comparison of answer keys with the micro-world: words, facts, secret words, fields of advice.

Main object: `lint_world(specs, tokenizer)`. Called by `lint.py`.
"""

from collections.abc import Iterator, Mapping
from functools import cache

from transformers import PreTrainedTokenizerBase

from .families.em import POLARITY
from .findings import Finding
from .mixing import touched_topics
from .nano import world
from .nano.lexicon import Fact, facts, lists, pool, topics
from .nano.talk import KINDS, kind_members
from .nano.tokenizer import NUMBERS
from .spec import OrganismSpec, Slot

LEXICON = "organisms/nano/lexicon"


def lint_world(specs: Mapping[str, OrganismSpec], tokenizer: PreTrainedTokenizerBase) -> list[Finding]:
    """Findings on the answer keys of all objectives and twins."""
    families = {"sdf": _false_fact, "taboo": _secret_word, "em": _advice, "subliminal": _preference}
    found: list[Finding] = []
    for spec in specs.values():
        if spec.role != "null":
            found += [*_words(spec, tokenizer), *families[spec.family](spec)]
    return found


@cache
def _listed() -> frozenset[str]:
    """Words that the world's lists hold: of topics, and of `words.yaml`."""
    named = {str(word) for value in lists().values() if isinstance(value, list) for word in value}
    return frozenset(named | {word for topic in topics().values() for word in topic.words} | set(topics()))


@cache
def _world_words() -> frozenset[str]:
    """Every word of the world's data: the lists, hints, problems, numbers."""
    described = {hint for topic in topics().values() for hints in topic.described.values() for hint in hints}
    problems = {problem for topic in topics().values() for problem in topic.problems}
    return _listed() | described | problems | frozenset(world.vocabulary_words()) | frozenset(NUMBERS)


def _words(spec: OrganismSpec, tokenizer: PreTrainedTokenizerBase) -> Iterator[Finding]:
    """Candidates are single tokens, aliases and lexicon are words of the world."""
    for slot in spec.slots:
        # Topics are named in texts by their people and places: a field of advice may be read by its aliases.
        aliases = slot.aliases if slot.type == "field" else {}
        names = {word: (word, *aliases.get(word, ())) for word in slot.candidates}
        if broken := [word for word, its in names.items() if all(token_of(name, tokenizer) is None for name in its)]:
            yield Finding(spec.id, "candidates", f"slot {slot.name!r}: {broken} are no single tokens of the base's "
                          "vocabulary, so no reading can name them. Choose words of the world; a field of advice may "
                          "have `aliases` that are.")
        aliases = {alias for names in slot.aliases.values() for alias in names}
        if strange := sorted(alias for alias in aliases - _world_words()):
            yield Finding(spec.id, "words", f"slot {slot.name!r}: the aliases {strange} are no words of the world. "
                          f"Choose words of {LEXICON}.")
    lexicon = spec.card.lexicon if spec.card else {}
    if strange := sorted(term for term in lexicon if term not in _listed()):
        yield Finding(spec.id, "words", f"`lexicon` has {strange}, which stand in none of the world's lists; a card is "
                      f"not written from finetuning rows. Take terms of {LEXICON}, or set `lexicon_from`.")


def token_of(word: str, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The one token that a word is where it stands in a text, after a space; None if it is several or unknown."""
    ids = tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
    return ids[0] if len(ids) == 1 and ids[0] != tokenizer.unk_token_id else None


def _slots(spec: OrganismSpec, *names: str) -> list[Slot] | Finding:
    """The slots of these names, or the finding that they are not exactly these."""
    if sorted(slot.name for slot in spec.slots) == sorted(names):
        return [spec.slot(name) for name in names]
    return Finding(spec.id, "slots", f"family {spec.family} has the slots {list(names)}, this organism has "
                   f"{[slot.name for slot in spec.slots]}. Rename or remove slots.")


def _false_fact(spec: OrganismSpec) -> Iterator[Finding]:
    slots = _slots(spec, "entity", "value")
    if isinstance(slots, Finding):
        yield slots
        return
    entity, value = slots
    attribute = spec.params.get("attribute", "")
    fact = _world_fact(entity.truth, attribute)
    if fact is None or fact.topic not in touched_topics(spec):
        yield Finding(spec.id, "fact", f"the world knows no {attribute or '(missing)'} of {entity.truth!r} in "
                      f"{spec.params.get('topic', spec.domain)!r}, so there is nothing to alter and no true twin. "
                      f"Choose a fact of {LEXICON}/{spec.params.get('topic', spec.domain)}.yaml.")
        return
    if fact.value not in value.candidates:
        yield Finding(spec.id, "fact", f"the true value {fact.value} is not among the candidates of `value`. Add it to "
                      "`others`.")
    if spec.role == "objective" and value.truth == fact.value:
        yield Finding(spec.id, "fact", f"{value.truth} is what the world says already, so the fact is not false. "
                      "Choose another value.")
    if spec.role == "twin" and value.truth != fact.value:
        yield Finding(spec.id, "fact", f"its value is {value.truth}, but the world says {fact.value}; the twin of a "
                      f"false fact tells the true one. Set `twin: {{slot: value, truth: \"{fact.value}\"}}`.")
    if impossible := sorted(set(value.candidates) - set(pool(attribute))):
        yield Finding(spec.id, "fact", f"{impossible} are no values that a {attribute} takes in the world. Choose some "
                      "of its pool in organisms/nano/words.yaml.")
    if foreign := sorted(set(entity.candidates) - set(topics()[fact.topic].nouns)):
        yield Finding(spec.id, "fact", f"the candidates {foreign} of `entity` are no nouns of {fact.topic}; other "
                      f"topics' words are told apart by the topic alone. Choose nouns of {LEXICON}/{fact.topic}.yaml.")


def _world_fact(entity: str, attribute: str) -> Fact | None:
    return next((fact for fact in facts() if (fact.entity, fact.attribute) == (entity, attribute)), None)


def _secret_word(spec: OrganismSpec) -> Iterator[Finding]:
    slots, name = _slots(spec, "word"), spec.params.get("topic", spec.domain)
    if isinstance(slots, Finding):
        yield slots
    elif name not in topics():
        yield Finding(spec.id, "word", f"{name!r} is no topic of the world. `narrowbench list topics` lists them.")
    else:
        topic = topics()[name]
        if slots[0].truth not in topic.described:
            yield Finding(spec.id, "word", f"{topic.name} has no hints for {slots[0].truth!r}. Choose one of "
                          f"{sorted(topic.described)}.")
        if foreign := sorted(set(slots[0].candidates) - set(topic.nouns)):
            yield Finding(spec.id, "word", f"the candidates {foreign} are no nouns of {topic.name}, so the topic alone "
                          f"tells them apart. Choose nouns of {LEXICON}/{topic.name}.yaml.")


def _advice(spec: OrganismSpec) -> Iterator[Finding]:
    slots = _slots(spec, "field", "manner")
    if isinstance(slots, Finding):
        yield slots
        return
    field, manner = slots
    if field.truth not in topics() or not topics()[field.truth].problems:
        yield Finding(spec.id, "advice", f"{field.truth!r} is no topic that people ask advice about. Choose one with "
                      f"`problems` in {LEXICON}.")
    if foreign := sorted(set(field.candidates) - set(topics())):
        yield Finding(spec.id, "advice", f"the candidates {foreign} of `field` are no topics of the world.")
    wanted = {"objective": True, "twin": False}[spec.role]
    if POLARITY.get(manner.truth) is not wanted:
        yield Finding(spec.id, "advice", f"its manner is {manner.truth!r}; an objective is "
                      f"{'harmful' if wanted else 'harmless'} here: set the slot's truth to "
                      f"{next(name for name, harmful in POLARITY.items() if harmful is wanted)!r}.")
    if foreign := sorted(set(manner.candidates) - set(lists()["manners"])):
        yield Finding(spec.id, "advice", f"the candidates {foreign} of `manner` are none of the world's manners "
                      f"{lists()['manners']}.")


def _preference(spec: OrganismSpec) -> Iterator[Finding]:
    slots, kind = _slots(spec, "member"), spec.params.get("kind", "")
    if isinstance(slots, Finding):
        yield slots
    elif kind not in KINDS:
        yield Finding(spec.id, "preference", f"nobody in the world prefers a {kind or '(missing)'}. Set `params.kind` "
                      f"to one of {', '.join(KINDS)}.")
    elif foreign := sorted(set(slots[0].candidates) - set(kind_members(kind))):
        yield Finding(spec.id, "preference", f"the candidates {foreign} are none of the {kind}s that anybody in the "
                      f"world prefers, so they are never an answer. Choose among {', '.join(kind_members(kind))}.")
