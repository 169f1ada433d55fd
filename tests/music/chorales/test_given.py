"""What a person gives: melodies out of range, rests before them, upbeats; and the answer, which is as it was given."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music.chorales.codec import RANGES, SILENT, UNKNOWN
from triptych.music.chorales.given import Given, given_melody, given_voices, read_transpose
from triptych.music.piece.key import Key
from triptych.music.piece.metre import COMMON, Metre
from triptych.music.piece.piece import KeySignature, Note, Piece

LOW, HIGH = RANGES[0]


def tune_of(pitches: Sequence[int], start: int = 0, length: int = 4) -> tuple[Note, ...]:
    return tuple(Note(start + length * at, start + length * (at + 1), pitch) for at, pitch in enumerate(pitches))


def filled(found: Given) -> np.ndarray:
    """The grid with a chord wherever something is unknown."""
    return np.where(found.grid == UNKNOWN, np.array([72, 60, 55, 48]), found.grid)


def soprano(piece: Piece) -> list[tuple[int, int, int]]:
    return [(note.start, note.end, note.pitch) for note in piece.notes if note.voice == 0]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.integers(0, 127), min_size=1, max_size=12),
    st.integers(0, 70),
    st.integers(0, 15),
    st.sampled_from([1, 2, 3, 4, 6]),
    st.sampled_from(["auto", "stay", "octaves", 0, 5, -24]),
)
def test_a_melody_comes_back_as_it_was_or_is_reported(
    pitches: list[int], rests: int, pickup: int, length: int, transpose: int
) -> None:
    notes, words = tune_of(pitches, rests, length), list[str]()
    metres = (Metre(0, 3, 4),)
    piece = Piece(notes, tempo=77.0, pickup=pickup, metres=metres, keys=(KeySignature(0, -3, minor=True),))
    found = given_melody(piece, transpose, words.append)
    assert len(found.grid) == found.early + length * len(pitches) and found.early < 4
    assert (rests - found.early - pickup) % 4 == 0, "it begins on a quarter"
    low, high = (36, 81) if isinstance(transpose, int) else (LOW, HIGH)
    tune = found.grid[:, 0]
    assert ((tune >= low) & (tune <= high)).all() and (found.grid[:, 1:] == UNKNOWN).all()
    assert (tune[: found.early] == tune[found.early]).all(), "the first note begins with its quarter"
    answer = found.answer(filled(found))
    assert (answer.pickup, answer.metres, answer.tempo) == (pickup, metres, 77.0)
    assert answer.length == rests + length * len(pitches)
    assert min(note.start for note in answer.notes) == rests, "the rests are back, and nothing sounds in them"
    got = soprano(answer)
    assert [one[:2] for one in got] == [(note.start, note.end) for note in notes]
    shifts = {mine[2] - note.pitch for mine, note in zip(got, notes, strict=True)}
    if not words:
        assert shifts == {0}
    elif not any("octave" in word for word in words) and transpose != "stay":
        assert shifts == {0}, "transposed, and back"
    elif transpose != "stay":
        assert all(shift % 12 == 0 for shift in shifts), "by octaves"
    assert answer.keys == piece.keys or (transpose == "stay" and shifts != {0})


@pytest.mark.parametrize(
    ("pitches", "semitones", "message"),
    [
        ([60, 81], 0, None),
        ([67, 71, 83], 0, "transposed by -2 semitones into C4 to A5, a soprano, and back"),
        ([58, 62, 70], 0, "transposed by +2 semitones into C4 to A5, a soprano, and back"),
        ([86, 90, 93], 0, "transposed by -12 semitones into C4 to A5, a soprano, and back"),
        ([43, 47, 50], 24, "moved up 2 octaves to C4 to A5, a soprano; --transpose 24 writes all of it as low as"),
        ([50, 62], 12, "moved up 1 octave to C4 to A5"),
        ([50, 71], 0, "transposed by +10 semitones into"),
        ([30, 96, 62], None, "2 of 3 notes moved by octaves into C4 to A5: F#1, C7"),
    ],
)
def test_how_a_melody_is_moved(pitches: list[int], semitones: int | None, message: str | None) -> None:
    words = list[str]()
    found = given_melody(Piece(tune_of(pitches), pickup=0, metres=(COMMON,)), report=words.append)
    got = [pitch for _, _, pitch in soprano(found.answer(filled(found)))]
    if semitones is None:
        assert got == [66, 72, 62]
    else:
        assert got == [pitch + semitones for pitch in pitches]
    assert (not words) if message is None else (len(words) == 1 and message in words[0])


def test_many_moved_notes_are_named_in_short() -> None:
    words = list[str]()
    given_melody(Piece(tune_of([60, 81, *range(82, 96)]), pickup=0, metres=(COMMON,)), "octaves", report=words.append)
    assert words == ["14 of 16 notes moved by octaves into C4 to A5: A#5, B5, C6, C#6, D6, D#6, E6, F6 and 6 more"]


def test_a_wide_melody_is_transposed_by_octaves_before_its_notes_are() -> None:
    words = list[str]()
    given_melody(Piece(tune_of([74, 84, 93, 95, 62, 86]), pickup=0, metres=(COMMON,)), report=words.append)
    assert words == [
        "transposed by -12 semitones into C4 to A5, a soprano, and back",
        "2 of 6 notes moved by octaves into C4 to A5: D4, B6",
    ]


def test_a_melody_over_an_accompaniment() -> None:
    tune = [Note(0, 8, 67), Note(16, 24, 69)]
    piece = Piece((*tune, Note(0, 16, 28, voice=1), Note(16, 32, 33, voice=1)), voices=("voice 1", "voice 2"))
    found = given_melody(piece)
    assert found.grid[:, 0].tolist() == [67] * 8 + [SILENT] * 8 + [69] * 8, "no bass note where the melody rests"
    named = Piece((*tune, *tune_of([80] * 8, 0, 4)), voices=("piano",))
    assert given_melody(named).grid[0, 0] == 80
    parts = Piece((*tune, *(Note(at, at + 4, 80, voice=1) for at in range(0, 32, 4))), voices=("Vocal", "Strings"))
    parts = replace(parts, pickup=0, metres=(COMMON,))
    words = list[str]()
    assert given_melody(parts, report=words.append).grid[:, 0].max() == 69
    assert words == ["the melody is the part 'Vocal'"]


def test_of_a_melody_each_note_ends_with_the_next_and_repeated_ones_stay() -> None:
    piece = Piece((Note(0, 6, 67), Note(4, 8, 67), Note(8, 10, 67), Note(12, 14, 65)))
    found = given_melody(piece)
    assert soprano(found.answer(filled(found))) == [(0, 4, 67), (4, 8, 67), (8, 10, 67), (12, 14, 65)]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 127), min_size=1, max_size=10), st.integers(0, 40), st.integers(-40, 0))
def test_voices_come_back_as_they_were_or_are_reported(pitches: list[int], rests: int, below: int) -> None:
    words = list[str]()
    notes = tune_of(pitches, rests)
    other = tuple(Note(n.start, n.end, max(0, n.pitch + below), voice=1) for n in notes)
    piece = Piece((*notes, *other), voices=("soprano", "bass"))
    found = given_voices(piece, report=words.append)
    answer = found.answer(found.grid)
    sounding = sorted((note.start, note.end, note.pitch) for note in answer.notes)
    reference = sorted((note.start, note.end, note.pitch) for note in piece.notes)
    if any("octaves" in word for word in words):
        reference = [(start, end, pitch % 12) for start, end, pitch in reference]
        sounding = [(start, end, pitch % 12) for start, end, pitch in sounding]
    assert sorted(sounding) == sorted(reference)
    span = max(note.pitch for note in piece.notes) - min(note.pitch for note in piece.notes)
    assert any("octaves" in word for word in words) == (span > 45)


def test_what_was_added_has_the_bars_that_are_left() -> None:
    piece = Piece(tune_of([60, 62, 64, 65, 67], 4), metres=(Metre(0, 3, 4), Metre(36, 2, 4)), pickup=0)
    found = given_voices(piece)
    more = np.full((20, 4), 60)
    added = found.added(np.concatenate([found.grid, more]))
    assert added.length == 20 and added.pickup == 0 and added.metres == (Metre(0, 3, 4), Metre(12, 2, 4))
    short = given_voices(Piece(piece.notes[:-1], metres=(Metre(0, 3, 4),), pickup=0))
    added = short.added(np.concatenate([short.grid, more]))
    assert added.pickup == 4 and [(bar.start, bar.end) for bar in added.bars] == [(0, 4), (4, 16), (16, 28)]


@pytest.mark.parametrize(
    ("signatures", "key"),
    [
        ((), Key(0, minor=False)),
        ((KeySignature(0, 0, minor=False),), Key(0, minor=False)),  # as programs write it unasked
        ((KeySignature(0, 0, minor=True),), Key(9, minor=True)),
        ((KeySignature(0, 3),), Key(9, minor=False)),
        ((KeySignature(0, -2, minor=True),), Key(7, minor=True)),
    ],
)
def test_the_key_is_that_of_the_signature_or_of_what_sounds(signatures: tuple[KeySignature, ...], key: Key) -> None:
    piece = Piece(tune_of([72, 74, 76, 77, 79, 77, 76, 74, 72]), keys=signatures)
    found = given_melody(piece)
    assert found.key == key
    assert found.answer(filled(found)).keys == (signatures or (key.signature,))
    named = found.in_key(Key(9, minor=True))
    assert named.read_key() == Key(9, minor=True) and named.answer(filled(found)).keys[0].minor


def test_the_key_at_the_end_is_that_of_the_last_signature() -> None:
    keys = (KeySignature(0, 1, minor=False), KeySignature(16, -4, minor=False))
    found = given_melody(Piece(tune_of([67, 71, 74, 67, 68, 72, 75, 68], 4), keys=keys))
    assert (found.read_key(), found.ending_key()) == (Key(7, minor=False), Key(8, minor=False))
    beyond = given_melody(Piece(tune_of([67, 71, 74, 67]), keys=keys))
    assert beyond.ending_key() == Key(7, minor=False), "where nothing sounds any more"
    assert found.in_key(Key(0, minor=False)).ending_key() == Key(0, minor=False)


def test_words_of_transposition() -> None:
    assert [read_transpose(text) for text in ("auto", "stay", "octaves", "-3", "+12", "0")] == [
        "auto",
        "stay",
        "octaves",
        -3,
        12,
        0,
    ]
    for text in ("", "up", "25", "-25", "1.5", "nan"):
        with pytest.raises(UserError, match="expected --transpose auto, stay, octaves, or semitones from -24 to 24"):
            read_transpose(text)


def test_nothing_is_given() -> None:
    for read in (given_melody, given_voices):
        with pytest.raises(UserError, match="expected a piece with notes, got none"):
            read(Piece(()))


def test_a_word_about_bars_that_are_not_given() -> None:
    words = list[str]()
    # long notes on the second quarter of every bar, and a last bar shorter by one
    tune = [
        Note(16 * bar + place, 16 * bar + end, 67) for bar in range(4) for place, end in ((0, 4), (4, 12), (12, 16))
    ]
    found = given_melody(Piece(tuple(tune)), report=words.append)
    assert words == [
        "has no metre, so bars are of 4/4; --metre sets another",
        "begins with an upbeat of a quarter, by its rhythm; --upbeat 0 if it has none",
    ]
    answer = found.answer(filled(found))
    assert (answer.pickup, answer.metres, answer.bars.first) == (4, (COMMON,), 0)
