from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.look.similarity import FAITHFUL, MAX_BEATS, beats_of, draw, repetition, similarity
from triptych.music.piece.metre import Metre
from triptych.music.piece.piece import Note, Piece


def tune(pitches: list[int], resolution: int = 4, **more: Any) -> Piece:
    """A quarter note a pitch, -1 is a rest."""
    notes = [
        Note(beat * resolution, (beat + 1) * resolution, pitch) for beat, pitch in enumerate(pitches) if pitch >= 0
    ]
    return Piece(tuple(notes), resolution, length=len(pitches) * resolution, **more)


def random_tune(beats: int, seed: int) -> list[int]:
    drawn: list[int] = np.random.default_rng(seed).integers(48, 84, beats).tolist()
    return drawn


def shifted(piece: Piece, semitones: int) -> Piece:
    moved = tuple(Note(note.start, note.end, note.pitch + semitones) for note in piece.notes)
    return Piece(moved, piece.resolution, length=piece.length)


def covered(matrix: NDArray[np.float64]) -> float:
    """The definition of `repetition`, word by word."""
    count, beats = len(matrix), set()
    for one in range(count - 7):
        for other in range(count - 7):
            mean = sum(matrix[one + beat, other + beat] for beat in range(8)) / 8
            if abs(one - other) >= 8 and mean >= FAITHFUL - 1e-9:
                beats |= set(range(one, one + 8))
    return len(beats) / count


def test_known_numbers() -> None:
    # C, C an octave higher, D, C with E above it, silence
    piece = Piece((Note(0, 4, 60), Note(4, 8, 72), Note(8, 12, 62), Note(12, 16, 60), Note(12, 16, 64)), 4, length=20)
    matrix = similarity(piece)
    assert matrix.shape == (5, 5)
    half_of_the_harmony = 0.5**0.5 / 2
    expected = [
        [1, 0.5, 0, half_of_the_harmony, 0],
        [0.5, 1, 0, half_of_the_harmony, 0],
        [0, 0, 1, 0, 0],
        [half_of_the_harmony, half_of_the_harmony, 0, 1, 0],
        [0, 0, 0, 0, 1],
    ]
    np.testing.assert_allclose(matrix, expected, atol=1e-12)


def test_a_melody_over_other_chords_and_chords_under_another_melody() -> None:
    beats = [(67, 60), (67, 62), (79, 60)]
    notes = [Note(4 * beat, 4 * beat + 4, pitch) for beat, pitches in enumerate(beats) for pitch in pitches]
    melody, chords = similarity(Piece(tuple(notes), 4))[0, 1:]
    assert melody == pytest.approx(0.5 + 0.25), "the melody is one of the two notes of the harmony too"
    assert chords == pytest.approx(0.5)


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    resolution = draw(st.integers(1, 5))
    notes = []
    for _ in range(draw(st.integers(1, 10))):
        start = draw(st.integers(0, 30))
        notes.append(Note(start, start + draw(st.integers(1, 12)), draw(st.integers(30, 90))))
    return Piece(tuple(notes), resolution, length=draw(st.integers(0, 60)), pickup=draw(st.integers(0, 9)))


@settings(max_examples=50, deadline=None)
@given(pieces(), st.integers(-24, 24))
def test_a_matrix_of_similarities(piece: Piece, semitones: int) -> None:
    matrix = similarity(piece)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(matrix.diagonal(), 1)
    assert matrix.min() >= 0 and matrix.max() <= 1
    np.testing.assert_allclose(similarity(shifted(Piece(piece.notes, 4), semitones)), similarity(Piece(piece.notes, 4)))


@settings(max_examples=30, deadline=None)
@given(pieces(), st.integers(2, 120))
def test_the_resolution_does_not_matter(piece: Piece, factor: int) -> None:
    finer = tuple(Note(note.start * factor, note.end * factor, note.pitch) for note in piece.notes)
    fine = Piece(finer, piece.resolution * factor, length=piece.length * factor, pickup=(piece.pickup or 0) * factor)
    np.testing.assert_allclose(similarity(fine), similarity(piece), atol=1e-12)


def test_beats_are_counted_from_the_bar_lines() -> None:
    """An upbeat of an eighth, then quarters C and D: beats of two, four and four sixteenths."""
    piece = Piece((Note(0, 2, 67), Note(2, 6, 60), Note(6, 10, 62)), 4, pickup=2)
    np.testing.assert_allclose(similarity(piece), np.eye(3), atol=1e-12)
    assert len(similarity(Piece(piece.notes, 4, pickup=4))) == 3
    assert similarity(Piece(piece.notes, 4, pickup=4))[0, 1] > 0, "a beat that is cut elsewhere holds two of the notes"


