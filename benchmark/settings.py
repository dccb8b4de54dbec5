"""A method's settings as a person writes them: read, checked against its class, told apart, and built into a method.

Main objects: `parse_settings` (`--set`), `parse_values` (`--grid`), `configured` (the method with these settings),
`changed` (those that differ from its defaults), `shared_out` (to several methods), `label` (a row's name),
`summary_of` (what it is).
Example: `method, source_sha256 = configured("adl_patchscope", parse_settings(["layer_fraction=0.5", "k=3"]))`

Settings are the parameters of a method's class. A value is what YAML reads: a number, a text, true, null, a list.
"""

import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from textwrap import shorten
from typing import Any

import yaml

from ..organisms.errors import NarrowbenchError, SpecError
from .evidence_judge import must_be_named
from .method import Method, load_method
from .one_line import one_line

MAX_SUMMARY = 400
METHOD_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.+:/-]{0,79}$"
"""What a method's `name` may be: it stands in commands, file names and tables."""


def parse_values(option: str, flag: str) -> tuple[str, list[Any]]:
    """Key and values of `KEY=V1,V2,...`; a list in brackets is one value.

    Args:
        flag: The option that the user gave, for the message.

    Raises:
        SpecError: an option of another form.
    """
    key, sign, text = option.partition("=")
    try:
        values = yaml.safe_load(f"[{text}]") if sign and key and text else None
    except yaml.YAMLError:
        values = None
    if not values:
        form = "KEY=VALUE,VALUE" if flag == "--grid" else "KEY=VALUE"
        raise SpecError(f"{flag} {option!r}: write each setting once, as {form} (a list in brackets is one value), "
                        f"e.g. {flag} layer_fraction=0.5.")
    return key, [_frozen(value) for value in values]


def parse_settings(options: Sequence[str]) -> dict[str, Any]:
    """Setting -> value, from `KEY=VALUE` each.

    Raises:
        SpecError: an option of another form, a key twice, or several values of one setting.
    """
    settings: dict[str, Any] = {}
    for option in options:
        key, values = parse_values(option, "--set")
        if len(values) > 1:
            raise SpecError(f"--set {option!r}: {len(values)} values, and one is set. A list is one value in brackets, "
                            f"`--set '{key}=[...]'`; `narrowbench tune` tries several.")
        if key in settings:
            raise SpecError(f"--set {option!r}: write each setting once, as KEY=VALUE; {key} is set twice.")
        settings[key] = values[0]
    return settings


def known_settings(kind: type) -> dict[str, Any]:
    """The settings of a method's class, with their defaults."""
    return {name: one.default for name, one in inspect.signature(kind).parameters.items()
            if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}


def check_settings(kind: type, names: Iterable[str], flag: str) -> None:
    """Raises SpecError if the class lacks one of these settings; names those that it has."""
    known = known_settings(kind)
    if unknown := [name for name in names if name not in known]:
        raise SpecError(f"{flag} {unknown[0]}: {kind.__name__} has no such setting. It has: "
                        f"{', '.join(known) or 'none'}.")


def build(kind: type, settings: Mapping[str, Any]) -> Method:
    """The class's method with these settings. Raises SpecError if it has no such setting, or refuses a value."""
    check_settings(kind, settings, "--set")
    try:
        return kind(**{key: _frozen(value) for key, value in settings.items()})
    except NarrowbenchError:
        raise
    except (TypeError, ValueError) as error:
        raise SpecError(f"--set {' '.join(words(settings))}: {kind.__name__} does not take it ({error}).") from error


def configured(name: str, settings: Mapping[str, Any] | None = None) -> tuple[Method, str]:
    """As `load_method`, with settings other than the defaults.

    Raises:
        EvidenceError: it needs a judge, and its settings name none.
        SpecError: its class has a name under which nothing can be published.
    """
    default, source_sha256 = load_method(name)
    check_name(default.name)
    method = build(type(default), settings) if settings else default
    if needs_judge(method):
        must_be_named(method.name, method.judge)
    return method, source_sha256


def check_name(name: Any) -> None:
    """Raises SpecError if a method cannot be called so; said before anything is computed."""
    if not isinstance(name, str) or not re.fullmatch(METHOD_NAME, name):
        raise SpecError(f"a method cannot be called {str(name)[:100]!r}: at most 80 letters, digits and _ . + : / -, "
                        "beginning with a letter or digit. Change `name` in its class, such as name = 'my_idea'.")


def needs_judge(method: Method) -> bool:
    """Whether a language model helps it to collect, which its setting `judge` names."""
    return bool(getattr(method, "needs_judge", False))


def tuned_on(kind: type) -> str:
    """The data that a method's settings were chosen on, as its class says (`tuned_on`); empty if it does not.

    Methods of the package are tuned on the organisms of the split `dev`, and say so only if otherwise.
    """
    said = getattr(kind, "tuned_on", None)
    return str(said) if said is not None else "dev" if kind.__module__.startswith(f"{__package__}.methods.") else ""


def summary_of(kind: type) -> str:
    """What a method is, in its author's words: the first paragraph of its class's docstring, cut at 400 characters.
    Empty without a docstring; the one that a dataclass makes of its fields is none."""
    text = inspect.cleandoc(kind.__doc__ or "")
    return "" if text.startswith(f"{kind.__name__}(") else shorten(text.partition("\n\n")[0], MAX_SUMMARY,
                                                                   placeholder=" …")


def changed(kind: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that are not the defaults, as JSON types, by name."""
    defaults = known_settings(kind)
    return {key: json.loads(_json(value)) for key, value in sorted(settings.items())
            if _json(value) != _json(defaults[key])}


def shared_out(names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Method -> those of the settings that it has.

    Raises:
        SpecError: a setting that none of the methods has.
    """
    kinds = {name: type(load_method(name)[0]) for name in names}
    if len(kinds) == 1:
        check_settings(*kinds.values(), settings, "--set")
    known = {name: known_settings(kind) for name, kind in kinds.items()}
    if lost := [key for key in settings if not any(key in mine for mine in known.values())]:
        have = dict.fromkeys(key for mine in known.values() for key in mine)
        raise SpecError(f"--set {', '.join(lost)}: none of the {len(kinds)} methods has such a setting. Between them "
                        f"they have: {', '.join(have) or 'none'}.")
    return {name: {key: value for key, value in settings.items() if key in mine} for name, mine in known.items()}


def words(settings: Mapping[str, Any]) -> list[str]:
    """`KEY=VALUE` each, as `parse_settings` reads them back."""
    return [f"{key}={one_line(value)}" for key, value in settings.items()]


def label(name: str, settings: Mapping[str, Any]) -> str:
    """How people name a method with settings: `adl_patchscope (k=3)`; its name alone with the defaults."""
    return f"{name} ({', '.join(words(settings))})" if settings else name


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _json(value: Any) -> str:
    """What two equal values have in common, whether they came as list, tuple or range."""
    return json.dumps(value, sort_keys=True, default=lambda one: list(one) if isinstance(one, Iterable) else repr(one))
