"""Which event of a performance may come next: those alone that `PerformanceCodec` would write."""

from __future__ import annotations

from itertools import islice

import numpy as np
from numpy.typing import NDArray

from triptych.music.performances.codec import END, KEYS, MAX_SHIFT, NOTE_OFF, STEPS, TIME_SHIFT, VELOCITY, Ids, onsets
from triptych.music.piece.performance import Performance

NEVER = np.iinfo(np.int64).max
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
        self._before: list[int] = [] if before is None else before.tolist()
        self._rows: list[_Keyboard] = []
        self._seen = 0

    def __call__(self, ids: Ids) -> NDArray[np.bool_]:
        """Whether each event may follow: bool [rows, vocabulary], for ids [rows, t]."""
        rows, length = ids.shape
        if self._seen == 0 or length < self._seen:
            self._rows, self._seen = [_Keyboard(self._melody) for _ in range(rows)], 0
            for keyboard in self._rows:
                for token in self._before:
                    keyboard.hear(token)
        allowed = np.zeros((rows, END + 1), bool)
        for keyboard, new, mask in zip(self._rows, ids[:, self._seen :].tolist(), allowed, strict=True):
            for token in new:
                keyboard.hear(token)
            self._allow(keyboard, mask)
        self._seen = length
        return allowed

    def _allow(self, row: _Keyboard, mask: NDArray[np.bool_]) -> None:
        """Write where an event may come next into a mask [vocabulary] that allows nothing yet. Few calls of numpy are
        made, for they are what it costs.
        """
        ons, offs = mask[:NOTE_OFF], mask[NOTE_OFF:TIME_SHIFT]
        above = max(0, row.rank - KEYS + 1)  # the first key that may still be struck in this step
        if len(row.struck) < self.polyphony:
            ons[above:] = row.up[above:]
        for key in row.due:
            ons[key] = key >= above and row.up[key]
        if row.due:
            ons[row.due[0] + 1 :] = False
        some = bool(ons.any())
        oldest = row.now - next(iter(row.struck.values()), row.now)
        release = [key for key, at in row.struck.items() if row.now - at >= self.longest or key in row.due]
        if release or row.bin < 0:
            ons[:] = False
        if release:
            offs[min(release)] = True
        elif row.last < VELOCITY or not some:  # a velocity without a key to strike can come from a forced prefix alone
            if row.rank < KEYS:
                offs[row.rank + 1 :] = ~row.up[row.rank + 1 :]
            if not (TIME_SHIFT <= row.last < TIME_SHIFT + MAX_SHIFT - 1 or row.due):
                room = min(self.longest - oldest, row.left, MAX_SHIFT)
                mask[TIME_SHIFT : TIME_SHIFT + max(0, room)] = True
            mask[VELOCITY:END] = some
            if row.bin >= 0:
                mask[VELOCITY + row.bin] = False
        silent = not row.struck and not row.due and row.left == NEVER
        mask[END] = self.end and silent and NOTE_OFF <= row.last < TIME_SHIFT


class _Keyboard:
    """What one row has done so far.

    Attributes:
        struck: the step in which each sounding key went down, the oldest first; up: bool [KEYS], which keys are up.
        now: the present step. rank: of the last event of this step, offs 0 to 87, ons 88 to 175, -1: none.
        bin: of the last velocity, -1: none. last: the last event.
        due: keys, in order, that the melody has now, and that are still to be struck; left: steps until its next ones.
    """

    def __init__(self, melody: list[tuple[int, int]]) -> None:
        self.struck: dict[int, int] = {}
        self.up = np.ones(KEYS, bool)
        self.now, self.rank, self.bin, self.last = 0, -1, -1, -1
        self.due: list[int] = []
        self.left: int = NEVER
        self._melody, self._next = melody, 0  # its first note that is not yet past
        if melody:
            self._follow()

    def hear(self, token: int) -> None:
        """Follow the next id."""
        if token < TIME_SHIFT:
            key, on = token % KEYS, token < NOTE_OFF
            self.struck.pop(key, None)
            if on:
                self.struck[key] = self.now
            self.up[key] = not on
            self.rank = key + KEYS * on
        elif token < VELOCITY:
            self.now += token - TIME_SHIFT + 1
            self.rank = -1
        elif token < END:
            self.bin = token - VELOCITY
        self.last = token
        if self._melody:
            self._follow()

    def _follow(self) -> None:
        """Where it is in the melody."""
        due, self.left = set(), NEVER
        while self._next < len(self._melody) and self._melody[self._next][0] < self.now:
            self._next += 1
        for step, key in islice(self._melody, self._next, None):
            if step > self.now:
                self.left = step - self.now
                break
            # A forced prefix may have struck a higher one already: then it is too late.
            if self.struck.get(key) != self.now and self.rank < KEYS + key:
                due.add(key)
        self.due = sorted(due)
