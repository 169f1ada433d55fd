"""The picture of the complexity table: the paper's formulas, and beside them the lines that were measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.look.complexity import COUNTED, LAST, Complexity, Curve
from triptych.look.layers import TABLE, Kind, Weighed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

INK, PALE = "0.15", "0.45"
SMALL, MEDIUM, LARGE = 9.5, 10.5, 12.0
HEADER = ("layer", "operations\nof a layer", "sequential\noperations", "longest\npath",
          "time\nagainst n", "time\nagainst d", "memory\nagainst n")  # fmt: skip
WIDTHS = (0.3, 0.12, 0.12, 0.11, 0.11, 0.11, 0.13)  # of these columns
FORMULAS = 4  # columns of the paper; what follows is measured


@dataclass(frozen=True)
class Style:
    """The style of a layer in every panel. Layers differ in marker and lightness too; colours after Okabe and Ito."""

    name: str
    colour: str
    marker: str
    dashed: bool = False


STYLES: dict[Weighed, Style] = {
    "full": Style("attention", "#d55e00", "o"),
    "lstm": Style("LSTM", "#00805e", "^"),
    "convolution": Style("convolution", "#a8528b", "D"),
    "local": Style("restricted", "#0072b2", "s"),
    "dense": Style("dense", "#d55e00", "o", dashed=True),
}


def draw(found: Complexity) -> Figure:
    """Draw time and memory against length, the crossing of attention and LSTM, time against width, and the table."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, StrMethodFormatter

    plan, machine, seconds = found.plan, found.machine, EngFormatter("s")
    figure = Figure(figsize=(16, 10.2), facecolor="white")
    grid = figure.add_gridspec(
        2, 3, height_ratios=(1.5, 1), left=0.05, right=0.985, top=0.86, bottom=0.06, hspace=0.32, wspace=0.2
    )
    circumstances = (
        f"One layer, forward and backward, batch 1, float32; medians of {plan.repeats} runs. "
        f"{machine['threads']} thread{'s' if machine['threads'] != 1 else ''} ({machine['capability']}), "
        f"torch {machine['torch']}. Broad lines: fitted through the last {LAST} points."
        + " The machine was busy."
        * found.busy
    )
    figure.text(0.02, 0.955, "The price of a layer: the table and the clock", fontsize=19, weight="bold", color=INK)
    figure.text(0.02, 0.928, circumstances, fontsize=LARGE, color=PALE)
    times, memory, duel, widths = (figure.add_subplot(grid[place]) for place in ((0, 0), (0, 1), (0, 2), (1, 2)))
    _frame(times, "n", "Time of a call against length n", f"width d = {plan.width:,}")
    _lines(times, found.by_length, "n", seconds)
    _frame(memory, "n", "Memory of a call against length n", "peak above what was held before")
    _lines(memory, found.by_memory, "n", StrMethodFormatter("{x:,g} MB"))
    _frame(duel, "n", "Where attention falls behind the LSTM", f"width d = {plan.width:,}, axes not logarithmic")
    _crossing(duel, found)
    _frame(widths, "d", "Time of a call against width d", f"length n = {plan.fixed_length:,}")
    _lines(widths, found.by_width, "d", seconds)
    _table(figure.add_subplot(grid[1, :2]), found)
    return figure


def _frame(axes: Axes, letter: str, title: str, more: str) -> None:
    axes.set_title(title, loc="left", pad=24, fontsize=LARGE + 0.5, weight="bold", color=INK)
    axes.text(0, 1.025, more, fontsize=MEDIUM, color=PALE, transform=axes.transAxes)
    axes.set_xlabel(f"${letter}$", fontsize=LARGE, color=PALE, labelpad=1)
    axes.grid(color="0.93", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL, labelcolor=PALE, color="0.8")
    axes.tick_params(which="minor", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("0.8")


def _look(kind: Weighed) -> dict[str, Any]:
    style = STYLES[kind]
    fill = "white" if style.dashed else style.colour
    line = {"linestyle": "--" if style.dashed else "-", "linewidth": 1.7}
    return {**line, "color": style.colour, "marker": style.marker, "markersize": 5.5, "markerfacecolor": fill}


def _lines(axes: Axes, curves: Mapping[Kind, Curve] | Mapping[Weighed, Curve], letter: str, unit: Formatter) -> None:
    """Log-log lines of every layer, named with their exponents, and the fit behind their long ends."""
    from matplotlib.ticker import NullFormatter, NullLocator, StrMethodFormatter

    if not curves:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "measured on Linux only", ha="center", color=PALE, transform=axes.transAxes)
        return
    axes.set(xscale="log", yscale="log")
    for kind, curve in curves.items():
        tail, name = curve.sizes[-LAST:], f"{STYLES[kind].name} ${letter}^{{{curve.exponent:.2f}}}$"
        fit = [curve.fitted(size) for size in tail]
        axes.plot(tail, fit, color=STYLES[kind].colour, linewidth=7, alpha=0.22, solid_capstyle="round")
        axes.plot(curve.sizes, curve.values, label=name, **_look(kind))
    sizes = sorted({size for curve in curves.values() for size in curve.sizes})
    axes.set_xticks(sizes[:: 2 if len(sizes) > 5 else 1])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(unit)
    axes.yaxis.set_minor_formatter(NullFormatter())
    colours = [STYLES[kind].colour for kind in curves]
    axes.legend(loc="upper left", frameon=False, fontsize=LARGE, labelcolor=colours)


