"""Who investigates, and with what: an investigator of `investigators/`, the model it asks, what it may use.

Main objects: `Investigator` (a choice, checked before anything runs), `load_investigator` -> `Loaded`, `investigators`.
Example: `Investigator("agent", model="openai/...", allowance=Allowance(interactions=50)).checked()`

The model that investigates is given by name, and so is every role: nobody grades himself because a name was left out.
"""

import hashlib
import importlib
import inspect
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..organisms.code import code_sha256
from ..organisms.errors import InvestigationError, NotFoundError
from .allowance import Allowance
from .model_roles import generation, parse_roles, role_words
from .one_line import one_line

FOLDER = Path(__file__).parent / "investigators"
_SECRET = re.compile("key|secret|passw|credential|token(?!s|iz)|auth|header|cookie|bearer|signature", re.IGNORECASE)
"""In the name of an argument: its value may open something. `max_tokens` and `tokenizer` open nothing."""
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
COSTS = ("input", "output", "input_cache_read", "input_cache_write")
GENERATION = {"temperature": "--temperature", "max_tokens": "--max-tokens"}
"""Options of generation that have an option of the command line; a role's stand in its `--model-role`."""


@dataclass(frozen=True)
class Loaded:
    """An investigator of the package, ready to run."""

    name: str
    solver: Any
    sha256: str
    """Of its file; of one that asks a model, of all the package's files that it uses."""
    prompt_sha256: str
    """Of what its model is told before any evidence; empty without a model."""
    max_calls: int | None = None
    """Of its model, where that does not depend on an allowance."""
    asks_pair: bool = False
    """Whether its tools run the compared models."""

    @property
    def needs_model(self) -> bool:
        """Whether it asks a language model."""
        return bool(self.prompt_sha256)


