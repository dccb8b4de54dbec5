"""What is installed is what is in the repository: setuptools drops an unlisted subpackage or data file silently."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("organisms", "graders", "benchmark", "leaderboard")
RESULTS = ROOT / "leaderboard" / "results"
"""Published records: they grow with the board, and stay in the repository."""
DATA = {".yaml", ".json", ".jinja", ".html", ".css", ".js", ".md", ".safetensors", ".txt", ".svg"}


def tracked(suffixes: set[str]) -> set[str]:
    """Files of the rooms, as paths inside the package, without caches and hidden files."""
    return {path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*")
            if path.is_file() and path.suffix in suffixes and not path.is_relative_to(RESULTS)
            and not any(part.startswith((".", "__pycache__")) for part in path.relative_to(ROOT).parts)}


def test_pyproject_lists_exactly_the_folders_that_hold_modules():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {"narrowbench", *("narrowbench." + str(Path(file).parent).replace("/", ".") for file in tracked({".py"}))}
    assert set(listed) == folders and len(listed) == len(folders)


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_data_file_and_nothing_else(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    modules = [path.name for path in ROOT.glob("*.py")]
    for name in (*ROOMS, *modules, "py.typed", "pyproject.toml", "README.md", "LICENSE"):
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, source / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(place, source / name)
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path / "dist", source],
                   check=True, capture_output=True, text=True)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {name.removeprefix("narrowbench/") for name in names if name.startswith("narrowbench/")}
    assert {*tracked({".py"} | DATA), *modules, "py.typed"} - ours == set()
    assert {name for name in names if not name.startswith(("narrowbench/", "narrowbench-"))} == set()
    assert not [name for name in names if name.startswith("narrowbench/leaderboard/results/")]
