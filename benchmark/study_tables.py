"""Studies as people read them: Markdown tables, and flat lines for a CSV.

Main objects: `causal_table`, `causal_rows`, `bias_table`, `bias_rows`, `floors` (what nulls reach), `control_range`.
Example: `Path("table.md").write_text(bias_table(study))`
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .projection import SPAN
from .studies import Finding, Study

CONTROLS = ("random", "differences")
TAIL = 0.025
SUMMARIES = {"rel_norm": "relative norm", "consistency": "consistency", "split_half": "cosine of halves",
             "position_cosine": "cosine of positions", "first_cosine": "cosine of first position with others"}
"""Fields of a StaticBias, and what they are called."""


def causal_rows(study: Study) -> list[dict[str, Any]]:
    """One line for each organism, register and vector."""
    lines = []
    for finding in study.findings:
        for register in finding.result["registers"]:
            for effect in register["effects"]:
                line = {**_about(finding), "layer": finding.result["layer"],
                        **{key: register[key] for key in ("register", "n_rows", "n_tokens", "ce_base", "ce_finetuned")},
                        "vector": effect["vector"], "rank": effect["rank"], **_flat("d_ce", effect["d_ce"]),
                        "relative": effect["relative"], "share": effect["share"]}
                for kind in CONTROLS:
                    low, high = control_range(register, effect["vector"], kind) or (None, None)
                    line |= {f"{kind}_low": low, f"{kind}_high": high}
                    line |= {f"{kind}_{key}": effect["standing"].get(kind, {}).get(key)
                             for key in ("percentile", "p_raises", "p_lowers")}
                lines.append(line)
    return lines


def control_range(register: dict[str, Any], vector: str, kind: str) -> tuple[float, float] | None:
    """The middle 95% of a vector's controls of one kind; None where there are none."""
    values = register["controls"].get(f"{kind}_{SPAN}" if vector == SPAN else kind)
    return tuple(float(value) for value in np.quantile(values, (TAIL, 1 - TAIL))) if values else None


def span_of(register: dict[str, Any]) -> dict[str, Any]:
    """The effect of projecting out all positions' differences together."""
    return next(effect for effect in register["effects"] if effect["vector"] == SPAN)


def verdict(register: dict[str, Any]) -> str:
    """Whether projecting the span out `raises` or `lowers` the loss beyond its interval and 97.5% of both kinds of
    controls; else `neither`."""
    effect = span_of(register)
    low, high, places = effect["d_ce"]["low"], effect["d_ce"]["high"], effect["standing"].values()
    if not places or low is None:
        return "neither"
    if low > 0 and all(place["percentile"] > 1 - TAIL for place in places):
        return "raises"
    return "lowers" if high < 0 and all(place["percentile"] < TAIL for place in places) else "neither"


def causal_table(study: Study) -> str:
    """One table for each register: what projecting the span out does, beside its controls; and how often it does."""
    parts = [f"# Causal effect of the mean difference, suite {study.suite}\n",
             "Change of loss (nats per target token) when the mean differences of all probe positions are projected "
             f"out of the finetuned model at {study.settings['layer_fraction']:g} of the depth, with its 95% interval "
             "over rows. Relative: to the gain, base minus finetuned loss; a dash where the gain's interval holds 0. "
             "Share: of the squared difference that is projected out. Percentile: among control subspaces of the same "
             "rank. "
             "Positions: range over single positions' differences.\n"]
    for name in dict.fromkeys(r["register"] for finding in study.findings for r in finding.result["registers"]):
        found = [(finding, register) for finding in study.findings
                 for register in finding.result["registers"] if register["register"] == name]
        header = ["organism", "role", "gain", "change of loss", "relative", "share", "percentile, random",
                  "percentile, differences", "positions"]
        parts += [f"## {name}\n", markdown(header, [_causal_line(*pair) for pair in found]), _counts(found) + "\n"]
    return "\n".join(parts)