def investigators() -> list[str]:
    """Names of the built-in investigators: the files in `investigators/`."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def load_investigator(name: str, allowance: Allowance = Allowance()) -> Loaded:
    """An investigator by name, with as much of the allowance as it knows.

    Raises:
        NotFoundError: no such investigator; names the nearest ones.
    """
    if name not in investigators():
        raise NotFoundError.of("investigator", name, investigators(), "narrowbench list investigators")
    module = importlib.import_module(f"{__package__}.investigators.{name}")
    factory, path = vars(module)[name], Path(module.__file__)
    known = inspect.signature(factory).parameters
    solver = factory(**{key: value for key, value in asdict(allowance).items() if key in known})
    if not getattr(module, "NEEDS_MODEL", False):
        return Loaded(name, solver, hashlib.sha256(path.read_bytes()).hexdigest(), "")
    return Loaded(name, solver, code_sha256(path), hashlib.sha256(module.PROMPT.encode()).hexdigest(),
                  getattr(module, "MAX_CALLS", None), getattr(module, "ASKS_PAIR", False))


@dataclass(frozen=True)
class Investigator:
    """A choice of investigator. What decides its answers is part of a log's inputs; what only decides how fast, is not.

    Args:
        model: Inspect's name of the model that investigates (`openai/...`, `openai-api/SERVICE/...`, `hf/...`).
        roles: Models of other roles by role, e.g. {"grader": ("openai/...",)}; several are a panel.
        base_url, model_args: As Inspect's `--model-base-url` and `-M`.
        config: Of generation: temperature, max_tokens, ... as Inspect names them.
        prices: Model -> dollars for a million tokens, by `input` and `output`.
        max_samples: Investigations that run at once.
        retries: How often a call that fails is tried again.
        call_s: After so many seconds a call counts as failed.
        role_config: Role -> options of generation of each of its models, in their order; left out = none.
        epochs: How often each organism is investigated.
        prices_file: Where prices were read from, as the user wrote it.
    """

    name: str = "reader"
    model: str = ""
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    base_url: str = ""
    model_args: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    allowance: Allowance = Allowance()
    prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    max_samples: int = 8
    retries: int = 5
    call_s: int = 300
    role_config: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    epochs: int = 1
    prices_file: str = ""

    @classmethod
    def of_options(cls, name: str, model: str, roles: Sequence[str], base_url: str, model_args: Sequence[str],
                   prices: Path | None, max_samples: int, allowance: Allowance, config: Mapping[str, Any] | None = None,
                   epochs: int = 1) -> "Investigator":
        """From the words of a command line.

        Args:
            roles: As `model_roles.parse_roles` takes them.
            model_args: KEY=VALUE each, the value as YAML reads it.
            prices: A YAML or JSON file: model -> {input, output}, in dollars for a million tokens.
            config: Options of generation of the model that investigates; None = the provider's own.

        Raises:
            InvestigationError: a word of another form, or a price that is no number.
        """
        panels = parse_roles(roles)
        arguments = {key: yaml.safe_load(value) for key, value in (_split(word, "-M KEY=VALUE") for word in model_args)}
        return cls(name, model, panels.models, base_url, arguments, allowance=allowance, max_samples=max_samples,
                   config=generation(config, "the investigator's model") if config else {}, epochs=epochs,
                   role_config=panels.generation, prices=read_prices(prices) if prices else {},
                   prices_file=str(prices or ""))

    def checked(self) -> "Investigator":
        """Itself, if it can run.

        Raises:
            NotFoundError: no such investigator. InvestigationError: a model is missing, or given where none is asked;
                a limit of dollars without a price; repeats of what never differs.
        """
        needs_model = load_investigator(self.name).needs_model
        check_epochs(self.name, needs_model, self.epochs)
        if needs_model and not self.model:
            raise InvestigationError(f"investigator {self.name!r} asks a language model, and none was given. Add "
                                     "`--model PROVIDER/NAME`, or use `--investigator reader`, which needs none.")
        if self.model and not needs_model:
            raise InvestigationError(f"investigator {self.name!r} asks no language model, so `--model {self.model}` "
                                     "would do nothing. Leave it out, or use `--investigator oneshot` or `agent`.")
        if self.config and not needs_model:
            raise InvestigationError(f"investigator {self.name!r} asks no language model, so {', '.join(self.config)} "
                                     "would do nothing. Leave `--temperature` and `--max-tokens` out.")
        if self.allowance.usd is not None and self.model not in self.prices:
            raise InvestigationError(f"a limit of {self.allowance.usd} dollars needs the price of {self.model}. Add it "
                                     "to the file given with `--prices`, in dollars for a million tokens.")
        return self

    def models(self) -> list[str]:
        """All models that it names, each once: the one that investigates first."""
        named = [self.model, *(model for models in self.roles.values() for model in models)]
        return list(dict.fromkeys(model for model in named if model))

    def told(self) -> dict[str, Any]:
        """What a log says of it beside its name: everything that decides answers. Empty without models.

        The keys are not Inspect's own: it takes a mapping with those for a model, and puts that in its place.
        """
        if not self.model and not self.roles:
            return {}
        told = {"model": self.model, "roles": {role: list(models) for role, models in self.roles.items()},
                "address": self._open_url, "provider": self._open_args, "generation": _open(self.config)}
        if any(self._role_options(role) != [{}] * len(models) for role, models in self.roles.items()):
            told["role_generation"] = {role: _open(self._role_options(role)) for role in self.roles}
        return told

    def _role_options(self, role: str) -> list[dict[str, Any]]:
        """Of each model of a role."""
        given = [dict(each) for each in self.role_config.get(role, ())]
        return given + [{}] * (len(self.roles[role]) - len(given))

    @property
    def _open_args(self) -> dict[str, Any]:
        """The arguments that may stand in a log that is published."""
        return _open(self.model_args)

    @property
    def _open_url(self) -> str:
        """The address, without who asks and what is asked with it."""
        return _open(self.base_url).partition("?")[0].partition("#")[0]

    def options(self, shown: bool = False) -> str:
        """The options of `narrowbench score` that choose it, after its name and epochs.

        Args:
            shown: To the user who gave them: then with the whole path of the prices. Else for a log that others may
                read, where a path from the root, which says something of a machine, is cut to its last part.
        """
        words = [("--model", self.model)] if self.model else []
        words += [("--model-role", word) for role, models in self.roles.items()
                  for word in role_words(role, models, _open(self._role_options(role)))]
        words += [("--model-base-url", self._open_url)] if self.base_url else []
        words += [("-M", f"{key}={_word(value)}") for key, value in self._open_args.items()]
        words += [(GENERATION[key], str(value)) for key, value in self.config.items() if key in GENERATION]
        words += [(f"--{name}", str(value)) for name, value in asdict(self.allowance).items()
                  if self.model and value != getattr(Allowance(), name) and value is not None]
        if self.prices:
            path = Path(self.prices_file or "prices.yaml")
            words += [("--prices", path.name if path.is_absolute() and not shown else str(path))]
        return "".join(f" {flag} {shlex.quote(word)}" for flag, word in words)

    def eval_arguments(self) -> dict[str, Any]:
        """Arguments of Inspect's `eval`; prices are made known to it."""
        if not self.model and not self.roles:
            return {"model": None}
        from inspect_ai.model import GenerateConfig, get_model

        _set_prices(self.prices)
        # A role does not inherit the time limit of a call, so each has its own.
        panels = {role: [get_model(name, config=GenerateConfig(attempt_timeout=self.call_s, **options), memoize=False)
                         for name, options in zip(models, self._role_options(role), strict=True)]
                  for role, models in self.roles.items()}
        roles = {role: models if len(models) > 1 else models[0] for role, models in panels.items()}
        return {"model": self.model or None, "model_base_url": self.base_url or None,
                "model_args": dict(self.model_args), "model_roles": roles or None, "max_samples": self.max_samples,
                "max_retries": self.retries, "attempt_timeout": self.call_s, **self.config, **KEEP_WHAT_IS_DONE}


