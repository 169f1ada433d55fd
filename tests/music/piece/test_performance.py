import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music.files.save import save_music
from triptych.music.files.sound import render
from triptych.music.piece.performance import (
    MAX_SECONDS,
    Performance,
    from_piece,
    stretched,
    sustained,
    together,
    transposed,
    transpositions,
)
from triptych.music.piece.piece import Note, Piece

# Few keys, and moments that are near each other, so that keys are struck again and share steps.
MOMENTS = st.one_of(st.floats(0, 3), st.integers(0, 300).map(lambda step: step / 100), st.floats(0, 100))
DURATIONS = st.one_of(st.floats(1e-5, 0.03), st.floats(0.01, 2), st.floats(0.1, 300))
NOTES = st.tuples(
    MOMENTS, DURATIONS, st.one_of(st.sampled_from([21, 60, 61, 108]), st.integers(21, 108)), st.integers(1, 127)
)


def played(rows: list[tuple[float, float, int, int]]) -> Performance:
    """The performance of rows of start, duration, pitch, velocity."""
    start, duration, pitch, velocity = (np.array(column) for column in zip(*rows, strict=True)) if rows else [[]] * 4
    return Performance.of(start, np.add(start, duration), pitch, velocity)


def performances(most: int = 40) -> st.SearchStrategy[Performance]:
    return st.lists(NOTES, max_size=most).map(played)


def check_keyboard(performance: Performance) -> None:
    notes = performance.notes
    assert (notes["end"] > notes["start"]).all() and (notes["start"] >= 0).all()
    assert notes.tolist() == sorted(notes.tolist(), key=lambda note: (note[0], note[2]))
    for pitch in np.unique(notes["pitch"]):
        for one, other in pairwise(notes[notes["pitch"] == pitch].tolist()):
            assert one[1] <= other[0]


# -- performances -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(st.lists(NOTES, max_size=30), st.randoms(use_true_random=False))
def test_one_keyboard(rows: list[tuple[float, float, int, int]], random: object) -> None:
    performance = played(rows)
    check_keyboard(performance)
    assert performance == played(random.sample(rows, len(rows)))  # type: ignore[attr-defined]
    struck = {(start, pitch): 0.0 for start, _, pitch, _ in rows}
    for start, duration, pitch, _ in rows:
        struck[start, pitch] = max(struck[start, pitch], start + duration)
    assert len(performance) == len(struck)
    for start, end, pitch, velocity in performance.notes.tolist():
        again = min((other for other, same in struck if same == pitch and other > start), default=math.inf)
        assert end == min(struck[start, pitch], again)
        assert velocity == max(row[3] for row in rows if (row[0], row[2]) == (start, pitch))
    assert performance.seconds == max((row[1] for row in performance.notes.tolist()), default=0.0)
    halves = [played(rows[::2]), played(rows[1::2])]
    check_keyboard(together(halves))
    assert together([performance]) == performance and together([]) == played([])


@pytest.mark.parametrize(
    ("note", "got"),
    [
        ((-0.1, 1.0, 60, 80), r"\(-0\.1, 1\.0, 60, 80\)"),
        ((1.0, 1.0, 60, 80), r"1\.0, 1\.0"),
        ((0.0, MAX_SECONDS + 1, 60, 80), "21601"),
        ((math.nan, 1.0, 60, 80), "nan"),
        ((0.0, math.inf, 60, 80), "inf"),
        ((0.0, 1.0, 20, 80), "20, 80"),
        ((0.0, 1.0, 109, 80), "109"),
        ((0.0, 1.0, 2**16 + 60, 80), "65596"),
        ((0.0, 1.0, 60, 0), "60, 0"),
        ((0.0, 1.0, 60, 128), "128"),
    ],
)
def test_a_note_that_cannot_be(note: tuple[float, float, int, int], got: str) -> None:
    with pytest.raises(UserError, match=rf"^expected notes with 0 <= start < end.*{got}.*; cut") as caught:
        Performance.of(*zip((0.0, 1.0, 60, 80), note, strict=True))
    assert "\n" not in str(caught.value)


