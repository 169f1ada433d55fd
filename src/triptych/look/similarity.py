"""Repetition in a piece: every beat compared with every other (Foote 1999), then one number a piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.music.files.roll import BAR
from triptych.music.piece.piece import Piece

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW = 8  # beats of a passage that may come back: two bars of 4/4
FAITHFUL = 0.8  # mean similarity, beat by beat, from which a passage counts as the same
MAX_BEATS = 2_000  # the matrix has this many rows
MAX_NUMBERS = 16  # numbered bars along an axis
SILENCE = -1
PALE = "0.45"


def similarity(piece: Piece) -> NDArray[np.float64]:
    """Compare all beats (quarter notes): [beats, beats], from 0 (nothing in common) to 1 (the same sounds).

    The similarity of two beats is the mean of two cosines, one for harmony and one for melody:
    - between how long each pitch class sounds in the beat, summed over the notes, silence being a thirteenth class;
    - between how long each pitch is the highest that sounds, silence again being one of them.
    So a melody that returns over other chords is half the same or more, and so are chords under another melody; the
    order within a beat does not matter, and what returns in another key is not found. Beats are counted from the
    bar lines, so a pickup may begin with a part of one; the last may be a part too.
    Raises UserError for a piece without length and for one of more than 2,000 beats.
    """
    beats = beats_of(piece)
    begins = np.fromiter(beats, np.int64, len(beats))
    harmony, melody = _sounds(piece, begins)
    return np.clip((_cosines(harmony) + _cosines(melody)) / 2, 0, 1)


def beats_of(piece: Piece) -> dict[int, str]:
    """The beats of a piece by its bars: the tick at which each begins, and the number of the bar if it is its first.

    Raises UserError for a piece without length and for one of more than 2,000 beats.
    """
    found: dict[int, str] = {}
    # Bars last a tick at least, so that this ends.
    number, end = piece.bars.first, 0
    while end < piece.length and len(found) <= MAX_BEATS:
        bar = piece.bars.number(number)
        beat = bar.metre.beat(piece.resolution)
        whole = range(bar.start - bar.offset, bar.end, beat)
        for start in (max(bar.start, tick) for tick in whole if tick + beat > bar.start):
            if start < piece.length:
                found[start] = str(number) if start == bar.start and number else ""
        number, end = number + 1, bar.end
    if not 0 < len(found) <= MAX_BEATS:
        count = f"more than {MAX_BEATS:,}" if found else "0"
        raise UserError(f"expected a piece of 1 to {MAX_BEATS:,} beats, got {count}; compare a part of it")
    return found


def repetition(matrix: NDArray[np.float64]) -> float:
    """Share of the beats that lie in a passage of 8 beats which sounds elsewhere too, from 0 to 1.

    matrix: S, from `similarity`, [n, n]. Two passages are compared beat by beat: M(s, t) = (S[s, t] + S[s + 1, t + 1] +
    ... + S[s + 7, t + 7]) / 8. The passage at s comes back if M(s, t) >= 0.8 for some t with |s - t| >= 8, so that the
    two do not overlap. The result is the number of beats in passages that come back, divided by n.
    It is 1 for any piece of 8 beats or more played twice. Passages are long and the bar is high so that chance alone
    gives about nothing, and no chance level needs to be subtracted: it is 0 for random notes and 0.003 for the training
    chorales of JSB with their beats in random order, while as Bach wrote them it is 0.42 (0 for three in ten of them).
    Raises UserError for less than 16 beats, in which no passage could come back.
    """
    count = len(matrix)
    if count < 2 * WINDOW:
        raise UserError(f"expected at least {2 * WINDOW} beats, got {count}; a shorter piece has no room to repeat")
    starts = count - WINDOW + 1
    passages = sum(matrix[beat : beat + starts, beat : beat + starts] for beat in range(WINDOW)) / WINDOW
    place = np.arange(starts)
    apart = np.abs(place[:, None] - place) >= WINDOW
    # The margin is for sums of eight that are rounded.
    back = ((passages >= FAITHFUL - 1e-9) & apart).any(1)
    covered = np.zeros(count, bool)
    for beat in range(WINDOW):
        covered[beat : beat + starts] |= back
    return float(covered.mean())


def draw(matrix: NDArray[np.float64], *, bars: Sequence[str] = (), seconds: float | None = None) -> Figure:
    """Draw `similarity` as a heat map, the beginning at the upper left; stripes beside the diagonal are repeats.

    bars: of each beat the number of the bar that it begins, or nothing, as `beats_of` has them; else bars of 4 beats.
    seconds: of a beat, where there are no bars, as in a performance: the axes are then of time.
    """
    from matplotlib.figure import Figure

    count = len(matrix)
    figure = Figure(figsize=(6.6, 6.0), facecolor="white")
    axes = figure.add_axes((0.08, 0.07, 0.79, 0.85))
    image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1, extent=(0, count, count, 0), interpolation="nearest")
    bars = bars or [str(beat // BAR + 1) if beat % BAR == 0 else "" for beat in range(count)]
    begins = [beat for beat in range(count) if bars[beat]]
    numbered = begins[:: max(1, -(-len(begins) // MAX_NUMBERS))]
    names = [bars[beat] if seconds is None else f"{beat * seconds:g}" for beat in numbered]
    axes.set_xticks(numbered, names)
    axes.set_yticks(numbered, names)
    axes.tick_params(length=3, pad=2, labelsize=8, labelcolor=PALE, color="0.75")
    unit, what = ("bar", "beats") if seconds is None else ("seconds", "moments")
    axes.set_xlabel(unit, fontsize=8, color=PALE)
    axes.set_ylabel(unit, fontsize=8, color=PALE)
    axes.set_title(f"Which {what} sound alike", fontsize=11, weight="bold", loc="left", pad=20)
    caption = f"{count:,} {what}" + (f" of {seconds:g} s" if seconds is not None else "")
    if count >= 2 * WINDOW:
        caption += f"; {repetition(matrix):.0%} of them lie in passages of {WINDOW} that sound elsewhere too"
    axes.annotate(caption, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", fontsize=9, color=PALE)
    for spine in axes.spines.values():
        spine.set_color("0.75")
    bar = figure.add_axes((0.9, 0.07, 0.022, 0.85))
    figure.colorbar(image, cax=bar).ax.tick_params(labelsize=7, length=2)
    bar.set_ylabel("similarity", fontsize=8, color=PALE)
    return figure


def _sounds(piece: Piece, begins: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ticks of each beat that every pitch class sounds, [beats, 13], and every pitch is the highest, [beats, 129].

    The last column of both is silence.
    """
    starts = np.array([note.start for note in piece.notes], np.int64)
    ends = np.array([note.end for note in piece.notes], np.int64)
    # Between two edges nothing begins or ends. Their number grows with the notes, not with the ticks of a beat.
    edges = np.unique(np.concatenate([starts, ends, begins, [piece.length]]))
    classes = np.zeros((len(edges) - 1, 13))
    top = np.full(len(edges) - 1, SILENCE)
    for note, first, last in zip(
        piece.notes, np.searchsorted(edges, starts), np.searchsorted(edges, ends), strict=True
    ):
        classes[first:last, note.pitch % 12] += 1
        np.maximum(top[first:last], note.pitch, out=top[first:last])
    classes[top == SILENCE, 12] = 1
    ticks = np.diff(edges)
    beat = np.searchsorted(begins, edges[:-1], side="right") - 1
    harmony = np.zeros((len(begins), 13))
    np.add.at(harmony, beat, classes * ticks[:, None])
    melody = np.zeros((len(begins), 129))
    np.add.at(melody, (beat, top), ticks)  # silence, -1, is the last column
    return harmony, melody


def _cosines(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)
