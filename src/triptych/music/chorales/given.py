"""A piece that a person gives, as a composer of chorales reads it: in the ranges of the voices, from its first note on.

The answer undoes what was changed on the way: it is transposed back, and begins with the same rests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, whole_number
from triptych.music.chorales.codec import (
    HIGHEST,
    LOWEST,
    RANGES,
    SILENT,
    STEPS_PER_QUARTER,
    UNKNOWN,
    VOICES,
    Grid,
    from_piece,
    onsets,
    pitch_name,
    to_piece,
    to_sixteenths,
)
from triptych.music.files.reading import read_piece
from triptych.music.performances.melody import OCTAVE, melody_notes
from triptych.music.piece.key import Key, key_of
from triptych.music.piece.performance import NOTE
from triptych.music.piece.piece import KeySignature, Note, Piece
from triptych.music.piece.upbeat import in_bars

Report = Callable[[str], None]  # gets a word about what was changed
Transpose = int | Literal["auto", "stay", "octaves"]
MAX_TRANSPOSITION = 24  # semitones, by which a person may have a piece transposed
NEAREST = 7  # semitones, by which a melody is transposed and back; farther off, it is moved by octaves if it can be
NAMED = 8  # notes in a message
CHOICES = "auto, stay, octaves, or semitones from -24 to 24"


@dataclass(frozen=True)
class Given:
    """What a composer reads of `piece`, which is in sixteenths, and what makes an answer of what it writes.

    grid: [steps, 4], `semitones` higher than the piece, from the quarter note on in which its first note begins: the
    first `early` moments are before that note. struck: bool [steps, 4], where notes begin. first: sixteenths of rests
    before the first note. key: of the piece, of its key signature if it has one with a mode. back: whether the answer
    is transposed back.
    """

    piece: Piece
    grid: Grid
    struck: NDArray[np.bool_]
    semitones: int
    first: int
    early: int
    key: Key
    back: bool = True

    @property
    def before(self) -> int:
        """Sixteenths of the piece before the grid begins; negative where the grid begins before the piece."""
        return self.first - self.early

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which voices the piece has not, [4]: a model imagines them, and nothing of that is written."""
        found: NDArray[np.bool_] = (self.grid == SILENT).all(0)
        return found

    def place(self) -> dict[str, Any]:
        """The bars of the piece, and the sixteenth of them with which the grid begins, as `ChoraleSampler` has it."""
        return {"bars": self.piece.bars, "before": self.before}

    def span(self, first: int | None, last: int | None) -> slice:
        """The steps of the grid from bar `first` to bar `last`, both included; None is the first or last of the piece.

        Raises UserError for bars that it has not.
        """
        bars = self.answer(self.grid).bars
        start = bars.first if first is None else whole_number(first, "the first bar")
        stop = bars.last if last is None else whole_number(last, "the last bar")
        if not bars.first <= start <= stop <= bars.last:
            raise UserError(
                f"expected bars from {bars.first} to {bars.last}, the first not after the last, got {start} to {stop}"
            )
        span = bars.ticks(start, stop)
        begin, end = (max(0, tick - self.before) for tick in (span.start, span.stop))
        return slice(0 if begin <= self.early else begin, end)

    def read_key(self) -> Key:
        """The key of the grid."""
        return self.key.transposed(self.semitones)

    def ending_key(self) -> Key:
        """The key in which the grid ends: that of the last key signature, where there are several."""
        keys = [one for one in self.piece.keys if one.start < self.before + len(self.grid)]
        if len(keys) < 2:
            return self.read_key()
        rest = self.grid[max(0, keys[-1].start - self.before) :]
        sounding = np.where(rest >= 0, rest - self.semitones, SILENT)
        return _key(keys[-1:], sounding).transposed(self.semitones)

    def in_key(self, key: Key) -> Given:
        """The same in a key that a person names."""
        return replace(self, key=key, piece=replace(self.piece, keys=(key.signature,)))

    def answer(self, found: Grid) -> Piece:
        """The piece of what was found [steps or more, 4]: transposed back, with the rests before it."""
        return to_piece(
            self._whole(found),
            self.piece.tempo,
            pickup=self.piece.pickup or 0,
            struck=np.pad(self.struck[self.early :], ((self.first, len(found) - len(self.struck)), (0, 0))),
            like=self._signed(),
        )

    def added(self, found: Grid) -> Piece:
        """What was found after the end of the grid, as a piece by itself: its first bar is what is left of the bar."""
        start = self.first + len(self.grid) - self.early
        rest = self._signed().after(start)
        return to_piece(self._whole(found)[start:], rest.tempo, pickup=rest.pickup, like=rest)

    def _signed(self) -> Piece:
        """The piece with its key signature; a piece that stays in another key has no key signature yet."""
        moved = self.semitones % OCTAVE != 0 and not self.back
        keys = () if moved else self.piece.keys or (self.key.signature,)
        return replace(self.piece, keys=keys)

    def _whole(self, found: Grid) -> Grid:
        rests = np.full((self.first, 4), SILENT, np.int64)
        body = found[self.early :]
        return np.concatenate((rests, np.where(body >= 0, body - self.semitones, body) if self.back else body))


