"""The ids so far: appended one by one or at once, selected, and their repeats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.decode.history import MISSING, History


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 20), st.integers(0, 1000))
def test_one_by_one_is_at_once(rows: int, size: int, length: int, seed: int) -> None:
    ids = np.random.default_rng(seed).integers(9, size=(rows, length))
    slow, fast = History(rows, 21, size), History(rows, 21, size)
    for at in range(length):
        assert (slow.position, slow.place) == divmod(at, size)
        slow.append(ids[:, at])
        assert slow.last().tolist() == ids[:, at].tolist()
    fast.extend(ids)
    assert np.array_equal(slow.ids, fast.ids) and slow.length == fast.length == length
    assert slow.ids.reshape(rows, -1)[:, :length].tolist() == ids.tolist()
    assert (slow.ids.reshape(rows, -1)[:, length:] == MISSING).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3), st.integers(1, 10), st.integers(1, 5), st.integers(1, 12), st.integers(0, 1000))
def test_repeats_count_back(rows: int, positions: int, size: int, most: int, seed: int) -> None:
    ids = np.random.default_rng(seed).integers(2, size=(rows, positions, size))
    history = History(rows, positions * size, size)
    history.extend(ids.reshape(rows, -1))
    for position in range(positions):
        found = history.repeats(position, most)
        for row in range(rows):
            for place in range(size):
                count = 0
                while (
                    count < min(most, position) and ids[row, position - count - 1, place] == ids[row, position, place]
                ):
                    count += 1
                assert found[row, place] == count


@pytest.mark.parametrize("sourced", [True, False])
def test_rows_change_places(sourced: bool) -> None:
    source = np.arange(12).reshape(3, 2, 2) if sourced else None
    history = History(3, 4, 2, source)
    history.extend(np.array([[0, 1], [2, 3], [4, 5]]))
    history.select(np.array([2, 0]))
    assert history.rows == 2 and history.ids[:, 0].tolist() == [[4, 5], [0, 1]]
    assert history.source is None or history.source[:, 0].tolist() == [[8, 9], [0, 1]]
