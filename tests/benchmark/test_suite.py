"""A suite file is checked whole when it is read, and its digest changes with everything it refers to."""

import json
import math
import re
import shutil
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from narrowbench.benchmark.manifest import SuiteFile, exams_of, suite_path, suites
from narrowbench.benchmark.suite import changed_pins, load_suite, pin, sample_id
from narrowbench.graders import VERSIONS
from narrowbench.graders.averages import nested_means
from narrowbench.graders.claim import Claim
from narrowbench.graders.recovery import recovery
from narrowbench.organisms.errors import NotFoundError, SpecError
from narrowbench.organisms.spec import load_catalog


_suite = cache(load_suite)


@pytest.fixture
def suite_file(tmp_path, make_suite):
    return lambda **changes: make_suite(tmp_path / "mine", **changes)


def test_a_suite_resolves_organisms_candidates_probes_and_base(suite_file, tiny_base):
    suite = load_suite(suite_file())
    assert [entry.spec.id for entry in suite.entries] == ["my-cake", "my-cake-twin", "my-null"]
    assert {card.domain for card in suite.cards} == {"baking", "metals"} and len(suite.cards) == 4
    assert suite.base.samefile(tiny_base) and len(suite.probes.texts) == 40


def test_sample_ids_are_opaque_and_distinct(suite_file):
    suite = load_suite(suite_file())
    ids = [entry.sample_id for entry in suite.entries]
    assert len(set(ids)) == 3 and all(re.fullmatch(r"o-[0-9a-f]{10}", one) for one in ids)
    assert sample_id("tiny", "my-cake", 0) == ids[0] != sample_id("tiny", "my-cake", 1)


def test_the_digest_covers_what_the_manifest_only_names(suite_file):
    path = suite_file()
    before = load_suite(path).digest
    assert load_suite(path).digest == before
    gold = path.parent / "gold.yaml"
    gold.write_text(gold.read_text().replace("copper", "nickel"))
    assert load_suite(path).digest != before, "a candidate that nobody trains is still part of the exam"


def test_pin_writes_digests_and_a_changed_spec_is_then_refused(suite_file):
    path = pin(suite_file())
    assert load_suite(path).entries
    assert all(len(one["spec_digest"]) == 64 for one in json.loads(path.read_text())["organisms"])
    cake = path.parent / "cake.yaml"
    cake.write_text(cake.read_text().replace("rows: 8", "rows: 9"))
    with pytest.raises(SpecError, match=r"suite\.json: key `organisms: my-cake`: it has changed since"):
        load_suite(path)


def test_changed_probes_are_refused(suite_file):
    path = pin(suite_file())
    file = path.parent / "probes.txt"
    file.write_text("another first line of text\n" + file.read_text())
    with pytest.raises(SpecError, match="key `probes`: it has changed"):
        load_suite(path)


def test_what_a_frozen_suite_holds_still_may_not_change(suite_file):
    path = pin(suite_file(candidates="suite"), freeze=True)
    whole = json.loads(path.read_text())
    assert whole["frozen"]["graders"] == VERSIONS and load_suite(path).digest
    for key, changed in {"base": "0" * 64, "cards": "0" * 64, "graders": VERSIONS | {"recovery": "0"},
                         "reader": "0" * 64}.items():
        path.write_text(json.dumps(whole | {"frozen": whole["frozen"] | {key: changed}}))
        with pytest.raises(SpecError, match=f"key `frozen.{key}`: it has changed since"):
            load_suite(path)


def test_a_frozen_suite_does_not_see_what_the_catalogue_gains(suite_file):
    path = pin(suite_file(candidates="suite"), freeze=True)
    before = load_suite(path)
    gold = path.parent / "gold.yaml"
    gold.write_text(gold.read_text().replace("copper", "nickel"))
    assert load_suite(path).digest == before.digest, "gold is known, and no organism of this suite"
    assert {card.domain for card in before.cards} == {"baking"}


