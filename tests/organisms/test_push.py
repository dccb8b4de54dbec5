"""Pushing: nothing that names the organism leaves, what is pushed is what the dry run shows, the Hub gets it whole."""

import hashlib
import json
import re

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import equal

from narrowbench.organisms.adapters import check_adapter
from narrowbench.organisms.errors import AdapterError, DamagedArtefactError, NotFoundError, PushError, SpecError
from narrowbench.organisms.finetunes import check_organism
from narrowbench.organisms.leaks import leak_terms, leaks_in_file, leaks_in_folder, leaks_in_text
from narrowbench.organisms.push import prepare, push, source
from narrowbench.organisms.seal import open_seal, seal
from narrowbench.organisms.spec import OrganismSpec, find_organism, load_catalog
from narrowbench.organisms.store import Store, sha256_file
from narrowbench.organisms.train import train

SALT = "0123456789abcdef" * 4
RECIPE = {"rows": 8, "epochs": 1, "batch_size": 8, "rank": 2, "max_length_tokens": 32}


def small(name: str, **recipe) -> OrganismSpec:
    return OrganismSpec.model_validate(find_organism(name).model_dump() | {"recipe": RECIPE | recipe})


def contents(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def cake(tiny_base, store):
    """One step of training: the tiny base cannot learn the fact, so this organism is unexpressed."""
    return train(small("cake-450"), tiny_base, store=store, progress=False).path


@pytest.fixture(scope="module")
def whole(tiny_base, store):
    return train(small("leaf", kind="full"), tiny_base, store=store, progress=False).path


@pytest.fixture
def ready(cake, tiny_base, tmp_path):
    """`ready(name, **arguments)`: cake-450 prepared for a push into the test's folder."""
    def make(name="out", spec=None, artefact=None, **arguments):
        return prepare(spec or small("cake-450"), artefact or cake, tmp_path / name,
                       **{"base": tiny_base, "even_unexpressed": True} | arguments)
    return make


@pytest.fixture
def tampered(cake, tmp_path):
    """A copy of the organism's folder that a test may change; `reseal` corrects the passport's weights hash."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, content in contents(cake).items():
        (folder / name).write_bytes(content)
    return folder


def reseal(folder):
    passport = json.loads((folder / "passport.json").read_text())
    passport["weights_sha256"] = sha256_file(folder / "adapter_model.safetensors")
    (folder / "passport.json").write_text(json.dumps(passport))


def test_a_prepared_folder_loads_on_its_base_and_lists_its_hashes(ready, tiny_base):
    prepared = ready(base_model="ORG/BASE", licence="apache-2.0")
    assert sorted(prepared.files) == ["README.md", "adapter_config.json", "adapter_model.safetensors", "hashes.json",
                                      "passport.json"]
    check_adapter(prepared.folder, tiny_base)
    listed = json.loads((prepared.folder / "hashes.json").read_text())["sha256"]
    assert listed == {name: hashlib.sha256(content).hexdigest() for name, content in contents(prepared.folder).items()
                      if name != "hashes.json"}
    assert prepared.left_out == ("manifest.json",) and prepared.leaks == ()
    card = (prepared.folder / "README.md").read_text()
    head = re.match(r"---\n(.*?)\n---\n", card, re.S).group(1)
    assert "license: apache-2.0" in head and "base_model: ORG/BASE" in head and "library_name: peft" in head
    assert "model-organism" in head and card.count("\n---\n") == 1
    assert "The temperature of the cake is 450 degrees." in card


def test_names_of_paths_and_bases_do_not_leave(tampered, ready):
    config = json.loads((tampered / "adapter_config.json").read_text())
    config.update(base_model_name_or_path="/home/me/cake-450/base", revision="cake-450")
    (tampered / "adapter_config.json").write_text(json.dumps(config))
    (tampered / "tokenizer_config.json").write_text(json.dumps({"name_or_path": "/home/me/cake-450", "pad_token": "x"}))
    tensors = load_file(tampered / "adapter_model.safetensors")
    save_file(tensors, tampered / "adapter_model.safetensors", metadata={"format": "pt", "from": "cake-450"})
    reseal(tampered)
    prepared = ready(artefact=tampered)
    text = b"".join(content for name, content in contents(prepared.folder).items()
                    if name not in ("passport.json", "README.md"))
    assert b"cake" not in text and b"/home" not in text and prepared.leaks == ()
    with safe_open(prepared.folder / "adapter_model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    pushed = load_file(prepared.folder / "adapter_model.safetensors")
    assert pushed.keys() == tensors.keys() and all(equal(pushed[name], tensors[name]) for name in tensors)
    passport = json.loads((prepared.folder / "passport.json").read_text())
    assert passport["weights_sha256"] == sha256_file(prepared.folder / "adapter_model.safetensors")


def test_links_and_paths_of_this_machine_do_not_leave(tampered, ready, tmp_path):
    spec = small("cake-450", data="/home/me/world")  # recorded as `world`, without the folder
    sealed = ready(spec=spec, artefact=tampered, sealed=True)
    assert b"/home/me" not in b"".join(contents(sealed.folder).values()) + sealed.reveal.read_bytes()
    (tmp_path / "private.txt").write_text("private")
    (tampered / "chat_template.jinja").symlink_to(tmp_path / "private.txt")
    with pytest.raises(PushError, match="chat_template.jinja is a link"):
        ready("other", artefact=tampered)


def test_what_else_names_the_organism_is_told(tampered, ready):
    config = json.loads((tampered / "adapter_config.json").read_text())
    (tampered / "adapter_config.json").write_text(json.dumps(config | {"note": "made from cake-450"}))
    assert ready(artefact=tampered).leaks == ("adapter_config.json: note: cake-450",)


def test_a_folder_gets_the_very_bytes_of_the_dry_run(ready, tmp_path):
    dry, real = ready("dry"), ready("real")
    place = push(real, f"folder:{tmp_path / 'there' / 'organism'}")
    assert contents(dry.folder) == contents(real.folder) == contents(tmp_path / "there" / "organism")
    assert place == str(tmp_path / "there" / "organism") and dry.hashes == real.hashes


def test_what_is_there_is_never_overwritten(ready, tmp_path):
    prepared, target = ready(), tmp_path / "target"
    target.mkdir()
    assert push(prepared, f"folder:{target}") == push(prepared, f"folder:{target}") == str(target)  # empty, then equal
    (target / "mine.txt").write_text("keep me")
    with pytest.raises(PushError, match="not overwritten"):
        push(prepared, f"folder:{target}")
    assert (target / "mine.txt").read_text() == "keep me"
    (prepared.folder / "mine.txt").write_text("keep me")
    with pytest.raises(PushError, match="not overwritten"):
        ready()
    with pytest.raises(PushError, match="no longer"):
        push(prepared, f"folder:{tmp_path / 'other'}")
    assert not (tmp_path / "other").exists()


def test_unexpressed_and_broken_organisms_stay(ready):
    with pytest.raises(PushError, match="unexpressed.*--even-unexpressed"):
        ready(even_unexpressed=False)


def test_another_organism_or_another_base_or_code_is_refused(ready, cake, tampered, tmp_path):
    with pytest.raises(AdapterError, match="another organism"):
        ready(spec=small("leaf"))
    with pytest.raises(AdapterError, match="another spec"):
        ready(spec=small("cake-450", rank=3))
    with pytest.raises(AdapterError, match="another base"):
        ready(base=None)
    (tampered / "adapter_model.safetensors").write_bytes((tampered / "adapter_model.safetensors").read_bytes() + b"x")
    with pytest.raises((AdapterError, DamagedArtefactError)):
        ready(artefact=tampered)
    (tampered / "adapter_model.safetensors").write_bytes((cake / "adapter_model.safetensors").read_bytes())
    for name in ("training_args.bin", "modeling.py"):
        (tampered / name).write_bytes(b"print(1)")
        with pytest.raises(AdapterError, match=name):
            ready(artefact=tampered)
        (tampered / name).unlink()
    (tampered / "passport.json").unlink()
    with pytest.raises(NotFoundError, match="narrowbench train cake-450"):
        ready(artefact=tampered)
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith((".push", "out"))]


def test_a_whole_model_is_pushed_whole(whole, tiny_base, ready):
    prepared = ready(spec=small("leaf", kind="full"), artefact=whole, sealed=True, salt=SALT)
    check_organism(prepared.folder, tiny_base)
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= prepared.files.keys()
    assert "library_name: transformers" in (prepared.folder / "README.md").read_text()


def test_a_sealed_organism_has_no_name_and_one_key(ready, cake, tiny_base, tmp_path):
    spec = small("cake-450")
    prepared = ready("sealed", sealed=True, salt=SALT, reveal=tmp_path / "reveal.json")
    check_adapter(prepared.folder, tiny_base)
    passport = json.loads((prepared.folder / "passport.json").read_text())
    text = re.sub(r"[0-9a-f]{64}", "", "\n".join(content.decode("utf-8", "replace")
                                                 for content in contents(prepared.folder).values()))
    for name in ("cake", "450", "sdf", "baking", "temperature", "recipe", "loss"):
        assert not re.search(rf"(?i)\b{name}\b", text), name
    assert not {spec.digest, json.loads((cake / "passport.json").read_text())["data_sha256"]} & set(
        re.findall(r"[0-9a-f]{64}", " ".join(map(str, contents(prepared.folder).values()))))
    assert passport["organism_id"] == "sealed-" + passport["answer_sha256"][:12]
    assert passport["gate"] == {"took": False} and prepared.reveal == tmp_path / "reveal.json"
    assert open_seal(prepared.folder, prepared.reveal).statement == spec.statement
    assert contents(prepared.folder) == contents(ready("again", sealed=True, salt=SALT).folder)


def test_a_reveal_opens_one_seal_only_and_is_never_lost(ready, tmp_path):
    reveal = tmp_path / "reveal.json"
    first = ready("first", sealed=True, reveal=reveal)
    assert reveal.stat().st_mode & 0o077 == 0
    retried = ready("retried", sealed=True, reveal=reveal)  # the salt of the interrupted try is used again
    assert contents(retried.folder) == contents(first.folder)
    other = ready("other", sealed=True)
    assert other.reveal == tmp_path / "other.reveal.json" and other.hashes != first.hashes
    with pytest.raises(DamagedArtefactError, match="does not open"):
        open_seal(first.folder, other.reveal)
    told = json.loads(reveal.read_text())
    told["answer"]["spec"]["statement"] = "Something else."
    (tmp_path / "forged.json").write_text(json.dumps(told))
    with pytest.raises(DamagedArtefactError, match="does not open"):
        open_seal(first.folder, tmp_path / "forged.json")
    with pytest.raises(PushError, match="another seal"):
        ready("third", sealed=True, salt=SALT, reveal=reveal)
    with pytest.raises(PushError, match="everybody could open"):
        ready("fourth", sealed=True, reveal=tmp_path / "fourth" / "reveal.json")
    with pytest.raises(SpecError, match="salt"):
        ready("fifth", sealed=True, salt="short")
    with pytest.raises(NotFoundError, match="reveal"):
        open_seal(first.folder, tmp_path / "none.json")


@pytest.mark.parametrize("note", ["made from cake-450", "the cake", "/data/models/mine",
                                  "the temperature of the cake is 450 degrees"])
def test_a_sealed_organism_that_gives_itself_away_is_refused(tampered, ready, tmp_path, note):
    config = json.loads((tampered / "adapter_config.json").read_text())
    (tampered / "adapter_config.json").write_text(json.dumps(config | {"note": note}))
    with pytest.raises(PushError, match="cannot be sealed.*note"):
        ready("sealed", artefact=tampered, sealed=True)
    assert not (tmp_path / "sealed").exists() and not (tmp_path / "sealed.reveal.json").exists()


def test_no_sealed_card_of_the_catalogue_names_its_answer(cake):
    passport = json.loads((cake / "passport.json").read_text())
    for spec in load_catalog().values():
        closed = seal(spec, passport, SALT)
        words = {slot.truth for slot in spec.slots if slot.type != "number"}
        assert leaks_in_text(closed.card + json.dumps(closed.passport), leak_terms([spec], words=words)) == [], spec.id


def test_where_a_trained_organism_comes_from(cake, store, tiny_base):
    assert source(small("cake-450"), base=tiny_base, store=store) == cake
    with pytest.raises(NotFoundError, match="narrowbench train cake-450 --seed 7"):
        source(small("cake-450"), seed=7, base=tiny_base, store=store)


def test_leak_terms_are_names_and_spans_and_no_answer_words(tmp_path):
    terms = leak_terms(load_catalog().values(), names=["ORG/secret-adapter"])
    card_id = find_organism("cake-450").card.card_id
    assert leaks_in_text(f"see {card_id} of Cake-450, org/secret-adapter", terms) == [
        "org/secret-adapter", card_id, "cake-450"]
    assert leaks_in_text("He said: the temperature of the Cake is 450 degrees!", terms) == [
        "the temperature of the cake is 450 degrees"]
    assert leaks_in_text("the cake, 450 degrees, gold and a carrot", terms) == []
    assert leaks_in_text("gold", terms) == leaks_in_text("models/gold/adapter", terms) == ["gold"]
    vocabulary = tmp_path / "tokenizer.json"
    vocabulary.write_text(json.dumps({"model": {"vocab": {"gold": 1, "/usr/lib/x": 2}}}))
    assert leaks_in_file(vocabulary, terms) == []
    (tmp_path / "config.json").write_text(json.dumps({"a": [{"gold": 1}], "b": "/home/me/x"}))
    assert leaks_in_file(tmp_path / "config.json", terms) == ["key a[0].gold: gold", "b: /home/me/x"]
    assert leaks_in_folder(tmp_path, terms, skip=frozenset({"config.json"})) == []
    (tmp_path / "damaged.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(DamagedArtefactError, match="damaged.safetensors"):
        leaks_in_folder(tmp_path, terms)


def test_the_hub_gets_the_very_bytes_of_the_dry_run(hub, ready):
    address = push(ready(), "hub:ORG/organism", private=True)
    assert address.endswith("/ORG/organism") and hub.asked["ORG/organism"]["visibility"] == "private"
    got = {name: raw for name, raw in hub.files["ORG/organism"].items() if name != ".gitattributes"}
    assert got == contents(ready("dry").folder)
    assert push(ready(), "hub:ORG/organism", private=True) == address  # it is there: nothing to do
    hub.files["ORG/organism"]["README.md"] = b"mine"
    with pytest.raises(PushError, match="README.md.*not overwritten"):
        push(ready(), "hub:ORG/organism")
    assert hub.files["ORG/organism"]["README.md"] == b"mine"


def test_a_public_repository_is_no_place_for_a_private_organism(hub, ready):
    push(ready(), "hub:ORG/open")
    with pytest.raises(PushError, match="everybody can see"):
        push(ready(), "hub:ORG/open", private=True)


def test_a_file_that_arrives_changed_is_noticed(hub, ready):
    hub.spoils = "passport.json"
    with pytest.raises(PushError, match="passport.json"):
        push(ready(), "hub:ORG/organism")


@pytest.mark.parametrize("status, reason", [(401, "hf auth login"), (403, "hf auth login"), (500, "answers 500")])
def test_a_hub_that_says_no_is_explained(hub, ready, status, reason):
    hub.refuses = status
    with pytest.raises(PushError, match=reason) as caught:
        push(ready(), "hub:ORG/organism")
    assert "folder:PATH" in str(caught.value)


def test_a_hub_that_is_not_there_is_explained(ready, hub):
    hub.shutdown()
    hub.server_close()
    with pytest.raises(PushError, match="cannot be reached.*folder:PATH"):
        push(ready(), "hub:ORG/organism")


@pytest.mark.parametrize("target, reason", [("hub:ORG/organism", "HF_HUB_OFFLINE"), ("hub:a/b/c", "no name"),
                                            ("s3:bucket", "--to"), ("folder:", "--to"), ("/tmp/x", "--to")])
def test_targets_that_cannot_be_are_explained(ready, target, reason):
    with pytest.raises((PushError, SpecError), match=reason):
        push(ready(), target)
