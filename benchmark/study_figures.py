"""Plots of studies, as SVG and PNG: one line for each organism, objectives, twins and nulls told apart by marker.

Main objects: `draw_causal`, `draw_bias`: each writes figure.svg and figure.png into a folder.
Example: `draw_bias(study, Path("bias"))`
"""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .projection import SPAN
from .studies import Finding, Study
from .study_tables import CONTROLS, SUMMARIES, bias_measures, control_range, floors, span_of

MARKERS = {"objective": {"marker": "o", "markerfacecolor": "black"}, "twin": {"marker": "^", "markerfacecolor": "0.6"},
           "null": {"marker": "s", "markerfacecolor": "white"}}
CONTROL_STYLE = {"random": {"color": "0.85", "height": 0.62, "label": "random subspaces, middle 95%"},
                 "differences": {"color": "0.65", "height": 0.3, "label": "differences of base states, middle 95%"}}
PANEL_WIDTH, LABEL_WIDTH, ROW_HEIGHT, MARGIN = 2.2, 1.8, 0.22, 0.9
"""Inches."""
PANELS_ABREAST = 4
LINEAR_UP_TO = 1e-3
"""Nats a token; logarithmic beyond, because effects on the finetuning data and elsewhere differ by 100 times."""


def draw_causal(study: Study, folder: Path) -> None:
    """A panel for each register: the change of loss on projecting the mean differences out, beside its controls."""
    names = list(dict.fromkeys(r["register"] for finding in study.findings for r in finding.result["registers"]))
    figure, panels = _panels(study, len(names), sharex=True)
    for panel, name in zip(panels, names, strict=True):
        panel.set_xscale("symlog", linthresh=LINEAR_UP_TO, linscale=0.6)
        panel.axvline(0, color="black", linewidth=0.6)
        panel.set_title(name, fontsize=9)
        panel.set_xlabel(f"change of loss, nats a token\n(linear up to {LINEAR_UP_TO:g})", fontsize=7)
        for y, finding in enumerate(study.findings):
            for register in finding.result["registers"]:
                if register["register"] == name:
                    _causal_line(panel, y, finding, register)
    bars = [Patch(color=style["color"], label=style["label"]) for style in CONTROL_STYLE.values()]
    ticks = Line2D([], [], marker="|", linestyle="", color="black", label="one position's difference")
    _finish(figure, study, folder, "all positions' differences: ", [*bars, ticks])


def _causal_line(panel: Axes, y: int, finding: Finding, register: dict[str, Any]) -> None:
    for kind in CONTROLS:
        spread = control_range(register, SPAN, kind)
        if spread is not None:
            style = CONTROL_STYLE[kind]
            panel.barh(y, spread[1] - spread[0], left=spread[0], height=style["height"], color=style["color"], zorder=1)
    single = [effect["d_ce"]["value"] for effect in register["effects"] if effect["vector"] != SPAN]
    panel.plot(single, [y] * len(single), linestyle="", marker="|", color="black", markersize=6, zorder=2)
    _point(panel, y, span_of(register)["d_ce"], finding.role)


def draw_bias(study: Study, folder: Path) -> None:
    """A panel for each measure of the static bias; the dashed line is the largest value of a null."""
    floor = floors(study)
    figure, panels = _panels(study, len(floor))
    for panel, (name, reached) in zip(panels, floor.items(), strict=True):
        panel.set_title(SUMMARIES.get(name, name).replace(" with others", "\nwith others"), fontsize=8)
        if reached is not None:
            panel.axvline(reached, color="0.4", linewidth=0.8, linestyle="--")
        for y, finding in enumerate(study.findings):
            _point(panel, y, bias_measures(finding)[name], finding.role)
    line = Line2D([], [], color="0.4", linewidth=0.8, linestyle="--", label="largest value of a null")
    _finish(figure, study, folder, "", [line] if any(reached is not None for reached in floor.values()) else [])


def _panels(study: Study, n: int, sharex: bool = False) -> tuple[Figure, list[Axes]]:
    abreast = min(n, PANELS_ABREAST)
    below = -(-n // abreast)
    size = (LABEL_WIDTH + PANEL_WIDTH * abreast, 0.5 + below * (MARGIN + ROW_HEIGHT * len(study.findings)))
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(below, abreast, sharey=True, sharex=sharex, squeeze=False).flat)
    for unused in panels[n:]:
        unused.set_visible(False)
    panels = panels[:n]
    panels[0].set_yticks(range(len(study.findings)), [finding.label for finding in study.findings])
    panels[0].set_ylim(len(study.findings) - 0.5, -0.5)
    for panel in panels:
        panel.tick_params(axis="x", labelsize=6)
        panel.tick_params(axis="y", labelsize=8)
        panel.grid(axis="y", color="0.92", linewidth=0.6)
        panel.set_axisbelow(True)
        if not sharex:
            panel.locator_params(axis="x", nbins=4)
    return figure, panels


def _point(panel: Axes, y: int, estimate: dict[str, float | None], role: str) -> None:
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None:
        panel.annotate("undefined", (0.5, y), xycoords=("axes fraction", "data"), ha="center", va="center", fontsize=6)
        return
    if low is not None and high is not None:
        panel.plot([low, high], [y, y], color="black", linewidth=1, zorder=3)
    panel.plot([value], [y], linestyle="", color="black", markersize=5, zorder=4, **MARKERS[role])


def _finish(figure: Figure, study: Study, folder: Path, what: str, others: list) -> None:
    roles = [role for role in MARKERS if any(finding.role == role for finding in study.findings)]
    shown = [Line2D([], [], linestyle="", color="black", markersize=5, label=f"{what}{role}", **MARKERS[role])
             for role in roles]
    figure.legend(handles=[*shown, *others], loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    # The same study gives the same bytes: no date, and ids from a fixed salt.
    with matplotlib.rc_context({"svg.hashsalt": "narrowbench", "svg.fonttype": "none"}):
        figure.savefig(folder / "figure.svg", metadata={"Date": None})
    figure.savefig(folder / "figure.png", dpi=150, metadata={"Software": None})