def test_a_piece_and_back() -> None:
    piece = Piece((Note(0, 3, 60, 70), Note(1, 2, 20), Note(2, 6, 64, voice=1)), 4, 60.0, ("a", "b"))
    performance, words = from_piece(piece)
    assert performance.notes.tolist() == [(0.0, 0.75, 60, 70), (0.5, 1.5, 64, 80)]
    assert words == ["1 of 3 notes left out, which are off the 88 keys of a piano"]
    again = performance.to_piece()
    assert again.seconds_at(1) == 0.001 and again.voices == ("piano",)
    assert again.notes == (Note(0, 750, 60, 70), Note(500, 1500, 64, 80))
    assert from_piece(again) == (performance, []) and from_piece(Piece(())) == (played([]), [])


def test_a_performance_is_heard(tmp_path: Path) -> None:
    soft_and_loud = Performance.of([0.0, 3.0], [1.0, 4.0], [60, 60], [20, 120])
    sound = render(soft_and_loud.to_piece(), rate=8_000)
    assert sound[24_000:32_000].std() > 5 * sound[:8_000].std() > 0
    for name, begins in (("a.mid", b"MThd"), ("a.wav", b"RIFF"), ("a.png", b"\x89PNG")):
        save_music(soft_and_loud, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begins)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8)), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 24), st.booleans()), max_size=8),
)
def test_the_pedal_holds_what_is_released_while_it_is_down(
    keys: list[tuple[int, int]], changes: list[tuple[int, bool]]
) -> None:
    release = np.array([start + held for start, held in keys])
    found = sustained(release, np.array(changes, np.int64).reshape(-1, 2))
    ordered = sorted(changes, key=lambda change: change[0])
    for at, end in zip(release.tolist(), found.tolist(), strict=True):
        down = False
        for tick, state in ordered:
            if tick <= at:
                down = state
        ups = [tick for tick, state in ordered if not state and tick > at]
        assert end == (at if not down else ups[0] if ups else release.max())


@settings(deadline=None, max_examples=60)
@given(performances(), st.sampled_from([0.95, 0.975, 1.0, 1.05, 2.0]))
def test_stretching(performance: Performance, factor: float) -> None:
    found = stretched(performance, factor)
    check_keyboard(found)
    np.testing.assert_allclose(found.notes["start"], factor * performance.notes["start"])
    np.testing.assert_allclose(found.notes["end"], factor * performance.notes["end"])
    assert (found.notes["pitch"] == performance.notes["pitch"]).all()


@pytest.mark.parametrize("factor", [0.0, -1.0, math.nan, math.inf])
def test_a_stretch_that_cannot_be(factor: float) -> None:
    with pytest.raises(UserError, match="expected a positive factor"):
        stretched(played([(0.0, 1.0, 60, 80)]), factor)


@settings(deadline=None, max_examples=60)
@given(performances())
def test_transpositions_keep_to_the_keys(performance: Performance) -> None:
    offered = transpositions(performance)
    assert 0 in offered and offered.start >= -3 and offered[-1] <= 3
    for semitones in range(-4, 5):
        pitches = performance.notes["pitch"] + semitones
        if len(pitches) and not (pitches.min() >= 21 and pitches.max() <= 108):
            assert semitones not in offered
            with pytest.raises(UserError, match=f"by {semitones} semitones"):
                transposed(performance, semitones)
        else:
            assert (semitones in offered) == (abs(semitones) <= 3)
            found = transposed(performance, semitones)
            check_keyboard(found)
            assert found.notes["pitch"].tolist() == pitches.tolist()
            assert transposed(found, -semitones) == performance


# -- events -----------------------------------------------------------------------------------------------------------
