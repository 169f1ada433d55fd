"""What a parser finds in a file of music: the common form of MIDI and MusicXML. Needs Python's own library alone."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

MAX_NOTES = 200_000  # and as many changes of the pedals, and of the tempo
MAX_VOICES = 256
NAME_LENGTH = 80  # characters of a voice's name
LAST_TICK = 2**31 - 1
VELOCITY = 80  # of a note without a loudness
SUSTAIN, SOSTENUTO = 64, 66  # controllers of MIDI


class DamagedError(Exception):
    """A file that is not of its format; the message is the reason, for a person."""


class TooLargeError(Exception):
    """A file of more notes, voices or changes than a reader takes."""


@dataclass
class Found:
    """What a file contains. Times are ticks, `resolution` of which make a quarter note.

    voices: name, program (-1: none) and channel of each. notes: start, end, pitch, velocity, voice of each; where
    no duration is heard, the end is the start. pedals: tick, whether down, controller, channel of each change. tempos:
    tick, microseconds of a quarter note. metres: tick, beats, unit. keys: tick, sharps less flats, mode (1 minor, 0
    major, -1 none). rate: ticks a second as a fraction, where time is seconds and not beats. pickup: ticks before
    the first bar line, -1 where the file has none. notices: counts of what a person should know of, by name.
    """

    resolution: int = 0
    voices: list[tuple[str, int, int]] = field(default_factory=list)
    notes: array[int] = field(default_factory=lambda: array("i"))
    pedals: array[int] = field(default_factory=lambda: array("i"))
    tempos: array[int] = field(default_factory=lambda: array("i"))
    metres: array[int] = field(default_factory=lambda: array("i"))
    keys: array[int] = field(default_factory=lambda: array("i"))
    rate: tuple[int, int] | None = None
    pickup: int = -1
    notices: dict[str, int] = field(default_factory=dict)

    def notice(self, name: str, count: int = 1) -> None:
        """Count something that a person should know about."""
        if count:
            self.notices[name] = self.notices.get(name, 0) + count

    def check_size(self) -> None:
        """Raise TooLargeError where there is more of something than a reader takes."""
        for table, columns in ((self.notes, 5), (self.pedals, 4), (self.tempos, 2), (self.metres, 3), (self.keys, 3)):
            if len(table) > columns * MAX_NOTES:
                raise TooLargeError
        if len(self.voices) > MAX_VOICES:
            raise TooLargeError
