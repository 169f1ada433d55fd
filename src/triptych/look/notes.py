"""Attention of a note of a piece: that of a composer or a pianist, mapped to notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.look.arcs import COLOURS, Arcs
from triptych.look.attention import row_of
from triptych.music.chorales.codec import from_piece, to_piece, to_sixteenths
from triptych.music.performances.codec import NOTE_OFF, TIME_SHIFT, shifts
from triptych.music.piece.performance import LOWEST
from triptych.music.piece.upbeat import in_bars

if TYPE_CHECKING:
    from triptych.decode.maps import Map
    from triptych.music.chorales.composer import Composer
    from triptych.music.performances.codec import Ids, PerformanceCodec
    from triptych.music.performances.pianist import Pianist
    from triptych.music.piece.performance import Performance
    from triptych.music.piece.piece import Piece


def arcs_of(
    composer: Composer,
    piece: Piece,
    *,
    step: int | None = None,
    voice: str = "soprano",
    layer: int | None = None,
    head: int | None = None,
    warn: Callable[[str], None],
) -> Arcs:
    """Attention of the note of a voice at a sixteenth (from 1; else the last), in one layer (else the last).

    A model that reads sixteenths of four voices looks at moments: its arcs end at the same voice there.
    """
    grid, _ = from_piece(piece)
    steps = len(grid)
    if not 1 <= (step or steps) <= steps:
        raise UserError(f"expected --step from 1 to {steps}, got {step}")
    codec = composer.codec
    chosen = 4 * ((step or steps) - 1) + codec.order.index(voice)
    # The query that writes `chosen` has read the positions before its own.
    size = composer.config.input.size
    read, name, heads = _read(composer.attention(grid[: chosen // 4 + 1]), chosen // size, layer, head, warn)
    # A position may be a whole sixteenth: what goes there is drawn to the same voice.
    weights = np.zeros((len(read), chosen), read.dtype)
    weights[:, chosen % size :: size][:, : read.shape[1]] = read
    barred, _ = in_bars(to_sixteenths(piece)[0])
    shown = to_piece(grid, barred.tempo, pickup=barred.pickup, like=barred)
    return Arcs(shown, np.repeat(np.arange(steps), 4), codec.ordered(grid), chosen, weights, name, heads)


def arcs_of_performance(
    pianist: Pianist,
    performance: Performance,
    *,
    note: int | None = None,
    label: str | None = None,
    layer: int | None = None,
    head: int | None = None,
    warn: Callable[[str], None],
) -> Arcs:
    """Attention of a note of a performance (from 1; else the last) at its onset, in one layer (else the last).

    Of a long one the model reads the last `LENGTH` events up to that note, and the picture begins with them. Arcs end
    at note-ons and note-offs where they are heard; time shifts and velocities have no pitch.
    """
    from triptych.music.performances.pianist import LENGTH

    ids = pianist.codec.encode(performance)
    struck = np.flatnonzero(ids < NOTE_OFF)
    if not len(struck):
        raise UserError("expected a piece with notes on the keys of a piano, got none; choose another")
    if not 1 <= (note or len(struck)) <= len(struck):
        raise UserError(f"expected --note from 1 to {len(struck)}, got {note}")
    last = int(struck[(note or len(struck)) - 1])
    first = max(0, last + 1 - LENGTH)
    read, name, heads = _read(pianist.attention(ids[first : last + 1], label=label), last - first, layer, head, warn)
    # Ticks of a performance are milliseconds, its steps ten of them.
    now = np.append(0, shifts(ids).cumsum())[:-1] * 10
    pitches = np.where(ids < TIME_SHIFT, LOWEST + ids % NOTE_OFF, -1)
    heard = slice(first, last + 1)
    piece = pianist.codec.decode(ids).to_piece()
    return Arcs(piece, now[heard], pitches[heard], last - first, read, name, heads, begin=int(now[first]))


def moments(composer: Composer, piece: Piece, steps: Sequence[int]) -> NDArray[np.float32]:
    """Attention of sixteenths of a piece to those before them: [steps, layers, heads, all sixteenths]. A moment of a
    model that reads single notes is the mean of its four voices.
    """
    grid, _ = from_piece(piece)
    wrong = next((step for step in steps if not 0 <= step < len(grid)), None)
    if wrong is not None:
        raise UserError(f"expected a sixteenth from 0 to {len(grid) - 1}, got {wrong}; choose another")
    layers, each = composer.attention(grid), 4 // composer.config.input.size  # positions a moment
    found = np.zeros((len(steps), len(layers), layers[0].shape[1], len(grid)), np.float32)
    for layer, row in enumerate(layers):
        read = row[0, :, :, 1:].reshape(row.shape[1], len(grid), each, -1).mean(2)  # [H, S, keys]
        read = np.pad(read, ((0, 0), (0, 0), (0, 1))).reshape(*read.shape[:2], -1, each).sum(3)
        for place, step in enumerate(steps):
            found[place, layer] = read[:, step]
    return found


def struck(
    performance: Performance, note: int, most: int, *, codec: PerformanceCodec, attention: Callable[[Ids], list[Map]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Attention to the notes of a performance, their on and off together, when one of them, counted from 0, is struck:
    [layers, heads, notes]; and to everything else: [layers, heads].

    attention: that of a pianist (`Pianist.attention`), which reads windows of `most` events, each half a window after
    the one before, so that those of neighbouring notes are mostly the same.
    """
    ids = codec.encode(performance)
    begins = np.flatnonzero(ids < NOTE_OFF)
    # Ids have notes in the order of their moments, and within one by pitch, as the performance has them but for moments
    # that are nearer than a step.
    moments = np.append(0, shifts(ids).cumsum())[:-1]
    event = begins[np.lexsort((ids[begins], moments[begins]))]
    last, half = int(event[note]), most // 2
    first = max(0, -(-(last + 1 - most) // half) * half)
    layers = attention(ids[first : first + most])
    of_event, sounding = np.full(len(ids), -1), dict[int, int]()
    of_event[event] = np.arange(len(event))
    for at in np.flatnonzero(ids < TIME_SHIFT).tolist():
        key = int(ids[at]) % NOTE_OFF
        if ids[at] < NOTE_OFF:
            sounding[key] = int(of_event[at])
        else:
            of_event[at] = sounding.get(key, -1)
    found = np.zeros((len(layers), layers[0].shape[1], len(event)), np.float32)
    heard = first + np.flatnonzero(of_event[first:last] >= 0)
    for layer, each in enumerate(layers):
        for at in heard.tolist():
            found[layer, :, of_event[at]] += each[0, :, last - first, at - first + 1]
    return found, 1 - found.sum(2)


def _read(
    layers: list[Map], position: int, layer: int | None, head: int | None, warn: Callable[[str], None]
) -> tuple[NDArray[np.float32], str, tuple[str, ...]]:
    """Attention of the heads that are drawn to the positions before one, [heads, position], and what they are called.

    layers: each [1, heads, positions, positions], where column j has read position j - 1, and column 0 the start.
    """
    row, name, heads = row_of(layers, position, layer, head)
    if len(heads) > len(COLOURS):
        warn(f"of {len(heads)} heads the first {len(COLOURS)} are drawn; choose another with --head")
    read = (row / row.sum(-1, keepdims=True))[:, 1 : position + 1]
    return read[: len(COLOURS)], name, heads[: len(COLOURS)]
