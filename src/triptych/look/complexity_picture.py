"""The picture of the complexity table: the paper's formulas, and beside them the lines that were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
LINE = 1.45  # height of a line of text, in font sizes

# Places of the columns of the table, from 0 to 1, and what is above them: the paper's, then those measured.
COLUMNS = {
    "complexity": (0.375, "operations\nof a layer"),
    "sequential": (0.48, "sequential\noperations"),
    "path": (0.585, "longest\npath"),
}
MEASURED = {
    "length": (0.71, "time\nagainst n"),
    "width": (0.83, "time\nagainst d"),
    "memory": (0.935, "memory\nagainst n"),
}
LAYER = 0.025  # the first column


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

    plan, seconds = found.plan, EngFormatter("s")
    figure = Figure(figsize=(16, 10.2), facecolor="white")
    grid = figure.add_gridspec(
        2, 3, height_ratios=(1.5, 1), left=0.05, right=0.985, top=0.86, bottom=0.06, hspace=0.32, wspace=0.24
    )
    _headings(figure, found)
    times, memory, duel, widths = (figure.add_subplot(grid[place]) for place in ((0, 0), (0, 1), (0, 2), (1, 2)))
    _title(times, "Time of a call against length n", f"width d = {plan.width:,}")
    _lines(times, found.by_length, "n", seconds)
    _title(memory, "Memory of a call against length n", "peak above what was held before")
    _lines(memory, found.by_memory, "n", StrMethodFormatter("{x:,g} MB"))
    _title(duel, "Where attention falls behind the LSTM", f"width d = {plan.width:,}, axes not logarithmic")
    _crossing(duel, found)
    _title(widths, "Time of a call against width d", f"length n = {plan.fixed_length:,}")
    _lines(widths, found.by_width, "d", seconds)
    _table(figure.add_subplot(grid[1, :2]), found)
    return figure


def _headings(figure: Figure, found: Complexity) -> None:
    machine, threads = found.machine, found.machine["threads"]
    circumstances = (
        f"One layer, forward and backward, batch 1, float32; medians of {found.plan.repeats} runs. "
        f"{threads} thread{'s' if threads != 1 else ''} ({machine['capability']}), torch {machine['torch']}. "
        f"Broad lines: fitted through the last {LAST} points." + " The machine was busy." * found.busy
    )
    left = 0.05 - 0.03
    figure.text(left, 0.955, "The price of a layer: the table and the clock", fontsize=19, weight="bold", color=INK)
    figure.text(left, 0.928, circumstances, fontsize=LARGE, color=PALE)


def _title(axes: Axes, title: str, more: str) -> None:
    place: dict[str, Any] = {"xy": (0, 1), "xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(title, xytext=(0, 24), fontsize=LARGE + 0.5, weight="bold", color=INK, **place)
    axes.annotate(more, xytext=(0, 9), fontsize=MEDIUM, color=PALE, **place)


def _lines(axes: Axes, curves: Mapping[Kind, Curve] | Mapping[Weighed, Curve], letter: str, unit: Formatter) -> None:
    """Log-log lines of every layer, the fit behind their long ends, their exponents at their ends."""
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, StrMethodFormatter

    _frame(axes, letter)
    if not curves:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "measured on Linux only", ha="center", color=PALE, transform=axes.transAxes)
        return
    axes.set(xscale="log", yscale="log")
    for kind, curve in curves.items():
        style, tail = STYLES[kind], curve.sizes[-LAST:]
        fit = [curve.fitted(size) for size in tail]
        axes.plot(tail, fit, color=style.colour, linewidth=7, alpha=0.22, solid_capstyle="round")
        axes.plot(curve.sizes, curve.values, **_look(style))
    sizes = sorted({size for curve in curves.values() for size in curve.sizes})
    axes.set_xlim(sizes[0] / 1.25, sizes[-1] * (sizes[-1] / sizes[0]) ** 0.56)  # the labels need about a third
    axes.xaxis.set_major_locator(FixedLocator(sizes[:: 2 if len(sizes) > 5 else 1]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(unit)
    axes.yaxis.set_minor_formatter(NullFormatter())
    ends = {kind: (curve.sizes[-1], curve.values[-1]) for kind, curve in curves.items()}
    _label_ends(axes, ends, {kind: f" ${letter}^{{{curve.exponent:.2f}}}$" for kind, curve in curves.items()})


def _crossing(axes: Axes, found: Complexity) -> None:
    """Full attention and LSTM on straight axes, a parabola and a line; where they cross, and where they should."""
    from matplotlib.ticker import EngFormatter, StrMethodFormatter

    _frame(axes, "n")
    duel, width, measured = found.duel, found.plan.width, found.crossing
    for kind, curve in duel.items():
        axes.plot((0, *curve.sizes), (0, *curve.values), **_look(STYLES[kind], markevery=slice(1, None)))
    longest = duel["full"].sizes[-1]
    highest = max(value for curve in duel.values() for value in curve.values)
    axes.set(xlim=(0, longest * 1.3), ylim=(0, highest * 1.38))
    axes.set_xticks([width * i for i in range(0, longest // width + 1, max(1, longest // width // 4))])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.yaxis.set_major_formatter(EngFormatter("s"))
    marks = [
        (float(width), f"the table: n = d = {width:,}", PALE, ":"),
        (float(COUNTED * width), f"multiplications counted: n = {COUNTED} d = {COUNTED * width:,}", PALE, "--"),
    ]
    caption = f"no crossing measured up to n = {longest:,}"
    if measured is not None:
        caption = f"measured: n = {measured:,.0f} = {measured / width:.1f} d"
        marks.append((measured, caption, INK, "-"))
        height = float(np.interp(measured, duel["lstm"].sizes, duel["lstm"].values))
        axes.plot([measured], [height], "o", markersize=13, fillstyle="none", color=INK, markeredgewidth=1.5)
    for place, text, colour, dashes in marks:
        axes.vlines(place, 0, highest * 1.03, color=colour, linestyle=dashes, linewidth=1.3, zorder=1, label=text)
    title = caption if measured is None else None
    axes.legend(title=title, loc="upper left", frameon=False, fontsize=MEDIUM, labelcolor=INK, borderpad=0)
    _label_ends(axes, {kind: (longest, curve.values[-1]) for kind, curve in duel.items()}, {})


def _table(axes: Axes, found: Complexity) -> None:
    """The paper's table, and the measured exponents beside it."""
    axes.set(xlim=(0, 1), ylim=(5.2, -0.7))
    axes.set_axis_off()
    paper: dict[str, Any] = {"fontsize": MEDIUM, "color": PALE, "va": "center"}
    axes.text(LAYER, -0.75, "Vaswani et al. 2017, table 1", weight="bold", **{**paper, "color": INK})
    axes.text(0.645, -0.75, "measured", weight="bold", **{**paper, "color": INK})
    axes.text(0.74, -0.75, "(in brackets: those of the table)", **paper)
    axes.text(LAYER, 0, "layer", **paper)
    for place, text in (*COLUMNS.values(), *MEASURED.values()):
        axes.text(place, 0, text, ha="center", **paper)
    axes.hlines((-0.45, 0.45, 4.5), 0, 0.995, color=INK, linewidth=0.8)
    for row, kind in enumerate(TABLE, start=1):
        _row(axes, found, kind, row)
    backends = " and ".join(f"{name} for {STYLES[kind].name}" for kind, name in found.backends.items())
    note = f"Attention through triptych.attention.attend, which chose {backends}; dense: all weights written down."
    axes.text(0, 4.92, note, fontsize=SMALL, color=PALE, va="center")


