"""Metre: time signatures, and the bars that they and an upbeat cut a piece into. Times are ticks."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triptych.errors import UserError

MAX_BEATS, MAX_UNIT = 255, 64  # of a time signature; MIDI has one byte for the number of beats


@dataclass(frozen=True, order=True, slots=True)
class Metre:
    """A time signature from tick `start` on: `beats` notes of 1/`unit` of a whole note make a bar."""

    start: int
    beats: int
    unit: int

    def __post_init__(self) -> None:
        if not (self.start >= 0 and 1 <= self.beats <= MAX_BEATS and self.unit in (1, 2, 4, 8, 16, 32, 64)):
            raise UserError(
                f"expected a metre of 1 to {MAX_BEATS} beats of 1, 2, 4, 8, 16, 32 or {MAX_UNIT}, "
                f"got {self.beats}/{self.unit}; write it like 3/4"
            )

    def __str__(self) -> str:
        return f"{self.beats}/{self.unit}"

    @classmethod
    def parse(cls, text: str) -> Metre:
        """The metre that a person means by "3/4", "C" (4/4) or "C|" (2/2), from tick 0 on. Any other is a UserError."""
        text = {"c": "4/4", "c|": "2/2"}.get(text.strip().lower(), text)
        found = re.fullmatch(r"\s*(\d{1,3})\s*/\s*(\d{1,2})\s*", text)
        if found is None:
            raise UserError(f"expected a metre like 3/4 or 6/8, got {text!r}; write beats/unit")
        return cls(0, int(found[1]), int(found[2]))

    @property
    def compound(self) -> bool:
        """Whether three units make a beat, as in 6/8, 9/8, 12/8 and 6/4."""
        return self.beats > 3 and self.beats % 3 == 0

    def ticks(self, resolution: int) -> int:
        """Length of a bar, `resolution` ticks a quarter note; at least one."""
        return max(1, 4 * resolution * self.beats // self.unit)

    def beat(self, resolution: int) -> int:
        """Length of a beat: of three units in a compound metre, else of one; at least one tick."""
        return max(1, 4 * resolution * (3 if self.compound else 1) // self.unit)


COMMON = Metre(0, 4, 4)  # where there is none


@dataclass(frozen=True)
class Bar:
    """Ticks `start` to `end`, of which the first is at `offset` in a whole bar of `metre`.

    number: as in a score, counted from 1; an upbeat is bar 0.
    """

    start: int
    end: int
    offset: int = 0
    number: int = 1
    metre: Metre = COMMON


class Bars:
    """The bars of a piece of `length` ticks: by time and by number; after its end they go on in the last metre.

    A pickup shorter than a bar is bar 0; a longer one has the bar lines that its end asks for. A change of metre within
    a bar ends this bar there. The last bar is full, unless the piece ends where it and the pickup make one bar.
    """

    def __init__(self, metres: Sequence[Metre], *, length: int, resolution: int, pickup: int = 0) -> None:
        changes = [metre for metre in metres if metre.start > pickup]
        first = next((metre for metre in reversed(metres) if metre.start <= pickup), COMMON)
        self.resolution = resolution
        self.pickup = pickup % first.ticks(resolution)
        # Of each stretch of bars of one length, up to the next one, the first bar.
        self._stretches = [Bar(self.pickup, self.pickup + first.ticks(resolution), 0, 1, first)]
        for change in changes:
            before = self._stretches[-1]
            number = before.number - (before.start - change.start) // (before.end - before.start)
            self._stretches.append(Bar(change.start, change.start + change.ticks(resolution), 0, number, change))
        last = self.at(max(0, length - 1))
        whole = last.start + last.metre.ticks(resolution)
        self.first, self.last = int(not self.pickup), last.number
        self.end = length if self.pickup and self.last and length == whole - self.pickup else last.end

    def at(self, tick: int) -> Bar:
        """The bar in which a tick lies."""
        if tick < self.pickup:
            return self.number(0)
        stretch = self._stretches[bisect_right(self._stretches, tick, key=lambda bar: bar.start) - 1]
        return self.number(stretch.number + (tick - stretch.start) // (stretch.end - stretch.start))

    def number(self, number: int) -> Bar:
        """The bar with that number, from `first` on."""
        if number < 1:
            metre = self._stretches[0].metre
            return Bar(0, self.pickup, metre.ticks(self.resolution) - self.pickup, 0, metre)
        after = bisect_right(self._stretches, number, key=lambda bar: bar.number)
        stretch = self._stretches[after - 1]
        length = stretch.end - stretch.start
        start = stretch.start + (number - stretch.number) * length
        limit = self._stretches[after].start if after < len(self._stretches) else start + length
        return Bar(start, min(start + length, limit), 0, number, stretch.metre)

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __iter__(self) -> Iterator[Bar]:
        """Every bar of the piece, the upbeat first; the last ends with the piece where it is shortened."""
        for number in range(self.first, self.last + 1):
            bar = self.number(number)
            end = self.end if number == self.last else bar.end
            yield Bar(bar.start, end, bar.offset, number, bar.metre)

    def ticks(self, first: int, last: int) -> range:
        """The ticks from bar `first` to bar `last`, both included."""
        return range(self.number(first).start, self.number(last).end)

    def metres(self) -> list[Metre]:
        """The metres from the first whole bar on, each where it begins."""
        return [Metre(stretch.start, stretch.metre.beats, stretch.metre.unit) for stretch in self._stretches]


def with_upbeat(bars: Bars) -> list[Metre]:
    """The metres as a MIDI file has them, where an upbeat is a first bar with a metre of its own."""
    metres = bars.metres()
    if not bars.pickup:
        return metres
    whole = 4 * bars.resolution
    unit = next((unit for unit in (4, 8, 16, 32, MAX_UNIT) if bars.pickup * unit % whole == 0), MAX_UNIT)
    beats = min(MAX_BEATS, -(-bars.pickup * unit // whole))  # cut by the metre that follows, if it is too long
    return [Metre(0, beats, unit), *metres]