def silent(word: str) -> None:
    """A report that is not kept."""


def read_given(music: str | Path | Piece, report: Report) -> Piece:
    """A piece, or that of a file, with a word about everything that was changed or left out."""
    if isinstance(music, Piece):
        return music
    piece, words = read_piece(music)
    for word in words:
        report(word)
    return piece


def lower_voices(piece: Piece) -> Piece:
    """The alto, tenor and bass of a piece of four voices alone."""
    notes = tuple(replace(note, voice=note.voice - 1) for note in piece.notes if note.voice)
    return replace(piece, notes=notes, voices=VOICES[1:], programs=piece.programs[1:])


def given_melody(piece: Piece, transpose: Transpose = "auto", report: Report = silent) -> Given:
    """The melody of a piece (see `melody_notes`) as a soprano, the three other voices unknown, to be harmonized.

    It is transposed into the soprano's range, and back in the answer: by as little as can be, or by octaves, of which
    those up stay, because there is no room for three voices below. What still is outside moves by octaves. report:
    gets a word about everything that is changed.
    """
    moved = _in_bars(piece, report)
    times = ((moved.seconds_at(note.start), moved.seconds_at(note.end)) for note in moved.notes)
    rows = [(*both, note.pitch, note.velocity) for both, note in zip(times, moved.notes, strict=True)]
    part = np.array([note.voice for note in moved.notes])
    kept, words = melody_notes(moved.voices, part, np.array(rows, NOTE))
    for word in words:
        report(word)
    tune = [note for note, mine in zip(moved.notes, kept.tolist(), strict=True) if mine]
    tune, semitones, back = _fitted(tune, transpose, RANGES[0], soprano=True, report=report)
    melody, struck = _one_voice(tune)
    first = tune[0].start
    grid = np.full((len(melody) - first, 4), UNKNOWN, np.int64)
    grid[:, 0] = melody[first:]
    began = np.zeros(grid.shape, bool)
    began[:, 0] = struck[first:]
    return _from_the_quarter(moved, grid, began, first, semitones, back=back)


def given_voices(
    piece: Piece, transpose: Transpose = "auto", report: Report = silent, *, begin: int | None = None
) -> Given:
    """The voices of a piece (see `from_piece`), transposed so that the vocabulary has all notes, and back in the end.

    Where no transposition does it, the notes outside move by octaves. begin: the sixteenth from which it is read, where
    that is before the first note. report: gets a word about everything that is changed.
    """
    moved = _in_bars(piece, report)
    notes, semitones, back = _fitted(moved.notes, transpose, (LOWEST, HIGHEST), soprano=False, report=report)
    moved = replace(moved, notes=tuple(notes))
    grid, words = from_piece(moved)
    for word in words:
        report(word)
    first = moved.notes[0].start if begin is None else min(begin, moved.notes[0].start)
    return _from_the_quarter(moved, grid[first:], onsets(moved, grid)[first:], first, semitones, back=back)


def _in_bars(piece: Piece, report: Report) -> Piece:
    """The piece in sixteenths, with a metre and an upbeat or none."""
    moved, words = to_sixteenths(piece)
    moved, more = in_bars(moved)
    for word in words + more:
        report(word)
    return moved


def read_transpose(text: str) -> Transpose:
    """What a person wants transposed by --transpose: a word or a number of semitones."""
    if text in ("auto", "stay", "octaves"):
        return text  # type: ignore[return-value]
    try:
        semitones = int(text)
    except ValueError:
        semitones = MAX_TRANSPOSITION + 1
    if abs(semitones) > MAX_TRANSPOSITION:
        raise UserError(f"expected --transpose {CHOICES}, got {text!r}")
    return semitones


