"""Figures of a sweep: dose-response in panels, and trace against behaviour. Deterministic SVG, and PNG.

Main objects: `Panel` (one arm), `dose_response`, `trace_at_behaviour`, `save`.
Example: `save(dose_response([Panel("extra steps", arm.trace, arm.behaviour)], "mixed rows", "cake-450"), Path("dose"))`

Nothing is told by colour alone: curves differ in marker, line and label, and stay apart in greyscale.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .dose import Crossing, Response

STYLE = {"svg.hashsalt": "narrowbench", "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 9.0,
         "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10.0, "axes.titlelocation": "left",
         "axes.linewidth": 0.8, "figure.facecolor": "white", "savefig.facecolor": "white"}
TRACE = {"color": "#1b3a6b", "marker": "o", "linestyle": "-", "markerfacecolor": "#1b3a6b"}
BEHAVIOUR = {"color": "#c2600a", "marker": "s", "linestyle": (0, (5, 2)), "markerfacecolor": "white"}
WORDS = {"color": "#5f8a3c", "marker": "^", "linestyle": (0, (1, 1.5)), "markerfacecolor": "white"}
MEMBER = {"linewidth": 0.7, "alpha": 0.35, "marker": ""}
PATHS = (TRACE, BEHAVIOUR, WORDS,
         {"color": "#555555", "marker": "D", "linestyle": (0, (4, 1, 1, 1)), "markerfacecolor": "#555555"})
PANEL_INCHES, HEIGHT_INCHES, DPI = 4.6, 4.2, 150
NOTE_CHARACTERS = 85
LABEL_GAP = 0.09
MIN_GAP = 0.07
MIN_BEHAVIOUR_SPAN = 0.2
"""Least width of a behaviour axis."""
"""Least distance between dose labels, as a share of the axis; a label that is nearer is left out, its tick is not."""


@dataclass(frozen=True)
class Panel:
    """One arm of a sweep."""

    title: str
    trace: Response
    behaviour: Response
    words: Response | None = None
    """Trace whatever the reader's verdict; drawn where it differs from `trace`."""

    @property
    def series(self) -> list[tuple[str, Response, dict]]:
        """Name, curve and style of what is drawn."""
        drawn = [("trace", self.trace, TRACE), ("behaviour", self.behaviour, BEHAVIOUR)]
        if self.words is not None and self.words.mean != self.trace.mean:
            drawn.append(("words alone", self.words, WORDS))
        return drawn


