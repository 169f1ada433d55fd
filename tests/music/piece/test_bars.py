from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music.piece.bars import Chord, Symbol, bars_of, beams_of, in_sixteenths, layers_of, symbols_of
from triptych.music.piece.metre import Bar, Metre
from triptych.music.piece.piece import Note, Piece

notes = st.lists(
    st.builds(
        lambda start, length, pitch: Note(start, start + length, pitch),
        st.integers(0, 60),
        st.integers(1, 40),
        st.integers(60, 64),
    ),
    max_size=20,
)


@given(notes, st.sampled_from([1, 3, 7, 24, 480]), st.integers(0, 50), st.integers(0, 90))
def test_the_nearest_sixteenth(notes: list[Note], resolution: int, pickup: int, length: int) -> None:
    piece = Piece(tuple(notes), resolution, length=length, pickup=pickup)
    grid = in_sixteenths(piece)
    assert grid.resolution == 4 and len(grid.notes) == len(notes) and grid.tempo == piece.tempo
    assert sorted(note.pitch for note in grid.notes) == sorted(note.pitch for note in notes)
    # The order of the notes is that of the rounded times, so what is compared is sorted.
    starts = sorted(note.start for note in grid.notes)
    for exact, rounded in zip(sorted(note.start for note in notes), starts, strict=True):
        assert abs(rounded - exact * 4 / resolution) <= 0.5
    assert grid.pickup is not None and abs(grid.pickup - pickup * 4 / resolution) <= 0.5
    assert grid.length >= piece.length * 4 / resolution - 0.5


def test_known_roundings() -> None:
    piece = Piece((Note(59, 61, 60), Note(60, 61, 62), Note(179, 480, 64), Note(180, 181, 65)), 480, length=1_000)
    assert [(note.start, note.end) for note in in_sixteenths(piece).notes] == [(0, 1), (1, 2), (1, 4), (2, 3)]
    assert in_sixteenths(piece).length == 8
    fine = replace(piece, resolution=4)
    assert in_sixteenths(fine) is fine


@pytest.mark.parametrize(
    ("length", "pickup", "expected"),
    [
        (0, 0, [(0, 16)]),
        (1, 0, [(0, 16)]),
        (16, 0, [(0, 16)]),
        (17, 0, [(0, 16), (16, 32)]),
        (0, 4, [(0, 4)]),
        (4, 4, [(0, 4)]),
        (5, 4, [(0, 4), (4, 20)]),
        (6, 10, [(0, 10)]),
        (16, 4, [(0, 4), (4, 16)]),
        (20, 4, [(0, 4), (4, 20)]),
        (32, 4, [(0, 4), (4, 20), (20, 32)]),
        (32, 20, [(0, 4), (4, 20), (20, 32)]),
        (32, 16, [(0, 16), (16, 32)]),
    ],
)
def test_bars(length: int, pickup: int, expected: list[tuple[int, int]]) -> None:
    bars = bars_of(Piece((), length=length, pickup=pickup))
    assert [(bar.start, bar.end) for bar in bars] == expected
    upbeat = pickup % 16
    assert [bar.number for bar in bars] == list(range(not upbeat, len(bars) + (not upbeat)))
    assert [bar.offset for bar in bars] == [16 - upbeat if upbeat else 0, *[0] * (len(bars) - 1)]


def test_too_many_bars() -> None:
    assert len(bars_of(Piece((), length=80_000))) == 5_000
    with pytest.raises(UserError, match="expected at most 5,000 bars to write, got 134,217,728"):
        bars_of(Piece((), length=2**31))


@given(notes)
def test_layers_hold_every_note_once_and_are_few(notes: list[Note]) -> None:
    layers = layers_of(notes)
    held = [(chord.start, chord.end, pitch) for layer in layers for chord in layer for pitch in chord.pitches]
    assert sorted(held) == sorted((note.start, note.end, note.pitch) for note in notes)
    for layer in layers:
        assert all(one.end <= other.start for one, other in pairwise(layer))
        assert all(list(chord.pitches) == sorted(set(chord.pitches)) for chord in layer)
    chords = [chord for layer in layers for chord in layer]
    deepest = max((sum(one.start <= at.start < one.end for one in chords) for at in chords), default=0)
    assert len(layers) == deepest


