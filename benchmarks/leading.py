"""Voice leading of four-part chorales, counted: parallel fifths and octaves, crossed voices, notes out of range.

The rules are those of every harmony primer; the ranges are what Bach's voices use (see `codec.RANGES`).
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.music.chorales.codec import RANGES


@dataclass(frozen=True)
class VoiceLeading:
    """How often what happens in `steps` steps. Of several grids: the sum of theirs."""

    steps: int = 0
    parallel_fifths: int = 0
    parallel_octaves: int = 0
    crossings: int = 0
    range_violations: int = 0

    def __add__(self, other: VoiceLeading) -> VoiceLeading:
        return VoiceLeading(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    def per_hundred_steps(self) -> dict[str, float]:
        """Every count but the steps, by name, in 100 steps. Nothing happens in no steps: all 0."""
        return {
            "parallel_fifths": 100 * self.parallel_fifths / max(self.steps, 1),
            "parallel_octaves": 100 * self.parallel_octaves / max(self.steps, 1),
            "crossings": 100 * self.crossings / max(self.steps, 1),
            "range_violations": 100 * self.range_violations / max(self.steps, 1),
        }


def voice_leading(grid: NDArray[np.integer[Any]]) -> VoiceLeading:
    """Count what happens in `grid`, integers [steps, 4]: MIDI pitches of S, A, T, B, -1 is a rest.

    A voice moves at a step if it sounds there and at the step before, at another pitch. Two voices move in parallel if
    both move, both up or both down. Parallel fifths: the two are 7 semitones apart (modulo 12, so a twelfth counts, and
    whichever is the upper one) before and after; parallel octaves: 0 semitones (unisons, octaves, ...). Each of the six
    pairs of voices counts by itself. A voice that rests at either step moves nowhere: no rest makes a parallel, and
    fifths with a rest between them are none.
    Crossings: steps with a voice below its lower neighbour, both sounding. Range violations: steps with a voice outside
    its range in `codec.RANGES`. A step counts once here, however many voices are concerned; a held one each time.
    """
    if grid.ndim != 2 or grid.shape[1] != 4 or not np.issubdtype(grid.dtype, np.integer):
        raise UserError(f"expected a grid of integers [steps, 4], got {grid.dtype} {list(grid.shape)}")
    pitches = grid.astype(np.int64)
    sounding = pitches >= 0
    moves = np.where(sounding[1:] & sounding[:-1], np.sign(np.diff(pitches, axis=0)), 0)
    parallels = {0: 0, 7: 0}
    for one, other in combinations(range(4), 2):
        together = (moves[:, one] == moves[:, other]) & (moves[:, one] != 0)
        intervals = np.abs(pitches[:, one] - pitches[:, other]) % 12
        for interval in parallels:
            kept = (intervals[:-1] == interval) & (intervals[1:] == interval)
            parallels[interval] += int((together & kept).sum())
    crossed = sounding[:, :-1] & (pitches[:, :-1] < pitches[:, 1:])  # what is above a note is no rest
    lowest, highest = np.array(RANGES).T
    outside = sounding & ((pitches < lowest) | (pitches > highest))
    return VoiceLeading(
        steps=len(pitches),
        parallel_fifths=parallels[7],
        parallel_octaves=parallels[0],
        crossings=int(crossed.any(1).sum()),
        range_violations=int(outside.any(1).sum()),
    )
