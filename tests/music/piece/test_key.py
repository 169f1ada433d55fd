from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.music.piece.key import ENDING, RATINGS, Key, key_of

Grid = NDArray[np.int64]


def line(pitches: list[int]) -> Grid:
    return np.array([[pitch] for pitch in pitches])


@st.composite
def grids(draw: st.DrawFn, rests: bool = True) -> Grid:
    """Few different pitches, so that keys often fit equally well; at least one of them sounds."""
    pitches = draw(st.lists(st.integers(48, 72), min_size=1, max_size=8))
    cells = st.sampled_from([*pitches, -1] if rests else pitches)
    rows = draw(st.lists(st.tuples(*[cells] * 4), min_size=1, max_size=12))
    grid = np.array(rows)
    grid[draw(st.integers(0, len(rows) - 1)), draw(st.integers(0, 3))] = pitches[0]
    return grid


def moved(grid: Grid, semitones: int) -> Grid:
    return np.where(grid < 0, grid, grid + semitones)


@pytest.mark.parametrize(
    ("tonic", "minor", "name", "fifths"),
    [
        (0, False, "C major", 0),
        (7, False, "G major", 1),
        (10, False, "B-flat major", -2),
        (6, False, "F-sharp major", 6),
        (1, False, "D-flat major", -5),
        (9, True, "A minor", 0),
        (6, True, "F-sharp minor", 3),
        (7, True, "G minor", -2),
        (8, True, "G-sharp minor", 5),
        (3, True, "E-flat minor", -6),
        (10, True, "B-flat minor", -5),
    ],
)
def test_names_and_signatures(tonic: int, minor: bool, name: str, fifths: int) -> None:
    assert Key(tonic, minor).name == name
    assert Key(tonic, minor).fifths == fifths


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 11), st.booleans())
def test_a_signature_has_the_tonic_and_a_name_that_suits_it(tonic: int, minor: bool) -> None:
    key = Key(tonic, minor)
    assert -6 <= key.fifths <= 6
    assert (7 * key.fifths - 3 * minor) % 12 == tonic, "the tonic is so many fifths from C, or a third below it"
    flat, sharp = "-flat " in key.name, "-sharp " in key.name
    assert (not flat or key.fifths < 0) and (not sharp or key.fifths > 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 11), st.booleans(), st.integers(-30, 30), st.integers(-30, 30))
def test_transposing_adds_up(tonic: int, minor: bool, one: int, other: int) -> None:
    key = Key(tonic, minor)
    assert key.transposed(one).transposed(other) == key.transposed(one + other)
    assert key.transposed(12) == key and key.transposed(one).minor == minor


def test_scales_that_end_on_their_tonic() -> None:
    assert key_of(line([60, 62, 64, 65, 67, 69, 71, 72])).name == "C major"
    assert key_of(line([57, 59, 60, 62, 64, 65, 68, 69])).name == "A minor"
    assert key_of(line([66, 68, 70, 71, 73, 75, 77, 78])).name == "F-sharp major"


def test_the_last_bass_note_decides_between_relatives() -> None:
    scale = [60, 62, 64, 65, 67, 69, 71]
    assert key_of(line([*scale, 60])).name == "C major"
    assert key_of(line([*scale, 57])).name == "A minor"


def test_the_last_bass_note_is_the_lowest_of_the_last_step_that_sounds() -> None:
    scale = [[pitch, -1, -1, -1] for pitch in (60, 62, 64, 65, 67, 69, 71)]
    assert key_of(np.array([*scale, [72, 67, 64, 48], [-1, -1, -1, -1]])).name == "C major"
    assert key_of(np.array([*scale, [72, 57, 64, 60]])).name == "A minor", "a tenor below the bass"


def test_a_minor_piece_may_end_on_its_dominant() -> None:
    grid = np.array([[69, 64, 60, 57]] * 12 + [[69, 65, 62, 50]] * 4 + [[71, 68, 64, 52]] * 4)
    assert key_of(grid).name == "A minor"


@settings(max_examples=60, deadline=None)
@given(grids(), st.integers(-24, 24))
def test_the_key_moves_with_the_piece(grid: Grid, semitones: int) -> None:
    assert key_of(moved(grid, semitones)) == key_of(grid).transposed(semitones)


@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_ties_move_with_the_piece(step: int) -> None:
    """Pitch classes that divide the octave evenly fit several keys equally well."""
    symmetric = line(list(range(48, 60, step)))
    for semitones in range(12):
        assert key_of(moved(symmetric, semitones)) == key_of(symmetric).transposed(semitones)


