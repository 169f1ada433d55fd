"""Pieces as plain values, which JSON and programs in a browser can hold: chorales and performances."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import numpy as np

from triptych.errors import UserError
from triptych.fields import Size, TooLargeError
from triptych.music.chorales.codec import STEPS_PER_QUARTER, VOICES
from triptych.music.files.reading import read_performance, read_piece
from triptych.music.piece.metre import COMMON, Metre
from triptych.music.piece.performance import Performance, from_piece
from triptych.music.piece.piece import KeySignature, Note, Piece

MAX_STEPS, MAX_NOTES, MAX_SECONDS = 1_024, 8_192, 600  # of a piece in this form

Whole = Annotated[int, Size(0, MAX_STEPS, True)]
Time = Annotated[float, Size(0, MAX_SECONDS, True)]


@dataclass(frozen=True, kw_only=True)
class PlainKey:
    """Sharps, or flats if negative, and the mode."""

    fifths: Annotated[int, Size(-7, 7)]
    minor: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Chorale:
    """Notes [start, end, pitch, voice] in sixteenths; voice 0 is the soprano, 3 the bass."""

    kind: Literal["chorale"] = "chorale"
    steps: Annotated[int, Size(1, MAX_STEPS, True)]
    notes: Annotated[list[Annotated[list[Whole], Size(4, 4)]], Size(0, MAX_NOTES, True)]
    tempo: Annotated[float, Size(20, 400)] = 84.0
    pickup: Annotated[int, Size(0, 63)] = 0
    metre: Annotated[list[Annotated[int, Size(1, 16)]], Size(2, 2)] = field(default_factory=lambda: [4, 4])
    key: PlainKey | None = None

    @classmethod
    def of(cls, piece: Piece) -> Chorale:
        """The plain form of a piece of four voices in sixteenths. TooLargeError for a longer one than there may be."""
        if piece.length > MAX_STEPS:
            raise TooLargeError(f"expected at most {MAX_STEPS:,} sixteenths, got {piece.length:,}; cut the piece")
        metre = piece.metres[0] if piece.metres else COMMON
        return cls(
            steps=piece.length,
            notes=sorted([note.start, note.end, note.pitch, note.voice] for note in piece.notes),
            tempo=round(piece.tempo, 3),
            pickup=piece.pickup or 0,
            metre=[metre.beats, metre.unit],
            key=PlainKey(fifths=piece.keys[0].fifths, minor=piece.keys[0].minor) if piece.keys else None,
        )

    def piece(self) -> Piece:
        """The piece. UserError where notes of a voice overlap, end after the piece or cannot be."""
        notes, ends = [], [0, 0, 0, 0]
        for note in sorted(self.notes):
            start, end, pitch, voice = note
            if not (start < end <= self.steps and pitch <= 127 and voice < 4):
                form = "notes [start, end, pitch, voice] with start < end"
                raise UserError(f"expected {form} <= {self.steps}, pitch to 127 and voice to 3, got {note}; mend it")
            if start < ends[voice]:
                one = f"one note of the {VOICES[voice]} at a time"
                raise UserError(f"expected {one}, got two at sixteenth {start}; shorten one")
            ends[voice] = end
            notes.append(Note(start, end, pitch, voice=voice))
        metre = Metre(0, *self.metre)
        if self.pickup >= metre.ticks(STEPS_PER_QUARTER):
            raise UserError(f"expected a pickup of less than a bar of {metre}, got {self.pickup}; shorten it")
        keys = () if self.key is None else (KeySignature(0, self.key.fifths, self.key.minor),)
        return Piece(
            tuple(notes), STEPS_PER_QUARTER, self.tempo, VOICES, self.steps, self.pickup, metres=(metre,), keys=keys
        )


@dataclass(frozen=True, kw_only=True)
class Played:
    """Notes [onset, pitch, velocity, duration] of a piano, times in seconds."""

    kind: Literal["performance"] = "performance"
    notes: Annotated[list[Annotated[list[Time], Size(4, 4)]], Size(0, MAX_NOTES, True)]
    seconds: Time = 0.0

    @classmethod
    def of(cls, music: Performance | Piece) -> Played:
        """The plain form of a performance, times in milliseconds. TooLargeError for a longer one than there may be."""
        performance = from_piece(music)[0] if isinstance(music, Piece) else music
        if performance.seconds > MAX_SECONDS or len(performance) > MAX_NOTES:
            raise TooLargeError(
                f"expected at most {MAX_SECONDS} seconds and {MAX_NOTES:,} notes, got more; cut the piece"
            )
        notes = [
            [round(start, 3), pitch, velocity, round(end - start, 3)]
            for start, end, pitch, velocity in performance.notes.tolist()
        ]
        return cls(notes=notes, seconds=round(performance.seconds, 3))

    def performance(self) -> Performance:
        """The performance. UserError for a note that cannot be."""
        onset, pitch, velocity, duration = np.array(self.notes, np.float64).reshape(-1, 4).T
        if (pitch % 1 != 0).any() or (velocity % 1 != 0).any():
            raise UserError("expected whole numbers as pitches and velocities, got others; round them")
        return Performance.of(onset, onset + duration, pitch, velocity)

    def piece(self) -> Piece:
        """The same as a piece, a millisecond a tick."""
        return self.performance().to_piece()


def read_plain(data: bytes, kind: str) -> dict[str, Any]:
    """The piece of a MIDI or MusicXML file in this form, of the kind chorale or performance, and words about every
    change.
    """
    if kind not in ("chorale", "performance"):
        raise UserError(f"expected the kind chorale or performance, got {kind!r}; choose one")
    if kind == "performance":
        performance, words = read_performance(data, name="the file")
        return {"piece": asdict(Played.of(performance)), "words": words}
    from triptych.music.chorales.given import given_voices

    piece, words = read_piece(data, name="the file")
    given = given_voices(piece, report=words.append)
    return {"piece": asdict(Chorale.of(given.answer(given.grid))), "words": words}
