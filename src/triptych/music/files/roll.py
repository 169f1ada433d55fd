"""The piano roll of a piece: time to the right, pitch upwards, a colour a voice; long pieces go on in the next row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from triptych.music.piece.metre import COMMON
from triptych.music.piece.piece import Note, Piece

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAR = 4  # quarter notes of a usual bar
BARS_IN_ROW = 8  # of those, or more where the rows would not fit under each other
MAX_LETTERS = 24  # of the name of a voice
MAX_NUMBERS = 16  # bars marked in a row

# They differ in lightness too; after Okabe and Ito. The last is for all voices that are left.
COLOURS = ("#d55e00", "#e69f00", "#009e73", "#0072b2", "#cc79a7", "#56b4e9", "#4d4d4d")
INK, PALE = "0.15", "0.45"
LIGHTEST = 0.25  # opacity of the softest note

# Inches.
BEAT, SEMITONE = 0.33, 0.075
LEFT, RIGHT, TOP, BOTTOM, GAP = 0.45, 0.12, 0.4, 0.25, 0.32
WIDEST, HIGHEST = 24.0, 25.0  # of a row, of all of them


def draw_roll(piece: Piece) -> Figure:
    """Draw the piece in rows of whole bars.

    Pitches are named at every C (C4 is middle C), bars are numbered from 1; a pickup has no number. Voices differ
    in colour. Where there is only one, a note is the more opaque the louder it is.
    """
    from matplotlib.figure import Figure

    lowest, highest = pitch_range(piece)
    height = (highest - lowest) * SEMITONE
    rows = _rows(piece, most=int(HIGHEST / (height + GAP)))
    longest = max(map(len, rows))
    inch = min(BEAT / piece.resolution, WIDEST / longest)
    width, total = LEFT + longest * inch + RIGHT, TOP + len(rows) * (height + GAP) - GAP + BOTTOM
    figure = Figure(figsize=(width, total), facecolor="white")
    for number, row in enumerate(rows):
        bottom = total - TOP - (number + 1) * height - number * GAP
        axes = figure.add_axes((LEFT / width, bottom / total, len(row) * inch / width, height / total))
        draw_row(axes, piece, row, COLOURS)
    _legend(figure, piece)
    return figure


def draw_row(axes: Axes, piece: Piece, row: range, colours: Sequence[str]) -> None:
    """Draw the notes that sound in the ticks of `row`, voice i in colour i or in the last one.

    With a single colour all notes look alike: it shows neither voices nor velocities.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    notes = [note for note in piece.notes if note.start < row.stop and note.end > row.start]
    notes.sort(key=lambda note: (-note.voice, note))
    heights = _heights(notes) if len(colours) > 1 else [1.0] * len(notes)
    shaded = len(colours) > 1 and len(piece.voices) == 1
    corners = [_corners(note, height) for note, height in zip(notes, heights, strict=True)]
    fills = [to_rgba(colours[min(note.voice, len(colours) - 1)], _opacity(note) if shaded else 1.0) for note in notes]
    axes.add_collection(PolyCollection(corners, facecolors=fills, edgecolors="white", linewidths=0.5, zorder=3))
    lowest, highest = pitch_range(piece)
    axes.set(xlim=(row.start, row.stop), ylim=(lowest, highest))
    octaves = range(-(-lowest // 12) * 12, highest, 12)
    axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves])
    axes.hlines(octaves, row.start, row.stop, color="0.88", linewidth=0.8, zorder=1)
    bars = _bars(piece, row)
    axes.vlines(list(bars), lowest, highest, color="0.88", linewidth=0.8, zorder=1)
    axes.set_xticks(list(bars), list(bars.values()), ha="left")
    axes.tick_params(length=0, pad=2, labelsize=7, labelcolor=PALE)
    for spine in axes.spines.values():
        spine.set_color("0.75")


def pitch_range(piece: Piece) -> tuple[int, int]:
    """Lower and upper edge of its rolls: two semitones around its pitches, an octave and a half at least."""
    pitches = [note.pitch for note in piece.notes] or [60]
    lowest, highest = min(pitches) - 2, max(pitches) + 3
    missing = max(0, 18 - (highest - lowest))
    return lowest - missing // 2, highest + missing - missing // 2


def _rows(piece: Piece, most: int) -> list[range]:
    """Cut the piece into `most` rows or less, of about equally many whole bars, the pickup before the first."""
    bars = piece.bars
    end = piece.length or bars.number(1).end  # of an empty piece one bar is drawn
    last = bars.at(end - 1).number
    in_row = max(1, round(BARS_IN_ROW * BAR * piece.resolution / bars.number(1).metre.ticks(piece.resolution)))
    count = min(most, max(1, -(-last // in_row)))
    every = max(1, -(-last // count))
    edges = [0, *(bars.number(number).start for number in range(1 + every, last + 1, every)), end]
    return [range(start, stop) for start, stop in pairwise(edges)]


def _bars(piece: Piece, row: range) -> dict[int, str]:
    """Numbers of the bars that begin in a row, by tick, or seconds; of many only every second, third, ...

    Where a metre begins, it is named, unless it is the usual one throughout.
    """
    bars = piece.bars
    first = max(1, bars.at(row.start).number)
    first += bars.number(first).start < row.start
    numbers = range(first, bars.at(row.stop - 1).number + 1)
    every = max(1, -(-len(numbers) // MAX_NUMBERS))
    if not piece.metrical:
        starts = [bars.number(number).start for number in numbers[::every]]
        return {start: f"{piece.seconds_at(start):g} s" for start in starts}
    found = {bars.number(number).start: str(number) for number in numbers[::every]}
    metres = [metre for metre in bars.metres() if metre.start in row]
    if any(str(metre) != str(COMMON) for metre in bars.metres()):
        found |= {metre.start: f"{bars.at(metre.start).number}  {metre}" for metre in metres[:MAX_NUMBERS]}
    return dict(sorted(found.items()))


def _heights(notes: Sequence[Note]) -> list[float]:
    """Height of every note in semitones: smaller where it lies on one of a later voice, so that both are seen."""
    below: dict[int, list[Note]] = defaultdict(list)
    heights = []
    for note in notes:  # the last voice comes first
        hidden = {
            other.voice
            for other in below[note.pitch]
            if other.voice != note.voice and other.start < note.end and note.start < other.end
        }
        heights.append(0.5 ** len(hidden))
        below[note.pitch].append(note)
    return heights


def _corners(note: Note, height: float) -> list[tuple[float, float]]:
    bottom = note.pitch + (1 - height) / 2
    top = bottom + height
    return [(note.start, bottom), (note.end, bottom), (note.end, top), (note.start, top)]


def _opacity(note: Note) -> float:
    return LIGHTEST + (1 - LIGHTEST) * note.velocity / 127


def _legend(figure: Figure, piece: Piece) -> None:
    """Name the voices along the top."""
    from matplotlib.patches import Patch

    if len(piece.voices) == 1:
        return
    names = [name[:MAX_LETTERS] for name in piece.voices]
    if len(names) > len(COLOURS):
        names[len(COLOURS) - 1 :] = [f"{len(names) - len(COLOURS) + 1} more"]
    width, height = figure.get_size_inches()
    legend = figure.legend(
        handles=[Patch(color=colour, label=name) for colour, name in zip(COLOURS, names, strict=False)],
        ncols=len(names),
        loc="lower left",
        bbox_to_anchor=(LEFT / width, 1 - (TOP - 0.08) / height),
        borderaxespad=0,
        borderpad=0,
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        handlelength=1.2,
        handleheight=0.7,
        columnspacing=1.6,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