def _crossing(axes: Axes, found: Complexity) -> None:
    """Full attention and LSTM on straight axes, a parabola and a line; where they cross, and where they should."""
    from matplotlib.ticker import EngFormatter, StrMethodFormatter

    duel, width, measured = found.duel, found.plan.width, found.crossing
    for kind, curve in duel.items():
        axes.plot(
            (0, *curve.sizes), (0, *curve.values), label=STYLES[kind].name, markevery=slice(1, None), **_look(kind)
        )
    longest = duel["full"].sizes[-1]
    highest = max(value for curve in duel.values() for value in curve.values)
    axes.set(xlim=(0, longest * 1.05), ylim=(0, highest * 1.5))
    axes.set_xticks([width * i for i in range(0, longest // width + 1, max(1, longest // width // 4))])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(EngFormatter("s"))
    marks = [
        (float(width), f"the table: n = d = {width:,}", PALE, ":"),
        (float(COUNTED * width), f"multiplications counted: n = {COUNTED} d = {COUNTED * width:,}", PALE, "--"),
    ]
    if measured is not None:
        marks.append((measured, f"measured: n = {measured:,.0f} = {measured / width:.1f} d", INK, "-"))
        height = float(np.interp(measured, duel["lstm"].sizes, duel["lstm"].values))
        axes.plot([measured], [height], "o", markersize=13, fillstyle="none", color=INK, markeredgewidth=1.5)
    for place, text, colour, dashes in marks:
        axes.vlines(place, 0, highest * 1.03, color=colour, linestyle=dashes, linewidth=1.3, zorder=1, label=text)
    title = f"no crossing measured up to n = {longest:,}" if measured is None else None
    axes.legend(title=title, loc="upper left", frameon=False, fontsize=MEDIUM, labelcolor=INK)


def _table(axes: Axes, found: Complexity) -> None:
    """The paper's table, and the measured exponents beside it."""
    from matplotlib.transforms import Bbox

    axes.set_axis_off()
    axes.set_title("Vaswani et al. 2017, table 1, and what is measured (in brackets: the table)", loc="left", color=INK)
    rows = []
    for kind, theory in TABLE.items():
        time = f"$n^{{{found.by_length[kind].exponent:.2f}}}$ ({theory.by_length})"
        across = f"$d^{{{found.by_width[kind].exponent:.2f}}}$ ({theory.by_width})"
        memory = f"$n^{{{found.by_memory[kind].exponent:.2f}}}$" if kind in found.by_memory else ""
        formulas = map(_formula, (theory.complexity, theory.sequential, theory.path))
        rows.append([theory.name, *formulas, time, across, memory])
    table = axes.table(
        rows,
        colLabels=HEADER,
        colWidths=WIDTHS,
        cellLoc="center",
        edges="horizontal",
        bbox=Bbox.from_bounds(0, 0.08, 1, 0.9),
    )
    table.auto_set_font_size(False)
    for (row, column), cell in table.get_celld().items():
        cell.set_edgecolor("0.8")
        colour = STYLES[list(TABLE)[row - 1]].colour if row and column >= FORMULAS else INK if row else PALE
        cell.set_text_props(fontsize=LARGE if row else MEDIUM, color=colour, ha="center" if column else "left")
    backends = " and ".join(f"{name} for {STYLES[kind].name}" for kind, name in found.backends.items())
    note = f"Attention through triptych.attention.attend, which chose {backends}; dense: all weights written down."
    axes.text(0, 0, note, fontsize=SMALL, color=PALE, transform=axes.transAxes)


def _formula(text: str) -> str:
    """A plainly written formula for matplotlib, which sets a part of TeX by itself."""
    return "$" + text.replace("log", r"\log").replace(" ", r"\,") + "$"
