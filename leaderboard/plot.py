"""The page's figures for a paper, as SVG and PNG, from the same numbers.

Main objects: `draw(records_dir, out_dir) -> files`, `intervals_figure`, `heat_figure`, `pairs_figure`, `cost_figure`.
Example: `narrowbench plot records --out figures`

Legible in grey and to the colour-blind: what a colour says, a number, a mark or a position says too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from ..organisms.errors import NotFoundError, RecordError
from .archive import read_all
from .board import Board, Slice, boards
from .data import compared
from .entries import COSTS, Entry
from .levels import names_of
from .pages import count, number, slice_name

INK, SOFT, DATA, BELOW = "#1e1d1a", "#6b685f", "#1f6178", "#b0791f"
STYLE = {"font.size": 8, "font.family": "sans-serif", "svg.fonttype": "none", "axes.spines.top": False,
         "axes.spines.right": False, "axes.edgecolor": SOFT, "axes.linewidth": 0.6, "text.color": INK,
         "svg.hashsalt": "narrowbench", "text.parse_math": False}
"""A `$` in a name is no formula, text in an SVG stays text, and the same records give the same file."""
LOW = -0.25
PNG_DPI = 200
MARKS = "osD^vP*X<>"


def draw(records_dir: Path, out_dir: Path, suite: str = "", cost: str = "seconds",
         levels: Mapping[str, str] | None = None) -> list[Path]:
    """Writes every figure that the suite's rows allow, twice: as SVG and as PNG.

    Args:
        suite: Id or digest; left out = the first one, as on the page.
        levels: As of `site.build`.
        cost: What the Pareto plot sets recovery against: one of `entries.COSTS`.

    Raises:
        RecordError: no whole record, or no method with a recovery.
        NotFoundError: no such suite or cost.
    """
    import matplotlib

    if cost not in COSTS:
        raise NotFoundError.of("cost", cost, COSTS, "narrowbench plot --help")
    found = boards(read_all(records_dir)[0], names_of(records_dir) if levels is None else levels)
    if not found:
        raise RecordError(f"{records_dir} holds no record to draw. `narrowbench publish LOGS` adds one.")
    ids = [board.record.suite.id for board in found]
    board = next((b for b in found if suite in ("", b.record.suite.id, b.record.suite.digest)), None)
    if board is None:
        raise NotFoundError.of("suite", suite, ids, "narrowbench plot RECORDS")
    entries = [entry for entry in compared(board) if entry.mean is not None]
    if not entries:
        raise RecordError(f"No row of suite {board.record.suite.id} has a recovery, so there is nothing to draw.")
    files = []
    with matplotlib.rc_context(STYLE):
        figures = {"intervals": intervals_figure(entries), "heatmap": heat_figure(entries, board)}
        figures |= {f"pairs-{n + 1}": pairs_figure(part, slice_name(part, board)) for n, part in enumerate(board.slices)
                    if part.pairs and len(part.members) > 1}
        priced = [e for e in entries if e.role == "method" and e.cost.get(cost, 0) > 0]
        if priced:
            figures["cost"] = cost_figure(priced, cost)
        out_dir.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            for suffix, told in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": PNG_DPI})):
                path = out_dir / f"{name}.{suffix}"
                figure.savefig(path, bbox_inches="tight", **told)
                files.append(path)
    return files


def intervals_figure(entries: Sequence[Entry]) -> Figure:
    """Mean recovery with its 95% interval and the single units; floors and ceilings hollow."""
    figure = Figure(figsize=(5.4, 0.5 + 0.24 * len(entries)))
    axes = figure.subplots()
    for place, entry in enumerate(reversed(entries)):
        method = entry.role == "method"
        colour = DATA if method else SOFT
        units = np.maximum(list(entry.units.values()), LOW)
        axes.plot(units, [place] * len(units), "|", color=colour, alpha=0.45, markersize=6)
        if entry.interval:
            axes.plot([max(LOW, entry.interval.low), min(1, entry.interval.high)], [place] * 2, color=colour,
                      linewidth=1.8 if method else 1)
        axes.plot(max(LOW, entry.mean), place, "o", color=colour, markersize=5,
                  markerfacecolor=colour if method else "white")
    _axis_of_scores(axes, "x")
    axes.set_yticks(range(len(entries)), [_named(entry) for entry in reversed(entries)])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("recovery (0 chance, 1 top)")
    return figure


def heat_figure(entries: Sequence[Entry], board: Board) -> Figure:
    """Recovery of each method on each organism, as shade and number; empty where it was not scored."""
    from matplotlib.colors import LinearSegmentedColormap

    names = [organism.row.organism for organism in board.organisms]
    scores_OM = np.array([[entry.readings[name].scores.get("recovery", np.nan) if name in entry.readings else np.nan
                           for entry in entries] for name in names], dtype=float)
    figure = Figure(figsize=(1.5 + 0.36 * len(entries), 1.2 + 0.17 * len(names)))
    axes = figure.subplots()
    shades = LinearSegmentedColormap.from_list("scores", [(0, BELOW), (0.5, "#f5f3ed"), (1, DATA)])
    axes.imshow(scores_OM, cmap=shades, vmin=-1, vmax=1, aspect="auto")
    for (row, column), score in np.ndenumerate(scores_OM):
        if np.isfinite(score):
            axes.text(column, row, number(float(score)), ha="center", va="center", fontsize=5.5,
                      color="white" if score > 0.6 else INK)
    axes.set_xticks(range(len(entries)), [_named(entry) for entry in entries], rotation=90)
    axes.set_yticks(range(len(names)), [name + ("" if o.row.counted else " (not counted)")
                                        for name, o in zip(names, board.organisms, strict=True)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.xaxis.tick_top()
    return figure


def pairs_figure(part: Slice, title: str) -> Figure:
    """Mean differences (row minus column); bold with a dot where told apart at 5%."""
    members = part.members[:40]
    n = len(members)
    figure = Figure(figsize=(1.5 + 0.4 * n, 1.2 + 0.26 * n))
    axes = figure.subplots()
    for i in range(n):
        for j in range(i + 1, n):
            sure = part.pairs.separated(i, j)
            if sure:
                axes.fill_between([j - 1.5, j - 0.5], i - 0.5, i + 0.5, color=DATA, alpha=0.14, linewidth=0)
            axes.text(j - 1, i, ("• " if sure else "") + number(float(part.pairs.difference_MM[i, j])), ha="center",
                      va="center", fontsize=6, weight="bold" if sure else "normal", color=INK if sure else SOFT)
    axes.set_xlim(-0.5, n - 1.5)
    axes.set_ylim(n - 1.5, -0.5)
    axes.set_xticks(range(n - 1), [entry.label for entry in members[1:]], rotation=90)
    axes.set_yticks(range(n - 1), [entry.label for entry in members[:-1]])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.xaxis.tick_top()
    axes.set_xlabel(f"{title}, {len(part.units)} units; • told apart at 5% over all pairs")
    return figure


def cost_figure(entries: Sequence[Entry], cost: str) -> Figure:
    """Recovery against cost, a panel for each access; the line joins methods that no cheaper one matches."""
    groups: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.cost[cost], -entry.mean)):
        groups.setdefault(", ".join(entry.record.method.access) or "none", []).append(entry)
    figure = Figure(figsize=(2.1 * len(groups) + 0.4, 2.6))
    panels = figure.subplots(1, len(groups), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (access, members) in zip(panels, sorted(groups.items()), strict=True):
        front = [entry for n, entry in enumerate(members) if all(other.mean < entry.mean for other in members[:n])]
        axes.step([entry.cost[cost] for entry in front], [entry.mean for entry in front], where="post", color=DATA,
                  linewidth=1, alpha=0.6)
        for n, entry in enumerate(members):
            best = entry in front
            axes.plot(entry.cost[cost], max(LOW, entry.mean), MARKS[n % len(MARKS)], color=DATA if best else SOFT,
                      markerfacecolor=DATA if best else "white", markersize=5, label=entry.label)
            if entry.interval:
                axes.plot([entry.cost[cost]] * 2, [max(LOW, entry.interval.low), min(1, entry.interval.high)],
                          color=DATA if best else SOFT, linewidth=0.8, alpha=0.6)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
        axes.xaxis.set_major_formatter(lambda value, _: count(value) if value >= 1 else f"{value:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(access, fontsize=8, loc="left", weight="bold")
        axes.set_xlabel(cost.replace("_", " "))
        _axis_of_scores(axes, "y")
        if len(members) <= len(MARKS):
            axes.legend(frameon=False, fontsize=5.5, loc="upper left", bbox_to_anchor=(0, -0.2))
    panels[0].set_ylabel("recovery")
    return figure


def _axis_of_scores(axes, which: str) -> None:
    line = axes.axvline if which == "x" else axes.axhline
    for end in (0, 1):
        line(end, color=SOFT, linewidth=0.7, linestyle=(0, (2, 2)), zorder=0)
    getattr(axes, f"set_{which}lim")(LOW - 0.03, 1.05)
    getattr(axes, f"set_{which}ticks")([0, 0.5, 1])


def _named(entry: Entry) -> str:
    return entry.label if entry.role == "method" else f"{entry.label} ({entry.role})"