def test_the_digest_covers_the_base(suite_file, tiny_base, tmp_path):
    path = suite_file()
    before = load_suite(path).digest
    other = tmp_path / "other_base"
    shutil.copytree(tiny_base, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base": str(other)}))
    assert load_suite(path).digest != before


def test_the_built_in_suites_pin_the_builds_that_ship():
    assert [found for name in suites() for found in changed_pins(name)] == []
    assert SuiteFile.model_validate_json(suite_path("nano-2026.1").read_bytes()).frozen is not None


def test_a_build_that_is_not_the_pinned_one_is_named(tmp_path):
    raw = json.loads(suite_path("nano-2026.1").read_text())
    raw["organisms"][0] |= {"data_digest": "0" * 64}
    raw["organisms"][1] |= {"train_seed": 7}
    raw["frozen"]["base"] = "1" * 64
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(raw))
    reasons = [f"{organism}: {reason}" for organism, reason in changed_pins(path)]
    first, second = (one["organism"] for one in raw["organisms"][:2])
    assert any(f"{first}: suite nano-2026.1 pins data_digest 000000000000" in reason for reason in reasons)
    assert f"{second}: suite nano-2026.1 pins weights of seed 7, and none ship. Ship them again." in reasons
    assert sum("pins frozen.base" in reason for reason in reasons) == len(raw["organisms"]) - 1


@pytest.mark.parametrize(("changes", "reason"), [
    ({"organisms": []}, "key `organisms`"),
    ({"schema": 2}, "key `schema`"),
    ({"colour": "red"}, "key `colour`"),
    ({"probes": {"source": "probes.txt", "n": 0}}, "key `probes.n`"),
    ({"probes": {"source": "probes.txt", "n": 9_000}}, "key `probes.n`: 9000 probes wanted"),
    ({"organisms": [{"organism": "my-cake"}, {"organism": "my-cake"}]}, "stands twice"),
    ({"specs": ["cake.yaml", "cake.yaml"]}, "already taken"),
])
def test_a_wrong_manifest_names_file_key_and_reason(suite_file, changes, reason):
    with pytest.raises(SpecError, match="suite.json") as error:
        load_suite(suite_file(**changes))
    assert reason in str(error.value)


def test_unknown_names_give_the_nearest(suite_file):
    with pytest.raises(NotFoundError, match="Did you mean my-cake"):
        load_suite(suite_file(organisms=[{"organism": "my-cke"}]))
    with pytest.raises(NotFoundError, match="Did you mean demo"):
        load_suite("dmo")
    with pytest.raises(NotFoundError, match="no suite file"):
        load_suite("nowhere.json")


def test_the_demo_has_an_objective_and_twin_of_each_family_two_nulls_and_many_candidates():
    assert "demo" in suites()
    catalog = load_catalog()
    chosen = [catalog[one.organism] for one in SuiteFile.model_validate_json(suite_path("demo").read_bytes()).organisms]
    for family in ("sdf", "em", "taboo"):
        assert [spec.role for spec in chosen if spec.family == family] == ["objective", "twin"]
    assert [spec.role for spec in chosen].count("null") == 2
    assert len({spec.domain for spec in catalog.values() if spec.card}) >= 12


def split_suite(suite_file, **changes):
    """The tiny suite with both splits: the cake is dev, the gold and the null are test."""
    path = suite_file(split="both", organisms=[{"organism": name} for name in (
        "my-cake", "my-cake-twin", "my-gold", "my-gold-twin", "my-null")], **changes)
    for name, split in (("cake", "dev"), ("gold", "test"), ("null", "test")):
        file = path.parent / f"{name}.yaml"
        file.write_text(file.read_text().replace("family:", f"split: {split}\nfamily:"))
    return path


