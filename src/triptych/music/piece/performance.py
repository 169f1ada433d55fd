"""Piano performances: notes in seconds as they sound, where the pedals held them with what the pedals added."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triptych.errors import UserError
from triptych.music.piece.piece import Note, Piece

LOWEST, HIGHEST = 21, 108  # MIDI pitches of a piano's keys, A0 to C8
MAX_SECONDS = 6 * 3_600.0  # seconds of a performance: silence is made of tokens too, and no file may ask for all memory
MAX_SEMITONES = 3  # semitones of transposition in training

NOTE = np.dtype([("start", np.float64), ("end", np.float64), ("pitch", np.int16), ("velocity", np.int16)])


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
        Raises UserError for a note that cannot be, or is off the 88 keys, or beyond `MAX_SECONDS`.
        """
        columns = [np.asarray(column) for column in (start, end, pitch, velocity)]
        notes = np.empty(len(columns[0]), NOTE)
        for name, column in zip(NOTE.names or (), columns, strict=True):
            notes[name] = column
        valid = (notes["start"] >= 0) & (notes["end"] > notes["start"]) & (notes["end"] <= MAX_SECONDS)
        valid &= (columns[2] >= LOWEST) & (columns[2] <= HIGHEST) & (columns[3] >= 1) & (columns[3] <= 127)
        if not valid.all():
            got = tuple(column[~valid][0].item() for column in columns)
            raise UserError(
                f"expected notes with 0 <= start < end <= {MAX_SECONDS:,.0f} seconds, pitch {LOWEST} to {HIGHEST} and "
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


def transpositions(performance: Performance, furthest: int = MAX_SEMITONES) -> range:
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
