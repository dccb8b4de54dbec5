"""A file to start from: `narrowbench new method my_idea` writes a method that already works.

Main object: `new_method`. The text lies in `starters/`.
Example: `new_method("my_idea", Path("."))`
"""

import re
import keyword
from pathlib import Path

from ..organisms.errors import NotFoundError, SpecError
from .method import methods

STARTER = Path(__file__).parent / "starters" / "method.py.txt"
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def class_name(name: str) -> str:
    """my_idea -> MyIdea."""
    return "".join(word.capitalize() for word in name.split("_"))


def new_method(name: str, folder: Path) -> Path:
    """Writes `<name>.py` with the class `<Name>` into a folder and returns its path.

    Raises:
        SpecError: no name for a file and a method, or one that is taken. Nothing is ever overwritten.
        NotFoundError: there is no such folder.
    """
    if not NAME.fullmatch(name) or not class_name(name).isidentifier() or keyword.iskeyword(class_name(name)):
        raise SpecError(f"{name!r} is no name for a method: small letters, digits and _, a letter first, such as "
                        "`narrowbench new method my_idea`.")
    if name in methods():
        raise SpecError(f"There is a built-in method {name!r} already (`narrowbench list methods`). Choose another "
                        "name, so that results cannot be mixed up.")
    if not folder.is_dir():
        raise NotFoundError(f"There is no folder {folder}. Make it first, or leave `--out` away.")
    path = folder / f"{name}.py"
    text = STARTER.read_text(encoding="utf-8").replace("CLASS", class_name(name)).replace("NAME", name)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise SpecError(f"{path} is there already, and nothing is overwritten. Choose another name, or move the file "
                        "away.") from error
    return path