def test_known_layers() -> None:
    assert layers_of([Note(0, 4, 60), Note(0, 4, 64), Note(4, 8, 60)]) == [[Chord(0, 4, (60, 64)), Chord(4, 8, (60,))]]
    assert layers_of([Note(0, 8, 60), Note(0, 4, 64)]) == [[Chord(0, 4, (64,))], [Chord(0, 8, (60,))]]
    assert layers_of([Note(0, 4, 60), Note(0, 4, 60)]) == [[Chord(0, 4, (60,))], [Chord(0, 4, (60,))]]


@given(notes, st.integers(0, 15))
def test_signs_fill_every_bar_and_join_to_the_chords(notes: list[Note], pickup: int) -> None:
    bars = bars_of(Piece(tuple(notes), pickup=pickup))
    for layer in layers_of(notes) or [[]]:
        written = symbols_of(layer, bars)
        joined: list[Chord] = []
        for bar, symbols in zip(bars, written, strict=True):
            assert symbols[0].start == bar.start and symbols[-1].end == bar.end
            assert all(one.end == other.start for one, other in pairwise(symbols))
            for symbol in symbols:
                assert symbol.length in {1, 2, 3, 4, 6, 8, 12, 16}
                if symbol.tied_back:
                    assert (joined[-1].end, joined[-1].pitches) == (symbol.start, symbol.pitches)
                    joined[-1] = Chord(joined[-1].start, symbol.end, symbol.pitches)
                elif symbol.pitches:
                    joined.append(Chord(symbol.start, symbol.end, symbol.pitches))
        flat = [symbol for symbols in written for symbol in symbols]
        assert joined == layer
        assert all(one.tied_on == other.tied_back for one, other in zip(flat, [*flat[1:], Symbol(0, 0)], strict=True))


@pytest.mark.parametrize(
    ("start", "end", "lengths"),
    [
        (0, 16, [16]),
        (0, 14, [12, 2]),
        (0, 10, [8, 2]),
        (0, 7, [6, 1]),
        (0, 5, [4, 1]),
        (4, 12, [8]),
        (4, 16, [12]),
        (4, 10, [4, 2]),
        (2, 6, [4]),
        (2, 8, [6]),
        (6, 10, [2, 2]),
        (1, 3, [2]),
        (1, 4, [3]),
        (3, 5, [1, 1]),
        (2, 5, [2, 1]),
        (8, 24, [8, 8]),
        (14, 33, [2, 16, 1]),
    ],
)
def test_known_durations(start: int, end: int, lengths: list[int]) -> None:
    written = symbols_of([Chord(start, end, (60,))], [Bar(place, place + 16) for place in (0, 16, 32)])
    assert [symbol.length for symbols in written for symbol in symbols if symbol.pitches] == lengths


@pytest.mark.parametrize(
    ("start", "end", "lengths"),
    [(0, 12, [8, 4]), (2, 16, [2, 4, 8]), (1, 8, [1, 2, 4]), (4, 12, [4, 4]), (0, 7, [4, 2, 1])],
)
def test_known_rests(start: int, end: int, lengths: list[int]) -> None:
    layer = [Chord(0, start, (60,))] * (start > 0) + [Chord(end, 16, (60,))] * (end < 16)
    (written,) = symbols_of(layer, [Bar(0, 16)])
    assert [symbol.length for symbol in written if not symbol.pitches] == lengths


