"""What is drawn anew for each chorale in each epoch of training: key, label, rests before it, voices that rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triptych.fields import Checked, Share
from triptych.music.chorales.codec import SILENT, STEPS_PER_QUARTER, Grid
from triptych.music.piece.bars import BAR

MAX_RESTS = 8  # quarter notes of rests before a piece


@dataclass(frozen=True)
class Augmentation(Checked):
    """What is drawn anew for each piece in each epoch.

    transpose, label: whether its transposition, and the kind of its label. Shares of the pieces, from 0 to 1, that:
    rests: begin with 1 to 8 quarter notes of rests, as files of a sequencer do; shift: lose their first 1 to 3 quarter
    notes, so that they begin elsewhere in the bar; thin: have one to three voices that rest throughout or, with an even
    chance, up to a bar, so that a primer of one voice is nothing new. A voice that rests so is known in a source.
    """

    CALLED = "data.{name}"

    transpose: bool = True
    label: bool = True
    rests: Share = 0.0
    shift: Share = 0.0
    thin: Share = 0.0

    def changed(self, grid: Grid, random: np.random.Generator) -> tuple[Grid, NDArray[np.bool_]] | None:
        """A grid with rests, a shift and resting voices as they are drawn, and where voices rest because of that, bool
        [steps, 4]; None where nothing was drawn. Shares of 0 draw no number, so all else stays as it is without them.
        """
        drawn = [share > 0 and random.random() < share for share in (self.rests, self.shift, self.thin)]
        rests, shift, thin = drawn
        shift &= len(grid) > BAR
        if not (rests or shift or thin):
            return None
        if shift:
            grid = grid[STEPS_PER_QUARTER * int(random.integers(1, 4)) :]
        empty = np.zeros(grid.shape, bool)
        if thin:
            voices = random.permutation(4)[: random.integers(1, 4)]
            stop = len(grid) if random.random() < 0.5 else BAR * int(random.integers(1, len(grid) // BAR + 2))
            empty[:stop, voices] = True
            grid = np.where(empty, SILENT, grid)
        if rests:
            steps = STEPS_PER_QUARTER * int(random.integers(1, MAX_RESTS + 1))
            grid = np.concatenate((np.full((steps, 4), SILENT, np.int64), grid))
            empty = np.concatenate((np.zeros((steps, 4), bool), empty))
        return grid, empty


AUGMENTED = Augmentation()
