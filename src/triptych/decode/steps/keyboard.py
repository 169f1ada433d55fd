"""The keyboard of a piano after the events so far: which keys are down, for how long, and how loud the last one was.

All this follows from the events before, but attention would have to find the one event of hundreds that pressed a key,
and that none since has released it. A sum at the input gives it to every layer (as Peracha 2019 does for the run
lengths of chorales).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from triptych.decode.history import Ids

UNHEARD = -1
# The age of a held key is the logarithm of its time shifts through this: in 10 ms, half a second is then about 1.
AGE_SCALE = 4


class Keyboard:
    """The keys of rows of events.

    layout: numbers of keys K, of time shifts and of velocities V. Ids are, in this order: K that press a key, K that
    release it, shifts of time by 1, 2, ..., velocities; others change nothing. The table of features has a row for each
    key that is down, one for each key to be multiplied by its age, and one for each velocity: 2 K + V.

    Attributes:
        struck: when each key that is down was struck, int64 [rows, K], else -1.
        now: the time [rows]; both in the unit of a shift.
        velocity: the last velocity [rows], -1 before there is one.
    """

    def __init__(self, layout: tuple[int, int, int], rows: int) -> None:
        self.keys, self.shifts, self.velocities = layout
        self.struck: Ids = np.full((rows, self.keys), UNHEARD)
        self.now: Ids = np.zeros(rows, np.int64)
        self.velocity: Ids = np.full(rows, UNHEARD)

    def hear(self, ids: Ids) -> None:
        """One more event in each row: [rows]."""
        shift, velocity = ids - 2 * self.keys + 1, ids - 2 * self.keys - self.shifts
        self.now = self.now + np.where((shift > 0) & (shift <= self.shifts), shift, 0)
        of_a_key = np.flatnonzero(ids < 2 * self.keys)
        events = ids[of_a_key]
        self.struck[of_a_key, events % self.keys] = np.where(events < self.keys, self.now[of_a_key], UNHEARD)
        self.velocity = np.where((velocity >= 0) & (velocity < self.velocities), velocity, self.velocity)

    def features(self) -> tuple[Ids, NDArray[np.float64]]:
        """Rows of the table of features and their weights, each [rows, n]; what fills up a row has weight 0."""
        down = self.struck >= 0
        most = int(down.sum(1).max(initial=0))
        keys = np.argsort(~down, 1, kind="stable")[:, :most]  # those that are down first
        held = np.take_along_axis(down, keys, 1)
        age = np.log1p(np.where(held, self.now[:, None] - np.take_along_axis(self.struck, keys, 1), 0)) / AGE_SCALE
        loud = self.velocity[:, None]
        index = np.concatenate([keys, self.keys + keys, 2 * self.keys + np.maximum(loud, 0)], 1)
        return index, np.concatenate([held, age, loud >= 0], 1).astype(np.float64)

    def select(self, rows: Ids) -> None:
        """Let new row r continue old row `rows[r]`."""
        self.struck, self.now, self.velocity = self.struck[rows], self.now[rows], self.velocity[rows]
