"""The store: whole artefacts or nothing, damage named and never used, the same inputs found again."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from narrowbench.organisms.errors import DamagedArtefactError
from narrowbench.organisms.store import MANIFEST, Store, sha256_file, write_atomic

CONFIG, INPUTS = {"rank": 8, "name": "cake"}, {"base": "ab" * 32}
json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                           | st.text(), lambda inner: st.lists(inner, max_size=3)
                           | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8)
configs = st.dictionaries(st.text(), json_values, max_size=4)


def write_two(folder):
    (folder / "a.txt").write_text("one")
    (folder / "sub").mkdir()
    (folder / "sub" / "b.txt").write_text("two")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


@pytest.fixture
def key(store):
    return store.key("organism", CONFIG, INPUTS)


@pytest.fixture
def saved(store, key):
    return store.save("organism", key, CONFIG, INPUTS, write_two)


def test_saved_is_found_again_by_another_store_object(store, key, saved):
    again = Store(store.root).find("organism", key)
    assert again.path == saved.path and again.digest == saved.digest
    assert (again.path / "sub" / "b.txt").read_text() == "two"
    assert again.manifest["config"] == CONFIG and again.manifest["files"]["a.txt"] == sha256_file(again.path / "a.txt")
    assert "torch" in again.manifest["versions"]


def test_never_made_is_none_and_touches_nothing(store, key):
    assert store.find("organism", key) is None
    assert list(store.all("organism")) == []
    assert not store.root.exists()


def test_home_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("NARROWBENCH_HOME", str(tmp_path / "elsewhere"))
    assert Store().root == tmp_path / "elsewhere"


@given(configs, configs)
def test_keys_are_equal_exactly_when_configs_are(one, other):
    store = Store("/nowhere")
    assert store.key("organism", one, {}) == store.key("organism", dict(reversed(list(one.items()))), {})
    if repr(one) != repr(other) and one != other:
        assert store.key("organism", one, {}) != store.key("organism", other, {})
    assert store.key("organism", one, {}) != store.key("evidence", one, {})
    assert store.key("organism", one, {"base": "a"}) != store.key("organism", one, {"base": "b"})


def test_a_key_that_is_no_key_cannot_leave_the_root(store):
    for kind, bad in (("organism", "../../etc"), ("..", "0" * 64), ("organism", ""), ("work", "0" * 64)):
        with pytest.raises(ValueError, match="no kind and key"):
            store.find(kind, bad)


@pytest.mark.parametrize("damage", ["changed", "missing", "extra", "manifest gone", "manifest cut", "moved"])
def test_damage_is_named_never_used_never_deleted(store, key, saved, damage):
    named = "a.txt"
    match damage:
        case "changed":
            (saved.path / "a.txt").write_text("eno")
        case "missing":
            (saved.path / "a.txt").unlink()
        case "extra":
            named = "c.txt"
            (saved.path / "c.txt").write_text("three")
        case "manifest gone":
            named = MANIFEST
            (saved.path / MANIFEST).unlink()
        case "manifest cut":
            named = MANIFEST
            (saved.path / MANIFEST).write_text((saved.path / MANIFEST).read_text()[:40])
        case "moved":
            named, key = MANIFEST, "0" * 64
            saved.path.rename(saved.path.parent / key)
    with pytest.raises(DamagedArtefactError, match="move the folder") as caught:
        store.find("organism", key)
    assert named in str(caught.value)
    with pytest.raises(DamagedArtefactError):
        store.save("organism", key, CONFIG, INPUTS, write_two)
    with pytest.raises(DamagedArtefactError):
        list(store.all("organism"))
    assert (saved.path.parent / key / "sub" / "b.txt").read_text() == "two"


def test_an_error_while_writing_leaves_nothing(store, key):
    def write(folder):
        write_two(folder)
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        store.save("organism", key, CONFIG, INPUTS, write)
    assert store.find("organism", key) is None and list((store.root / "organism").iterdir()) == []


def test_a_kill_while_writing_leaves_no_artefact_and_is_made_good_by_a_rerun(store, key):
    def write(folder):
        write_two(folder)
        os._exit(9)
    child = os.fork()
    if child == 0:
        store.save("organism", key, CONFIG, INPUTS, write)
    os.waitpid(child, 0)
    assert store.find("organism", key) is None and list(store.all("organism")) == []
    assert store.save("organism", key, CONFIG, INPUTS, write_two) == store.find("organism", key)


def test_of_two_writers_the_first_wins_and_both_get_an_artefact(store, key):
    def slow(folder):
        (folder / "a.txt").write_text("late")
        store.save("organism", key, CONFIG, INPUTS, write_two)
    late = store.save("organism", key, CONFIG, INPUTS, slow)
    assert (late.path / "a.txt").read_text() == "one"
    assert [path.name for path in (store.root / "organism").iterdir()] == [key]


def test_work_survives_until_its_artefact_is_saved(store, key):
    (store.work("organism", key) / "half.txt").write_text("half")
    assert (store.work("organism", key) / "half.txt").read_text() == "half"
    assert list(store.all("organism")) == []
    store.save("organism", key, CONFIG, INPUTS, write_two)
    assert list(store.work("organism", key).iterdir()) == []


def test_the_digest_is_of_the_content_not_of_the_key(store, saved):
    other = store.key("organism", {"rank": 4}, INPUTS)
    twin = store.save("organism", other, {"rank": 4}, INPUTS, write_two)
    assert twin.digest == saved.digest and twin.key != saved.key
    assert sorted(found.key for found in store.all("organism")) == sorted([saved.key, twin.key])


@given(st.text().filter(lambda text: text.isprintable()))
def test_write_atomic_replaces_the_whole_text(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("atomic") / "deep" / "file.txt"
    write_atomic(path, "old text that is longer than the new one, most of the time")
    write_atomic(path, text)
    assert path.read_text(encoding="utf-8") == text
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]
