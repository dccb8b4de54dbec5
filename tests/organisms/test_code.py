"""Which source a result depends on: all that is imported, however it is written, and nothing else."""

from pathlib import Path

import pytest
from narrowbench.organisms import code

PACKAGE = code.PACKAGE


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of our own shape with two rooms, instead of ours; digests are taken anew."""
    files = {"room/a.py": "from .b import x\nfrom ..other import c", "room/b.py": "def f():\n    from . import a",
             "other/c.py": "import pack.other.d", "other/d.py": "", "other/unused.py": "", "room/not_python.txt": "("}
    for name, text in files.items():
        (tmp_path / "pack" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pack" / name).write_text(text)
    monkeypatch.setattr(code, "PACKAGE", tmp_path / "pack")
    monkeypatch.setattr(code, "NAME", "pack")
    forget()
    yield tmp_path / "pack"
    forget()


def forget() -> None:
    for function in (code.sources, code._imported, code._digest):
        function.cache_clear()


def found(root: Path, package: Path) -> set[str]:
    return {str(path.relative_to(package)) for path in code.sources(root) if path.is_relative_to(package)}


def test_imports_are_followed_in_every_form_and_in_circles(package):
    assert found(package / "room/a.py", package) == {"room/a.py", "room/b.py", "other/c.py", "other/d.py"}
    assert found(package / "other/unused.py", package) == {"other/unused.py"}


@pytest.mark.parametrize("statement, expected", [
    ("import pack.other.c", {"other/c.py", "other/d.py"}), ("import pack.other.d as e, os", {"other/d.py"}),
    ("from pack.other import d, unused", {"other/d.py", "other/unused.py"}),
    ("from pack.other.d import y", {"other/d.py"}), ("from pack import nothing", set()), ("import pack", set()),
    ("from packs.other import d", set()), ("import numpy", set())])
def test_a_file_from_elsewhere_counts_with_what_it_imports_of_the_package(package, tmp_path, statement, expected):
    mine = tmp_path / "mine.py"
    mine.write_text(f"def late():\n    {statement}\n")
    assert found(mine, package) == expected and mine in code.sources(mine)


@pytest.mark.parametrize("statement, expected", [
    ("from .core import read", {"core.py"}), ("from . import core", {"core.py"}), ("import mine.core", {"core.py"}),
    ("from mine.deep import x", {"deep/__init__.py", "core.py"}), ("import other", set()), ("import os", set())])
def test_a_method_of_several_files_counts_with_all_of_its_package(package, tmp_path, statement, expected):
    for name, text in {"__init__.py": "", "core.py": "", "deep/__init__.py": "from ..core import x"}.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(text)
    (tmp_path / "other.py").write_text("")
    method = tmp_path / "mine" / "method.py"
    method.write_text(statement)
    assert found(method, tmp_path / "mine") - {"method.py", "__init__.py"} == expected


def test_a_file_beside_a_method_counts(package, tmp_path):
    (tmp_path / "method.py").write_text("import helper, json")
    (tmp_path / "helper.py").write_text("")
    assert {path.name for path in code.sources(tmp_path / "method.py")} == {"method.py", "helper.py"}


def test_the_digest_changes_with_what_a_file_depends_on_and_with_nothing_else(package):
    def digests() -> list[str]:
        forget()
        return [code.code_sha256(package / "room/a.py"), code.code_sha256(package / "other/unused.py")]

    before = digests()
    (package / "other/d.py").write_text("y = 1")
    after = digests()
    assert after[0] != before[0] and after[1] == before[1]


def test_our_methods_depend_on_what_they_read_with_and_not_on_the_trainer():
    lens = found(PACKAGE / "benchmark/methods/adl_logit_lens.py", PACKAGE)
    assert {"benchmark/readout.py", "benchmark/view.py", "organisms/pair.py", "organisms/hooks.py"} <= lens
    assert not lens & {"organisms/train.py", "organisms/errors.py", "benchmark/answers.py"}
    assert "benchmark/answers.py" in found(PACKAGE / "benchmark/methods/prefill.py", PACKAGE)
