"""The rooms import each other in one direction only, and relatively; marks are published without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("organisms", "graders", "benchmark", "leaderboard")
HEAVY = {"torch", "transformers", "peft", "trl", "accelerate", "datasets"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at any depth, as an absolute name below `narrowbench` or of another package."""
    package = ["narrowbench", *path.relative_to(ROOT).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[:len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)} if node.level else {module}
    return found


def room_files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def ours(room: str) -> set[tuple[str, str]]:
    """(file, module of another room) for each import across rooms."""
    return {(str(path.relative_to(ROOT)), name) for path in room_files(room) for name in imports(path)
            for other in ROOMS if other != room and (name + ".").startswith(f"narrowbench.{other}.")}


def test_organisms_import_no_other_room():
    assert ours("organisms") == set()


def test_graders_import_only_specs_and_errors_of_the_organisms():
    allowed = ("narrowbench.organisms.spec", "narrowbench.organisms.errors")
    assert {hit for hit in ours("graders") if not hit[1].startswith(allowed)} == set()


def test_the_benchmark_does_not_import_the_leaderboard():
    assert {hit for hit in ours("benchmark") if hit[1].startswith("narrowbench.leaderboard")} == set()


def test_rooms_import_each_other_relatively():
    absolute = {str(path) for room in ROOMS for path in room_files(room)
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("narrowbench")
                or isinstance(node, ast.Import) and any(a.name.startswith("narrowbench") for a in node.names)}
    assert absolute == set()


@pytest.mark.parametrize("module", ["narrowbench.leaderboard.publish", "narrowbench.graders.recovery"])
def test_marking_and_publishing_load_no_torch(module):
    code = f"import sys, {module}; print(sorted(set(sys.modules) & {HEAVY!r}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_every_module_opens_with_a_docstring():
    bare = [str(path.relative_to(ROOT)) for room in ROOMS for path in room_files(room)
            if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert bare == []
