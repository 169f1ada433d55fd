"""Forced prefixes: filled up with -1, and what is refused (the searches test the rest)."""

import numpy as np
import pytest

from triptych.errors import UserError
from triptych.generation.forced import FREE, check_vocabulary, forced_ids


def test_it_is_filled_up_with_free_places() -> None:
    got = forced_ids(np.array([[4, -1], [-1, 2]], dtype=np.int32), rows=2, length=4, end=1)
    assert got.tolist() == [[4, -1, -1, -1], [-1, 2, -1, -1]]
    assert got.dtype == np.int64
    assert (forced_ids(None, rows=3, length=2, end=None) == FREE).all()


def test_free_places_past_the_length_are_no_mistake() -> None:
    assert forced_ids(np.array([[4, -1, -1]]), rows=1, length=1, end=1).tolist() == [[4]]
    with pytest.raises(UserError, match="at most 1 ids, got 3"):
        forced_ids(np.array([[4, -1, 5]]), rows=1, length=1, end=1)


def test_end_may_be_repeated_but_not_followed() -> None:
    assert forced_ids(np.array([[4, 1, 1]]), rows=1, length=3, end=1).tolist() == [[4, 1, 1]]
    with pytest.raises(UserError, match="after END"):
        forced_ids(np.array([[4, 1, 5]]), rows=1, length=3, end=1)
    assert forced_ids(np.array([[4, 1, 5]]), rows=1, length=3, end=None).tolist() == [[4, 1, 5]]


def test_the_vocabulary_bounds_ids_and_end() -> None:
    check_vocabulary(np.array([[6, -1]]), 0, 7)
    with pytest.raises(UserError, match="vocabulary size 6"):
        check_vocabulary(np.array([[6, -1]]), 0, 6)
    with pytest.raises(UserError, match="0 to 6"):
        check_vocabulary(np.empty((0, 0), np.int64), 7, 7)
