"""A value as YAML writes it, on one line and in characters that everybody sees: for options of a command.

Main object: `one_line(value)`.
Example: `one_line("a\\nb")` -> '"a\\\\nb"'; `one_line([1, "b c"])` -> "[1, b c]"
"""

import math
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """YAML's own, but a text with a line's end in it stays on one line."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text)


def one_line(value: Any) -> str:
    """Reads back, by YAML, as the value."""
    for as_it_is in (True, False):
        text = yaml.dump([value], Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=math.inf,
                         allow_unicode=as_it_is).strip()[1:-1]
        if text.isprintable():
            break
    return text
