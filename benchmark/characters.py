"""Which characters a text may hold where others read it: none that nobody sees, and none that turn a line around.

Main objects: `hidden(text)` (the first such character), `escaped(text)` (each of them as its code).
Example: `hidden("a\\u202eb")` -> "U+202E"; `escaped("a\\nok b")` -> "a\\\\nok b"

What somebody hands in is shown on pages and terminals and read by others: a character that moves, hides or ends a line
could make it say something else there than it says to a program.
"""

import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, format characters (zero width, direction), halves of characters, ends of lines and paragraphs."""
JOINERS = "\u200c\u200d"
"""Zero width, and part of how Persian words and many emoji are written."""


def hidden(text: str, allowed: str = "") -> str:
    """The code of the first character that is not seen or ends a line, as `U+202E`; empty if there is none.

    Args:
        allowed: Those that may be there all the same.
    """
    if text.isascii() and text.isprintable():  # nearly all are, and a page of many records asks a million times
        return ""
    return next((f"U+{ord(c):04X}" for c in text if unicodedata.category(c) in _UNSEEN and c not in allowed), "")


def escaped(text: str, allowed: str = "") -> str:
    """The text with each character that is not printable written as Python writes it; one line unless `allowed` says
    otherwise."""
    return "".join(c if c.isprintable() or c in allowed else c.encode("unicode_escape").decode("ascii") for c in text)
