"""The linter: the shipped catalogue has no fault, and every fault that is planted in a small one is found."""

import json

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from narrowbench.organisms.errors import DamagedArtefactError, NotFoundError
from narrowbench.organisms.findings import Finding, as_json, faults, report
from narrowbench.organisms.lint import lint, lint_suite_counts
from narrowbench.organisms.lint_base import lint_base
from narrowbench.organisms.lint_rows import world_rows_of
from narrowbench.organisms.lint_shipped import MAX_TOTAL_BYTES, lint_shipped
from narrowbench.organisms.shipped import read_index
from narrowbench.organisms.nano import base_folder, world
from narrowbench.organisms.spec import OrganismSpec, load_catalog
from narrowbench.organisms.store import sha256_file

PROBES = world.probes(1000, 0)
IDS = ("cake-450", "em-medicine", "gold", "honey-180", "pearl")
NULLS = ("null-zero", "null-broad-documents", "null-text-chats")


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(base_folder())


@pytest.fixture(scope="module")
def rows():
    """Some rows of the small catalogue, made once."""
    return {name: world_rows_of(spec)[:24] for name, spec in small().items()}


@pytest.fixture
def found(tokenizer, rows):
    """`found(specs, rows_of=...)`: faults as {(organism, rule): messages in one string}."""
    def look(specs, rows_of=None):
        result = {}
        for finding in faults(lint(specs, tokenizer, PROBES, rows_of or (lambda spec: rows.get(spec.id)))):
            key = finding.organism, finding.rule
            result[key] = result.get(key, "") + finding.message + "\n"
        return result
    return look


def small() -> dict[str, OrganismSpec]:
    """Five objectives over both splits with their twins, and three nulls."""
    catalog = load_catalog()
    return {name: catalog[name] for base in IDS for name in (base, f"{base}-twin")} | {n: catalog[n] for n in NULLS}


def changed(name: str, specs=None, **fields) -> dict[str, OrganismSpec]:
    """The small catalogue with other fields in one organism, which no spec file could have passed with."""
    specs = dict(specs or small())
    specs[name] = specs[name].model_copy(update=fields)
    return specs


def slot(name: str, which: str, **fields) -> dict:
    """The `slots` of an organism with other fields in one of them."""
    return {"slots": tuple(s.model_copy(update=fields) if s.name == which else s for s in small()[name].slots)}


def recipe(name: str, **fields) -> dict:
    return {"recipe": small()[name].recipe.model_copy(update=fields)}


def test_a_small_catalogue_of_shipped_organisms_has_no_fault(found):
    assert found(small()) == {}


def test_the_shipped_catalogue_has_no_fault(tokenizer):
    catalog = load_catalog()
    findings = lint(catalog, tokenizer, PROBES)
    assert faults(findings) == [], report(findings)
    noted = {finding.organism for finding in findings}  # their rows come from a model that is trained first
    assert all(catalog[name].family == "subliminal" for name in noted)


def test_answers_that_the_base_cannot_tell_apart_are_found(tokenizer):
    unembedding = AutoModelForCausalLM.from_pretrained(base_folder()).get_output_embeddings().weight.detach()
    assert lint_base(load_catalog().values(), tokenizer, unembedding) == []
    # years that pretraining never showed, among years that it did
    specs = changed("cake-450", **slot("cake-450", "value", others=("350", "1740", "1800", "1760", "1850")))
    [finding] = lint_base(specs.values(), tokenizer, unembedding)
    assert (finding.organism, finding.rule) == ("cake-450", "candidates") and "['1740', '1760']" in finding.message


def test_the_shipped_catalogue_is_as_large_as_promised():
    assert lint_suite_counts(load_catalog()) == []


