"""Which event of a performance may come next: those alone that `PerformanceCodec` would write."""

from __future__ import annotations

from itertools import islice

import numpy as np
from numpy.typing import NDArray

from triptych.music.performances.codec import (
    BINS,
    END,
    KEYS,
    MAX_SHIFT,
    NOTE_OFF,
    STEPS,
    TIME_SHIFT,
    VELOCITY,
    Ids,
    onsets,
)
from triptych.music.piece.performance import Performance

NEVER = np.iinfo(np.int64).max
SILENT = -1  # in place of the step in which a sounding key was struck
_KEYS, _SHIFTS, _BINS = np.arange(KEYS), np.arange(1, MAX_SHIFT + 1), np.arange(BINS)
# Polyphony, below which 99 % of the 929 performances of ASAP stay; and seconds, below which 99.9 % of their notes do: a
# model that has forgotten a key lets go of it then.
OF_ASAP = 64, 10.0


class PerformanceGrammar:
    """Which ids may come next in each row: the `allow` of `generate`. Make a new one for every generation.

    A key goes down only while it is up, and up only while it is down, at least a step later; what happens at one moment
    has one order (offs before ons, each by pitch); a time shift follows only shifts of a second; a velocity is another
    than the last one and a note-on comes next; a first note needs one; END follows an off that leaves all keys up. So
    ids that it allowed, up to END, are those that `encode(decode(ids))` gives again. Any ids may come before, such as a
    forced prefix: something is always allowed.

    polyphony: most keys that sound at once. longest: seconds after which a key has to go up, which no shift may pass.
    end: whether END is allowed at all.
    melody: notes that have to be struck. No shift passes one of them; when it is time for its key, this goes up if it
    is down, and is struck before any higher one, whatever the polyphony. END comes after the last of them.
    before: ids [n] of all rows before the ids that are asked about.

    The work of a call does not depend on how many ids there were, only on how many are new since the last call.
    """

    def __init__(
        self,
        *,
        polyphony: int = OF_ASAP[0],
        longest: float = OF_ASAP[1],
        end: bool = True,
        melody: Performance | None = None,
        before: Ids | None = None,
    ) -> None:
        self.polyphony, self.longest, self.end = polyphony, int(longest * STEPS), end
        self._melody = [] if melody is None else onsets(melody)
        self._before = np.empty(0, np.int64) if before is None else before
        self._seen = 0

    def __call__(self, ids: Ids) -> NDArray[np.bool_]:
        """Whether each event may follow: bool [rows, vocabulary], for ids [rows, t]."""
        rows, length = ids.shape
        if self._seen == 0 or length < self._seen:
            self._start(rows)
        for column in ids[:, self._seen :].T:
            self._hear(column)
        self._seen = length
        return self._allowed()

    def _start(self, rows: int) -> None:
        self._seen = 0
        self._struck = np.full((rows, KEYS), SILENT)  # the step in which each sounding key went down
        self._now = np.zeros(rows, np.int64)
        self._rank = np.full(rows, -1)  # of the last event of this step: offs 0 to 87, ons 88 to 175
        self._bin = np.full(rows, -1)  # of the last velocity
        self._last = np.full(rows, -1)
        self._next = [0] * rows  # place in the melody of the first note that is not yet past
        self._due = np.zeros((rows, KEYS), bool)  # keys that the melody has now, and that are still to be struck
        self._left = np.full(rows, NEVER)  # steps until the melody has the next ones
        if self._melody:
            self._follow()
        for token in self._before:
            self._hear(np.full(rows, token))

    def _hear(self, token: NDArray[np.int64]) -> None:
        """Follow the next ids [rows]."""
        on, note = token < NOTE_OFF, token < TIME_SHIFT
        shift, velocity = ~note & (token < VELOCITY), (token >= VELOCITY) & (token < END)
        self._struck[note, token[note] % KEYS] = np.where(on, self._now, SILENT)[note]
        self._now += np.where(shift, token - TIME_SHIFT + 1, 0)
        self._rank = np.where(note, (token + KEYS) % (2 * KEYS), np.where(shift, -1, self._rank))
        self._bin = np.where(velocity, token - VELOCITY, self._bin)
        self._last = token.copy()  # not a view of what is the caller's
        if self._melody:
            self._follow()

    def _follow(self) -> None:
        """Where each row is in the melody."""
        self._due[:] = False
        self._left[:] = NEVER
        for row, now in enumerate(self._now.tolist()):
            while self._next[row] < len(self._melody) and self._melody[self._next[row]][0] < now:
                self._next[row] += 1
            for step, key in islice(self._melody, self._next[row], None):
                if step > now:
                    self._left[row] = step - now
                    break
                # A forced prefix may have struck a higher one already: then it is too late.
                self._due[row, key] = self._struck[row, key] != now and self._rank[row] < KEYS + key

    def _allowed(self) -> NDArray[np.bool_]:
        sounding = self._struck != SILENT
        rank, last = self._rank[:, None], self._last[:, None]
        due = self._due
        waits = due.any(1, keepdims=True)
        strikable = ~sounding & (rank < KEYS + _KEYS) & ((sounding.sum(1, keepdims=True) < self.polyphony) | due)
        strikable &= ~waits | (due.argmax(1)[:, None] >= _KEYS)
        some = strikable.any(1, keepdims=True)
        age = np.where(sounding, self._now[:, None] - self._struck, 0)
        oldest = age.max(1, keepdims=True)
        release = (age >= self.longest) | (due & sounding)
        overdue = release.any(1, keepdims=True)
        # A velocity without a key to strike can come from a forced prefix alone.
        free = ~((last >= VELOCITY) & some) & ~overdue
        chained = (last >= TIME_SHIFT) & (last < TIME_SHIFT + MAX_SHIFT - 1)
        first = release.argmax(1)[:, None] == _KEYS
        room = np.minimum(self.longest - oldest, self._left[:, None])

        allowed = np.empty((len(sounding), END + 1), bool)
        allowed[:, :NOTE_OFF] = strikable & (self._bin[:, None] >= 0) & ~overdue
        allowed[:, NOTE_OFF:TIME_SHIFT] = (sounding & (rank < _KEYS) & free) | (overdue & first)
        allowed[:, TIME_SHIFT:VELOCITY] = free & ~chained & ~waits & (room >= _SHIFTS)
        allowed[:, VELOCITY:END] = free & some & (self._bin[:, None] != _BINS)
        released = (last >= NOTE_OFF) & (last < TIME_SHIFT) & ~sounding.any(1, keepdims=True)
        allowed[:, END:] = released & self.end & ~waits & (self._left[:, None] == NEVER)
        return allowed
