import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music.piece.metre import Metre
from triptych.music.piece.piece import KeySignature, Note, Piece, Tempo

NOTES = st.builds(
    lambda start, length, pitch, velocity, voice: Note(start, start + length, pitch, velocity, voice),
    st.integers(0, 99),
    st.integers(1, 20),
    st.integers(0, 127),
    st.integers(1, 127),
    st.integers(0, 2),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(NOTES, max_size=8), st.integers(0, 130), st.randoms(use_true_random=False))
def test_a_piece_is_its_notes_in_whatever_order(notes: list[Note], length: int, random: Any) -> None:
    shuffled = random.sample(notes, len(notes))
    piece = Piece(tuple(notes), length=length, voices=("a", "b", "c"))
    assert piece == Piece(tuple(shuffled), length=length, voices=("a", "b", "c"))
    assert [(note.start, note.end, note.pitch) for note in piece.notes] == sorted(
        (note.start, note.end, note.pitch) for note in notes
    )
    assert piece.length == max([length, *(note.end for note in notes)])


def test_time() -> None:
    piece = Piece((Note(0, 6, 60),), resolution=4, tempo=60.0, length=8)
    assert (piece.seconds_at(1), piece.seconds) == (0.25, 2.0)
    slower = replace(piece, tempos=(Tempo(6, 15.0), Tempo(2, 30.0)))
    assert [slower.seconds_at(tick) for tick in (0, 2, 4, 6, 7)] == [0, 0.5, 1.5, 2.5, 3.5]
    assert [slower.tick_at(seconds) for seconds in (0, 0.5, 1.5, 2.5, 3.5, 3.4)] == [0, 2, 4, 6, 7, 7]
    assert slower.seconds == 4.5
    assert Piece(()).seconds == 0.0


@pytest.mark.parametrize(
    ("note", "message"),
    [
        (Note(3, 3, 60), "start < end"),
        (Note(-1, 3, 60), "start < end"),
        (Note(0, 1, 128), "pitch 0 to 127"),
        (Note(0, 1, -1), "pitch 0 to 127"),
        (Note(0, 1, 60, 0), "velocity 1 to 127"),
        (Note(0, 1, 60, 128), "velocity 1 to 127"),
        (Note(0, 1, 60, voice=1), "a voice below 1"),
        (Note(0, 1, 60, voice=-1), "a voice below 1"),
    ],
)
def test_a_note_that_cannot_be(note: Note, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Piece((Note(0, 1, 60), note))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [{"resolution": 0}, {"tempo": 0.0}, {"tempo": -1.0}, {"tempo": math.nan}, {"tempo": math.inf}, {"pickup": -1}],
)
def test_a_piece_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="expected a positive resolution"):
        Piece((), **settings)


def test_changes_are_in_order_and_the_last_of_a_tick_holds() -> None:
    keys = (KeySignature(8, 2), KeySignature(0, -1, minor=True), KeySignature(8, 3))
    piece = Piece((), metres=(Metre(9, 2, 4), Metre(3, 3, 4)), keys=keys)
    assert piece.metres == (Metre(3, 3, 4), Metre(9, 2, 4))
    assert piece.keys == (KeySignature(0, -1, minor=True), KeySignature(8, 3))
    assert [piece.key_at(tick).fifths for tick in (0, 7, 8, 99)] == [-1, -1, 3, 3]
    assert Piece(()).key_at(5) == KeySignature(0, 0)


@pytest.mark.parametrize("programs", [(1,), (1, 128), (-1, 1)])
def test_instruments_are_of_voices(programs: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="expected an instrument of 0 to 127 for each of 2 voices"):
        Piece((), voices=("a", "b"), programs=programs)