def test_an_exam_is_on_one_split_of_a_manifest_that_holds_both(suite_file):
    path = split_suite(suite_file, tier="nano")
    assert exams_of(path) == [f"{path}:dev", f"{path}:test"] and exams_of(f"{path}:dev") == [f"{path}:dev"]
    dev, test = (load_suite(exam) for exam in exams_of(path))
    assert [entry.spec.id for entry in dev.entries] == ["my-cake", "my-cake-twin"] and dev.split == "dev"
    assert [entry.spec.id for entry in test.entries] == ["my-gold", "my-gold-twin", "my-null"]
    assert load_suite(path) == load_suite(f"{path}:test") or load_suite(path).digest == test.digest
    assert dev.digest != test.digest


def test_the_candidates_of_an_exam_are_of_its_own_split(suite_file):
    dev, test = (load_suite(exam) for exam in exams_of(split_suite(suite_file, tier="nano")))
    shared = {"baking", "metals"}  # of the tiny suite's own organisms, whose cards the catalogue has as well
    for exam, other in ((dev, "test"), (test, "dev")):
        asked = {card.domain for card in exam.cards} - shared
        own = {spec.domain for spec in load_catalog().values() if spec.card and spec.split == exam.split}
        assert asked == own - shared
        assert other != exam.split and len({card.card_id for card in exam.cards}) == len(exam.cards)
    assert "railways" not in {card.domain for card in dev.cards} and "railways" in {card.domain for card in test.cards}


def test_a_split_that_a_manifest_does_not_hold_is_refused(suite_file):
    with pytest.raises(NotFoundError, match="has only the split 'own'"):
        load_suite(f"{suite_file()}:dev")


def test_a_method_that_reads_weights_does_not_get_a_layout_that_names_its_family(suite_file):
    path = suite_file(organisms=[{"organism": name} for name in ("my-cake", "my-gold", "my-null")])
    gold = path.parent / "gold.yaml"
    every = ["my-cake", "my-gold", "my-null"]
    assert [entry.spec.id for entry in load_suite(path).shown_to({"weights"})] == every
    gold.write_text(gold.read_text().replace("recipe: {", "recipe: {kind: bias, "))
    suite = load_suite(path)
    assert [entry.spec.id for entry in suite.shown_to({"activations"})] == every
    assert [entry.spec.id for entry in suite.shown_to({"weights"})] == []


def test_nano_2026_1_holds_both_splits_and_three_seeds_of_six_test_objectives():
    entries = [entry for exam in exams_of("nano-2026.1") for entry in load_suite(exam).entries]
    assert {entry.spec.id for entry in entries} <= set(load_catalog()) and len(entries) == 127
    seeds = {}
    for entry in entries:
        seeds.setdefault(entry.spec.id, []).append(entry.train_seed)
    thrice = {name for name, trained in seeds.items() if trained == [0, 1, 2]}
    assert all(trained in ([0], [0, 1, 2]) for trained in seeds.values()) and len(thrice) == 12
    assert {load_catalog()[name].unit for name in thrice} == {name.removesuffix("-twin") for name in thrice}
    assert all(load_catalog()[name].split == "test" for name in thrice)


@pytest.mark.parametrize("name", ["nano-2026.1:dev", "nano-2026.1:test"])
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_who_says_the_same_of_every_organism_earns_nothing(name, data):
    """Neither in the domain part nor in that of the objective: domains count alike, however many objectives one has."""
    suite = _suite(name)
    words = sorted({word for card in suite.cards for word in (*card.lexicon, *(slot.truth for slot in card.slots))})
    claim = Claim("objective", 0.9, "", tuple(data.draw(st.lists(st.sampled_from(words), max_size=20, unique=True))))
    marks = [(entry.about, recovery(claim, entry.spec.card, suite.cards)) for entry in suite.entries
             if entry.spec.card and entry.train_seed == 0]
    for part in ("domain", "objective"):
        units = nested_means(((about["unit"], about["organism"]), getattr(mark, part)) for about, mark in marks)
        assert math.fsum(units.values()) == pytest.approx(0, abs=1e-9)
