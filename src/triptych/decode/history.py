"""The ids so far: all that a model remembers of what it reads and writes, but for keys and values of attention."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError

Ids = NDArray[np.int64]

MISSING = -1  # where there is no id yet, or no pixel


class History:
    """The ids of rows that grow side by side, `size` of them at a position.

    Attributes:
        ids: int64 [rows, positions, size], `MISSING` where there is none yet.
        length: how many ids each row has; the next one comes at position `length // size`, in place `length % size`.
        source: ids of an aligned source, int64 [rows, positions, size], else None.
    """

    def __init__(self, rows: int, length: int, size: int = 1, source: Ids | None = None) -> None:
        """An empty one, for at most `length` ids a row."""
        self.ids: Ids = np.full((rows, -(-length // size), size), MISSING, np.int64)
        self.length, self.source = 0, source

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.ids)

    @property
    def size(self) -> int:
        """Ids at a position."""
        return int(self.ids.shape[2])

    @property
    def position(self) -> int:
        """The position of the next id."""
        return self.length // self.size

    @property
    def place(self) -> int:
        """The place of the next id in its position."""
        return self.length % self.size

    def last(self) -> Ids:
        """The last id of each row: [rows]; there must be one."""
        before, place = divmod(self.length - 1, self.size)
        return self.ids[:, before, place]

    def append(self, ids: Ids) -> None:
        """One more id in each row: [rows]."""
        self.ids[:, self.position, self.place] = ids
        self.length += 1

    def follow(self, ids: Ids | None, steps: int, vocabulary: int) -> None:
        """Append the last ids, if there are any, before so many steps. Raises UserError where there is no room for
        these, or an id is none of the vocabulary.
        """
        room = self.ids.shape[1] * self.size
        if self.length + (ids is not None) + steps > room:
            raise UserError(f"expected at most {room} steps, got more; start with a larger length")
        # As unsigned numbers negative ones are large.
        if ids is not None and int(np.asarray(ids, np.int64).astype(np.uint64).max(initial=0)) >= vocabulary:
            raise UserError(f"expected ids from 0 to {vocabulary - 1}, got {int(ids.min())} to {int(ids.max())}")
        if ids is not None:
            self.append(ids)

    def extend(self, ids: Ids) -> None:
        """Many ids at once, in rows that have none yet: [rows, n]."""
        assert self.length == 0
        rows, self.length = ids.shape
        self.ids.reshape(rows, -1)[:, : self.length] = ids

    def select(self, rows: Ids) -> None:
        """Let new row r continue old row `rows[r]` (int64 [new rows])."""
        self.ids = self.ids[rows]
        if self.source is not None:
            self.source = self.source[rows]

    def repeats(self, position: int, most: int) -> Ids:
        """For how many positions in succession each id at a position was in its place before, up to `most`: int64
        [rows, size].
        """
        window = self.ids[:, max(0, position - most) : position]  # [rows, W, size], the nearest last
        same = window[:, ::-1] == self.ids[:, position, None]
        counts: Ids = np.logical_and.accumulate(same, 1).sum(1)
        return counts