def _one_voice(tune: Sequence[Note]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A melody by the sixteenth, and where its notes begin: each ends where the next one begins, if not before."""
    found = np.full(max(note.end for note in tune), SILENT, np.int64)
    struck = np.zeros(len(found), bool)
    for note, after in pairwise([*tune, Note(len(found), len(found) + 1, 0)]):
        found[note.start : min(note.end, max(after.start, note.start + 1))] = note.pitch
        struck[note.start] = True
    return found, struck


def _from_the_quarter(
    piece: Piece, grid: Grid, struck: NDArray[np.bool_], first: int, semitones: int, *, back: bool
) -> Given:
    """Extend a grid back to the beginning of the quarter note in which its first note begins. For the model the first
    notes sound from there on, so that harmonies change on the beat.
    """
    early = (first - (piece.pickup or 0)) % STEPS_PER_QUARTER
    grid = np.concatenate((np.repeat(grid[:1], early, 0), grid))
    struck = np.concatenate((np.zeros((early, 4), bool), struck))
    sounding = np.where(grid >= 0, grid - semitones, SILENT)
    return Given(piece, grid, struck, semitones, first, early, _key(piece.keys, sounding), back)


def _key(signatures: Sequence[KeySignature], sounding: Grid) -> Key:
    """The key by the first signature; by what sounds where there is none, or only the one that programs write unasked:
    that of C major.
    """
    found = key_of(sounding)
    if not signatures or (signatures[0].fifths == 0 and not signatures[0].minor):
        return found
    fifths, minor = signatures[0].fifths, signatures[0].minor
    if minor is None:
        minor = found.minor and found.fifths == fifths
    return Key((7 * fifths + 9 * minor) % 12, minor)


def _fitted(
    notes: Sequence[Note], transpose: Transpose, limits: tuple[int, int], *, soprano: bool, report: Report
) -> tuple[list[Note], int, bool]:
    """Notes that are in the range, by how many semitones they are higher in it than in the answer, and whether the
    answer goes back by them.
    """
    low, high = limits
    if isinstance(transpose, int):
        return _transposed(notes, transpose, (LOWEST, HIGHEST), report), transpose, True
    semitones = 0 if transpose == "octaves" else _into(notes, low, high, octaves=soprano)
    back, kept = transpose != "stay", semitones
    octaves, rest = divmod(semitones, OCTAVE)
    range_ = f"{pitch_name(low)} to {pitch_name(high)}, {'a soprano' if soprano else 'the voices'}"
    if soprano and octaves > 0 and not rest:
        kept, back = 0, True
        report(
            f"moved up {octaves} octave{'s' * (octaves > 1)} to {range_}; --transpose {semitones} writes all of it as "
            "low as the melody was"
        )
    elif semitones:
        report(f"transposed by {semitones:+d} semitones into {range_}{', and back' * back}")
    return _transposed(notes, semitones, limits, report), kept, back


def _into(notes: Sequence[Note], low: int, high: int, *, octaves: bool) -> int:
    """By how many semitones notes go into a range, all if they can, or else as many as octaves get there."""
    pitches = np.array([note.pitch for note in notes])
    least, most = low - int(pitches.min()), high - int(pitches.max())
    whole = min((12 * octave for octave in range(-10, 11) if least <= 12 * octave <= most), key=abs, default=None)
    if least <= most:
        nearest = min(max(0, least), most)
        return whole if octaves and whole is not None and abs(nearest) > NEAREST else nearest

    def outside(octave: int) -> tuple[int, int]:
        return int(((pitches + 12 * octave < low) | (pitches + 12 * octave > high)).sum()), abs(octave)

    return 12 * min(range(-10, 11), key=outside) if octaves else 0


def _transposed(notes: Sequence[Note], semitones: int, limits: tuple[int, int], report: Report) -> list[Note]:
    """The notes moved by semitones, those that are then outside the limits by octaves too, with a word."""
    low, high = limits
    found: list[Note] = []
    moved: list[int] = []
    for note in notes:
        pitch = note.pitch + semitones
        octaves = max(0, -(-(low - pitch) // OCTAVE)) - max(0, -(-(pitch - high) // OCTAVE))
        found.append(replace(note, pitch=pitch + octaves * OCTAVE))
        moved += [note.pitch] if octaves else []
    if moved:
        names = [pitch_name(pitch) for pitch in sorted(set(moved))]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        range_ = f"{pitch_name(low)} to {pitch_name(high)}"
        report(f"{len(moved)} of {len(notes)} notes moved by octaves into {range_}: {', '.join(names[:NAMED])}{more}")
    return found