def _row(axes: Axes, found: Complexity, kind: Kind, row: int) -> None:
    theory, style = TABLE[kind], STYLES[kind]
    axes.plot([0.008], [row], style.marker, color=style.colour, markersize=8)
    axes.text(LAYER, row, theory.name, fontsize=LARGE, color=INK, va="center")
    for column, (place, _) in COLUMNS.items():
        formula = _formula(getattr(theory, column))
        axes.text(place, row, formula, fontsize=LARGE + 1, color=INK, ha="center", va="center")
    exponents: list[tuple[str, str, float, str]] = [
        ("length", "n", found.by_length[kind].exponent, f"({theory.by_length})"),
        ("width", "d", found.by_width[kind].exponent, f"({theory.by_width})"),
    ]
    if kind in found.by_memory:
        dense = f"dense: {found.by_memory['dense'].exponent:.2f}" if kind == "full" else ""
        exponents.append(("memory", "n", found.by_memory[kind].exponent, dense))
    for column, letter, exponent, beside in exponents:
        measured: dict[str, Any] = {"fontsize": LARGE + 2, "color": style.colour, "va": "center", "ha": "center"}
        place, _ = MEASURED[column]
        if column == "memory" and beside:
            axes.text(place, row + 0.3, beside, fontsize=SMALL - 1, color=PALE, ha="center", va="center")
            axes.text(place, row - 0.1, f"${letter}^{{{exponent:.2f}}}$", **measured)
        else:
            axes.text(place, row, f"${letter}^{{{exponent:.2f}}}$", **measured)
            axes.text(place + 0.036, row, beside, fontsize=SMALL, color=PALE, va="center")


