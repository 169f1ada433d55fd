"""A piece of music as notes in voices, and the files that it can become."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from triptych.errors import UserError


@dataclass(frozen=True, order=True, slots=True)
class Note:
    """One note: sounding from tick `start` up to (not including) tick `end`.

    pitch: MIDI number, 0 to 127, 60 is middle C. velocity: 1 to 127. voice: index into the piece's voices.
    """

    start: int
    end: int
    pitch: int
    velocity: int = 80
    voice: int = 0


@dataclass(frozen=True)
class Piece:
    """Notes on a grid of ticks, `resolution` to a quarter note, at `tempo` quarter notes a minute.

    voices: their names, uppermost first (soprano, alto, tenor, bass; or one name for a piano). length: ticks, with the
    silence after the last note. pickup: ticks before the first bar line. fifths: sharps of the key signature, or flats
    if negative. metrical: whether beats and bars mean anything; the ticks of a performance are only time. notes are in
    the order of (start, end, pitch).
    """

    notes: tuple[Note, ...]
    resolution: int = 4
    tempo: float = 90.0
    voices: tuple[str, ...] = ("piano",)
    length: int = 0
    pickup: int = 0
    fifths: int = 0
    metrical: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", tuple(sorted(self.notes)))
        for note in self.notes:
            if not (0 <= note.start < note.end and 0 <= note.pitch <= 127 and 1 <= note.velocity <= 127):
                raise UserError(f"expected a note with start < end, pitch 0 to 127 and velocity 1 to 127, got {note}")
            if not 0 <= note.voice < len(self.voices):
                raise UserError(f"expected a voice below {len(self.voices)}, got {note}")
        if not (self.resolution >= 1 and 0 < self.tempo < math.inf and self.pickup >= 0):
            raise UserError(
                "expected a positive resolution and a positive, finite tempo and a pickup from 0, "
                f"got {self.resolution}, {self.tempo} and {self.pickup}"
            )
        if not -7 <= self.fifths <= 7:
            raise UserError(f"expected a key signature of -7 (flats) to 7 (sharps), got {self.fifths}; rename the key")
        last = max((note.end for note in self.notes), default=0)
        object.__setattr__(self, "length", max(self.length, last))

    @property
    def seconds_per_tick(self) -> float:
        """Duration of one tick."""
        return 60 / (self.tempo * self.resolution)

    @property
    def seconds(self) -> float:
        """Duration of the whole piece."""
        return self.length * self.seconds_per_tick

    def save(self, path: str | Path, *, soundfont: str | Path | None = None) -> None:
        """Write the piece; the suffix says as what.

        .mid: Standard MIDI File. .wav: sound, by our own synthesizer or, with `soundfont`, by FluidSynth. .musicxml:
        a score. .svg: engraved sheet music (needs verovio). .png: a piano roll. Raises UserError for other suffixes.
        """
        path = Path(path)
        suffix = check_suffix(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix in (".mid", ".midi"):
            from triptych.music.midi import write_midi

            write_midi(self, path)
        elif suffix == ".wav":
            from triptych.music.sound import write_wav

            write_wav(self, path, soundfont=soundfont)
        elif suffix == ".musicxml":
            from triptych.music.notation import write_musicxml

            write_musicxml(self, path)
        elif suffix == ".svg":
            from triptych.music.notation import write_svg

            write_svg(self, path)
        else:
            from triptych.music.roll import write_roll

            write_roll(self, path)


SUFFIXES = (".mid", ".midi", ".wav", ".musicxml", ".svg", ".png")


def check_suffix(path: Path) -> str:
    """The suffix of a file that a piece can become; any other is a UserError."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"expected a file named *{', *'.join(SUFFIXES)}, got {path.name!r}; change the suffix")
    return suffix
