"""Why a model cannot be asked at all: no key, no package. Inspect's own error for it, and its message in plain words.

Main objects: `prerequisite_error` (the class to catch), `plain` (an error's message in one line).
Example: `except prerequisite_error() as error: raise EvidenceError(plain(error)) from error`
"""

import re

_MARKUP = re.compile(r"\[/?[a-z][a-z ]*\]")
"""As it stands in Inspect's messages for a terminal."""


def prerequisite_error() -> type[Exception]:
    """What a provider raises for want of a key or a package.

    No public module of Inspect (0.3.285) has this class, its only base is Exception, and without it a forgotten key
    would end in a traceback.
    """
    from inspect_ai._util.error import PrerequisiteError

    return PrerequisiteError


def plain(error: Exception) -> str:
    """The message without markup, in one line."""
    return " ".join(_MARKUP.sub("", str(getattr(error, "message", error))).split()).removeprefix("ERROR: ")
