"""A piece of music: notes in voices, with metres, keys and tempos."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import TypeVar

from triptych.errors import UserError, number
from triptych.music.piece.metre import Bars, Metre


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


@dataclass(frozen=True, order=True, slots=True)
class Tempo:
    """From tick `start` on, `quarters` quarter notes a minute."""

    start: int
    quarters: float


@dataclass(frozen=True, slots=True)
class KeySignature:
    """From tick `start` on, `fifths` sharps, or flats if negative. minor: the mode; None where the file gives none."""

    start: int
    fifths: int
    minor: bool | None = None

    def __post_init__(self) -> None:
        if not -7 <= self.fifths <= 7:
            raise UserError(f"expected a key signature of -7 (flats) to 7 (sharps), got {self.fifths}; rename the key")


@dataclass(frozen=True)
class Piece:
    """Notes on a grid of ticks, `resolution` to a quarter note, at `tempo` quarter notes a minute.

    voices: their names, uppermost first (soprano, alto, tenor, bass; or one name for a piano). length: ticks, with the
    silence after the last note. metrical: whether beats and bars mean anything; the ticks of a performance are only
    time. notes are in the order of (start, end, pitch).
    As the file gives them, or empty: metres, time signatures (4/4 where there are none); pickup, ticks before the
    first bar line (0 where it is None); keys, key signatures; tempos, changes of `tempo` after tick 0;
    programs, the General MIDI instrument (0 to 127) of each voice.
    """

    notes: tuple[Note, ...]
    resolution: int = 4
    tempo: float = 90.0
    voices: tuple[str, ...] = ("piano",)
    length: int = 0
    pickup: int | None = None
    metrical: bool = True
    metres: tuple[Metre, ...] = ()
    keys: tuple[KeySignature, ...] = ()
    tempos: tuple[Tempo, ...] = ()
    programs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", tuple(sorted(self.notes)))
        for note in self.notes:
            if not (0 <= note.start < note.end and 0 <= note.pitch <= 127 and 1 <= note.velocity <= 127):
                raise UserError(f"expected a note with start < end, pitch 0 to 127 and velocity 1 to 127, got {note}")
            if not 0 <= note.voice < len(self.voices):
                raise UserError(f"expected a voice below {len(self.voices)}, got {note}")
        tempos = (number(self.tempo, "a tempo"), *(tempo.quarters for tempo in self.tempos))
        if not (self.resolution >= 1 and all(0 < tempo < math.inf for tempo in tempos) and (self.pickup or 0) >= 0):
            raise UserError(
                "expected a positive resolution and a positive, finite tempo and a pickup from 0, "
                f"got {self.resolution}, {', '.join(map(str, tempos[:4]))} and {self.pickup}"
            )
        if self.programs and not (
            len(self.programs) == len(self.voices) and all(0 <= program <= 127 for program in self.programs)
        ):
            raise UserError(
                f"expected an instrument of 0 to 127 for each of {len(self.voices)} voices, got {self.programs}"
            )
        for name in ("metres", "keys", "tempos"):
            # Of several at one tick the last one holds.
            changes = {change.start: change for change in getattr(self, name)}
            object.__setattr__(self, name, tuple(changes[start] for start in sorted(changes)))
        last = max((note.end for note in self.notes), default=0)
        object.__setattr__(self, "length", max(self.length, last))

    @cached_property
    def bars(self) -> Bars:
        """The bars by the metres and the pickup."""
        return Bars(self.metres, length=self.length, resolution=self.resolution, pickup=self.pickup or 0)

    def key_at(self, tick: int) -> KeySignature:
        """The key signature at a tick; where there is none, neither sharps nor flats."""
        return next((key for key in reversed(self.keys) if key.start <= tick), KeySignature(0, 0))

    def after(self, tick: int) -> Piece:
        """The metres, keys and tempos from a tick on, without notes; the pickup is the rest of its bar."""
        bar = self.bars.at(tick)
        metres = (replace(bar.metre, start=0), *_later(self.metres, tick)) if self.metres else ()
        keys = (replace(self.key_at(tick), start=0), *_later(self.keys, tick)) if self.keys else ()
        tempo = next((one.quarters for one in reversed(self.tempos) if one.start <= tick), self.tempo)
        return replace(
            self,
            notes=(),
            length=0,
            tempo=tempo,
            pickup=0 if tick == bar.start else bar.end - tick,
            metres=metres,
            keys=keys,
            tempos=_later(self.tempos, tick),
        )

    def in_ticks(self, resolution: int, tick: Callable[[int], int]) -> Piece:
        """The piece in another resolution. tick: the new place of an old one. Every note has at least one tick."""

        def moved(changes: tuple[Change, ...]) -> tuple[Change, ...]:
            return tuple(replace(change, start=tick(change.start)) for change in changes)

        ends = (max(tick(note.start) + 1, tick(note.end)) for note in self.notes)
        return replace(
            self,
            notes=tuple(replace(note, end=end) for note, end in zip(moved(self.notes), ends, strict=True)),
            resolution=resolution,
            length=tick(self.length),
            pickup=None if self.pickup is None else tick(self.pickup),
            metres=moved(self.metres),
            keys=moved(self.keys),
            tempos=moved(self.tempos),
        )

    def seconds_at(self, tick: float) -> float:
        """Seconds from the beginning to a tick, by all tempos."""
        starts, begins, tempos = self._clock
        place = bisect_right(starts, tick) - 1
        return begins[place] + (tick - starts[place]) * 60 / (tempos[place] * self.resolution)

    def tick_at(self, seconds: float) -> int:
        """The tick nearest to a time in seconds, by all tempos."""
        starts, begins, tempos = self._clock
        place = bisect_right(begins, seconds) - 1
        return round(starts[place] + (seconds - begins[place]) * tempos[place] * self.resolution / 60)

    @property
    def seconds(self) -> float:
        """Duration of the whole piece."""
        return self.seconds_at(self.length)

    @cached_property
    def _clock(self) -> tuple[list[int], list[float], list[float]]:
        """Where each tempo begins, in ticks and in seconds, and the tempos."""
        starts, begins, tempos = [0], [0.0], [self.tempo]
        for change in self.tempos:
            begins.append(begins[-1] + (change.start - starts[-1]) * 60 / (tempos[-1] * self.resolution))
            starts.append(change.start)
            tempos.append(change.quarters)
        return starts, begins, tempos


def overlaps(line: Sequence[Note]) -> int:
    """How many notes of a line, in the order in which they begin, begin while another of it sounds."""
    ends = accumulate((note.end for note in line), max)
    return sum(note.start < end for end, note in zip(ends, line[1:], strict=False))


Change = TypeVar("Change", Note, Metre, KeySignature, Tempo)


def _later(changes: Sequence[Change], start: int) -> tuple[Change, ...]:
    """The changes after a tick, counted from it."""
    return tuple(replace(change, start=change.start - start) for change in changes if change.start > start)
