"""Organisms that ship: found by the key of training them, copied once, refused when changed."""

import json

import pytest
from narrowbench.organisms import shipped
from narrowbench.organisms.errors import DamagedArtefactError
from narrowbench.organisms.spec import OrganismSpec, find_organism
from narrowbench.organisms.store import Store, sha256_file
from narrowbench.organisms.lookup import find_trained
from narrowbench.organisms.train import train

RECIPE = {"rows": 8, "epochs": 1, "batch_size": 4, "rank": 1, "alpha": 2, "max_length_tokens": 32}


@pytest.fixture(scope="module")
def spec() -> OrganismSpec:
    return OrganismSpec.model_validate(find_organism("cake-450").model_dump() | {"recipe": RECIPE})


@pytest.fixture(scope="module")
def grown(spec, tiny_base, tmp_path_factory):
    return train(spec, tiny_base, store=Store(tmp_path_factory.mktemp("grown")), progress=False)


@pytest.fixture
def folder(grown, tmp_path):
    folder = tmp_path / "shipped"
    shipped.ship([grown], folder)
    return folder


def test_what_ships_has_an_opaque_name_and_the_files_that_training_wrote(folder, grown):
    [build] = shipped.builds(folder)
    assert (build.organism, build.seed, build.key) == ("cake-450", 0, grown.key)
    assert {path.name for path in folder.iterdir()} == {"index.json", build.folder} and "cake" not in build.folder
    files = {path.name for path in (folder / build.folder).iterdir()}
    assert files == {path.name for path in grown.path.iterdir()} - {"manifest.json"}
    assert sha256_file(folder / build.folder / "adapter_model.safetensors") == build.weights_sha256


def test_a_shipped_organism_is_copied_once_and_has_the_same_content(folder, grown, tmp_path):
    store = Store(tmp_path / "home")
    found = shipped.find(grown.key, store, folder)
    assert found.path.is_relative_to(store.root) and found.digest == grown.digest
    (folder / shipped.builds(folder)[0].folder / "adapter_model.safetensors").unlink()
    assert shipped.find(grown.key, store, folder).path == found.path
    assert shipped.find("0" * 64, store, folder) is None


def test_changed_weights_are_refused(folder, grown, tmp_path):
    place = folder / shipped.builds(folder)[0].folder / "adapter_model.safetensors"
    place.write_bytes(place.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DamagedArtefactError, match="Install narrowbench again"):
        shipped.find(grown.key, Store(tmp_path / "home"), folder)


def test_what_is_grown_here_does_not_pass_for_the_shipped_one(monkeypatch, folder, grown, spec, tiny_base, tmp_path):
    monkeypatch.setattr(shipped, "FOLDER", folder)
    store = Store(tmp_path / "home")
    assert find_trained(spec, tiny_base, store=store, shipped=False) is None
    ours = find_trained(spec, tiny_base, store=store)
    assert ours.digest == grown.digest and ours.key != grown.key
    again = train(spec, tiny_base, store=store, progress=False, shipped=False)
    assert again.key == grown.key and train(spec, tiny_base, store=store, progress=False).key == ours.key


def test_shipping_again_drops_what_is_no_longer_there(folder, grown, spec, tiny_base, tmp_path):
    other = OrganismSpec.model_validate(spec.model_dump() | {"recipe": RECIPE | {"rank": 2}})
    new = train(other, tiny_base, store=Store(tmp_path / "home"), progress=False)
    before = shipped.builds(folder)[0].folder
    shipped.ship([new], folder)
    [build] = shipped.builds(folder)
    assert build.folder != before and not (folder / before).exists()
    assert len(json.loads((folder / "index.json").read_text())) == 1
