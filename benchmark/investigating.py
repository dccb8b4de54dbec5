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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..organisms.code import code_sha256
from ..organisms.errors import InvestigationError, NotFoundError
from .allowance import Allowance

FOLDER = Path(__file__).parent / "investigators"
_SECRET = re.compile("key|secret|password|credential", re.IGNORECASE)
COSTS = ("input", "output", "input_cache_read", "input_cache_write")


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

    @classmethod
    def of_options(cls, name: str, model: str, roles: Sequence[str], base_url: str, model_args: Sequence[str],
                   prices: Path | None, max_samples: int, allowance: Allowance) -> "Investigator":
        """From the words of a command line.

        Args:
            roles: ROLE=MODEL each; a role that comes twice is a panel.
            model_args: KEY=VALUE each, the value as YAML reads it.
            prices: A YAML or JSON file: model -> {input, output}, in dollars for a million tokens.

        Raises:
            InvestigationError: a word without `=`, or a price that is no number.
        """
        panels: dict[str, tuple[str, ...]] = {}
        for role, judge in (_split(word, "--model-role ROLE=MODEL") for word in roles):
            panels[role] = (*panels.get(role, ()), judge)
        arguments = {key: yaml.safe_load(value) for key, value in (_split(word, "-M KEY=VALUE") for word in model_args)}
        return cls(name, model, panels, base_url, arguments, allowance=allowance, max_samples=max_samples,
                   prices=read_prices(prices) if prices else {})

    def checked(self) -> "Investigator":
        """Itself, if it can run.

        Raises:
            NotFoundError: no such investigator. InvestigationError: a model is missing, or given where none is asked;
                a limit of dollars without a price.
        """
        needs_model = load_investigator(self.name).needs_model
        if needs_model and not self.model:
            raise InvestigationError(f"investigator {self.name!r} asks a language model, and none was given. Add "
                                     "`--model PROVIDER/NAME`, or use `--investigator reader`, which needs none.")
        if self.model and not needs_model:
            raise InvestigationError(f"investigator {self.name!r} asks no language model, so `--model {self.model}` "
                                     "would do nothing. Leave it out, or use `--investigator oneshot` or `agent`.")
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
        return {"model": self.model, "roles": {role: list(models) for role, models in self.roles.items()},
                "address": self.base_url, "provider": self._open_args, "generation": dict(self.config)}

    @property
    def _open_args(self) -> dict[str, Any]:
        """The arguments that may stand in a log that is published."""
        return {key: value for key, value in self.model_args.items() if not _SECRET.search(key)}

    def options(self) -> str:
        """The options of `narrowbench score` that choose it, after its name."""
        words = [f"--model {self.model}"] if self.model else []
        words += [f"--model-role {role}={model}" for role, models in self.roles.items() for model in models]
        words += [f"--model-base-url {self.base_url}"] if self.base_url else []
        words += [f"-M {key}={value}" for key, value in self._open_args.items()]
        words += [f"--{name} {value}" for name, value in asdict(self.allowance).items()
                  if self.model and value != getattr(Allowance(), name) and value is not None]
        words += ["--prices prices.yaml"] if self.prices else []
        return "".join(f" {word}" for word in words)

    def eval_arguments(self) -> dict[str, Any]:
        """Arguments of Inspect's `eval`; prices are made known to it."""
        if not self.model and not self.roles:
            return {"model": None}
        from inspect_ai.model import GenerateConfig, get_model

        _set_prices(self.prices)
        # A role does not inherit the time limit of a call, so each has its own.
        own = GenerateConfig(attempt_timeout=self.call_s)
        panels = {role: [get_model(name, config=own, memoize=False) for name in models]
                  for role, models in self.roles.items()}
        roles = {role: models if len(models) > 1 else models[0] for role, models in panels.items()}
        return {"model": self.model or None, "model_base_url": self.base_url or None,
                "model_args": dict(self.model_args), "model_roles": roles or None, "max_samples": self.max_samples,
                "max_retries": self.retries, "attempt_timeout": self.call_s, **self.config, **KEEP_WHAT_IS_DONE}


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
