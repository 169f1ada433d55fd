"""Attention of one note: arcs over the piano roll, after the pictures of Huang et al. 2018, "Music Transformer".

Attention shows where information was read, which is not the same as why (Jain and Wallace 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.music.chorales.codec import pitch_name
from triptych.music.files.roll import draw_row, pitch_range
from triptych.music.files.spelling import places, spell
from triptych.music.piece.key import signed
from triptych.music.piece.piece import Piece

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STRONGEST = 40  # arcs in a picture

# They differ in lightness too; after Okabe and Ito. There are no more heads in a picture than colours.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5e3c99", "#8c510a")
NOTES = ("0.78",)
INK, PALE = "0.15", "0.45"

# Inches.
BEAT, SEMITONE = 0.28, 0.075
LEFT, RIGHT, TOP, BOTTOM, SKY = 0.45, 0.15, 0.65, 0.3, 0.9
NARROWEST, WIDEST = 6.5, 16.0
LEGEND = 1.15  # width of the name of a head
BOW = 0.15  # of an arc that would be a straight line
STEEPEST = 0.7  # height of an arc to its length, at most


@dataclass(frozen=True)
class Arc:
    """`weight` of the attention of head number `head` (from 0) goes to token `token`."""

    head: int
    token: int
    weight: float


@dataclass(frozen=True)
class Arcs:
    """Attention of one layer at the step that writes token `chosen`, to every token before it.

    ticks, pitches: integers [tokens], the place of each token of the piece; -1 is the pitch of a token without one, as
    of a rest. weights: [heads, chosen], the attention that each head gives to tokens 0 to chosen - 1; what a row lacks
    to 1 went to the start, which is no token of the piece. heads: their names, as "head 3". layer: its name. begin: the
    tick with which the picture begins, where the model has not read what was before.
    """

    piece: Piece
    ticks: NDArray[np.integer[Any]]
    pitches: NDArray[np.integer[Any]]
    chosen: int
    weights: NDArray[np.floating[Any]]
    layer: str
    heads: tuple[str, ...]
    begin: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.chosen < len(self.ticks):
            raise UserError(f"expected a token from 1 to {len(self.ticks) - 1}, got {self.chosen}; the first sees none")
        if not 0 < len(self.heads) <= len(COLOURS):
            raise UserError(f"expected 1 to {len(COLOURS)} heads, got {len(self.heads)}; choose some")

    def strongest(self, count: int = STRONGEST) -> list[Arc]:
        """Largest `count` weights of all heads together, without zeros, falling; of equal ones the earlier first."""
        order = np.argsort(-self.weights, axis=None, kind="stable")[:count]
        places = [divmod(int(place), self.chosen) for place in order]
        arcs = [Arc(head, token, float(self.weights[head, token])) for head, token in places]
        return [arc for arc in arcs if arc.weight > 0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; weights rounded to 6 decimals. `start`: what each head gives to the start."""
        return {
            "layer": self.layer,
            "heads": list(self.heads),
            "chosen": self.chosen,
            "ticks": self.ticks.tolist(),
            "pitches": self.pitches.tolist(),
            "weights": self.weights.astype(np.float64).round(6).tolist(),
            "start": self.start().round(6).tolist(),
        }

    def start(self) -> NDArray[np.float64]:
        """The attention of each head to the start: [heads]."""
        return np.asarray(np.clip(1 - self.weights.sum(1, dtype=np.float64), 0, 1))


@dataclass(frozen=True)
class Curve:
    """The way of an arc: the four control points (tick, pitch) of a cubic Bezier curve, and how high it gets."""

    points: tuple[tuple[float, float], ...]
    crest: float


