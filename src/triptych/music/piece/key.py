"""The key of a chorale: Krumhansl 1990, "Cognitive Foundations of Musical Pitch", with a word from the last bass note.

The method is the key-finding algorithm of its chapter 4 on the probe-tone ratings of Krumhansl and Kessler 1982.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.music.piece.piece import KeySignature, Piece

# How well a pitch class, in semitones above the tonic, fits its key: mean ratings, by whether the key is minor.
# In hundredths, because sums of whole numbers are not rounded: keys that fit equally well have equal scores.
RATINGS = {
    False: np.array([635, 223, 348, 233, 438, 409, 252, 519, 239, 366, 229, 288]),
    True: np.array([633, 268, 352, 538, 260, 353, 254, 475, 398, 269, 334, 317]),
}
FINE = 1_000_000
ENDING = 0.2  # added to the correlation of the two keys on the last bass note

STEPS = "FCGDAEB"  # along the line of fifths; F is one fifth below C
MODES = {"": None, "m": True, "min": True, "minor": True, "moll": True, "maj": False, "major": False, "dur": False}
GERMAN = ("dur", "moll")
SHARPS = {"#": 1, "♯": 1, "sharp": 1, "is": 1, "b": -1, "♭": -1, "flat": -1, "es": -1, "s": -1, "": 0}
WRITTEN = re.compile(
    r"(?P<letter>[A-Ha-h])\s*-?\s*(?P<sign>#|♯|♭|sharp|flat|is|es|s|b)?\s*[-_ ]?\s*"
    r"(?P<mode>minor|major|min|maj|moll|dur|m)?\.?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Key:
    """A major or minor key on `tonic`, a pitch class from 0 (C) to 11 (B).

    sharps: of the key signature that a person has named, flats negative, where two would do, as G-flat and F-sharp
    major; keys that sound the same are equal.
    """

    tonic: int
    minor: bool
    sharps: int | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.tonic <= 11:
            raise UserError(f"expected a tonic from 0 to 11, got {self.tonic}; take the pitch modulo 12")

    @classmethod
    def parse(cls, text: str) -> Key:
        """The key that a person means: "B-flat minor", "Bb minor", "F#", "c" or "Cm" (minor), "a-Moll", "H-Dur".

        A letter alone is major if it is a capital, else minor. With Dur or Moll, B is B-flat; H is always B natural.
        Raises UserError for what is no key, and for one of more than seven sharps or flats.
        """
        found = WRITTEN.fullmatch(text.strip())
        if found is not None:
            letter, sign, mode = found["letter"], (found["sign"] or "").lower(), found["mode"] or ""
            minor = mode != "M" and MODES[mode.lower()]
            if mode == "":
                minor = letter.islower()
            flat = SHARPS[sign] - (letter.lower() == "b" and not sign and mode.lower() in GERMAN)
            step = "B" if letter.lower() == "h" else letter.upper()
            sharps = STEPS.index(step) - 1 + 7 * flat - 3 * bool(minor)
            wrong = sign == "s" and step not in "AE"
            if not wrong and -7 <= sharps <= 7:
                return cls((7 * sharps + 9 * bool(minor)) % 12, bool(minor), sharps)
        raise UserError(
            'expected a key, such as "G minor", "Bb major", "F#" or "c" (minor), of at most 7 sharps or flats, '
            f"got {text!r}"
        )

    @property
    def name(self) -> str:
        """Name as "C major", "B-flat major", "F-sharp minor"; in the usual spelling unless a file named it."""
        alter, step = divmod(self.fifths + 3 * self.minor + 1, 7)
        return f"{STEPS[step]}{('-flat', '', '-sharp')[alter + 1]} {'minor' if self.minor else 'major'}"

    @property
    def fifths(self) -> int:
        """Sharps of its key signature, flats counted negative: -6 (E-flat minor) to 6 (F-sharp major), or as named."""
        if self.sharps is not None:
            return self.sharps
        sharps = (7 * (self.tonic + 3 * self.minor) + 5) % 12 - 5
        # Six sharps and six flats sound the same: F-sharp major, E-flat minor.
        return -6 if sharps == 6 and self.minor else sharps

    @property
    def signature(self) -> KeySignature:
        """The key as a signature from the beginning of a piece on."""
        return KeySignature(0, self.fifths, self.minor)

    def transposed(self, semitones: int) -> Key:
        """Key of the same piece played `semitones` higher."""
        return Key((self.tonic + semitones) % 12, self.minor, None if semitones else self.sharps)


def key_of(grid: NDArray[np.integer[Any]]) -> Key:
    """Find the key of `grid`, integers [steps, voices]: MIDI pitches, -1 is a rest.

    The key with the highest score wins. Its score is the correlation of its ratings with how many steps each pitch
    class sounds, summed over the voices, plus 0.2 if its tonic is the last bass note: the lowest note of the last step
    that is not silent. Chorales end on their tonic, and the correlation alone often finds a near relative of the key;
    this score agrees with the last bass note in 220 of the 229 training chorales of JSB (`benchmarks/chorales.py`). Yet
    0.2 is little enough to leave minor pieces that end on their dominant to the correlation.
    Of equal scores, the tonic that is fewer semitones above the last bass note wins, then major. So the key moves with
    the piece: key_of(grid + k) is key_of(grid).transposed(k). A grid of rests is in C major.
    """
    if grid.ndim != 2 or not np.issubdtype(grid.dtype, np.integer):
        raise UserError(f"expected a grid of integers [steps, voices], got {grid.dtype} {list(grid.shape)}")
    sounding = np.flatnonzero((grid >= 0).any(1))
    if not len(sounding):
        return Key(0, minor=False)
    last = grid[sounding[-1]]
    return _best(np.bincount(grid[grid >= 0] % 12, minlength=12), int(last[last >= 0].min()))


def key_of_piece(piece: Piece) -> Key:
    """Find the key of a piece, as `key_of` does that of a grid, by ticks instead of steps."""
    counts = np.zeros(12, np.int64)
    for note in piece.notes:
        counts[note.pitch % 12] += note.end - note.start
    counts = counts * FINE // max(FINE, int(counts.sum()))  # whose squares are no large numbers
    end = max((note.end for note in piece.notes), default=0)
    last = [note.pitch for note in piece.notes if note.end == end]
    return _best(counts, min(last)) if last else Key(0, minor=False)


def signed(piece: Piece) -> Piece:
    """The piece with a key signature: its own, or that of the key which it sounds in."""
    return piece if piece.keys else replace(piece, keys=(key_of_piece(piece).signature,))


def _best(counts: NDArray[np.int64], bass: int) -> Key:
    """The key that fits how long each pitch class sounds, [12], and a last bass note."""
    best, highest = Key(bass % 12, minor=False), -np.inf
    for interval in range(12):
        for minor, ratings in RATINGS.items():
            score = _correlation(np.roll(counts, -(bass + interval)), ratings) + ENDING * (interval == 0)
            if score > highest:
                best, highest = Key((bass + interval) % 12, minor), score
    return best


def _correlation(counts: NDArray[np.int64], ratings: NDArray[np.int64]) -> float:
    """Pearson's correlation, 0 where all counts are the same; exact but for one root and one division."""
    covariance = 12 * int(counts @ ratings) - int(counts.sum()) * int(ratings.sum())
    spread = _spread(counts) * _spread(ratings)
    return float(covariance / spread**0.5) if spread else 0.0


def _spread(values: NDArray[np.int64]) -> int:
    return 12 * int(values @ values) - int(values.sum()) ** 2
