"""Piano performances <-> token ids, by events.

Events as in Oore et al. 2018, "This Time with Feeling", and Huang et al. 2018: note on, note off, time shift, velocity;
for the 88 keys alone, with the sustain pedal applied first, as Magenta's code has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, expect, shown
from triptych.music.piece.performance import HIGHEST, LOWEST, NOTE, Performance
from triptych.shape.plain import bounded

KEYS = HIGHEST - LOWEST + 1
STEPS = 100  # of a second: 10 ms each
MAX_SHIFT = 100  # steps of one time shift
BINS, BIN, MIDDLE = 32, 4, 2  # of velocity; MIDI velocities in each, which are decoded as the second
NOTE_ON, NOTE_OFF = 0, KEYS  # the first id of each kind; a note's id less NOTE_ON is its key in semitones
TIME_SHIFT = NOTE_OFF + KEYS
VELOCITY = TIME_SHIFT + MAX_SHIFT
END = VELOCITY + BINS
KEYBOARD = (KEYS, MAX_SHIFT, BINS)  # as `Tokens.keyboard` has it
START_BIN = 19  # velocities 77 to 80: heard where notes come before any velocity
FILE = "performance.json"

Ids = NDArray[np.int64]
Steps = NDArray[np.int64]


def on_grid(performance: Performance) -> Performance:
    """The performance as `decode` gives it back: times in steps of 10 ms, the velocities of a bin as its second."""
    notes = performance.notes.copy()
    start, end = _steps(notes)
    notes["start"], notes["end"] = start / STEPS, end / STEPS
    notes["velocity"] = (notes["velocity"] - 1) // BIN * BIN + MIDDLE
    return Performance(notes[np.lexsort((notes["pitch"], start))])


def onsets(performance: Performance) -> list[tuple[int, int]]:
    """Step and key (0 is A0) of the beginning of each note, on the grid of events, in their order."""
    start, _ = _steps(performance.notes)
    keys = performance.notes["pitch"].astype(np.int64) - LOWEST
    return sorted(zip(start.tolist(), keys.tolist(), strict=True))


def moment(performance: Performance, note: int) -> int:
    """The step that is nearest to the beginning of a note."""
    return int(STEPS * performance.notes["start"][note] + 0.5)


def shifts(ids: Ids) -> Steps:
    """The steps by which each id moves the clock [ids]: none but a time shift does."""
    return np.where((ids >= TIME_SHIFT) & (ids < VELOCITY), ids - TIME_SHIFT + 1, 0)


def _steps(notes: NDArray[np.void]) -> tuple[Steps, Steps]:
    """Start and end of the notes of a performance in steps: every note has at least one, no key sounds twice.

    The nearest steps; a note within one step takes the step around it. So both its times are at most a step away, but
    where one key is struck three times within a step: no pianist does, three parts in unison may.
    """
    exact_end = STEPS * notes["end"]
    start, end = (np.floor(STEPS * notes["start"] + 0.5).astype(np.int64), np.floor(exact_end + 0.5).astype(np.int64))
    short = end == start
    early = short & (exact_end < start)
    start -= early
    end += short & ~early
    order = np.lexsort((notes["start"], notes["pitch"]))
    pitch = notes["pitch"][order].astype(np.int64)
    # Notes of one key begin at least a step after each other: start[k] = max over j <= k of start[j] + k - j. One
    # running maximum serves all keys, for each is lifted far above the one before.
    lift = pitch * (1 << 32) - np.arange(len(order))
    starts = np.maximum.accumulate(start[order] + lift) - lift
    ends = np.maximum(end[order], starts + 1)
    again = pitch[1:] == pitch[:-1]
    ends[:-1][again] = np.minimum(ends[:-1], starts[1:])[again]
    start[order], end[order] = starts, ends
    return start, end


class PerformanceCodec:
    """The vocabulary of performances: 88 note-ons, 88 note-offs, 100 time shifts, 32 velocities and END.

    Ids of note-ons are 0 to 87 from A0 upwards. A time shift is 1 to 100 steps of 10 ms, longer ones are several, the
    longest first. A note-on follows its velocity, where that differs from the last note's. Events of
    one moment have one order: offs before ons, each by pitch.

    labels: names of the classes that a model is trained with, such as composers; a class is an index into them.
    """

    vocabulary = END + 1

    def __init__(self, labels: Sequence[str] = ()) -> None:
        if isinstance(labels, str) or not isinstance(labels, Iterable):
            raise UserError(f"expected labels as a list of names, got {shown(labels)}; put them in a list")
        self.labels = tuple(labels)
        for label in self.labels:
            expect(label, str, "labels that are text", "give names")

    def label(self, name: str) -> int:
        """The class of that name, whatever its case; an unknown one is a UserError."""
        expect(name, str, "a label as text", "give a name")
        for place, label in enumerate(self.labels):
            if label.lower() == name.lower():
                return place
        known = ", ".join(self.labels) or "none"
        raise UserError(f"expected a label of the model, got {name!r}; its labels: {known}")

    def encode(self, performance: Performance) -> Ids:
        """Ids of a performance, without END. The silence before its first note is kept."""
        notes = performance.notes
        start, end = _steps(notes)
        key = notes["pitch"].astype(np.int64) - LOWEST
        loud = (notes["velocity"].astype(np.int64) - 1) // BIN
        event = np.concatenate([NOTE_OFF + key, NOTE_ON + key])
        step = np.concatenate([end, start])
        velocity = np.concatenate([np.full(len(key), -1), loud])  # offs have none
        order = np.argsort((step * 2 + (event < NOTE_OFF)) * KEYS + event % KEYS)
        event, step, velocity = event[order], step[order], velocity[order]

        wait = np.diff(step, prepend=0)
        whole, rest = np.divmod(wait, MAX_SHIFT)
        ons = np.flatnonzero(velocity >= 0)
        changes = np.zeros(len(event), bool)
        changes[ons] = np.diff(velocity[ons], prepend=-1) != 0
        # Each event is preceded by whole shifts, the rest of the time, and a velocity: all but its own are counted.
        place = np.cumsum(whole + (rest > 0) + changes + 1) - 1
        ids = np.full(place[-1] + 1 if len(place) else 0, TIME_SHIFT + MAX_SHIFT - 1)
        ids[place] = event
        ids[place[changes] - 1] = VELOCITY + velocity[changes]
        ids[(place - changes - 1)[rest > 0]] = TIME_SHIFT + rest[rest > 0] - 1
        return ids

    def decode(self, ids: Iterable[int]) -> Performance:
        """The performance of any ids at all, up to END; ids that the vocabulary does not have are passed over.

        Offs of silent keys are passed over too, and notes without a duration. A key that is struck again ends its
        earlier note; what still sounds at the end, ends there.
        """
        rows = [(start / STEPS, end / STEPS, pitch, loud) for start, end, pitch, loud in self.heard(ids)]
        notes = np.array(rows, NOTE)
        return Performance(notes[np.lexsort((notes["pitch"], notes["start"]))])

    def heard(self, ids: Iterable[int]) -> Iterator[tuple[int, int, int, int]]:
        """The notes of `decode`, each as soon as it has ended: start and end in steps, pitch, velocity."""
        sounding: dict[int, tuple[int, int]] = {}  # key: its step and velocity
        now, velocity = 0, BIN * START_BIN + MIDDLE

        def released(key: int) -> list[tuple[int, int, int, int]]:
            began, loud = sounding.pop(key, (now, 0))
            return [(began, now, LOWEST + key, loud)] if began < now else []

        for token in takewhile(lambda token: token != END, map(int, ids)):
            if NOTE_ON <= token < NOTE_OFF:
                yield from released(token - NOTE_ON)
                sounding[token - NOTE_ON] = now, velocity
            elif NOTE_OFF <= token < TIME_SHIFT:
                yield from released(token - NOTE_OFF)
            elif TIME_SHIFT <= token < VELOCITY:
                now += token - TIME_SHIFT + 1
            elif VELOCITY <= token < END:
                velocity = BIN * (token - VELOCITY) + MIDDLE
        for key in list(sounding):
            yield from released(key)

    def to_bytes(self) -> bytes:
        """What a model folder keeps of the codec: its numbers and the labels."""
        return (json.dumps({**_NUMBERS, "labels": self.labels}) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> PerformanceCodec:
        """The codec of a model folder; one of another kind is a UserError."""
        try:
            read = bounded(json.loads(data), FILE)
            codec = cls(read["labels"])
            if read == json.loads(codec.to_bytes()):
                return codec
        except (ValueError, RecursionError, KeyError, TypeError):
            pass
        raise UserError(f"expected a codec of performances in {FILE}, got another; use the version that wrote it")


_NUMBERS = {
    "lowest": LOWEST, "highest": HIGHEST, "steps": STEPS, "longest_shift": MAX_SHIFT, "velocities": BINS,
}  # fmt: skip