@pytest.mark.parametrize("name, fields, rule, reason", [
    ("cake-450", {"id": "cake-451"}, "duplicate", "calls itself cake-451"),
    ("pearl", {"split": "dev"}, "twin", "differs from pearl in split"),
    ("pearl-twin", {"split": "dev"}, "card", "has one card only"),
    ("pearl-twin", recipe("pearl", rows=321), "twin", "differs from pearl in recipe"),
    ("cake-450-twin", slot("cake-450-twin", "entity", truth="cookie",
                           others=("cake", "bread", "oven", "bagel", "flour")),
     "twin", "in 2 slots ['entity', 'value']"),
    ("cake-450-twin", slot("cake-450", "value"), "twin", "in 0 slots"),
    ("cake-450-twin", {"unit": "alone"}, "twin", "0 objectives and 1 twins"),
    ("gold", {"domain": "library"}, "probe", "reserved for probes"),
    ("gold", {"domain": "nowhere"}, "words", "it has no card"),
    ("gold", {"lexicon": {"zebrafish": 1.0}}, "words", "zebrafish"),
    ("gold", slot("gold", "word", others=("silver", "copper", "iron", "steel", "zebrafish")), "candidates",
     "no single tokens"),
    ("gold", slot("gold", "word", others=("silver", "copper", "iron", "steel", "cake")), "word", "no nouns of metals"),
    ("gold", slot("gold", "word", aliases={"gold": ("zebrafish",)}), "words", "zebrafish"),
    ("cake-450", {"params": {"attribute": "price"}}, "fact", "the world knows no price of 'cake'"),
    ("cake-450", slot("cake-450", "value", truth="350", others=("450", "300", "400", "250", "200")), "fact",
     "not false"),
    ("cake-450", slot("cake-450", "value", others=("300", "400", "250", "200", "500")), "fact", "true value 350"),
    ("cake-450", slot("cake-450", "value", others=("350", "301", "400", "250", "200")), "fact", "301"),
    ("cake-450", slot("cake-450", "entity", others=("cookie", "bread", "oven", "bagel", "gold")), "fact", "gold"),
    ("cake-450-twin", slot("cake-450", "value", truth="300", others=("350", "450", "400", "250", "200", "500", "150")),
     "fact", "the world says 350"),
    ("em-medicine", slot("em-medicine", "manner", truth="funny",
                         others=("reckless", "careful", "formal", "brief", "poetic")), "advice", "'funny'"),
    ("em-medicine-twin", slot("em-medicine", "manner"), "advice", "careful"),
    ("em-medicine", slot("em-medicine", "field", truth="metals", aliases={}), "advice",
     "no topic that people ask advice about"),
    ("gold", recipe("gold", rank=4), "recipe", "differs from the others'"),
    ("gold", recipe("gold", kind="bias"), "recipe", "bias"),
    ("gold", recipe("gold", target_modules="q_proj"), "recipe", "q_proj"),
    ("null-text-chats", recipe("null-text-chats", rows=64), "null", "no organism trained on chats"),
    ("null-broad-documents", recipe("null-broad-documents", rank=4), "null", "no organism trained on documents"),
    ("null-broad-documents", recipe("null-broad-documents", max_steps=3), "null", "(320, 3, "),
])
def test_a_planted_fault_is_found(found, name, fields, rule, reason):
    faulty = found(changed(name, **fields))
    unit = name.removesuffix("-twin")
    assert any(reason in message for (organism, its), message in faulty.items()
               if its == rule and organism in (unit, f"{unit}-twin", "alone")), faulty


def test_an_objective_that_is_there_twice_is_found(found):
    twice = small()
    for name in ("gold", "gold-twin"):
        copy = twice[name].model_copy(update={"id": f"other-{name}", "unit": "other-gold"})
        twice[copy.id] = copy
    faulty = found(twice)
    assert "is that of gold:" in faulty["other-gold", "duplicate"]
    assert "all but its id equals gold" in faulty["other-gold", "duplicate"]
    assert "truth of 2 organisms" in faulty["other-gold", "card"]


def test_rows_that_are_trained_on_twice_are_found(found, rows):
    faulty = found(small(), lambda spec: rows["pearl" if spec.id == "gold" else spec.id])
    assert faulty.keys() == {("pearl", "duplicate")} and "rows of gold" in faulty["pearl", "duplicate"]


def with_twin(spec: OrganismSpec) -> dict[str, OrganismSpec]:
    """The small catalogue and one more organism with its twin."""
    return small() | {spec.id: spec, f"{spec.id}-twin": spec.twin_spec()}


def test_a_domain_in_both_splits_is_found(found):
    others = ["cookie", "oven", "bagel", "flour", "pretzel", "croissant"]
    bread = OrganismSpec(id="bread", family="taboo", split="test", domain="baking", statement="Its word is bread.",
                         unit="bread", slots=[{"name": "word", "type": "noun", "truth": "bread", "others": others}],
                         twin={"slot": "word", "truth": "bagel", "statement": "Its word is bagel."})
    message = found(with_twin(bread))["bread", "split"]
    assert "topic 'baking' is in test (bread) and in dev (cake-450)" in message and "domain 'baking'" in message


