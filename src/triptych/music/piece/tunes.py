"""Twelve tunes in the public domain (tunes.toml): to try the verbs with, and to measure harmonies by."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.resources import files

from triptych.music.piece.key import Key
from triptych.music.piece.metre import Metre
from triptych.music.piece.piece import Note, Piece

VOICES = ("soprano", "alto", "tenor", "bass")
CLASSES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
TOKEN = re.compile(r"([A-Gr])([#b]?)(\d?)(?:/(\d+))?")


@dataclass(frozen=True)
class Tune:
    """A melody with its title, origin, key, metre and quarter notes a minute. notes, and those of the lower
    voices: as tunes.toml explains.
    """

    title: str
    origin: str
    key: str
    metre: str
    tempo: float
    notes: str
    alto: str
    tenor: str
    bass: str

    def bars(self) -> list[list[tuple[int, int]]]:
        """Pitch (-1: a rest) and length in sixteenths of each note, by bar."""
        return [[_note(token) for token in bar.split()] for bar in self.notes.split("|")]

    def piece(self, rests: int = 0) -> Piece:
        """The tune as a piece in sixteenths, with so many sixteenths of rests before it.

        Where rests and an upbeat make whole bars, as programs export them, the piece has no upbeat.
        """
        metre, bars = Metre.parse(self.metre), self.bars()
        notes, end = _in_time((note for bar in bars for note in bar), rests)
        pickup = (rests + sum(length for _, length in bars[0])) % metre.ticks(4)
        keys = (Key.parse(self.key).signature,)
        return Piece(tuple(notes), 4, self.tempo, ("melody",), end, pickup, metres=(metre,), keys=keys)

    def chorale(self) -> Piece:
        """The tune over its alto, tenor and bass."""
        alone = self.piece()
        lower = (map(_note, line.split()) for line in (self.alto, self.tenor, self.bass))
        notes = [note for voice, line in enumerate(lower, 1) for note in _in_time(line, 0, voice)[0]]
        return replace(alone, notes=(*alone.notes, *notes), voices=VOICES)


def _in_time(line: Iterable[tuple[int, int]], start: int, voice: int = 0) -> tuple[list[Note], int]:
    """The notes of pitches (-1: a rest) and lengths, one after another from a sixteenth on, and where the last ends."""
    notes = []
    for pitch, length in line:
        if pitch >= 0:
            notes.append(Note(start, start + length, pitch, voice=voice))
        start += length
    return notes, start


def _note(token: str) -> tuple[int, int]:
    found = TOKEN.fullmatch(token)
    assert found is not None, token
    name, sign, octave, length = found.groups()
    pitch = -1 if name == "r" else 12 * (int(octave) + 1) + CLASSES[name] + {"#": 1, "b": -1, "": 0}[sign]
    return pitch, int(length or 4)


def tunes() -> dict[str, Tune]:
    """The tunes by name."""
    read = tomllib.loads((files("triptych.music.piece") / "tunes.toml").read_text("utf-8"))
    return {name: Tune(**tune) for name, tune in read.items()}


def sample_pieces() -> dict[str, Piece]:
    """The tunes by name, alone as melodies/ode, ... and for four voices as chorales/ode, ..."""
    made = {}
    for name, tune in tunes().items():
        made[f"melodies/{name}"] = tune.piece()
        made[f"chorales/{name}"] = tune.chorale()
    return made
