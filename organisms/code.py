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
        root: a module of this package, or a file from elsewhere, of which only its imports from this package count.
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
    inside = path.relative_to(PACKAGE).parent.parts if path.is_relative_to(PACKAGE) else None
    names = [name for node in ast.walk(ast.parse(path.read_bytes())) for name in _names(node, inside)]
    return tuple(dict.fromkeys(module for name in names if (module := _file(name))))


def _names(node: ast.AST, inside: tuple[str, ...] | None) -> Iterator[tuple[str, ...]]:
    """Dotted names that a statement may import, from the package's root; `inside` = the folder of its file."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top, *rest = alias.name.split(".")
            if top == NAME:
                yield tuple(rest)
    elif isinstance(node, ast.ImportFrom):
        parts = tuple(node.module.split(".")) if node.module else ()
        if node.level and inside is not None:
            parts = inside[:len(inside) - node.level + 1] + parts
        elif node.level == 0 and parts[:1] == (NAME,):
            parts = parts[1:]
        else:
            return
        yield parts
        for alias in node.names:  # `from . import cells` names a module
            yield (*parts, alias.name)


def _file(name: tuple[str, ...]) -> Path | None:
    path = PACKAGE.joinpath(*name[:-1], f"{name[-1]}.py") if name else None
    return path if path is not None and path.is_file() else None