def test_equal_scores_go_to_the_next_tonic_above_the_last_bass_note_and_to_major() -> None:
    assert key_of(line([*range(48, 60)])) == Key(11, minor=False)
    # The counts are the same a tritone higher, so keys a tritone apart fit equally well.
    halves = [60, 62, 64, 65, 67, 69, 71]
    grid = line([*halves, *[pitch + 6 for pitch in halves]] * 5 + [63, 69])
    found = key_of(grid)
    assert found.tonic != 9 and (found.tonic - 9) % 12 < 6


@settings(max_examples=40, deadline=None)
@given(grids())
def test_no_other_key_correlates_better(grid: Grid) -> None:
    counts = np.bincount(grid[grid >= 0] % 12, minlength=12).astype(float)
    last = grid[(grid >= 0).any(1)][-1]
    bass = last[last >= 0].min() % 12

    def score(tonic: int, minor: bool) -> float:
        ending = ENDING if tonic == bass else 0.0
        if counts.std() == 0:
            return ending
        return float(np.corrcoef(np.roll(RATINGS[minor], tonic), counts)[0, 1]) + ending

    found = key_of(grid)
    best = max(score(tonic, minor) for tonic in range(12) for minor in (False, True))
    assert score(found.tonic, found.minor) == pytest.approx(best, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(grids(rests=False), st.integers(1, 5))
def test_tempo_and_octave_do_not_matter(grid: Grid, times: int) -> None:
    assert key_of(grid.repeat(times, axis=0)) == key_of(grid)
    assert key_of(grid.astype(np.int8) + 12) == key_of(grid)


@pytest.mark.parametrize("shape", [(0, 4), (5, 4), (3, 1)])
def test_silence_is_in_c_major(shape: tuple[int, int]) -> None:
    assert key_of(np.full(shape, -1)) == Key(0, minor=False)


@pytest.mark.parametrize("grid", [np.zeros(4, int), np.zeros((2, 2, 4), int), np.zeros((3, 4))])
def test_not_a_grid(grid: Any) -> None:
    with pytest.raises(UserError, match=r"expected a grid of integers \[steps, voices\], got"):
        key_of(grid)


@pytest.mark.parametrize("tonic", [-1, 12, 60])
def test_not_a_tonic(tonic: int) -> None:
    with pytest.raises(UserError, match="modulo 12"):
        Key(tonic, minor=True)


@pytest.mark.parametrize(
    ("text", "name", "fifths"),
    [
        ("Bb minor", "B-flat minor", -5),
        ("B-flat minor", "B-flat minor", -5),
        ("b flat MINOR", "B-flat minor", -5),
        ("Bbm", "B-flat minor", -5),
        ("bb", "B-flat minor", -5),
        ("F#", "F-sharp major", 6),
        ("Gb", "G-flat major", -6),
        ("F♯ minor", "F-sharp minor", 3),
        ("f#", "F-sharp minor", 3),
        ("c", "C minor", -3),
        ("C", "C major", 0),
        ("Cm", "C minor", -3),
        ("CM", "C major", 0),
        ("C min.", "C minor", -3),
        ("e Major", "E major", 4),
        ("E_maj", "E major", 4),
        ("a-Moll", "A minor", 0),
        ("B-Dur", "B-flat major", -2),
        ("b-moll", "B-flat minor", -5),
        ("H-moll", "B minor", 2),
        ("h", "B minor", 2),
        ("Fis-Dur", "F-sharp major", 6),
        ("fis", "F-sharp minor", 3),
        ("Es-Dur", "E-flat major", -3),
        ("as-moll", "A-flat minor", -7),
        ("Des", "D-flat major", -5),
        ("b", "B minor", 2),
        (" d  minor ", "D minor", -1),
        ("D# minor", "D-sharp minor", 6),
        ("Cb major", "C-flat major", -7),
    ],
)
def test_keys_as_people_write_them(text: str, name: str, fifths: int) -> None:
    key = Key.parse(text)
    assert (key.name, key.fifths, key.signature.minor) == (name, fifths, key.minor)
    assert Key.parse(key.name) == key == Key(key.tonic, key.minor)


@given(st.integers(0, 11), st.booleans())
def test_every_name_is_read(tonic: int, minor: bool) -> None:
    assert Key.parse(Key(tonic, minor).name) == Key(tonic, minor)


@pytest.mark.parametrize(
    "text", ["", "X", "minor", "G# major", "Fb minor", "C##", "Ds", "Cmm", "Moll", "C dorian", "4"]
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(UserError, match="expected a key, such as") as caught:
        Key.parse(text)
    assert "\n" not in str(caught.value)
