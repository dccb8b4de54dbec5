"""Which source a result depends on: a file and what it imports of this package, as one digest for the store's keys.

Main objects: `code_sha256` (the digest), `sources` (the files).
Example: `code_sha256(Path(shared.__file__), Path(pair.__file__))`

So a changed line recomputes what it can change, and a module that is added later is covered without being listed.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .spec import digest_of
from .store import sha256_file

PACKAGE, NAME = Path(__file__).resolve().parents[1], __name__.partition(".")[0]
COMPUTES_NOTHING = frozenset(PACKAGE / "organisms" / name for name in ("code.py", "errors.py", "spec.py", "store.py"))
"""Where the search stops: what names, keeps and refuses results, but makes none."""


def code_sha256(*roots: Path) -> str:
    """sha256 over `sources`; read once a process, so it is that of the code that runs.

    Raises:
        SyntaxError: a file that Python cannot read.
    """
    return _digest(tuple(sorted({path for root in roots for path in sources(root)})))


@cache
def sources(root: Path) -> frozenset[Path]:
    """The file and every module of this package that it imports, wherever in the file, and that those import in turn.

    Args:
        root: a module of this package, or a file from elsewhere: then also the modules that lie beside it, or in its
            own package. What else is installed counts by no digest.
    """
    found, waiting = set(), [root.resolve()]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += (module for module in _imported(path) if module not in COMPUTES_NOTHING)
    return frozenset(found)


@cache
def _digest(paths: tuple[Path, ...]) -> str:
    return digest_of([sha256_file(path) for path in paths])


@cache
def _imported(path: Path) -> tuple[Path, ...]:
    home, package = _place(path)
    names = [name for node in ast.walk(ast.parse(path.read_bytes())) for name in _names(node, package)]
    modules = (_file(PACKAGE.joinpath(*name[1:])) if name[0] == NAME else _file(home.joinpath(*name))
               for name in names if name[0] == NAME or not package or name[0] == package[0])
    return tuple(dict.fromkeys(module for module in modules if module is not None))


def _place(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Where names start that a file imports, and the dotted name of the package that the file is in."""
    if path.is_relative_to(PACKAGE):
        return PACKAGE.parent, (NAME, *path.relative_to(PACKAGE).parent.parts)
    home = path.parent
    while (home / "__init__.py").is_file():
        home = home.parent
    return home, path.relative_to(home).parent.parts


def _names(node: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Dotted names that a statement of a file in `package` may import."""
    if isinstance(node, ast.Import):
        yield from (tuple(alias.name.split(".")) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parts = tuple(node.module.split(".")) if node.module else ()
        if node.level:
            parts = package[:len(package) - node.level + 1] + parts
        if parts:
            yield parts
        for alias in node.names:  # `from . import cells` names a module
            yield (*parts, alias.name)


def _file(place: Path) -> Path | None:
    """The module or the package at a place."""
    return next((path for path in (place.with_name(f"{place.name}.py"), place / "__init__.py") if path.is_file()), None)