def test_beats_are_those_of_the_metre() -> None:
    metres = (Metre(0, 3, 4), Metre(14, 6, 8))
    piece = Piece((Note(0, 26, 60),), 4, pickup=2, metres=metres)
    assert beats_of(piece) == {0: "", 2: "1", 6: "", 10: "", 14: "2", 20: ""}


@pytest.mark.parametrize("beats", [8, 13, 40])
def test_what_is_played_twice_comes_back(beats: int) -> None:
    once = random_tune(beats, seed=beats)
    assert repetition(similarity(tune(once + once))) == 1
    assert repetition(similarity(tune([*once, -1, *once]))) == pytest.approx(2 * beats / (2 * beats + 1))


def test_a_b_a() -> None:
    first, second = random_tune(10, seed=1), random_tune(20, seed=2)
    assert repetition(similarity(tune(first + second + first))) == pytest.approx(0.5)
    assert repetition(similarity(tune(first[:7] + second + first[:7]))) == 0, "seven beats are too few"


@pytest.mark.parametrize(("changes", "share"), [([20], 1.0), ([20, 21], 0.0), ([20, 12], 1.0), ([20, 12, 12], 0.0)])
def test_how_faithful_a_repeat_has_to_be(changes: list[int], share: float) -> None:
    """Of eight beats, one may be another (7 / 8) and one an octave higher (6.5 / 8): 0.8 is the least."""
    once = list(range(60, 68))
    again = [pitch + change for pitch, change in zip(once, [*changes, *[0] * 8], strict=False)]
    assert repetition(similarity(tune(once + again))) == share


@pytest.mark.parametrize("seed", range(3))
def test_random_notes_do_not_come_back(seed: int) -> None:
    assert repetition(similarity(tune(random_tune(120, seed)))) == 0


def test_the_order_is_what_counts() -> None:
    once = random_tune(30, seed=3)
    shuffled = np.random.default_rng(4).permutation(once + once).tolist()
    assert repetition(similarity(tune(once + once))) == 1
    assert repetition(similarity(tune(shuffled))) == 0


def test_a_vamp_and_a_held_note_are_all_repetition() -> None:
    assert repetition(similarity(tune([60, 64] * 12))) == 1
    assert repetition(similarity(Piece((Note(0, 64, 60),), 4))) == 1


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([60, 64, 67]), min_size=16, max_size=30))
def test_the_definition(pitches: list[int]) -> None:
    matrix = similarity(tune(pitches))
    assert repetition(matrix) == pytest.approx(covered(matrix))


@pytest.mark.parametrize("beats", [1, 15])
def test_too_short_to_come_back(beats: int) -> None:
    with pytest.raises(UserError, match=f"at least 16 beats, got {beats}; "):
        repetition(similarity(tune([60] * beats)))


@pytest.mark.parametrize(("length", "message"), [(0, "got 0;"), (4 * MAX_BEATS + 1, "got more than 2,000;")])
def test_no_beats_and_too_many(length: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        similarity(Piece((), 4, length=length))


def test_a_fine_grid_takes_no_more_memory() -> None:
    piece = Piece((Note(0, 480_000, 60), Note(480_000, 10_000_000, 64)), 480_000)
    assert len(similarity(piece)) == 21


def test_what_is_drawn() -> None:
    once = random_tune(20, seed=5)
    matrix = similarity(tune(once + once))
    axes, bar = draw(matrix, bars=["", *(str(beat // 4 + 1) if beat % 4 == 0 else "" for beat in range(39))]).axes
    image: Any = axes.images[0]
    np.testing.assert_array_equal(image.get_array(), matrix)
    assert image.get_extent() == [0, 40, 40, 0] and image.get_clim() == (0, 1)
    assert list(axes.get_xticks()) == list(axes.get_yticks()) == list(range(1, 40, 4))
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(number) for number in range(1, 11)]
    assert [text.get_text() for text in axes.texts] == [
        "40 beats; 100% of them lie in passages of 8 that sound elsewhere too"
    ]
    assert bar.get_ylabel() == "similarity"


def test_a_short_piece_and_a_long_one_are_drawn() -> None:
    axes = draw(np.eye(3)).axes[0]
    assert [text.get_text() for text in axes.texts] == ["3 beats"]
    assert len(draw(np.eye(400)).axes[0].get_xticks()) <= 16


def test_time_instead_of_bars() -> None:
    axes = draw(similarity(tune([60] * 12)), seconds=0.5).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "2", "4"]
    assert axes.get_xlabel() == "seconds"
