from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music.piece.metre import COMMON, Metre
from triptych.music.piece.piece import Note, Piece
from triptych.music.piece.tunes import tunes
from triptych.music.piece.upbeat import barred, found_upbeat, in_bars, with_bars

TUNES = tunes()

TUNE = Piece((Note(0, 4, 67), Note(4, 40, 60)))


@pytest.mark.parametrize(
    ("metre", "upbeat", "expected", "pickup"),
    [
        (None, None, "", None),
        ("3/4", None, "3/4", None),
        ("3/4", "1", "3/4", 4),
        ("6/8", "1", "6/8", 2),
        ("6/8", "1/8", "6/8", 2),
        (None, "0", "4/4", 0),
        (None, "1/4", "4/4", 4),
        (None, "0.5", "4/4", 2),
        ("3/2", "2", "3/2", 16),
    ],
)
def test_metres_and_upbeats_that_a_person_gives(
    metre: str | None, upbeat: str | None, expected: str, pickup: int | None
) -> None:
    found = with_bars(TUNE, metre, upbeat)
    assert ("".join(map(str, found.metres)), found.pickup) == (expected, pickup)


def test_it_replaces_that_of_the_file() -> None:
    piece = replace(TUNE, metres=(Metre(0, 3, 4), Metre(12, 4, 4)), pickup=8)
    found = with_bars(piece, None, "1/8")
    assert (found.metres, found.pickup) == (piece.metres, 2)
    assert with_bars(piece, "2/2").metres == (Metre(0, 2, 2),)


@pytest.mark.parametrize("upbeat", ["", "x", "-1", "3", "3/4", "1/0", "nan", "1e9", "1/2/3"])
def test_what_is_no_upbeat(upbeat: str) -> None:
    with pytest.raises(UserError, match="expected --upbeat of less than a bar of 3/4") as caught:
        with_bars(TUNE, "3/4", upbeat)
    assert "\\n" not in str(caught.value)


@pytest.mark.parametrize("name", TUNES)
def test_the_upbeats_of_tunes_are_found(name: str) -> None:
    """All but that of the Old Hundredth, whose first and last notes are as long as the others of the first bar."""
    piece = TUNES[name].piece()
    pickup = 0 if TUNES[name].title == "Old Hundredth" else piece.pickup
    assert found_upbeat(replace(piece, pickup=None)) == pickup


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 90), st.integers(1, 20)), max_size=12),
    st.integers(1, 13),
    st.sampled_from([2, 4, 8, 16]),
)
def test_an_upbeat_is_less_than_half_a_bar(notes: list[tuple[int, int]], beats: int, unit: int) -> None:
    piece = Piece(tuple(Note(start, start + length, 60) for start, length in notes), metres=(Metre(0, beats, unit),))
    assert 0 <= found_upbeat(piece) < max(1, -(-piece.metres[0].ticks(4) // 2))
    framed, words = in_bars(piece)
    assert framed.metres == piece.metres and (framed.pickup, len(words)) in (
        (0, 0),
        (found_upbeat(piece), 1),
    )
    late = replace(piece, notes=tuple(replace(n, start=n.start + 3, end=n.end + 3) for n in piece.notes), length=0)
    assert found_upbeat(late) == 0, "rests before it are in the file's own bars"
    assert in_bars(replace(piece, metres=()))[0].metres == (COMMON,)


@pytest.mark.parametrize("name", sorted(TUNES))
def test_a_piece_in_other_ticks_has_the_bars_that_are_found_in_sixteenths(name: str) -> None:
    piece = replace(TUNES[name].piece(), pickup=None)
    fine = piece.in_ticks(480, lambda tick: 120 * tick)
    assert barred(fine).pickup == 120 * (in_bars(piece)[0].pickup or 0)
    assert barred(replace(fine, pickup=120)).pickup == 120
    played = replace(fine, metrical=False)
    assert barred(played) is played


def test_some_tune_has_an_upbeat_that_is_found() -> None:
    assert any(barred(replace(tune.piece(), pickup=None)).pickup for tune in TUNES.values())
