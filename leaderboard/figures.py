"""Figures that a page shows beside its own, such as the ablations' dose-response plots, with their captions.

Main objects: `copy_figures(source, target) -> list[Figure]`; the file `captions.json` beside the figures.
Example: `narrowbench site records --figures docs/figures`

captions.json = [{"file": "mix-dose.png", "caption": "...", "alt": "..."}, ...]. Where it is, only what it lists is
shown, in its order: a folder may hold figures that are no ablation. Without it, every figure is shown under its name.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ..organisms.errors import RecordError
from .record import first_reason

CAPTIONS = "captions.json"
SUFFIXES = (".png", ".svg")
SVG = "http://www.w3.org/2000/svg"
INERT = frozenset({"", "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://creativecommons.org/ns#",
                   "http://purl.org/dc/elements/1.1/"})
"""Elements of these namespaces are never drawn nor run, whatever their name: matplotlib's metadata are."""
DRAWN = frozenset((SVG, name) for name in (
    "svg g defs path use text tspan rect circle ellipse line polyline polygon clipPath style metadata title desc image "
    "linearGradient radialGradient stop marker pattern mask symbol switch").split())


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
        RecordError: a folder without any, captions that are damaged or name a file that is not there, a link, or an
            SVG that does more than draw.
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
    for figure in listed:
        _check(files[figure.file])
    target.mkdir(parents=True, exist_ok=True)
    for figure in listed:
        if target.resolve() != source.resolve():
            shutil.copyfile(files[figure.file], target / figure.file)
    return listed


def _check(path: Path) -> None:
    """Raises RecordError for a link, and for an SVG that could run a script when it is opened on its own."""
    if path.is_symlink() or not path.is_file():
        raise RecordError(f"{path} is a link or no file, and what a link leads to may be nobody else's business. Put "
                          "the figure itself there.")
    if path.suffix == ".svg" and (reason := next(_beyond_drawing(path.read_bytes()), None)):
        raise RecordError(f"{path}: {reason}. A browser that opens it would run or fetch that as part of the site. "
                          "Draw it without, or give a PNG.")


def _beyond_drawing(data: bytes) -> Iterator[str]:
    """What in an SVG is more than a drawing, as matplotlib and the like make them. All that is not known is."""
    try:
        text = data.decode()
        nodes = list(ElementTree.fromstring(text).iter())
    except (ElementTree.ParseError, ValueError) as error:
        yield f"it is no XML in UTF-8 ({error})"
        return
    if found := re.search(r"<!ENTITY|<\?xml-|^\ufeff?<\?xml[^>]*encoding\s*=\s*(?!.utf-8.)", text, re.IGNORECASE):
        yield f"it has {found[0][:60]!r}"
    for node in nodes:
        space, _, name = node.tag.removeprefix("{").rpartition("}")
        if space not in INERT and (space, name) not in DRAWN:
            yield f"it holds <{name}>"
        for key, value in node.attrib.items():
            local = key.rpartition("}")[2].lower()
            if local.startswith("on") or local == "base" or _fetches(value) \
                    or local == "href" and not value.startswith(("#", "data:image/png;base64,")):
                yield f"<{name}> has {local}={value[:40]!r}"
        if name == "style" and _fetches(node.text or ""):
            yield "its style asks for another file"


def _fetches(style: str) -> bool:
    """Whether a style asks for more than a part of its own file, or hides behind escapes what it asks for."""
    return bool(re.search(r"@import|image-set|\\|url\([\s\"']*[^#\s\"']", style, re.IGNORECASE))


def _captions(path: Path) -> list[Figure] | None:
    if not path.exists():
        return None
    try:
        return _LISTED.validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: no list of captions ({first_reason(error)}). Each is an object of file, caption "
                          "and alt.") from error
