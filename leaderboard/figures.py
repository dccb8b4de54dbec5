"""Figures that a page shows beside its own, such as the ablations' dose-response plots, with their captions.

Main objects: `copy_figures(source, target) -> list[Figure]`; the file `captions.json` beside the figures.
Example: `narrowbench site records --figures docs/figures`

captions.json = [{"file": "mix-dose.png", "caption": "...", "alt": "..."}, ...]. Where it is, only what it lists is
shown, in its order: a folder may hold figures that are no ablation. Without it, every figure is shown under its name.
"""

import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ..organisms.errors import RecordError
from .record import first_reason

CAPTIONS = "captions.json"
SUFFIXES = (".png", ".svg")


class Figure(BaseModel):
    """One figure: its file's name, what is written under it, and what it shows to those who cannot see it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(min_length=1)
    caption: str = Field(min_length=1)
    alt: str = Field(min_length=1)


_LISTED = TypeAdapter(list[Figure])


def copy_figures(source: Path, target: Path) -> list[Figure]:
    """Copies the figures that are to be shown, and says which.

    Raises:
        RecordError: a folder without any, or captions that are damaged or name a file that is not there.
    """
    files = {path.name: path for path in sorted(source.glob("*")) if path.suffix in SUFFIXES} if source.is_dir() else {}
    if not files:
        raise RecordError(f"--figures {source}: there is no PNG or SVG file in it. `narrowbench sweep` draws some.")
    listed = _captions(source / CAPTIONS)
    if listed is None:
        names = {name: path.stem.replace("-", " ").replace("_", " ") for name, path in files.items()}
        listed = [Figure(file=name, caption=words, alt=words) for name, words in names.items()]
    if missing := [figure.file for figure in listed if figure.file not in files]:
        raise RecordError(f"{source / CAPTIONS}: there is no {missing[0]} beside it. Draw it again, or take it off the "
                          "list.")
    target.mkdir(parents=True, exist_ok=True)
    for figure in listed:
        shutil.copyfile(files[figure.file], target / figure.file)
    return listed


def _captions(path: Path) -> list[Figure] | None:
    if not path.exists():
        return None
    try:
        return _LISTED.validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: no list of captions ({first_reason(error)}). Each is an object of file, caption "
                          "and alt.") from error
