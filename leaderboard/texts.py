"""Which texts may stand in a record: limited in length, and without characters that nobody sees.

Main objects: types of pydantic fields: `Line` (an identifier, one line), `Command`, `Word` (a keyword),
`Lines` (prose), `Json` (settings), `PlainCard` (a card of such texts).
Example: `version: Line`

A record is shown on pages and terminals, and its command is copied from there: a character that ends, hides or turns a
line around could say something else to people than it says to a program.
"""

import shlex
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue

from ..benchmark.characters import JOINERS, hidden
from ..organisms.spec import Card

MAX_LINE, MAX_COMMAND, MAX_WORD, MAX_LINES = 400, 20_000, 200, 20_000


def _line(text: str) -> str:
    return _without_hidden(text, "")


def _command(text: str) -> str:
    """People copy it from the page into a shell: so its words are quoted as the harness quotes them, and nothing of it
    means more to a shell than to `shlex`."""
    try:
        quoted = text.isprintable() and shlex.join(shlex.split(text)) == text
    except ValueError:  # a quote that does not end
        quoted = False
    if not quoted:
        raise ValueError("it is not quoted as `narrowbench score` quotes it in a log, so a shell could read more in it")
    return text


def _word(text: str) -> str:
    return _without_hidden(text, JOINERS)


def _lines(text: str) -> str:
    return _without_hidden(text, "\n\t" + JOINERS)


def _without_hidden(text: str, allowed: str) -> str:
    if code := hidden(text, allowed):
        raise ValueError(f"it holds the character {code}, which nobody sees or which ends the line")
    return text


def _json(value: dict[str, Any]) -> dict[str, Any]:
    for text, is_key in _strings(value):
        if len(text) > MAX_LINES:
            raise ValueError(f"a text in it has more than {MAX_LINES} characters")
        _line(text) if is_key else _lines(text)
    return value


def _strings(value: Any) -> Iterator[tuple[str, bool]]:
    """Every text of a JSON value, and whether it is a key; without recursion, however deep it is."""
    waiting = [value]
    while waiting:
        at = waiting.pop()
        if isinstance(at, str):
            yield at, False
        elif isinstance(at, dict):
            yield from ((str(key), True) for key in at)
            waiting += at.values()
        elif isinstance(at, (list, tuple)):
            waiting += at


def _card(card: Card) -> Card:
    for text, _ in _strings(card.model_dump()):
        if len(text) > MAX_LINE:
            raise ValueError(f"a text of its card has more than {MAX_LINE} characters")
        _line(text)
    return card


Line = Annotated[str, Field(max_length=MAX_LINE), AfterValidator(_line)]
Command = Annotated[str, Field(max_length=MAX_COMMAND), AfterValidator(_command)]
Word = Annotated[str, Field(max_length=MAX_WORD), AfterValidator(_word)]
Lines = Annotated[str, Field(max_length=MAX_LINES), AfterValidator(_lines)]
Json = Annotated[dict[str, JsonValue], AfterValidator(_json)]
PlainCard = Annotated[Card, AfterValidator(_card)]
