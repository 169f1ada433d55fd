"""Voice leading of four-part chorales: parallel fifths and octaves, crossed voices, notes out of range.

The rules are those of every harmony primer; the ranges are what Bach's voices use (see `codec.RANGES`).
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.music.chorales.codec import RANGES


def marks(grid: NDArray[np.integer[Any]]) -> list[tuple[str, tuple[int, ...], int]]:
    """What happens in a grid, integers [steps, 4] of MIDI pitches of S, A, T, B, -1 a rest: its name, the voices
    concerned, and the step, in the order of steps.

    Crossings and notes out of range that are held are named once, where they begin; a parallel at the step to which the
    voices move.
    """
    pitches = np.asarray(grid, np.int64)
    sounding = pitches >= 0
    moves = np.where(sounding[1:] & sounding[:-1], np.sign(np.diff(pitches, axis=0)), 0)
    found: list[tuple[str, tuple[int, ...], int]] = []
    for one, other in combinations(range(4), 2):
        together = (moves[:, one] == moves[:, other]) & (moves[:, one] != 0)
        intervals = np.abs(pitches[:, one] - pitches[:, other]) % 12
        for name, interval in (("parallel fifths", 7), ("parallel octaves", 0)):
            kept = together & (intervals[:-1] == interval) & (intervals[1:] == interval)
            found += [(name, (one, other), step + 1) for step in np.flatnonzero(kept).tolist()]
    crossed = sounding[:, :-1] & (pitches[:, :-1] < pitches[:, 1:])
    lowest, highest = np.array(RANGES).T
    outside = sounding & ((pitches < lowest) | (pitches > highest))
    for voice in range(4):
        if voice < 3:
            found += [("crossing", (voice, voice + 1), step) for step in _begins(crossed[:, voice])]
        found += [("out of range", (voice,), step) for step in _begins(outside[:, voice])]
    return sorted(found, key=lambda mark: (mark[2], mark[1]))


def _begins(true: NDArray[np.bool_]) -> list[int]:
    """Steps at which something begins."""
    return np.flatnonzero(true & ~np.append(False, true[:-1])).tolist()