def _word(value: Any) -> str:
    """A value as `-M` reads it back: a text as it is, where that reads as itself."""
    try:
        if isinstance(value, str) and value.isprintable() and yaml.safe_load(value) == value:
            return value
    except yaml.YAMLError:
        pass
    return one_line(value)


def _open(value: Any) -> Any:
    """The same without what may be secret, at any depth: values of telling names, and who asks at an address."""
    if isinstance(value, Mapping):
        return {key: _open(item) for key, item in value.items() if not _SECRET.search(str(key))}
    if isinstance(value, (list, tuple)):
        return [_open(item) for item in value]
    return _USERINFO.sub("", value) if isinstance(value, str) else value


def check_epochs(name: str, needs_model: bool, epochs: int) -> None:
    """Raises InvestigationError if this investigator cannot be repeated so often."""
    if epochs < 1:
        raise InvestigationError(f"{epochs} epochs leave nothing to investigate. Give `--epochs` of 1 or more.")
    if epochs > 1 and not needs_model:
        raise InvestigationError(f"investigator {name!r} asks no language model and says the same each time, so "
                                 f"`--epochs {epochs}` would count one answer {epochs} times. Leave it out, or use "
                                 "`--investigator oneshot` or `agent`.")


KEEP_WHAT_IS_DONE = {"log_buffer": 1, "continue_on_fail": True, "fail_on_error": True}
"""Each sample is written when it is done, and one that fails ends no other."""


def read_prices(path: Path) -> dict[str, dict[str, float]]:
    """Model -> dollars for a million tokens, from a YAML or JSON file. Raises InvestigationError."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InvestigationError(f"{path}: cannot be read as prices ({error}). Write a line for each model: "
                                 "`provider/name: {input: 1.25, output: 10}`.") from error
    for model, price in raw.items() if isinstance(raw, dict) else [("(file)", None)]:
        known = isinstance(price, dict) and {"input", "output"} <= set(price) <= set(COSTS)
        if not known or not all(type(cost) in (int, float) and 0 <= cost < math.inf for cost in price.values()):
            raise InvestigationError(f"{path}: the price of {model} must give `input` and `output` in dollars for a "
                                     f"million tokens (known keys: {', '.join(COSTS)})")
    return raw


def _split(word: str, form: str) -> tuple[str, str]:
    key, _, value = word.partition("=")
    if not key or not value:
        raise InvestigationError(f"`{word}` is not of the form {form}")
    return key, value


def _set_prices(prices: Mapping[str, Mapping[str, float]]) -> None:
    from inspect_ai.model import ModelCost, ModelInfo, get_model_info, set_model_info

    for model, price in prices.items():
        full = {"input_cache_read": price["input"], "input_cache_write": price["input"], **price}
        known = get_model_info(model) or ModelInfo()
        set_model_info(model, known.model_copy(update={"cost": ModelCost(**full)}))