def _causal_line(finding: Finding, register: dict[str, Any]) -> list[str]:
    effect = span_of(register)
    places = [number(effect["standing"].get(kind, {}).get("percentile"), 2) for kind in CONTROLS]
    single = [each["d_ce"]["value"] for each in register["effects"] if each["vector"] != SPAN]
    return [finding.label, finding.role, interval(register["gain"]), interval(effect["d_ce"], 4),
            number(effect["relative"], 2), number(effect["share"], 2), *places,
            f"{min(single):.4f} to {max(single):.4f}"]


def _counts(found: Sequence[tuple[Finding, dict[str, Any]]]) -> str:
    lines = []
    for role in ("objective", "twin", "null"):
        verdicts = [verdict(register) for finding, register in found if finding.role == role]
        if verdicts:
            lines.append(f"{role}s: raises in {verdicts.count('raises')}, lowers in {verdicts.count('lowers')} of "
                         f"{len(verdicts)}")
    return "Beyond its interval and beyond 97.5% of both kinds of controls: " + "; ".join(lines) + "."


def bias_measures(finding: Finding) -> dict[str, dict[str, float | None]]:
    """All summaries of one organism by name, as estimates."""
    result = finding.result
    return {**{name: result[name] for name in SUMMARIES},
            **{f"cosine, {pair}": estimate for pair, estimate in result["register_cosines"].items()}}


def floors(study: Study) -> dict[str, float | None]:
    """The largest value that a null reaches, by measure; None where no null has one."""
    nulls = [bias_measures(finding) for finding in study.findings if finding.role == "null"]
    names = dict.fromkeys(name for finding in study.findings for name in bias_measures(finding))
    values = {name: [null[name]["value"] for null in nulls if null[name]["value"] is not None] for name in names}
    return {name: max(reached, default=None) for name, reached in values.items()}


def bias_rows(study: Study) -> list[dict[str, Any]]:
    """One line for each organism and measure, and for each position's measures; `floor` is the largest of the nulls."""
    floor, lines = floors(study), []
    for finding in study.findings:
        where = {**_about(finding), "layer": finding.result["layer"]}
        lines += [{**where, "measure": name, "position": None, **_flat("value", estimate), "floor": floor[name]}
                  for name, estimate in bias_measures(finding).items()]
        for place in finding.result["positions"]:
            lines += [{**where, "measure": name, "position": place["position"], **_flat("value", place[name]),
                       "floor": None} for name in ("rel_norm", "consistency", "split_half")]
    return lines


def bias_table(study: Study) -> str:
    """Organisms and nulls below each other; beside each value the largest of the nulls, in brackets."""
    floor = floors(study)
    names = list(floor)
    lines = [[finding.label, finding.role,
              *(f"{interval(measures[name])} ({number(floor[name])})" for name in names)]
             for finding in study.findings for measures in [bias_measures(finding)]]
    header = ["organism", "role", *(SUMMARIES.get(name, name) for name in names)]
    n_probes = {finding.result["n_probes"] for finding in study.findings}
    return (f"# Static bias, suite {study.suite}\n\nMean activation differences at "
            f"{study.settings['layer_fraction']:g} of the depth, {', '.join(map(str, sorted(n_probes)))} probes, "
            f"{study.settings['k']} positions, the first left out of all but its own column. Consistency: norm of the "
            "mean difference over the mean norm of differences. In square brackets 95% intervals (over texts; of the "
            "halves, over splits); in round ones the largest value of a null. A dash: undefined.\n\n"
            + markdown(header, lines))


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table; a dash where it is undefined."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(estimate: dict[str, float | None], digits: int = 3) -> str:
    """An estimate (as JSON) for a table: `value [low, high]`."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    text = number(value, digits)
    return text if value is None or low is None or high is None else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines)) + "\n"


def _about(finding: Finding) -> dict[str, Any]:
    return {key: getattr(finding, key)
            for key in ("organism", "family", "role", "split", "train_seed", "expressed", "healthy")}


def _flat(name: str, estimate: dict[str, float | None]) -> dict[str, float | None]:
    return {name: estimate["value"], f"{name}_low": estimate["low"], f"{name}_high": estimate["high"]}
