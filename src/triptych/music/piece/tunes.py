"""Twelve tunes in the public domain, written down here: to try the verbs with, and to measure harmonies by.

A tune is its notes, bar by bar: a name such as F#4, and its length in sixteenths after a slash where it is no quarter;
`r` is a rest. A shorter first bar is an upbeat.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from triptych.errors import UserError
from triptych.music.piece.key import Key
from triptych.music.piece.metre import Metre
from triptych.music.piece.piece import Note, Piece

CLASSES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
TOKEN = re.compile(r"([A-Gr])([#b]?)(\d?)(?:/(\d+))?")


@dataclass(frozen=True)
class Tune:
    """A melody with its title, origin, key, metre and quarter notes a minute."""

    title: str
    origin: str
    key: Key
    metre: str
    tempo: float
    text: str

    def bars(self) -> list[list[tuple[int, int]]]:
        """Pitch (-1: a rest) and length in sixteenths of each note, by bar."""
        return [[_note(token) for token in bar.split()] for bar in self.text.split("|")]

    def piece(self, rests: int = 0) -> Piece:
        """The tune as a piece in sixteenths, with so many sixteenths of rests before it.

        Where rests and an upbeat make whole bars, as programs export them, the piece has no upbeat.
        """
        metre, bars = Metre.parse(self.metre), self.bars()
        whole = metre.ticks(4)
        notes, now = [], rests
        for pitch, length in (note for bar in bars for note in bar):
            if pitch >= 0:
                notes.append(Note(now, now + length, pitch))
            now += length
        pickup = (rests + sum(length for _, length in bars[0])) % whole
        return Piece(
            tuple(notes),
            tempo=self.tempo,
            voices=("melody",),
            length=now,
            pickup=pickup,
            metres=(metre,),
            keys=(self.key.signature,),
        )


def _note(token: str) -> tuple[int, int]:
    found = TOKEN.fullmatch(token)
    assert found is not None, token
    name, sign, octave, length = found.groups()
    pitch = -1 if name == "r" else 12 * (int(octave) + 1) + CLASSES[name] + {"#": 1, "b": -1, "": 0}[sign]
    return pitch, int(length or 4)


def tune(name: str) -> Tune:
    """The tune of that name."""
    if name not in TUNES:
        raise UserError(f"expected a tune of {', '.join(TUNES)}, got {name!r}")
    return TUNES[name]


TUNES = {
    "ode": Tune(
        "Ode to Joy",
        "Beethoven, 1824",
        Key(2, minor=False),
        "4/4",
        100,
        "F#4 F#4 G4 A4 | A4 G4 F#4 E4 | D4 D4 E4 F#4 | F#4/6 E4/2 E4/8 |"
        "F#4 F#4 G4 A4 | A4 G4 F#4 E4 | D4 D4 E4 F#4 | E4/6 D4/2 D4/8",
    ),
    "amazing-grace": Tune(
        "Amazing Grace",
        "New Britain, 1829",
        Key(7, minor=False),
        "3/4",
        88,
        "D4 | G4/8 B4/2 G4/2 | B4/8 A4 | G4/8 E4 | D4/8 D4 | G4/8 B4/2 G4/2 | B4/8 A4 | D5/12 | r/8 B4 |"
        "D5/8 B4 | G4/8 D4 | E4/8 G4/2 E4/2 | D4/8 D4 | G4/8 B4/2 G4/2 | B4/8 A4 | G4/12 | G4/8",
    ),
    "twinkle": Tune(
        "Ah! vous dirai-je, maman",
        "France, 1761",
        Key(0, minor=False),
        "4/4",
        96,
        "C4 C4 G4 G4 | A4 A4 G4/8 | F4 F4 E4 E4 | D4 D4 C4/8 | G4 G4 F4 F4 | E4 E4 D4/8 |"
        "G4 G4 F4 F4 | E4 E4 D4/8 | C4 C4 G4 G4 | A4 A4 G4/8 | F4 F4 E4 E4 | D4 D4 C4/8",
    ),
    "greensleeves": Tune(
        "Greensleeves",
        "England, 1580",
        Key(9, minor=True),
        "6/8",
        75,
        "A4/2 | C5/4 D5/2 E5/3 F5/1 E5/2 | D5/4 B4/2 G4/3 A4/1 B4/2 | C5/4 A4/2 A4/3 G#4/1 A4/2 |"
        "B4/4 G#4/2 E4/4 A4/2 | C5/4 D5/2 E5/3 F5/1 E5/2 | D5/4 B4/2 G4/3 A4/1 B4/2 |"
        "C5/3 B4/1 A4/2 G#4/3 F#4/1 G#4/2 | A4/6 A4/6 | G5/6 G5/3 F#5/1 E5/2 | D5/4 B4/2 G4/3 A4/1 B4/2 |"
        "C5/4 A4/2 A4/3 G#4/1 A4/2 | B4/4 G#4/2 E4/6 | G5/6 G5/3 F#5/1 E5/2 | D5/4 B4/2 G4/3 A4/1 B4/2 |"
        "C5/3 B4/1 A4/2 G#4/3 F#4/1 G#4/2 | A4/6 A4/4",
    ),
    "silent-night": Tune(
        "Silent Night",
        "Gruber, 1818",
        Key(10, minor=False),
        "6/8",
        66,
        "F4/3 G4/1 F4/2 D4/6 | F4/3 G4/1 F4/2 D4/6 | C5/4 C5/2 A4/6 | Bb4/4 Bb4/2 F4/6 |"
        "G4/4 G4/2 Bb4/3 A4/1 G4/2 | F4/3 G4/1 F4/2 D4/6 | G4/4 G4/2 Bb4/3 A4/1 G4/2 | F4/3 G4/1 F4/2 D4/6 |"
        "C5/4 C5/2 Eb5/3 C5/1 A4/2 | Bb4/6 D5/6 | Bb4/3 F4/1 D4/2 F4/3 Eb4/1 C4/2 | Bb3/12",
    ),
    "auld-lang-syne": Tune(
        "Auld Lang Syne",
        "Scotland, 1799",
        Key(5, minor=False),
        "4/4",
        92,
        "C4 | F4/6 F4/2 F4 A4 | G4/6 F4/2 G4 A4 | F4/6 F4/2 A4 C5 | D5/12 D5 | C5/6 A4/2 A4 F4 |"
        "G4/6 F4/2 G4 A4 | F4/6 D4/2 D4 C4 | F4/12 D5 | C5/6 A4/2 A4 F4 | G4/6 F4/2 G4 D5 | C5/6 A4/2 A4 C5 |"
        "D5/12 D5 | C5/6 A4/2 A4 F4 | G4/6 F4/2 G4 A4 | F4/6 D4/2 D4 C4 | F4/12",
    ),
    "minuet": Tune(
        "Minuet in G",
        "Petzold, 1725",
        Key(7, minor=False),
        "3/4",
        120,
        "D5 G4/2 A4/2 B4/2 C5/2 | D5 G4 G4 | E5 C5/2 D5/2 E5/2 F#5/2 | G5 G4 G4 | C5 D5/2 C5/2 B4/2 A4/2 |"
        "B4 C5/2 B4/2 A4/2 G4/2 | F#4 G4/2 A4/2 B4/2 G4/2 | A4/12 | D5 G4/2 A4/2 B4/2 C5/2 | D5 G4 G4 |"
        "E5 C5/2 D5/2 E5/2 F#5/2 | G5 G4 G4 | C5 D5/2 C5/2 B4/2 A4/2 | B4 C5/2 B4/2 A4/2 G4/2 |"
        "A4 B4/2 A4/2 G4/2 F#4/2 | G4/12",
    ),
    "god-rest": Tune(
        "God Rest You Merry, Gentlemen",
        "England, 1760",
        Key(4, minor=True),
        "4/4",
        104,
        "E4 | E4 B4 B4 A4 | G4 F#4 E4 D4 | E4 F#4 G4 A4 | B4/12 E4 | E4 B4 B4 A4 | G4 F#4 E4 D4 |"
        "E4 F#4 G4 A4 | B4/12 B4 | C5 A4 B4 C5 | D5 E5 B4 A4 | G4 E4 F#4 G4 | A4/8 G4 A4 | B4/8 C5 B4 |"
        "B4 A4 G4 F#4 | E4/8 G4/2 F#4/2 E4 | A4/8 G4 A4 | B4 C5 D5 E5 | B4 A4 G4 F#4 | E4/12",
    ),
    "emmanuel": Tune(
        "Veni, veni, Emmanuel",
        "France, fifteenth century",
        Key(2, minor=True),
        "4/4",
        92,
        "D4 | F4 A4 A4 A4 | G4 Bb4 A4 G4 | F4/12 G4 | A4 F4 D4 F4 | G4 E4 D4 C4 | D4/12 G4 | G4 D4 D4 E4 |"
        "F4/8 E4 D4 | C4/12 F4 | G4 A4 A4 A4 | G4 Bb4 A4 G4 | F4/12 C5 | A4/12 C5 | A4/12 A4 | G4 Bb4 A4 G4 |"
        "F4/12 G4 | A4 F4 D4 F4 | G4 E4 D4 C4 | D4/12",
    ),
    "three-kings": Tune(
        "We Three Kings",
        "Hopkins, 1857",
        Key(7, minor=True),
        "3/4",
        126,
        "D5/8 C5 | Bb4/8 G4 | A4 Bb4 A4 | G4/12 | D5/8 C5 | Bb4/8 G4 | A4 Bb4 A4 | G4/12 | Bb4/8 Bb4 | C5/8 C5 |"
        "D5/8 D5 | F5 Eb5 D5 | C5 D5 C5 | Bb4/8 A4 | G4/12",
    ),
    "tannenbaum": Tune(
        "O Tannenbaum",
        "Germany, 1799",
        Key(5, minor=False),
        "3/4",
        88,
        "C4/2 | F4/3 F4/1 F4 G4 | A4/3 A4/1 A4/6 A4/2 | G4/2 A4/2 Bb4 E4 | G4 F4 r/2 C4/2 |"
        "F4/3 F4/1 F4 G4 | A4/3 A4/1 A4/6 A4/2 | G4/2 A4/2 Bb4 E4 | G4 F4 r/2 C5/2 |"
        "C5/2 A4/2 D5/6 C5/2 | C5/2 Bb4/2 Bb4/6 Bb4/2 | Bb4/2 G4/2 C5/6 Bb4/2 | Bb4/2 A4/2 A4 r/2 C4/2 |"
        "F4/3 F4/1 F4 G4 | A4/3 A4/1 A4/6 A4/2 | G4/2 A4/2 Bb4 E4 | G4 F4/6",
    ),
    "old-hundredth": Tune(
        "Old Hundredth",
        "Bourgeois, 1551",
        Key(7, minor=False),
        "4/4",
        84,
        "G4 | G4 F#4 E4 D4 | G4 A4 B4 B4 | B4 B4 A4 G4 | C5 B4 A4 G4 | A4 B4 A4 G4 | E4 F#4 G4 D5 |"
        "B4 G4 A4 C5 | B4 A4 G4",
    ),
}