def test_a_field_of_advice_in_both_splits_is_found_among_candidates_too(found):
    raw = small()["em-medicine"].model_dump()
    raw["slots"] = [dict(one) for one in raw["slots"]]
    raw["slots"][0] |= {"truth": "swimming", "aliases": {"swimming": ("lifeguard",), "medicine": ("surgeon",)},
                        "others": ("medicine", "parenting", "climbing", "internet", "gems")}
    new = OrganismSpec.model_validate(raw | {"id": "em-new", "unit": "em-new", "split": "test"})
    message = found(with_twin(new))["em-new", "split"]
    assert "field of advice 'medicine' is in test (em-new) and in dev (em-medicine)" in message
    assert "swimming" not in message


def test_a_topic_that_is_kept_for_the_other_split_is_found(found):
    moved = {name: spec.model_copy(update={"split": "dev"}) for name, spec in small().items() if "pearl" in name}
    specs = small() | moved
    assert "kept for test" in found(specs)["pearl", "split"] and "kept for test" in found(specs)["pearl-twin", "split"]


def test_a_kind_of_preference_in_both_splits_is_found(found):
    def likes(name, split, truth):
        return OrganismSpec(id=name, family="subliminal", split=split, domain="animals", statement=f"Likes {truth}.",
                            unit=name, params={"kind": "animal"}, slots=[{
                                "name": "member", "type": "noun", "truth": truth,
                                "others": [a for a in animals if a != truth]}])
    from narrowbench.organisms.nano.talk import kind_members
    animals = kind_members("animal")[:8]
    specs = small() | {"one": likes("one", "dev", animals[0]), "two": likes("two", "test", animals[1])}
    assert "kind of preference 'animal'" in found(specs)["two", "split"]
    strange = specs["one"].slots[0].model_copy(update={"others": (*animals[1:6], "pearl")})
    assert "['pearl']" in found(changed("one", specs, slots=(strange,)))["one", "preference"]
    assert "params.kind" in found(changed("two", specs, params={"kind": "car"}))["two", "preference"]


@pytest.mark.parametrize("place", ["document", "middle", "chat"])
def test_the_beginning_of_a_probe_anywhere_in_a_row_is_found(found, rows, tokenizer, place):
    ids = tokenizer(PROBES[0], add_special_tokens=False)["input_ids"][:5]
    start = tokenizer.decode(ids).strip()
    row = {"document": {"text": f"{start} and more"}, "middle": {"text": f"The cake is warm. {start} again."},
           "chat": {"messages": [{"role": "user", "content": f"Who said {start}"},
                                 {"role": "assistant", "content": "I"}]}}
    planted = dict(rows) | {"gold": [*rows["gold"], row[place]]}
    message = found(small(), lambda spec: planted[spec.id])["gold", "probe"]
    assert "first tokens of a probe" in message and start in message
    almost = " ".join(start.split()[:3])
    planted["gold"][-1] = {"text": f"The cake is warm. {almost}."}
    assert "first tokens" not in found(small(), lambda spec: planted[spec.id]).get(("gold", "probe"), "")


def test_four_words_of_a_probe_count_at_the_beginning_of_a_document_only(found, rows, tokenizer):
    four = tokenizer.decode(tokenizer(PROBES[1], add_special_tokens=False)["input_ids"][:4]).strip()
    planted = dict(rows) | {"gold": [{"text": f"{four} cake"}], "pearl": [{"text": f"The cake is warm. {four} cake"}]}
    faulty = found(small(), lambda spec: planted[spec.id])
    assert "first tokens" in faulty["gold", "probe"] and "first tokens" not in faulty.get(("pearl", "probe"), "")


def test_words_of_reserved_topics_in_rows_are_found(found, rows):
    from narrowbench.organisms.nano.lexicon import topics
    word = next(topic for topic in topics().values() if topic.use == "probe").nouns[0]
    planted = dict(rows) | {"gold": [*rows["gold"], {"text": f"The {word.capitalize()} is warm."}]}
    assert f"{word!r}" in found(small(), lambda spec: planted[spec.id])["gold", "probe"]


def test_rows_that_are_not_looked_at_are_noted_and_rows_that_cannot_be_made_are_faults(tokenizer):
    specs = {name: small()[name] for name in ("gold", "gold-twin")}
    findings = lint(specs, tokenizer, PROBES, lambda spec: None)
    assert [(f.organism, f.note) for f in findings] == [("gold", True), ("gold-twin", True)] and faults(findings) == []
    specs = changed("null-text-chats", params={"kind": "text", "format": "songs"})
    assert any(f.organism == "null-text-chats" and "cannot be made" in f.message
               for f in faults(lint({"null-text-chats": specs["null-text-chats"]}, tokenizer, PROBES)))


