"""Piano performances: notes in seconds as they sound, and the same as events <-> token ids.

Events as in Oore et al. 2018, "This Time with Feeling", and Huang et al. 2018: note on, note off, time shift, velocity;
for the 88 keys alone, with the sustain pedal applied first, as Magenta's code has it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triptych.errors import UserError, expect, shown
from triptych.music.piece.piece import Note, Piece
from triptych.shape.plain import bounded

LOWEST, HIGHEST = 21, 108  # MIDI pitches of a piano's keys, A0 to C8
KEYS = HIGHEST - LOWEST + 1
LONGEST = 6 * 3_600.0  # seconds of a performance: silence is made of tokens too, and no file may ask for all memory
FURTHEST = 3  # semitones of transposition in training

STEPS = 100  # of a second: 10 ms each
LONGEST_SHIFT = 100  # steps of one time shift
BINS, BIN, MIDDLE = 32, 4, 2  # of velocity; MIDI velocities in each, of which the second stands for all
NOTE_ON, NOTE_OFF = 0, KEYS  # the first id of each kind; a note's id less NOTE_ON is its key in semitones
TIME_SHIFT = NOTE_OFF + KEYS
VELOCITY = TIME_SHIFT + LONGEST_SHIFT
END = VELOCITY + BINS
KEYBOARD = (KEYS, LONGEST_SHIFT, BINS)  # as `Tokens.keyboard` has it
START_BIN = 19  # velocities 77 to 80: heard where notes come before any velocity
FILE = "performance.json"

NOTE = np.dtype([("start", np.float64), ("end", np.float64), ("pitch", np.int16), ("velocity", np.int16)])

Ids = NDArray[np.int64]
Steps = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Performance:
    """Notes played on one piano, as they sound: where a pedal held them, they end with it.

    notes: structured array (`NOTE`) of start and end in seconds, MIDI pitch (21 to 108), velocity (1 to 127), in the
    order of (start, pitch). A key sounds once at a time. Make one with `of`, which sees to all this.
    """

    notes: NDArray[np.void]

    @classmethod
    def of(cls, start: ArrayLike, end: ArrayLike, pitch: ArrayLike, velocity: ArrayLike) -> Performance:
        """The performance of some notes, in any order, each argument [notes].

        A key that is struck while it sounds ends its earlier note; notes of one key that begin together are one, as
        loud as the loudest and as long as the longest.
        Raises UserError for a note that cannot be, or is off the 88 keys, or beyond `LONGEST`.
        """
        columns = [np.asarray(column) for column in (start, end, pitch, velocity)]
        notes = np.empty(len(columns[0]), NOTE)
        for name, column in zip(NOTE.names or (), columns, strict=True):
            notes[name] = column
        valid = (notes["start"] >= 0) & (notes["end"] > notes["start"]) & (notes["end"] <= LONGEST)
        valid &= (columns[2] >= LOWEST) & (columns[2] <= HIGHEST) & (columns[3] >= 1) & (columns[3] <= 127)
        if not valid.all():
            got = tuple(column[~valid][0].item() for column in columns)
            raise UserError(
                f"expected notes with 0 <= start < end <= {LONGEST:,.0f} seconds, pitch {LOWEST} to {HIGHEST} and "
                f"velocity 1 to 127, got {got}; cut or transpose the piece"
            )
        return cls(_one_keyboard(notes))

    def __len__(self) -> int:
        return len(self.notes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Performance) and np.array_equal(self.notes, other.notes)

    __hash__ = None  # type: ignore[assignment]

    @property
    def seconds(self) -> float:
        """When the last note ends."""
        return float(self.notes["end"].max(initial=0))

    def after(self, seconds: float) -> Performance:
        """What is struck after so many seconds, from there on."""
        notes = self.notes[self.notes["start"] >= seconds - 1e-9]
        for name in ("start", "end"):
            notes[name] -= seconds
        notes["start"] = notes["start"].clip(0)
        return Performance(notes)

    def to_piece(self) -> Piece:
        """The same as a piece of one voice, a millisecond a tick, which can be saved as MIDI, sound or a picture."""
        starts, ends = (np.rint(1_000 * self.notes[name]).astype(np.int64) for name in ("start", "end"))
        rows = zip(starts, np.maximum(ends, starts + 1), self.notes["pitch"], self.notes["velocity"], strict=True)
        return Piece(tuple(Note(*map(int, row)) for row in rows), resolution=500, tempo=120.0, metrical=False)


def from_piece(piece: Piece) -> tuple[Performance, list[str]]:
    """All voices of a piece played on one piano at its tempo, and a word about notes that no piano has."""
    keys = [note for note in piece.notes if LOWEST <= note.pitch <= HIGHEST]
    rows = np.array([(note.start, note.end, note.pitch, note.velocity) for note in keys]).reshape(-1, 4)
    start, end = (np.array([piece.seconds_at(tick) for tick in rows[:, side].tolist()]) for side in (0, 1))
    outside = len(piece.notes) - len(keys)
    words = [f"{outside} of {len(piece.notes)} notes left out, which are off the 88 keys of a piano"] if outside else []
    return Performance.of(start, end, rows[:, 2], rows[:, 3]), words


def together(performances: Iterable[Performance]) -> Performance:
    """Several performances at once on one piano."""
    notes = [performance.notes for performance in performances]
    return Performance(_one_keyboard(np.concatenate([np.empty(0, NOTE), *notes])))


def _one_keyboard(notes: NDArray[np.void]) -> NDArray[np.void]:
    """The notes in order, no key sounding twice at a time."""
    notes = notes[np.lexsort((notes["start"], notes["pitch"]))]
    new = np.ones(len(notes), bool)
    new[1:] = (notes["pitch"][1:] != notes["pitch"][:-1]) | (notes["start"][1:] != notes["start"][:-1])
    if not new.all():
        first = np.flatnonzero(new)
        ends, velocities = (np.maximum.reduceat(notes[name], first) for name in ("end", "velocity"))
        notes = notes[first]
        notes["end"], notes["velocity"] = ends, velocities
    again = notes["pitch"][1:] == notes["pitch"][:-1]
    ends = notes["end"][:-1]
    ends[again] = np.minimum(ends, notes["start"][1:])[again]
    return notes[np.lexsort((notes["pitch"], notes["start"]))]


def sustained(release: NDArray[np.int64], pedal: NDArray[np.int64]) -> NDArray[np.int64]:
    """When notes end that are released at some ticks [notes], by the pedal's changes [changes, 2]: tick, whether down.

    A note that is released while the pedal is down, or goes down, sounds on until it is up. Of changes at one tick the
    last one holds. A pedal that is never released is, with the last key. As in `apply_sustain_control_changes` of
    note_seq, where a note also ends when its key is struck again: `Performance.of` does that.
    """
    if not len(pedal) or not len(release):
        return release
    pedal = pedal[pedal[:, 0].argsort(kind="stable")]
    ticks, down = pedal[:, 0], pedal[:, 1] > 0
    # up[i] is when the pedal is up for the first time from change i on, and never where it stays down
    never = np.iinfo(np.int64).max
    up = np.minimum.accumulate(np.where(down, never, ticks)[::-1])[::-1]
    up[up == never] = release.max()
    state = np.searchsorted(ticks, release, side="right") - 1
    return np.where((state >= 0) & down[state], up[state], release)


def held_by_sostenuto(
    start: NDArray[np.int64], release: NDArray[np.int64], pedal: NDArray[np.int64]
) -> NDArray[np.int64]:
    """When notes are released of which the sostenuto pedal holds some, by its changes [changes, 2]: tick, whether down.

    It holds the keys that are down when it goes down, until it is up. A pedal that is never released is, with the last
    key. Struck and released at ticks [notes]; apply `sustained` to what this returns.
    """
    if not len(pedal) or not len(release):
        return release
    pedal = pedal[pedal[:, 0].argsort(kind="stable")]
    down = pedal[pedal[:, 1] > 0, 0]
    up = np.append(pedal[pedal[:, 1] == 0, 0], release.max())
    if not len(down):
        return release
    last = np.searchsorted(down, release) - 1  # the last time that it went down before the release
    held = (last >= 0) & (down[last] > start)
    until = up[np.minimum(np.searchsorted(up, down[last], side="right"), len(up) - 1)]
    return np.where(held, np.maximum(release, until), release)


def stretched(performance: Performance, factor: float) -> Performance:
    """The performance with all times multiplied by `factor`: above 1 it is slower."""
    if not 0 < factor < math.inf:
        raise UserError(f"expected a positive factor, got {factor}; 1.05 is a little slower")
    notes = performance.notes.copy()
    notes["start"] *= factor
    notes["end"] *= factor
    return Performance(notes)


def transpositions(performance: Performance, furthest: int = FURTHEST) -> range:
    """Semitones by which all notes can be moved and stay on the 88 keys, at most so many down or up."""
    pitches = performance.notes["pitch"]
    lowest, highest = int(pitches.min(initial=HIGHEST)), int(pitches.max(initial=LOWEST))
    return range(max(-furthest, LOWEST - lowest), min(furthest, HIGHEST - highest) + 1)


def transposed(performance: Performance, semitones: int) -> Performance:
    """The performance moved by semitones. Raises UserError where a note would leave the 88 keys."""
    notes = performance.notes.copy()
    notes["pitch"] += semitones
    if len(notes) and not LOWEST <= notes["pitch"].min() <= notes["pitch"].max() <= HIGHEST:
        raise UserError(f"expected notes that stay on the 88 keys, got one that leaves them by {semitones} semitones")
    return Performance(notes)


def on_grid(performance: Performance) -> Performance:
    """The performance as its events tell it: times in 10 ms, each velocity the one that stands for its bin."""
    notes = performance.notes.copy()
    start, end = _steps(notes)
    notes["start"], notes["end"] = start / STEPS, end / STEPS
    notes["velocity"] = (notes["velocity"] - 1) // BIN * BIN + MIDDLE
    return Performance(notes[np.lexsort((notes["pitch"], start))])


def onsets(performance: Performance) -> list[tuple[int, int]]:
    """Step and key (0 is A0) of the beginning of each note, as its events tell it, in their order."""
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
    longest first. Before a note-on stands its velocity, where that is another than the last note's. What happens at
    one moment has one order: offs before ons, each by pitch.

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
        whole, rest = np.divmod(wait, LONGEST_SHIFT)
        ons = np.flatnonzero(velocity >= 0)
        changes = np.zeros(len(event), bool)
        changes[ons] = np.diff(velocity[ons], prepend=-1) != 0
        # Each event is preceded by whole shifts, the rest of the time, and a velocity: all but its own are counted.
        place = np.cumsum(whole + (rest > 0) + changes + 1) - 1
        ids = np.full(place[-1] + 1 if len(place) else 0, TIME_SHIFT + LONGEST_SHIFT - 1)
        ids[place] = event
        ids[place[changes] - 1] = VELOCITY + velocity[changes]
        ids[(place - changes - 1)[rest > 0]] = TIME_SHIFT + rest[rest > 0] - 1
        return ids

    def excerpt(self, performance: Performance, first: int, length: int | None = None) -> Ids:
        """Ids from the moment on in which note `first` begins, END after the last, and at most `length` of them.

        They are those of `encode`, at the cost of the notes that they tell alone. Keys that sound already are only
        heard to be released.
        """
        starts, ends = performance.notes["start"], performance.notes["end"]
        begins = moment(performance, first)
        # Rounding moves notes by up to a step; and the note before gives the velocity before, with those of its step.
        near = int(np.searchsorted(starts, (begins - 2) / STEPS))
        near = int(np.searchsorted(starts, starts[max(0, near - 1)] - 2 / STEPS))
        early = performance.notes[:near][ends[:near] >= (begins - 2) / STEPS]
        count = len(starts) if length is None else 1 + length * 3 // 8  # a note takes 4.05 ids in ASAP
        while True:
            chosen = np.concatenate([early, performance.notes[near : first + count + 1]])
            ids = np.append(self.encode(Performance(chosen)), END)
            now = shifts(ids).cumsum()
            begin = int(np.searchsorted(now, begins)) + 1 if begins else 0
            if first + count + 1 >= len(starts):
                return ids[begin:][:length]
            # What follows is not as in the whole once a note that was left out may begin.
            known = int(np.searchsorted(now, int(STEPS * starts[first + count + 1]) - 1))
            if length is not None and known - begin >= length:
                return ids[begin : begin + length]
            count *= 2

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

        for token in map(int, ids):
            if token == END:
                break
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
        """What a model folder keeps of the codec: the numbers that it stands on, and the labels."""
        return (json.dumps({**_NUMBERS, "labels": self.labels}) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> PerformanceCodec:
        """The codec of a model folder; one of another kind is a UserError."""
        try:
            found = bounded(json.loads(data), FILE)
            labels = found.pop("labels")
            known = found == _NUMBERS and isinstance(labels, list) and all(isinstance(label, str) for label in labels)
        except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
            known = False
        if not known:
            raise UserError(f"expected a codec of performances in {FILE}, got another; use the version that wrote it")
        return cls(labels)


_NUMBERS = {
    "lowest": LOWEST, "highest": HIGHEST, "steps": STEPS, "longest_shift": LONGEST_SHIFT, "velocities": BINS,
}  # fmt: skip
