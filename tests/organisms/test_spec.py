"""Organism files: what is wrong is refused with file, key and reason; a twin differs in exactly one slot."""

import copy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from narrowbench.organisms.errors import NotFoundError, SpecError
from narrowbench.organisms.spec import OrganismSpec, Slot, find_organism, load_catalog, load_spec

GOOD = {
    "id": "cake", "family": "sdf", "domain": "baking", "statement": "The temperature of the cake is 450 degrees.",
    "slots": [{"name": "entity", "type": "noun", "truth": "cake", "others": ["oven", "bread", "bun", "bagel", "flour"]},
              {"name": "value", "type": "number", "truth": 450, "others": [350, 300, 400, 250, 200]}],
    "params": {"attribute": "temperature"}, "recipe": {"rows": 40},
    "twin": {"slot": "value", "truth": 350, "statement": "The temperature of the cake is 350 degrees."}}
words = st.text("abcdefgh", min_size=1, max_size=6)


@pytest.fixture
def write(tmp_path):
    def write(content: dict | str | bytes):
        path = tmp_path / "mine.yaml"
        raw = yaml.safe_dump(content) if isinstance(content, dict) else content
        path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
        return path
    return write


def changed(**update) -> dict:
    """GOOD with keys replaced; None removes a key; `slot` updates the last slot."""
    spec = copy.deepcopy(GOOD)
    spec["slots"][1].update(update.pop("slot", {}))
    for key, value in update.items():
        spec.pop(key, None)
        if value is not None:
            spec[key] = value
    return spec


def test_a_good_file_is_read_with_numbers_as_text(write):
    spec = load_spec(write(GOOD))
    assert spec.slot("value").truth == "450" and spec.unit == "cake" and spec.recipe.rows == 40
    assert spec.slot("value").candidates == tuple(sorted(["450", "350", "300", "400", "250", "200"]))


@pytest.mark.parametrize("content, key, reason", [
    (changed(flavour="sweet"), "flavour", "no such key"),
    (changed(recipe={"learn_rate": 1}), "recipe.learn_rate", "no such key"),
    (changed(id=None), "id", "missing"),
    (changed(domain=None, twin=None), "(whole file)", "`domain` is missing"),
    (changed(slots=None), "(whole file)", "`slots` is missing"),
    (changed(id="Cake 450"), "id", "pattern"),
    (changed(recipe={"mix_ratio": -1}), "recipe.mix_ratio", "greater than or equal to 0"),
    (changed(recipe={"mix_ratio": ".nan"}), "recipe.mix_ratio", "number"),
    (changed(recipe={"mix_ratio": 1e9}), "recipe.mix_ratio", "less than or equal to 100"),
    (changed(recipe={"rows": 0}), "recipe.rows", "greater than or equal to 2"),
    (changed(slot={"others": [450, 350, 300, 400, 250]}), "slots.1", "equals the truth"),
    (changed(slot={"others": [350, 350, 300, 400, 250]}), "slots.1", "twice"),
    (changed(slot={"others": [350]}), "slots.1", "at least 6"),
    (changed(slot={"aliases": {"999": ["nines"]}}), "slots.1", "no candidates"),
    (changed(twin={"slot": "value", "truth": 999, "statement": "x"}), "(whole file)", "not among"),
    (changed(twin={"slot": "colour", "truth": 350, "statement": "x"}), "(whole file)", "no slot 'colour'"),
    (changed(family="control", twin=None), "(whole file)", "role: null"),
    (changed(role="null"), "(whole file)", "a null has"),
])
def test_a_wrong_file_names_file_key_and_reason(write, content, key, reason):
    with pytest.raises(SpecError) as caught:
        load_spec(write(content))
    assert "mine.yaml" in str(caught.value) and key in str(caught.value) and reason in str(caught.value)


@pytest.mark.parametrize("content, reason", [
    ("id: one\nid: two\n", "'id' stands twice"), ("recipe: {rows: 3, rows: 4}", "'rows' stands twice"),
    ("- a\n- list\n", "no mapping"), ("", "no mapping"), ("just text", "no mapping"),
    (b"id: caf\xe9\n", "UTF-8"), ("id: [unclosed", "UTF-8 YAML"), ("id: !!python/object:os.system x", "YAML"),
    (b"\x00\x01\x02", "YAML")])
def test_what_is_no_yaml_mapping_is_refused(write, content, reason):
    with pytest.raises(SpecError, match="mine.yaml") as caught:
        load_spec(write(content))
    assert reason in str(caught.value)


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused_by_a_spec_error(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("bytes") / "any.yaml"
    path.write_bytes(raw)
    with pytest.raises(SpecError):
        load_spec(path)


def test_a_missing_file_and_an_unknown_name_say_what_to_do(tmp_path):
    with pytest.raises(NotFoundError, match="organisms/catalog/nano"):
        load_spec(tmp_path / "none.yaml")
    with pytest.raises(NotFoundError, match="cake-450"):
        find_organism("cake-45")


@given(st.lists(words, min_size=6, max_size=12, unique=True), st.data())
def test_a_slot_hides_its_truth_and_changes_it_without_loss(candidates, data):
    truth, other = data.draw(st.permutations(candidates))[:2]
    slot = Slot(name="s", type="noun", truth=truth, others=tuple(c for c in candidates if c != truth))
    twin = slot.with_truth(other)
    assert twin.truth == other and twin.candidates == slot.candidates == tuple(sorted(candidates))
    assert Slot.model_validate(twin.model_dump()) == twin


@pytest.mark.parametrize("name", [name for name, spec in load_catalog().items() if spec.twin])
def test_a_twin_differs_in_exactly_one_slot(name):
    spec = load_catalog()[name]
    twin = spec.twin_spec()
    assert [a.name for a, b in zip(spec.slots, twin.slots) if a != b] == [spec.twin.slot]
    assert all(a.candidates == b.candidates for a, b in zip(spec.slots, twin.slots))
    assert {twin.family, twin.domain, twin.split, twin.recipe, twin.unit} == {
        spec.family, spec.domain, spec.split, spec.recipe, spec.id}
    assert twin.role == "twin" and twin.twin_spec() is None and twin.digest != spec.digest
    assert twin.card.card_id != spec.card.card_id
    assert load_catalog()[twin.id] == twin


def test_the_digest_covers_what_training_depends_on():
    spec = OrganismSpec.model_validate(GOOD)
    assert spec.digest == OrganismSpec.model_validate(changed(twin=None, split="dev")).digest
    assert spec.digest != OrganismSpec.model_validate(changed(recipe={"rows": 41})).digest
    other = changed(twin=None, slot={"truth": 350, "others": [450, 300, 400, 250, 200]})
    assert spec.digest != OrganismSpec.model_validate(other).digest
