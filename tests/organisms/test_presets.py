"""Presets are whole and cited; every field of a recipe can be set by name, and a bad value is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from narrowbench.organisms.errors import NotFoundError, SpecError
from narrowbench.organisms.presets import load_presets, recipe_with, with_recipe
from narrowbench.organisms.spec import Recipe, find_organism


def test_the_published_figures():
    sdf, em, taboo, subliminal = (recipe_with(Recipe(), name) for name in ("sdf", "em", "taboo", "subliminal"))
    assert (sdf.rank, sdf.alpha, sdf.rslora, sdf.learning_rate, sdf.epochs) == (64, 128, False, 1e-5, 1)
    assert (em.rank, em.alpha, em.rslora, em.learning_rate, em.epochs, em.batch_size) == (32, 64, True, 1e-5, 1, 16)
    assert (taboo.rank, taboo.alpha, taboo.learning_rate, taboo.epochs, taboo.batch_size) == (16, 32, 2e-4, 2, 32)
    assert (subliminal.rank, subliminal.alpha, subliminal.learning_rate, subliminal.epochs) == (8, 8, 2e-4, 3)


@pytest.mark.parametrize("name", load_presets())
def test_every_preset_is_a_valid_cited_recipe_that_says_what_it_does_not_know(name):
    preset = load_presets()[name]
    recipe = recipe_with(Recipe(), name)
    assert preset.source and preset.status and set(preset.unverified) <= set(Recipe.model_fields)
    assert recipe.batch_size % (recipe.micro_batch_size or recipe.batch_size) == 0


def test_an_override_wins_over_the_preset_and_what_neither_names_stays():
    spec = find_organism("cake-450")
    changed = with_recipe(spec, "em", ["rank=4", "target_modules=q_proj, v_proj", "packing=true", "max_steps=7"])
    recipe = changed.recipe
    assert (recipe.rank, recipe.alpha, recipe.packing, recipe.max_steps) == (4, 64, True, 7)
    assert recipe.target_modules == ("q_proj", "v_proj") and recipe.mix_ratio == spec.recipe.mix_ratio
    assert changed.id == spec.id and changed.digest != spec.digest
    assert with_recipe(changed, None, ["max_steps=none"]).recipe.max_steps is None
    assert with_recipe(spec) == spec


@pytest.mark.parametrize(("override", "said"), [
    ("rank=large", r"recipe\.rank.*'large' is not a whole number >= 1 and <= 1024"),
    ("rank=0", r"recipe\.rank.*>= 1"),
    ("learning_rate=2", r"recipe\.learning_rate.*a number > 0 and < 1"),
    ("kind=dora", r"recipe\.kind.*one of lora, bias, full, caft"),
    ("schedule=none", r"recipe\.schedule.*one of linear, cosine, constant"),
    ("packing=maybe", r"recipe\.packing.*true or false"),
    ("colour=red", r"recipe\.colour.*no such field.*learning_rate"),
    ("rank", "KEY=VALUE"),
    ("=3", "KEY=VALUE")])
def test_a_bad_override_is_named_with_what_is_allowed(override, said):
    with pytest.raises(SpecError, match=said):
        recipe_with(Recipe(), None, [override])


def test_a_field_set_twice_and_an_unknown_preset_are_refused():
    with pytest.raises(SpecError, match="set twice"):
        recipe_with(Recipe(), None, ["rank=4", "rank=8"])
    with pytest.raises(NotFoundError, match="sdf"):
        recipe_with(Recipe(), "sdff")


@given(st.lists(st.text(max_size=30), max_size=3))
def test_any_text_gives_a_recipe_or_a_spec_error(overrides):
    try:
        assert isinstance(recipe_with(Recipe(), None, overrides), Recipe)
    except SpecError as error:
        assert str(error)


@given(st.sampled_from(sorted(Recipe.model_fields)), st.text(max_size=12))
def test_any_value_of_any_field_is_taken_or_refused_by_that_fields_name(key, text):
    try:
        recipe_with(Recipe(), None, [f"{key}={text}"])
    except SpecError as error:
        assert key in str(error)