def draw(arcs: Arcs) -> Figure:
    """Draw the roll in grey up to a bar after the chosen token, and the `STRONGEST` arcs from it, a colour a head.

    Width and darkness of an arc grow with its attention weight; it ends in a dot on the attended token.
    Tokens without a pitch are along the lower edge.
    """
    from matplotlib.figure import Figure

    row = _row(arcs)
    lowest, highest = pitch_range(arcs.piece)
    across = min(max(len(row) * BEAT / arcs.piece.resolution, NARROWEST), WIDEST)
    strongest = arcs.strongest()
    curves = _curves(arcs, strongest, across / len(row))
    ceiling = max([highest, *(curve.crest + 1 for curve in curves)])
    columns = int(across / LEGEND)
    up, top = (ceiling - lowest) * SEMITONE, TOP + -(-len(arcs.heads) // columns) * 0.19
    width, height = LEFT + across + RIGHT, BOTTOM + up + top
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((LEFT / width, BOTTOM / height, across / width, up / height))
    draw_row(axes, arcs.piece, row, NOTES)
    axes.set_ylim(lowest, ceiling)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    now = int(arcs.ticks[arcs.chosen])
    axes.axvspan(now + 1, row.stop, color="white", alpha=0.6, linewidth=0, zorder=4)  # not written yet
    _draw_curves(axes, strongest, curves)
    axes.plot(*_place(arcs, arcs.chosen), "o", color=INK, markersize=8, markeredgecolor="white", zorder=7)
    figure.text(LEFT / width, 1 - 0.22 / height, _title(arcs), fontsize=12, weight="bold", color=INK)
    figure.text(LEFT / width, 1 - 0.44 / height, _caption(arcs, strongest), fontsize=9, color=PALE)
    _legend(figure, arcs, strongest, columns)
    return figure


def _row(arcs: Arcs) -> range:
    """Ticks of the picture: from its begin to the end of the bar after the chosen token, or of the piece."""
    now, bars = int(arcs.ticks[arcs.chosen]), arcs.piece.bars
    after = bars.number(bars.at(now).number + 1).end
    return range(arcs.begin, max(now + 1, min(after, arcs.piece.length)))


def _place(arcs: Arcs, token: int) -> tuple[float, float]:
    """Middle of the token in the roll."""
    pitch = int(arcs.pitches[token])
    return int(arcs.ticks[token]) + 0.5, (pitch if pitch >= 0 else pitch_range(arcs.piece)[0]) + 0.5


def _curves(arcs: Arcs, strongest: list[Arc], inch: float) -> list[Curve]:
    """Half an oval for every arc, the longest up to `SKY` above the roll. inch: width of a tick.

    A later head's are lower, so that arcs to one token lie side by side. To another voice of the same moment it would
    be a straight line, and is a bow to the left instead.
    """
    (x, y), places = _place(arcs, arcs.chosen), [_place(arcs, arc.token) for arc in strongest]
    longest = max((abs(x - there) for there, _ in places), default=0.0)
    ceiling = pitch_range(arcs.piece)[1] + SKY / SEMITONE
    curves = []
    for arc, (there, pitch) in zip(strongest, places, strict=True):
        distance, upper = abs(x - there), max(y, pitch)
        lift = bow = 0.0
        handles = y, pitch
        if distance:
            most = (ceiling - upper) * (distance / longest) ** 0.5
            lift = min(most, STEEPEST * distance * inch / SEMITONE) * (1 - 0.05 * arc.head)
            handles = upper + 4 / 3 * lift, upper + 4 / 3 * lift
        else:
            bow = BOW / inch
        points = (x, y), (x - bow, handles[0]), (there - bow, handles[1]), (there, pitch)
        curves.append(Curve(points, upper + lift))
    return curves


def _draw_curves(axes: Axes, strongest: list[Arc], curves: list[Curve]) -> None:
    """Draw the arcs, the weakest first, and a dot at the end of each."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    for arc, curve in reversed(list(zip(strongest, curves, strict=True))):
        share, colour = arc.weight / strongest[0].weight, COLOURS[arc.head]
        path = Path(curve.points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        patch = PathPatch(path, facecolor="none", edgecolor=colour, linewidth=0.6 + 3.2 * share, zorder=5)
        patch.set(alpha=0.3 + 0.6 * share, capstyle="round")
        axes.add_patch(patch)
        size = 2.5 + 4.5 * share
        axes.plot(*curve.points[-1], "o", color=colour, markersize=size, markeredgewidth=0, clip_on=False, zorder=6)


def _title(arcs: Arcs) -> str:
    """Name the chosen token by its pitch and place: "What G4 in bar 3, beat 2.5 looks at: layer 2", or "at 3.21 s"."""
    pitch, tick = int(arcs.pitches[arcs.chosen]), int(arcs.ticks[arcs.chosen])
    bar, resolution = arcs.piece.bars.at(tick), arcs.piece.resolution
    name = _note_name(arcs.piece, pitch, tick) if pitch >= 0 else "a token without pitch"
    beat = (tick - bar.start) / bar.metre.beat(resolution) + 1
    where = f"in bar {bar.number}, beat {beat:g}" if bar.number else "in the pickup"
    if not arcs.piece.metrical:
        where = f"at {arcs.piece.seconds_at(tick):.2f} s"
    return f"What {name} {where} looks at: {arcs.layer}"


def _note_name(piece: Piece, pitch: int, tick: int) -> str:
    """The name of the note that sounds at a tick, in the key of the piece."""
    found = signed(piece)
    for note, place in zip(found.notes, places(found), strict=True):
        if note.pitch == pitch and note.start <= tick < note.end:
            step, alter, octave = spell(pitch, place)
            return f"{step}{'#' * alter}{'b' * -alter}{octave}"
    return pitch_name(pitch)


def _caption(arcs: Arcs, strongest: list[Arc]) -> str:
    share = sum(arc.weight for arc in strongest) / len(arcs.heads)
    strength = f"The {len(strongest)} strongest weights: {share:.0%} of the attention"
    return f"{strength} (of each head: below). {arcs.start().mean():.0%} goes to the start."


def _legend(figure: Figure, arcs: Arcs, strongest: list[Arc], columns: int) -> None:
    """Name the heads, each with the share of its attention that its arcs show."""
    from matplotlib.lines import Line2D

    shares = [sum(arc.weight for arc in strongest if arc.head == head) for head in range(len(arcs.heads))]
    width, height = figure.get_size_inches()
    figure.legend(
        handles=[
            Line2D([], [], color=colour, linewidth=2.5, label=f"{name}: {share:.0%}")
            for colour, name, share in zip(COLOURS, arcs.heads, shares, strict=False)
        ],
        ncols=columns,
        loc="upper left",
        bbox_to_anchor=(LEFT / width, 1 - 0.55 / height),
        borderaxespad=0,
        borderpad=0,
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handlelength=1.2,
        columnspacing=1.2,
    )
