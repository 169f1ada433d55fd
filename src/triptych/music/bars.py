"""From ticks to what a reader of music expects: bars, written durations, ties and beams, on a grid of sixteenths.

The rules are those of common practice in 4/4 (Gould 2011, "Behind Bars", part I): the middle of the bar stays visible,
and beats do wherever the rhythm is finer than an eighth; a rest never hides a beat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from triptych.errors import UserError
from triptych.music.metre import Bar, Metre
from triptych.music.piece import Note, Piece

BAR, BEAT = 16, 4  # sixteenths
MOST_BARS = 5_000

# Where in the bar a duration may begin, both in sixteenths: longest first.
NOTES: dict[int, tuple[int, ...]] = {
    16: (0,),
    12: (0, 4),
    8: (0, 4, 8),
    6: (0, 2, 8, 10),
    4: (0, 2, 4, 8, 10, 12),
    3: (0, 1, 4, 5, 8, 9, 12, 13),
    2: (0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14),
    1: tuple(range(BAR)),
}
RESTS: dict[int, tuple[int, ...]] = {length: tuple(range(0, BAR, length)) for length in (16, 8, 4, 2, 1)}


@dataclass(frozen=True)
class Chord:
    """Pitches, lowest first, that begin and end together. Without pitches: a rest."""

    start: int
    end: int
    pitches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Symbol(Chord):
    """What one sign stands for: a part of a chord or rest within a bar, with the ties to its other parts."""

    tied_back: bool = False
    tied_on: bool = False

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

    notes = tuple(
        replace(note, start=grid(note.start), end=max(grid(note.start) + 1, grid(note.end))) for note in piece.notes
    )
    return replace(
        piece,
        notes=notes,
        resolution=4,
        length=grid(piece.length),
        pickup=None if piece.pickup is None else grid(piece.pickup),
        metres=tuple(_whole_sixteenths(replace(metre, start=grid(metre.start))) for metre in piece.metres),
        keys=tuple(replace(key, start=grid(key.start)) for key in piece.keys),
        tempos=tuple(replace(tempo, start=grid(tempo.start)) for tempo in piece.tempos),
    )


def _whole_sixteenths(metre: Metre) -> Metre:
    """The metre, or, where its bar is no whole number of sixteenths, as many of its bars as are."""
    whole = 16 * metre.beats % metre.unit == 0
    return metre if whole else Metre(metre.start, metre.beats, 16)


def bars_of(piece: Piece) -> list[Bar]:
    """Bars of a piece in sixteenths, see `Bars`; all of 4/4. More than 5,000 are a UserError."""
    assert piece.resolution == 4
    bars = replace(piece, metres=()).bars
    if len(bars) > MOST_BARS:
        raise UserError(f"expected at most {MOST_BARS:,} bars to write, got {len(bars):,}; cut the piece")
    return list(bars)


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

    def beat(index: int) -> tuple[int, bool, int]:
        symbol = symbols[index]
        flagged = symbol.length < BEAT and bool(symbol.pitches)
        return (symbol.start - bar.start + bar.offset) // BEAT, flagged, 0 if flagged else index

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
    durations, sounds = (NOTES, True) if span.pitches else (RESTS, False)
    while start < end:
        place = start - bar.start + bar.offset
        stop = start + next(length for length in durations if length <= end - start and place in durations[length])
        yield Symbol(start, stop, span.pitches, sounds and start > span.start, sounds and stop < span.end)
        start = stop
