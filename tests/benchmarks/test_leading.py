from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leading import VoiceLeading, voice_leading
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.music.chorales.codec import RANGES

Grid = NDArray[np.int64]

R = -1
CHORD = [72, 67, 64, 48]  # C major in root position


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    pitches = st.one_of(st.just(R), st.integers(48, 60))
    return np.array(draw(st.lists(st.tuples(*[pitches] * 4), max_size=12)), np.int64).reshape(-1, 4)


def parallels(*rows: list[int]) -> tuple[int, int]:
    found = voice_leading(np.array(rows))
    return found.parallel_fifths, found.parallel_octaves


@pytest.mark.parametrize(
    ("before", "after", "fifths", "octaves"),
    [
        ([67, R, R, 60], [69, R, R, 62], 1, 0),  # a fifth to a fifth
        ([79, R, R, 60], [69, R, R, 50], 1, 0),  # a twelfth to a twelfth, downwards
        ([67, R, R, 60], [81, R, R, 62], 1, 0),  # a fifth to a twelfth, both upwards
        ([R, 60, R, 48], [R, 62, R, 50], 0, 1),  # an octave to an octave
        ([R, 60, 60, R], [R, 62, 62, R], 0, 1),  # a unison to a unison
        ([R, 60, 60, R], [R, 74, 62, R], 0, 1),  # a unison to an octave
        ([60, 67, R, R], [62, 69, R, R], 1, 0),  # crossed voices
        ([67, R, R, 60], [67, R, R, 60], 0, 0),  # nothing moves
        ([67, R, R, 60], [67, R, R, 48], 0, 0),  # one voice moves: a fifth to a nineteenth
        ([67, R, R, 60], [55, R, R, 72], 0, 0),  # both move, apart: a fifth to a seventeenth
        ([67, R, R, 60], [64, R, R, 69], 0, 0),  # contrary motion
        ([67, R, R, 60], [55, R, R, 60], 0, 0),  # a fifth to a fourth
        ([67, R, R, 60], [68, R, R, 62], 0, 0),  # a perfect fifth to a tritone
        ([66, R, R, 60], [69, R, R, 62], 0, 0),  # a tritone to a perfect fifth
        ([72, R, R, 60], [69, R, R, 62], 0, 0),  # an octave to a fifth
        ([64, R, R, 60], [66, R, R, 62], 0, 0),  # parallel thirds
        ([72, 67, R, 60], [74, 69, R, 62], 1, 1),  # two pairs of three voices
        ([79, 72, 67, 60], [81, 74, 69, 62], 3, 2),  # four voices: T-B, A-S, S-B are fifths, A-B, S-T octaves
    ],
)
def test_motions(before: list[int], after: list[int], fifths: int, octaves: int) -> None:
    assert parallels(before, after) == (fifths, octaves)


def test_contrary_fifths_are_not_parallel() -> None:
    """A fifth to a twelfth, the upper voice up and the lower one down."""
    assert parallels([67, R, R, 60], [74, R, R, 55]) == (0, 0)


def test_a_rest_moves_nowhere() -> None:
    assert parallels([67, R, R, 60], [R, R, R, 62], [69, R, R, 62]) == (0, 0)
    assert parallels([67, R, R, R], [69, R, R, 62]) == (0, 0)
    assert parallels([67, R, R, 60], [R, R, R, R], [69, R, R, 62]) == (0, 0)
    assert parallels([R, R, R, R], [R, R, R, R]) == (0, 0)


def test_a_motion_counts_where_it_happens_and_once() -> None:
    held = [[67, R, R, 60]] * 3 + [[69, R, R, 62]] * 5
    assert parallels(*held) == (1, 0)
    assert parallels(*[[67 + step, R, R, 60 + step] for step in range(5)]) == (4, 0)


def test_crossings() -> None:
    crossed = [[72, 67, 48, 52], [72, 67, 48, 52], [60, 67, 72, 48], CHORD, [72, 72, 48, 48]]
    assert voice_leading(np.array(crossed)).crossings == 3, "by the step; a unison is no crossing"
    assert voice_leading(np.array([[60, R, 72, R]])).crossings == 0, "neighbours only, both sounding"


def test_ranges() -> None:
    lowest, highest = ([limits[side] for limits in RANGES] for side in (0, 1))
    assert voice_leading(np.array([lowest, highest, [R] * 4])).range_violations == 0
    below, above = np.array([lowest] * 4) - np.eye(4, dtype=int), np.array([highest] * 4) + np.eye(4, dtype=int)
    assert voice_leading(below).range_violations == voice_leading(above).range_violations == 4
    assert voice_leading(np.array([[0, 0, 0, 0]])).range_violations == 1, "by the step"


@settings(max_examples=60, deadline=None)
@given(grids(), st.integers(-30, 30))
def test_parallels_and_crossings_do_not_depend_on_the_key(grid: Grid, semitones: int) -> None:
    moved = np.where(grid < 0, grid, grid + semitones)
    assert astuple(voice_leading(moved))[:4] == astuple(voice_leading(grid))[:4]


@settings(max_examples=60, deadline=None)
@given(grids())
def test_parallels_are_the_same_backwards_and_slowly(grid: Grid) -> None:
    found = voice_leading(grid)
    assert astuple(voice_leading(grid[::-1])) == astuple(found)
    slow = voice_leading(grid.repeat(3, axis=0))
    assert (slow.parallel_fifths, slow.parallel_octaves) == (found.parallel_fifths, found.parallel_octaves)
    assert (slow.steps, slow.crossings, slow.range_violations) == (
        3 * found.steps,
        3 * found.crossings,
        3 * found.range_violations,
    )


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(0, 127)] * 4), st.integers(1, 9))
def test_what_is_held_makes_no_parallels(chord: tuple[int, ...], steps: int) -> None:
    found = voice_leading(np.array([chord] * steps))
    assert (found.steps, found.parallel_fifths, found.parallel_octaves) == (steps, 0, 0)


@settings(max_examples=40, deadline=None)
@given(grids(), grids())
def test_sums(one: Grid, other: Grid) -> None:
    """Pieces side by side, with a step of rests between them, are the sum of the two and of that step."""
    whole = voice_leading(np.concatenate([one, np.full((1, 4), R), other]))
    assert whole == voice_leading(one) + voice_leading(other) + VoiceLeading(steps=1)
    assert sum([voice_leading(one)], VoiceLeading()) == voice_leading(one)


def test_per_hundred_steps() -> None:
    found = VoiceLeading(400, parallel_fifths=2, parallel_octaves=1, crossings=10, range_violations=0)
    assert found.per_hundred_steps() == {
        "parallel_fifths": 0.5,
        "parallel_octaves": 0.25,
        "crossings": 2.5,
        "range_violations": 0.0,
    }
    assert set(voice_leading(np.empty((0, 4), int)).per_hundred_steps().values()) == {0.0}


def test_small_integers_do_not_wrap() -> None:
    grid = np.array([[127, R, R, 0], [120, R, R, 113]])
    assert voice_leading(grid.astype(np.int8)) == voice_leading(grid)


@pytest.mark.parametrize("grid", [np.zeros((3, 5), int), np.zeros((3, 4)), np.zeros(4, int)])
def test_not_a_grid(grid: Any) -> None:
    with pytest.raises(UserError, match=r"expected a grid of integers \[steps, 4\], got"):
        voice_leading(grid)
