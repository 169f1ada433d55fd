"""From ticks to what a reader of music expects: bars, written durations, ties and beams, on a grid of sixteenths.

The rules are those of common practice (Gould 2011, "Behind Bars", part I): halves and beats of the bar stay visible
where the rhythm is finer than they are, a compound beat is not cut by a longer note, a rest never hides a beat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import accumulate, groupby, pairwise

from triptych.errors import UserError
from triptych.music.piece.metre import Bar, Metre
from triptych.music.piece.piece import Note, Piece

BAR, QUARTER = 16, 4  # sixteenths of a bar of 4/4, and of a quarter note
MAX_BARS = 5_000
LENGTHS = (48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)  # that one sign can have, from the dotted breve to the sixteenth


@dataclass(frozen=True)
class Chord:
    """Pitches, lowest first, that begin and end together. Without pitches: a rest."""

    start: int
    end: int
    pitches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Symbol(Chord):
    """A part of a chord or rest that one sign writes, within a bar, with the ties to its other parts.

    onset: where the whole chord begins, or -1.
    """

    tied_back: bool = False
    tied_on: bool = False
    onset: int = -1

    @property
    def length(self) -> int:
        """Duration in sixteenths."""
        return self.end - self.start


def in_sixteenths(piece: Piece) -> Piece:
    """The piece with resolution 4: times go to the nearest sixteenth, halves up, and every note keeps at least one."""
    if piece.resolution == 4:
        return piece

    def grid(tick: int) -> int:
        return (8 * tick + piece.resolution) // (2 * piece.resolution)

    found = piece.in_ticks(4, grid)
    return replace(found, metres=tuple(map(_whole_sixteenths, found.metres)))


def _whole_sixteenths(metre: Metre) -> Metre:
    """The metre, or, where its bar is no whole number of sixteenths, as many of its bars as are."""
    whole = 16 * metre.beats % metre.unit == 0
    return metre if whole else Metre(metre.start, metre.beats, 16)


def bars_of(piece: Piece) -> list[Bar]:
    """Bars of a piece in sixteenths, see `Bars`; more than 5,000 are a UserError."""
    assert piece.resolution == 4
    if len(piece.bars) > MAX_BARS:
        raise UserError(f"expected at most {MAX_BARS:,} bars to write, got {len(piece.bars):,}; cut the piece")
    return list(piece.bars)


@dataclass(frozen=True)
class _Hierarchy:
    """How a bar is divided, and its parts again. Places are sixteenths in the bar.

    levels: the places where parts begin, and the end of the bar, of the whole bar, its halves or groups, its beats,
    and so on to sixteenths. beat: the level of the beats. beams: the level whose parts are beamed together.
    """

    levels: tuple[tuple[int, ...], ...]
    compound: bool
    beat: int
    beams: int

    @cached_property
    def strengths(self) -> tuple[int, ...]:
        """Of each place the first level that has a part beginning there: the lower, the stronger."""
        return tuple(
            next(level for level, begins in enumerate(self.levels) if place in begins)
            for place in range(self.levels[0][-1] + 1)
        )

    def allows(self, start: int, length: int) -> bool:
        """Whether one note may be written there. Its beginning or its end must be as strong as any beat within it; or
        the note lies evenly about that beat, as a half note in the middle of 4/4.
        """
        end = start + length
        if length == 1:
            return True
        first, last = self.strengths[start], self.strengths[end]
        middle = min(range(start + 1, end), key=self.strengths.__getitem__)
        hidden = self.strengths[middle]
        if self.compound and hidden <= self.beat < max(first, last):
            return False
        if first <= hidden or last <= hidden:
            return True
        begins = self.levels[hidden]
        place = begins.index(middle)
        even = begins[place + 1] - middle == length == middle - begins[place - 1] and 2 * middle == start + end
        return even and max(first, last) == hidden + 1

    def allows_rest(self, start: int, length: int) -> bool:
        """Whether one rest may stand there: instead of a whole part, dotted in compound metres alone."""
        dotted = length % 3 == 0
        return (self.compound or not dotted) and any(
            (start, start + length) in pairwise(begins) for begins in self.levels
        )

    def beam(self, place: int) -> int:
        """The number of the part that is beamed together."""
        return sum(begin <= place for begin in self.levels[self.beams])


@lru_cache
def _hierarchy(beats: int, unit: int) -> _Hierarchy:
    """The hierarchy of a metre whose bar is a whole number of sixteenths."""
    if unit > 16:
        beats, unit = beats * 16 // unit, 16
    length = 16 // unit
    compound = Metre(0, beats, unit).compound
    if compound:
        units = [3] * (beats // 3)
    elif beats in (2, 3):
        units = [1] * beats
    elif unit >= 8:
        units = [2, 2, 3] if beats == 7 else [3] * ((beats - 2 * (-beats % 3)) // 3) + [2] * (-beats % 3)
    else:
        units = [2] * (beats // 2 - beats % 2) + [3] * (beats % 2)
    units = {4: [2, 2], 5: [3, 2], 1: [1]}.get(beats, units)
    end = beats * length
    parts = tuple(accumulate((length * part for part in units), initial=0))
    halves = (0, end // 2, end) if compound and beats == 12 else (0, end)
    beaten = tuple(range(0, end + 1, length))
    found = [(0, end), halves, parts, beaten]
    while length > 1:
        length //= 2
        found.append(tuple(range(0, end + 1, length)))
    levels = tuple(dict.fromkeys(found))
    beat = levels.index(parts if compound else beaten)
    quarters = tuple(range(0, end + 1, QUARTER))
    if unit >= 8 and beats != 4:
        beams = (0, end) if beats == 3 else parts
    else:
        beams = quarters if quarters in levels else beaten
    return _Hierarchy(levels, compound, beat, levels.index(beams))


def layers_of(notes: Sequence[Note]) -> list[list[Chord]]:
    """Notes of one voice as layers of chords that do not overlap, as few as can be. A unison takes two layers.

    Notes that begin and end together are a chord; a chord goes to the first layer that is free.
    """
    together: dict[tuple[int, int, int], list[int]] = {}
    seen: Counter[tuple[int, int, int]] = Counter()
    for note in notes:
        copy = seen[note.start, note.end, note.pitch]
        seen[note.start, note.end, note.pitch] += 1
        together.setdefault((note.start, note.end, copy), []).append(note.pitch)
    chords = [Chord(start, end, tuple(sorted(pitches))) for (start, end, _), pitches in together.items()]
    layers: list[list[Chord]] = []
    for chord in sorted(chords, key=lambda chord: (chord.start, -chord.pitches[-1], chord.end)):
        free = next((layer for layer in layers if layer[-1].end <= chord.start), None)
        if free is None:
            layers.append(free := [])
        free.append(chord)
    return layers


def symbols_of(layer: Sequence[Chord], bars: Sequence[Bar]) -> list[list[Symbol]]:
    """Signs of a layer, bar by bar: its chords, cut and tied, and rests in between."""
    written: list[list[Symbol]] = [[] for _ in bars]
    first = 0
    for span in _with_rests(layer, bars[-1].end):
        while bars[first].end <= span.start:
            first += 1
        for number in range(first, len(bars)):
            if bars[number].start >= span.end:
                break
            written[number].extend(_cut(span, bars[number]))
    return written


def beams_of(symbols: Sequence[Symbol], bar: Bar) -> list[tuple[str, ...]]:
    """Beams of a bar's signs, beat by beat: at each sign the eighths' beam, then the sixteenths' (MusicXML's words)."""
    beams: list[tuple[str, ...]] = [()] * len(symbols)
    hierarchy = _hierarchy(bar.metre.beats, bar.metre.unit)

    def beat(index: int) -> tuple[int, bool, int]:
        symbol = symbols[index]
        flagged = symbol.length < QUARTER and bool(symbol.pitches)
        return hierarchy.beam(symbol.start - bar.start + bar.offset), flagged, 0 if flagged else index

    for (_, flagged, _), group in groupby(range(len(symbols)), beat):
        indices = list(group)
        if flagged and len(indices) > 1:
            short = [symbols[index].length == 1 for index in indices]
            for place, index in enumerate(indices):
                second = _second_beam(short, place)
                beams[index] = (_link(place > 0, place < len(indices) - 1), *second)
    return beams


def _second_beam(short: Sequence[bool], place: int) -> tuple[str, ...]:
    if not short[place]:
        return ()
    back = place > 0 and short[place - 1]
    on = place < len(short) - 1 and short[place + 1]
    if back or on:
        return (_link(back, on),)
    return ("backward hook" if place else "forward hook",)


def _link(back: bool, on: bool) -> str:
    return "continue" if back and on else "begin" if on else "end"


def _with_rests(layer: Sequence[Chord], end: int) -> Iterator[Chord]:
    for before, chord in pairwise((Chord(0, 0), *layer)):
        if chord.start > before.end:
            yield Chord(before.end, chord.start)
        yield chord
    last = layer[-1].end if layer else 0
    if last < end:
        yield Chord(last, end)


def _cut(span: Chord, bar: Bar) -> Iterator[Symbol]:
    """Yield the signs of a span within a bar."""
    start, end = max(span.start, bar.start), min(span.end, bar.end)
    sounds = bool(span.pitches)
    hierarchy = _hierarchy(bar.metre.beats, bar.metre.unit)
    allows = hierarchy.allows if sounds else hierarchy.allows_rest
    if not sounds and is_whole(start, end, bar):
        yield Symbol(start, end)
        return
    while start < end:
        place = start - bar.start + bar.offset
        stop = start + next(length for length in LENGTHS if length <= end - start and allows(place, length))
        yield Symbol(start, stop, span.pitches, sounds and start > span.start, sounds and stop < span.end, span.start)
        start = stop


def is_whole(start: int, end: int, bar: Bar) -> bool:
    """Whether this is all of a bar that is not shortened."""
    return (start, end) == (bar.start, bar.end) and end - start == bar.metre.ticks(4)