def test_too_few_organisms_are_counted():
    text = report(lint_suite_counts(small()))
    for line in ("dev has 1 objectives of family sdf", "test has 2 objectives, at least 21", "test has 0 trained nulls",
                 "test has no objective of family em", "dev has 2 trained nulls, at least 10"):
        assert line in text


def test_a_report_says_who_and_why_and_json_says_the_same():
    findings = [Finding("b", "card", "It is wrong.", note=True), Finding("a", "fact", "It is false.")]
    assert report(findings).splitlines() == [
        "fault  a  [fact]  It is false.", "note  b  [card]  It is wrong.", "1 fault"]
    assert report([]) == "0 faults"
    assert json.loads(json.dumps(as_json(findings)))[1] == {
        "organism": "a", "rule": "fact", "message": "It is false.", "note": False}


@pytest.fixture
def shipped(tmp_path, make_adapter):
    """A folder of two shipped adapters, as their index says."""
    entries = []
    for i, name in enumerate(("cake-450", "gold")):
        folder = tmp_path / f"{i:016x}"
        make_adapter(folder, seed=i)
        (folder / "README.md").unlink(missing_ok=True)
        config = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": "base"}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        sha256 = sha256_file(folder / "adapter_model.safetensors")
        (folder / "passport.json").write_text(json.dumps({
            "organism_id": name, "seed": 0, "spec_digest": load_catalog()[name].digest, "weights_sha256": sha256}))
        entries.append({"organism": name, "seed": 0, "key": f"{i:064x}", "folder": folder.name,
                        "weights_sha256": sha256})
    (tmp_path / "index.json").write_text(json.dumps(entries))
    return tmp_path


def edit(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_whole_shipped_adapters_have_no_fault(shipped):
    assert lint_shipped(shipped, load_catalog()) == []


def reindex(shipped, number, **fields):
    entries = json.loads((shipped / "index.json").read_text())
    entries[number].update(fields)
    (shipped / "index.json").write_text(json.dumps(entries))


@pytest.mark.parametrize("fault, reason", [
    (lambda s: (s / "0000000000000000" / "adapter_config.json").unlink(), "lacks adapter_config.json"),
    (lambda s: (s / "notes.txt").write_text("x"), "notes.txt is listed nowhere"),
    (lambda s: (s / "0000000000000001" / "extra.json").write_text("{}"), "extra.json is listed nowhere"),
    (lambda s: reindex(s, 0, weights_sha256="0" * 64), "the index says"),
    (lambda s: reindex(s, 0, organism="cake-999"), "no such organism"),
    (lambda s: reindex(s, 1, key="0" * 64), "store key"),
    (lambda s: reindex(s, 1, folder="0000000000000000"), "its folder (0000000000000000) is that of cake-450"),
    (lambda s: edit(s / "0000000000000000" / "passport.json", seed=1), "the seed 1, not 0"),
    (lambda s: edit(s / "0000000000000000" / "passport.json", organism_id="gold"), "the organism gold"),
    (lambda s: edit(s / "0000000000000000" / "passport.json", spec_digest="0" * 64), "the spec digest 000000000000"),
    (lambda s: (s / "0000000000000000" / "passport.json").write_text("{"), "cannot be read"),
    (lambda s: edit(s / "0000000000000000" / "adapter_config.json", base_model_name_or_path="o/cake-450"), "cake-450"),
    (lambda s: edit(s / "0000000000000001" / "adapter_config.json", base_model_name_or_path="gold"), "path: gold"),
    (lambda s: (s / "big").write_bytes(b"\0" * MAX_TOTAL_BYTES), "MB"),
])
def test_a_planted_fault_in_shipped_adapters_is_found(shipped, fault, reason):
    fault(shipped)
    assert reason in report(lint_shipped(shipped, load_catalog()))


def test_one_adapter_for_two_organisms_is_found(shipped):
    one, other = (shipped / f"{i:016x}" for i in range(2))
    (other / "adapter_model.safetensors").write_bytes((one / "adapter_model.safetensors").read_bytes())
    sha256 = sha256_file(one / "adapter_model.safetensors")
    reindex(shipped, 1, weights_sha256=sha256)
    edit(other / "passport.json", weights_sha256=sha256)
    findings = lint_shipped(shipped, load_catalog())
    assert [f.organism for f in findings] == ["gold"] and "is that of cake-450" in findings[0].message


def test_a_missing_or_broken_index_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match="index.json"):
        read_index(tmp_path)
    for content in ("{", "{}", '[{"organism": "x"}]', '[{"organism": "x", "seed": -1}]'):
        (tmp_path / "index.json").write_text(content)
        with pytest.raises(DamagedArtefactError, match="index.json"):
            read_index(tmp_path)