def dose_response(panels: Sequence[Panel], dose_label: str, title: str = "") -> Figure:
    """Trace and behaviour against dose, one panel an arm; a strip below shows each ED50 with its interval.

    Arrows at the strip's ends mean that the value lies outside the grid. Thin lines are single organisms.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(PANEL_INCHES * len(panels), HEIGHT_INCHES), layout="constrained")
        rooms = figure.subplots(2, len(panels), squeeze=False, sharex="col", height_ratios=[5, 1])
        for i, panel in enumerate(panels):
            _curves(rooms[0][i], panel, first=i == 0)
            _strip(rooms[1][i], panel, dose_label, first=i == 0)
        _same_heights([rooms[0][i] for i in range(len(panels))])
        words = " Words alone: keywords marked whatever the verdict." if any(len(p.series) > 2 for p in panels) else ""
        scope = {"organisms": "over organisms", "seeds": "over seeds, for these organisms only"}
        note = (f"Bars: 95% intervals, {scope[panels[0].trace.ed50.scope]}. Thin lines: single organisms. "
                f"Arrow: outside the grid.{words}")
        figure.supxlabel(fill(note, NOTE_CHARACTERS * len(panels)), x=0.01, ha="left", fontsize=7.5, color="#444444")
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def trace_at_behaviour(panels: Sequence[Panel], dose_label: str, title: str = "") -> Figure:
    """Trace against behaviour, one path an arm: at the same behaviour, the heights of two paths are to be compared."""
    with rc_context(STYLE):
        figure = Figure(figsize=(PANEL_INCHES * 1.25, HEIGHT_INCHES), layout="constrained")
        room = figure.subplots()
        for i, panel in enumerate(panels):
            style, side = PATHS[i % len(PATHS)], 1 if i % 2 == 0 else -1
            x, y = panel.behaviour.mean, panel.trace.mean
            room.plot(x, y, label=panel.title, markersize=5, linewidth=1.4, **style)
            for place, dose in zip(zip(x, y, strict=True), panel.trace.doses, strict=True):
                if all(map(math.isfinite, place)):
                    room.annotate(f"{dose:g}", place, xytext=(5 * side, 3), textcoords="offset points", fontsize=7,
                                  ha="left" if side > 0 else "right", color=style["color"])
        room.axhline(0, color="#999999", linewidth=0.8)
        low, high = room.get_xlim()
        if high - low < MIN_BEHAVIOUR_SPAN:  # else the third digit of a saturated gate would look like a dose-response
            room.set_xlim(high - MIN_BEHAVIOUR_SPAN, high)
        room.set_xlabel("behaviour: gate gained over the base")
        room.set_ylabel("trace: recovery (chance 0, top 1)")
        room.legend(frameon=False, loc="best", title=f"small numbers: {dose_label}", title_fontsize=8,
                    alignment="left")
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes `stem`.svg and `stem`.png; the same figure gives the same bytes. Returns the paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.parent / f"{stem.name}.svg", stem.parent / f"{stem.name}.png"]
    FigureCanvasAgg(figure)
    with rc_context(STYLE):
        figure.savefig(paths[0], metadata={"Date": None, "Creator": None})
        figure.savefig(paths[1], dpi=DPI, metadata={"Software": None})
    return paths


def _curves(room: Axes, panel: Panel, first: bool) -> None:
    drawn = panel.series
    for i, (_, response, style) in enumerate(drawn):
        x = _x(response.doses)
        if len(response.members) > 1:
            for values in response.members.values():
                room.plot(x, values, **style | MEMBER)
        shift = 0.006 * (i - (len(drawn) - 1) / 2) * (x[-1] - x[0])
        low, high = ([0.0 if interval is None else abs(mean - getattr(interval, end))
                      for mean, interval in zip(response.mean, response.intervals, strict=True)]
                     for end in ("low", "high"))
        room.errorbar([value + shift for value in x], response.mean, yerr=[low, high], markersize=5, linewidth=1.6,
                      elinewidth=0.9, capsize=2.5, **style)
    room.axhline(0, color="#999999", linewidth=0.8, zorder=0)
    room.set_title(panel.title)
    _label_ends(room, panel)
    if first:
        room.set_ylabel("trace (recovery),\nbehaviour (gate gained)")
    room.tick_params(axis="x", labelbottom=False)


def _label_ends(room: Axes, panel: Panel) -> None:
    """Names the curves where they end, apart from each other."""
    ends = sorted(((next((v for v in reversed(response.mean) if math.isfinite(v)), 0.0), name, style)
                   for name, response, style in panel.series), key=lambda end: end[0])
    heights = [end[0] for end in ends]
    for _ in range(len(heights)):  # push neighbours apart until none touch
        for i in range(len(heights) - 1):
            if (lack := LABEL_GAP - (heights[i + 1] - heights[i])) > 0:
                heights[i], heights[i + 1] = heights[i] - lack / 2, heights[i + 1] + lack / 2
    x = _x(panel.trace.doses)
    for height, (_, name, style) in zip(heights, ends, strict=True):
        room.annotate(name, (x[-1], height), xytext=(8, 0), textcoords="offset points", va="center",
                      color=style["color"], fontweight="bold", annotation_clip=False)


def _strip(room: Axes, panel: Panel, dose_label: str, first: bool) -> None:
    x, drawn = _x(panel.trace.doses), panel.series
    for height, (_, response, style) in enumerate(reversed(drawn)):
        _ed50(room, response, height, x, style)
    room.set_ylim(-0.7, len(drawn) - 0.3)
    room.set_yticks(range(len(drawn)), [name for name, _, _ in reversed(drawn)])
    room.tick_params(axis="y", length=0)
    if first:
        room.set_ylabel("ED50", rotation=0, ha="right", va="center")
    room.set_xticks(x, _sparse(panel.trace.doses, x))
    margin = 0.04 * (x[-1] - x[0])
    room.set_xlim(x[0] - margin, x[-1] + margin)
    room.set_xlabel(dose_label)


def _ed50(room: Axes, response: Response, height: float, x: Sequence[float], style: dict) -> None:
    found = response.ed50
    if found.point.kind == "undefined":
        room.annotate("no effect to halve", ((x[0] + x[-1]) / 2, height), ha="center", va="center", fontsize=7.5,
                      color=style["color"])
        return
    if found.low and found.high:
        a, b = (_place(end, x) for end in (found.low, found.high))
        room.plot([a, b], [height, height], color=style["color"], linewidth=1.4, linestyle=style["linestyle"])
        for end, place in ((found.low, a), (found.high, b)):
            _end(room, end, place, height, style)
    if found.point.kind == "at":
        room.plot([_place(found.point, x)], [height], markersize=6, **style)
    else:
        _end(room, found.point, _place(found.point, x), height, style)
    room.annotate(str(found.point), (x[-1], height), xytext=(8, 0), textcoords="offset points", va="center",
                  color=style["color"], fontsize=8.5, annotation_clip=False)


def _end(room: Axes, end: Crossing, place: float, height: float, style: dict) -> None:
    """The end of an interval: a bar, or an arrow where it lies outside the grid."""
    marker = {"at": "|", "below": "<", "above": ">"}[end.kind]
    room.plot([place], [height], marker=marker, markersize=7, color=style["color"], linestyle="",
              markerfacecolor=style["color"])


def _place(found: Crossing, x: Sequence[float]) -> float:
    """Where a crossing is drawn: outside the grid means at its edge."""
    return {"below": x[0], "above": x[-1]}.get(found.kind, math.log1p(found.dose or 0.0))


def _x(doses: Sequence[float]) -> list[float]:
    return [math.log1p(dose) for dose in doses]


def _sparse(doses: Sequence[float], x: Sequence[float]) -> list[str]:
    """Dose labels, without those that would touch the one before."""
    labels, last = [], -math.inf
    for dose, place in zip(doses, x, strict=True):
        near = (place - last) / (x[-1] - x[0]) < MIN_GAP
        labels.append("" if near else f"{dose:g}")
        last = last if near else place
    return labels


def _same_heights(rooms: Sequence[Axes]) -> None:
    """One scale for all panels, wide enough for 0..1; intervals that reach beyond it are cut by the frame."""
    low = min(0.0, *(min(line.get_ydata(), default=0.0) for room in rooms for line in room.lines
                     if len(line.get_ydata())))
    for room in rooms:
        room.set_ylim(max(-1.05, low - 0.05), 1.08)

