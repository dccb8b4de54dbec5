"""What one `narrowbench score` is to do: a preset, and over it each option that was given on the command line.

Main objects: `Order`, `order_of`, `run_graders` (after scoring, what the preset asks for).
Example: `order_of("paper", [], {}, Asked(model="a/b", roles=["grader=c/d", "evidence=c/d"]), {"model", "roles"})`
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..graders.similarity import TFIDF
from ..organisms.errors import InvestigationError, NarrowbenchError, NotFoundError, SpecError
from .allowance import Allowance
from .investigating import Investigator, load_investigator
from .method import load_method, methods
from .preset import GraderRun, Preset, load_preset
from .settings import known_settings, label, needs_judge, shared_out

if TYPE_CHECKING:
    from .grade_run import Graded
    from .run import Result
    from .spending import Purse

ALLOWANCE = tuple(asdict(Allowance()))
GENERATION = ("temperature", "max_tokens")


@dataclass(frozen=True)
class Asked:
    """The options of a command line that say who investigates, with their defaults."""

    investigator: str = "reader"
    model: str = ""
    roles: Sequence[str] = ()
    base_url: str = ""
    model_args: Sequence[str] = ()
    prices: Path | None = None
    max_samples: int = 8
    epochs: int = 1
    generation: Mapping[str, Any] = field(default_factory=dict)
    """None = not given."""
    allowance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """What is to be scored and graded, resolved."""

    methods: dict[str, dict[str, Any]]
    """Method -> its settings."""
    who: Investigator
    preset: Preset | None = None
    judges: Investigator = Investigator()
    """Who grades afterwards: its role `grader`."""
    helpers: dict[str, str] = field(default_factory=dict)
    """Role -> the model that helps a method to collect, which no purse pays for."""

    @property
    def graders(self) -> tuple[GraderRun, ...]:
        """To run on each log."""
        return self.preset.graders if self.preset else ()

    @property
    def everybody(self) -> Investigator:
        """Investigator and judges in one, for a purse that both pay from."""
        return replace(self.who, roles={**self.who.roles, **self.judges.roles})

    def to_dict(self) -> dict[str, Any]:
        """The preset as it was resolved, as JSON types."""
        who, told = self.who, self.preset
        return {"preset": told.name, "source": told.source, "methods": [label(*one) for one in self.methods.items()],
                "investigator": who.name, "model": who.model, "generation": dict(who.config),
                "allowance": asdict(who.allowance), "epochs": who.epochs,
                "roles": self.judges.told().get("roles", {}) | {role: [model] for role, model in self.helpers.items()},
                "graders": [one.model_dump(exclude_defaults=True) for one in self.graders]}


def order_of(preset: str, names: Sequence[str], settings: Mapping[str, Any], asked: Asked,
             given: Collection[str]) -> Order:
    """Puts a preset and a command line together; without a preset, checks the command line.

    Args:
        preset: Name or path; empty = none.
        names: Methods; `all` = all that are built in; empty = the preset's.
        settings: Of methods: each goes to those that have it.
        given: Names of options (`investigator`, `epochs`, `interactions`, `temperature`, ...) that were given, rather
            than left at their default: these win over the preset.

    Raises:
        NotFoundError: no such preset, method or investigator. SpecError: no method, or a setting that none has.
        InvestigationError: a model that is needed was not named.
    """
    chosen = load_preset(preset) if preset else None
    if not names and chosen is None:
        raise SpecError("Nothing to score: name a method with `--method`, or a preset with `--preset`. `narrowbench "
                        "list methods` and `narrowbench list presets` list them.")
    names = list(dict.fromkeys(name for one in names or [chosen.method] for name in (
        everything() if one == "all" else [one])))
    each = shared_out(names, settings)
    if chosen is None:
        return Order(each, _investigator(asked, {}))
    if chosen.method in each:
        each[chosen.method] = chosen.settings | each[chosen.method]
    who = _investigator(*_filled(asked, chosen, given))
    each, helpers, who = _helped(each, chosen, who)
    return _judged(Order(each, who, chosen, helpers=helpers))


def everything() -> list[str]:
    """The built-in methods that need nothing but the two models: what `all` stands for."""
    return [name for name in methods() if not needs_judge(load_method(name)[0])]


def run_graders(order: Order, result: "Result", suite: str, grades_dir: Path,
                purse: "Purse | None") -> Iterator["Graded | NarrowbenchError"]:
    """Grades a log by each grader of the preset. One that fails costs only itself: its error comes in its place."""
    from .grade_run import grade_again
    from .grade_task import JUDGES

    for one in order.graders:
        judged = one.grader in JUDGES
        try:
            yield grade_again(result.log, [one.grader], suite, order.judges if judged else Investigator(), grades_dir,
                              embedder=one.embedder, purse=purse if judged else None)
        except NarrowbenchError as error:
            yield error


def check_packages(order: Order) -> None:
    """Raises NotFoundError, before anything is paid for, if a grader needs a package that is not installed."""
    for one in order.graders:
        if one.embedder != TFIDF and find_spec("sentence_transformers") is None:
            raise NotFoundError(f"Embedder {one.embedder!r} of {one.grader} needs the package sentence-transformers, "
                                "which is not installed. `pip install sentence-transformers` installs it.")


def _investigator(asked: Asked, more: Mapping[str, Any]) -> Investigator:
    return Investigator.of_options(
        asked.investigator, asked.model, asked.roles, asked.base_url, asked.model_args, asked.prices,
        asked.max_samples, Allowance(**asked.allowance), {**more, **{
            key: value for key, value in asked.generation.items() if value is not None}}, asked.epochs)


def _filled(asked: Asked, chosen: Preset, given: Collection[str]) -> tuple[Asked, dict[str, Any]]:
    """The options with the preset's values where none was given, and the preset's options of generation.

    Of an investigator that asks no model, given in place of the preset's, the preset has nothing to say.
    """
    asked = asked if "investigator" in given else replace(asked, investigator=chosen.investigator)
    if not load_investigator(asked.investigator).needs_model:
        return asked, {}
    allowance = {key: value for key, value in chosen.allowance.items() if key not in given}
    return replace(asked, epochs=asked.epochs if "epochs" in given else chosen.epochs,
                   allowance={**asked.allowance, **allowance}), dict(chosen.generation)


def _helped(each: dict[str, dict[str, Any]], chosen: Preset,
            who: Investigator) -> tuple[dict[str, dict[str, Any]], dict[str, str], Investigator]:
    """The methods with the models that help them; those are roles of nobody else."""
    helpers = {}
    for role, need in chosen.roles.items():
        if not need.setting:
            continue
        asking = [name for name in each if need.setting in known_settings(type(load_method(name)[0]))]
        models, options = who.roles.get(role, ()), who.role_config.get(role, ())
        if len(models) > 1 or any(options):
            raise InvestigationError(f"preset {chosen.name}: the role {role} is one model, without options: "
                                     f"`--model-role {role}=PROVIDER/NAME`. Options of the method are `--set`.")
        for name in asking:
            if models:
                each[name] = {need.setting: models[0]} | each[name]
            if not each[name].get(need.setting):
                raise _missing(chosen, role)
            helpers[role] = each[name][need.setting]
        who = _without(who, role)
    return each, helpers, who


def _judged(order: Order) -> Order:
    """With the judges of the preset's graders, who are no part of what investigates."""
    from .grade_task import JUDGES

    if not order.graders:
        return order
    who, chosen = order.who, order.preset
    if any(one.grader in JUDGES for one in order.graders) and not who.roles.get("grader"):
        raise _missing(chosen, "grader")
    judges = Investigator(roles={role: models for role, models in who.roles.items() if role == "grader"},
                          role_config=who.role_config, prices=who.prices, prices_file=who.prices_file,
                          max_samples=who.max_samples)
    return replace(order, judges=judges, who=_without(who, "grader"))


def _missing(chosen: Preset, role: str) -> InvestigationError:
    use = chosen.roles[role].use if role in chosen.roles else "grades"
    return InvestigationError(f"preset {chosen.name} needs a model that {use}, and none was named. Add `--model-role "
                              f"{role}=PROVIDER/NAME`; no model is ever asked in a role by accident.")


def _without(who: Investigator, role: str) -> Investigator:
    kept = {one: models for one, models in who.roles.items() if one != role}
    return replace(who, roles=kept, role_config={one: who.role_config[one] for one in kept if one in who.role_config})