def test_a_pickup_counts_from_its_end() -> None:
    layer = [Chord(0, 4, (60,)), Chord(4, 8, (62,))]
    assert [[symbol.length for symbol in bar] for bar in symbols_of(layer, [Bar(0, 6, 10, 0), Bar(6, 22)])] == [
        [4, 2],
        [2, 2, 4, 8],
    ]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([2, 2], "begin|end"),
        ([2, -2], "|"),
        ([2, -1, 1], "||"),
        ([3, 1], "begin|end backward hook"),
        ([1, 3], "begin forward hook|end"),
        ([1, 2, 1], "begin forward hook|continue|end backward hook"),
        ([2, 1, 1], "begin|continue begin|end end"),
        ([1, 1, 1, 1], "begin begin|continue continue|continue continue|end end"),
        ([-2, 2, 2, 2], "||begin|end"),
        ([4, 2, 2], "|begin|end"),
        ([-1, 1, 1, 1, 4, 1], "|begin begin|continue continue|end end||"),
    ],
)
def test_known_beams(lengths: list[int], expected: str) -> None:
    """A negative length is a rest."""
    place, symbols = 0, []
    for length in lengths:
        symbols.append(Symbol(place, place + abs(length), (60,) if length > 0 else ()))
        place += abs(length)
    assert "|".join(" ".join(beams) for beams in beams_of(symbols, Bar(0, 16))) == expected


def test_the_beams_of_a_pickup() -> None:
    symbols = [Symbol(0, 2, (60,)), Symbol(2, 4, (60,)), Symbol(4, 6, (60,))]
    assert beams_of(symbols, Bar(0, 6, 10)) == [(), ("begin",), ("end",)]


@pytest.mark.parametrize(
    ("metre", "lengths", "expected"),
    [
        # negative lengths are rests; what is written is compared the same way, bars apart
        ("3/4", [12, 8, 4, 4, 8, 6, 6], "12 | 8 4 | 4 8 | 6 6"),
        ("3/4", [2, 4, 4, 2, -12, -8, 4], "2 4 4 2 | -12 | -4 -4 4"),
        ("2/4", [12, 4, 8, 2, 4, 2], "8 | 4 4 | 8 | 2 4 2"),
        ("6/8", [6, 6, 12, 4, 2, 2, 4, 8, 4], "6 6 | 12 | 4 2 2 4 | 6 2 4"),
        ("6/8", [4, 4, 4, 3, 1, 2, -2, 2, -2, -6, -4, 2], "4 2 2 4 | 3 1 2 -2 2 -2 | -6 -2 -2 2"),
        ("12/8", [24, 18, 6, 12, 12, 6, 12, 6], "24 | 12 6 6 | 12 12 | 6 12 6"),
        ("3/2", [24, 16, 8, 12, 12, 8, 16], "24 | 16 8 | 12 12 | 8 16"),
        ("5/4", [20, 12, 8, 4, 8, 8], "16 4 | 12 8 | 4 8 8"),
        ("3/8", [6, 2, 4, 3, 3, -2, 4], "6 | 2 4 | 3 3 | -2 4"),
        ("2/2", [4, 8, 4, 16], "4 8 4 | 16"),
    ],
)
def test_known_durations_of_other_metres(metre: str, lengths: list[int], expected: str) -> None:
    place, layer = 0, []
    for length in lengths:
        if length > 0:
            layer.append(Chord(place, place + length, (60,)))
        place += abs(length)
    written = symbols_of(layer, bars_of(Piece((), length=place, metres=(Metre.parse(metre),))))
    found = [" ".join(str(sign.length if sign.pitches else -sign.length) for sign in bar) for bar in written]
    assert " | ".join(found) == expected


@pytest.mark.parametrize(
    ("metre", "groups"),
    [
        ("3/4", [2, 2, 2]),
        ("6/8", [3, 3]),
        ("9/8", [3, 3, 3]),
        ("3/8", [3]),
        ("5/8", [3, 2]),
        ("7/8", [2, 2, 3]),
        ("2/2", [2, 2, 2, 2]),
        ("4/8", [2, 2]),
        ("6/4", [2] * 6),
        ("3/2", [2] * 6),
    ],
)
def test_eighths_are_beamed_by_beats(metre: str, groups: list[int]) -> None:
    count = Metre.parse(metre).ticks(2)
    symbols = [Symbol(2 * place, 2 * place + 2, (60,)) for place in range(count)]
    (bar,) = bars_of(Piece((), length=2 * count, metres=(Metre.parse(metre),)))
    found = [beams[0] for beams in beams_of(symbols, bar)]
    assert found == [word for size in groups for word in ("begin", *["continue"] * (size - 2), "end")]
