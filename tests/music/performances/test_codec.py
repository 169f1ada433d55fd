from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music.performances.codec import (
    END,
    NOTE_OFF,
    NOTE_ON,
    TIME_SHIFT,
    VELOCITY,
    PerformanceCodec,
    moment,
    on_grid,
    onsets,
    shifts,
)
from triptych.music.piece.performance import (
    HIGHEST,
    LOWEST,
    Performance,
)

CODEC = PerformanceCodec()

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


def test_the_vocabulary() -> None:
    assert (NOTE_ON, NOTE_OFF, TIME_SHIFT, VELOCITY, END, CODEC.vocabulary) == (0, 88, 176, 276, 308, 309)


def test_the_ids_of_a_performance() -> None:
    performance = played([(0.5, 2.5, 21, 64), (0.5, 0.1, 108, 64), (3.0, 1.0, 60, 127), (3.0, 1.0, 21, 127)])
    low, middle, high = 0, 39, 87
    assert CODEC.encode(performance).tolist() == [
        TIME_SHIFT + 49, VELOCITY + 15, low, high,
        TIME_SHIFT + 9, NOTE_OFF + high,
        TIME_SHIFT + 99, TIME_SHIFT + 99, TIME_SHIFT + 39, NOTE_OFF + low, VELOCITY + 31, low, middle,
        TIME_SHIFT + 99, NOTE_OFF + low, NOTE_OFF + middle,
    ]  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(performances())
def test_events_and_back(performance: Performance) -> None:
    ids = CODEC.encode(performance)
    assert ids.dtype == np.int64 and (not len(ids) or (ids.min() >= 0 and ids.max() < END))
    grid = on_grid(performance)
    check_keyboard(grid)
    assert CODEC.decode(ids) == CODEC.decode(ids.tolist()) == grid
    assert on_grid(grid) == grid
    np.testing.assert_array_equal(CODEC.encode(grid), ids)
    assert len(grid) == len(performance)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.floats(0, 3), st.floats(1e-4, 1), st.integers(21, 108), st.integers(1, 127)), max_size=30))
def test_every_note_survives(rows: list[tuple[float, float, int, int]]) -> None:
    """Where no key is struck twice: its times move by less than 10 ms, its velocity stays in its bin."""
    performance = played(list({row[2]: row for row in rows}.values()))
    before = performance.notes[np.argsort(performance.notes["pitch"])]
    after = CODEC.decode(CODEC.encode(performance)).notes
    after = after[np.argsort(after["pitch"])]
    assert (before["pitch"] == after["pitch"]).all()
    for name in ("start", "end"):
        assert np.abs(before[name] - after[name]).max(initial=0) < 0.01 + 1e-9
    assert ((before["velocity"] - 1) // 4 == (after["velocity"] - 1) // 4).all()


def test_a_note_within_a_step_is_a_step_around_it() -> None:
    for start, end, expected in [(0.0, 0.001, (0.0, 0.01)), (0.507, 0.509, (0.5, 0.51)), (0.511, 0.514, (0.51, 0.52))]:
        assert on_grid(played([(start, end - start, 60, 1)])).notes.tolist() == [(*expected, 60, 2)]


def test_a_key_struck_twice_in_a_step_has_two_notes() -> None:
    twice = played([(0.0, 0.001, 60, 1), (0.002, 0.5, 60, 5), (0.6, 0.1, 60, 9)])
    assert on_grid(twice).notes.tolist() == [(0.0, 0.01, 60, 2), (0.01, 0.5, 60, 6), (0.6, 0.7, 60, 10)]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([0, 1, NOTE_OFF, NOTE_OFF + 1, TIME_SHIFT, TIME_SHIFT + 99, VELOCITY, VELOCITY + 31, END]),
            st.integers(0, END - 1),
            st.integers(-3, END + 3),
            st.integers(-(2**70), 2**70),
        ),
        max_size=60,
    )
)
def test_any_ids_are_a_performance(ids: list[int]) -> None:
    performance = CODEC.decode(iter(ids))
    check_keyboard(performance)
    assert performance == CODEC.decode(CODEC.encode(performance))
    assert len(performance.to_piece().notes) == len(performance)
    # one key after the other, as plainly as can be
    before_end = ids[: ids.index(END)] if END in ids else ids
    expected = []
    for key in range(88):
        now, loud, began = 0, 78, None
        for token in [*before_end, NOTE_OFF + key]:
            if token in (key, NOTE_OFF + key):
                if began is not None and began[0] < now:
                    expected.append((began[0] / 100, now / 100, LOWEST + key, began[1]))
                began = (now, loud) if token == key else None
            now += token - TIME_SHIFT + 1 if TIME_SHIFT <= token < VELOCITY else 0
            loud = 4 * (token - VELOCITY) + 2 if VELOCITY <= token < END else loud
    assert performance.notes.tolist() == sorted(expected, key=lambda note: (note[0], note[2]))


def test_velocities_stand_within_their_bins() -> None:
    for velocity in range(1, 128):
        found = on_grid(played([(0.0, 1.0, 60, velocity)])).notes["velocity"][0]
        assert abs(found - velocity) <= 2 and (found - 1) // 4 == (velocity - 1) // 4
    loud = CODEC.decode([LOWEST, TIME_SHIFT]).notes["velocity"][0]
    assert 77 <= loud <= 80, "as a note is that says nothing"


def test_what_a_folder_keeps() -> None:
    codec = PerformanceCodec(("Bach", "Chopin"))
    assert PerformanceCodec.from_bytes(codec.to_bytes()).labels == ("Bach", "Chopin")
    assert codec.label("chopin") == 1
    with pytest.raises(UserError, match="got 'Liszt'; its labels: Bach, Chopin"):
        codec.label("Liszt")
    with pytest.raises(UserError, match="its labels: none"):
        CODEC.label("Liszt")
    for other in (
        b"", b"{}", b"[]", b"7", b"\xff", b"[" * 100_000, codec.to_bytes().replace(b"21", b"20"),
        codec.to_bytes().replace(b'"Bach"', b"7"), codec.to_bytes().replace(b'["Bach", "Chopin"]', b"null"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=r"expected a codec of performances in performance\.json"):
            PerformanceCodec.from_bytes(other)


def test_the_keys_are_those_of_a_piano() -> None:
    assert (LOWEST, HIGHEST) == (21, 108)


def test_notes_are_heard_as_they_end() -> None:
    ids = [VELOCITY + 5, 10, 20, TIME_SHIFT + 9, NOTE_OFF + 20, TIME_SHIFT + 4, NOTE_OFF + 10, 30, TIME_SHIFT, END, 40]
    heard = PerformanceCodec().heard(iter(ids))
    assert list(heard) == [(0, 10, 41, 22), (0, 15, 31, 22), (15, 16, 51, 22)]
    assert shifts(np.array(ids)).tolist() == [0, 0, 0, 10, 0, 5, 0, 0, 1, 0, 0]


def test_onsets_are_those_of_the_events() -> None:
    performance = Performance.of([0.3, 0.1, 0.104], [1, 1, 1], [40, 70, 60], [80] * 3)
    assert onsets(performance) == [(10, 39), (10, 49), (30, 19)]
    assert moment(performance, 2) == 30