def _frame(axes: Axes, letter: str) -> None:
    axes.set_xlabel(f"${letter}$", fontsize=LARGE, color=PALE, labelpad=1)
    axes.grid(color="0.93", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL, labelcolor=PALE, color="0.8", which="both")
    axes.tick_params(which="minor", length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("0.8")


def _look(style: Style, **more: Any) -> dict[str, Any]:
    return {
        "color": style.colour,
        "marker": style.marker,
        "linestyle": "--" if style.dashed else "-",
        "linewidth": 1.7,
        "markersize": 5.5,
        "markerfacecolor": "white" if style.dashed else style.colour,
        **more,
    }


def _label_ends(axes: Axes, ends: Mapping[Any, tuple[float, float]], beside: Mapping[Any, str]) -> None:
    """Name every line right of the longest, at the height of its end or as near as the other names allow."""
    figure = axes.get_figure()
    assert figure is not None
    inches = axes.get_position().height * figure.get_figheight()  # type: ignore[union-attr]
    gap = LARGE * LINE / 72 / inches  # of the height of the panel
    to_axes = axes.transData + axes.transAxes.inverted()
    places = {kind: to_axes.transform(end) for kind, end in ends.items()}
    start = max(float(x) for x, _ in places.values()) + 0.035
    heights = _apart([float(y) for _, y in places.values()], gap)
    for (kind, (x, y)), height in zip(places.items(), heights, strict=True):
        style = STYLES[kind]
        axes.plot(
            (x + 0.012, start - 0.006),
            (y, height),
            color=style.colour,
            linewidth=0.8,
            alpha=0.6,
            transform=axes.transAxes,
        )
        text = style.name + beside.get(kind, "")
        axes.text(start, height, text, color=style.colour, fontsize=LARGE, va="center", transform=axes.transAxes)


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Places at least `gap` from each other, in the same order, as near as can be (least squares) to those given."""
    order = sorted(range(len(places)), key=places.__getitem__)
    pools: list[
        tuple[float, int]
    ] = []  # places less rank * gap must not fall: their mean where they would, and how many
    for rank, index in enumerate(order):
        mean, count = places[index] - rank * gap, 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, count = (mean * count + before * many) / (count + many), count + many
        pools.append((mean, count))
    levels = [mean for mean, count in pools for _ in range(count)]
    moved = {index: level + rank * gap for rank, (index, level) in enumerate(zip(order, levels, strict=True))}
    return [moved[index] for index in range(len(places))]


def _formula(text: str) -> str:
    """A plainly written formula for matplotlib, which sets a part of TeX by itself."""
    return "$" + text.replace("log", r"\log").replace(" ", r"\,") + "$"
