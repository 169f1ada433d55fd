"""The largest few: against a plain sort, with ties, holes, odd sizes and NaN."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from triptych.generation.top import BLOCK, largest


def by_sorting(scores: NDArray[Any], offset: NDArray[Any], count: int) -> list[list[tuple[float, int, int]]]:
    found = []
    for group in (scores.astype(np.float64) + offset[:, :, None]).tolist():
        every = [(value, beam, token) for beam, row in enumerate(group) for token, value in enumerate(row)]
        found.append(sorted(every, key=lambda one: (-one[0], one[1], one[2]))[:count])
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4 * BLOCK), st.integers(1, 12),
    st.sampled_from([1.0, 4.0, 1e6]),
)  # fmt: skip
def test_equals_a_sort_in_which_ties_go_to_lower_beams_and_ids(
    seed: int, groups: int, beams: int, vocabulary: int, count: int, levels: float
) -> None:
    rng = np.random.default_rng(seed)
    scores = (np.round(rng.normal(size=(groups, beams, vocabulary)) * levels) / levels).astype(np.float32)
    offset = np.round(rng.normal(size=(groups, beams)))
    count = min(count, beams * vocabulary)
    values, beam, ids = largest(scores, offset, count)
    got = [list(zip(*one, strict=True)) for one in zip(values.tolist(), beam.tolist(), ids.tolist(), strict=True)]
    assert got == by_sorting(scores, offset, count)


def test_all_equal_takes_the_first_ids_in_order() -> None:
    values, beam, ids = largest(np.zeros((2, 3, 500), np.float32), np.zeros((2, 3)), 10)
    assert (values == 0).all()
    assert (beam == 0).all()
    assert ids.tolist() == [list(range(10))] * 2


def test_a_beam_that_is_switched_off_gives_nothing_while_others_have_something() -> None:
    offset = np.array([[-np.inf, 0.0]])
    scores = np.stack([np.full(70, 9.0), np.arange(70.0)])[None]
    values, beam, ids = largest(scores, offset, 3)
    assert (values.tolist(), beam.tolist(), ids.tolist()) == ([[69.0, 68.0, 67.0]], [[1, 1, 1]], [[69, 68, 67]])


def test_minus_infinity_fills_up_what_does_not_exist() -> None:
    scores = np.full((1, 1, 100), -np.inf)
    scores[0, 0, 77] = 1.0
    values, _, ids = largest(scores, np.zeros((1, 1)), 3)
    assert values[0].tolist() == [1.0, -np.inf, -np.inf]
    assert ids[0, 0] == 77


@pytest.mark.parametrize("place", [0, 63, 64, 129])
def test_nan_names_its_group_unless_its_beam_is_switched_off(place: int) -> None:
    scores = np.zeros((3, 2, 130))
    scores[2, 1, place] = np.nan
    with pytest.raises(FloatingPointError) as error:
        largest(scores, np.zeros((3, 2)), 4)
    assert error.value.args == (2,)
    offset = np.zeros((3, 2))
    offset[:, 1] = -np.inf
    values, beam, _ = largest(scores, offset, 4)
    assert (values == 0).all() and (beam == 0).all()


def test_the_scores_are_left_alone() -> None:
    scores = np.random.default_rng(0).normal(size=(2, 2, 130))
    before = scores.copy()
    largest(scores, np.ones((2, 2)), 4)
    assert np.array_equal(scores, before)


def test_t2t_best_of_finished() -> None:
    """The figures of tensor2tensor's utils/beam_search_test.py, testComputeTopkScoresAndSeq."""
    scores = np.array([[[-0.1, -2.5, 0.0, -1.5]], [[-100.0, -5.0, -0.00789, -1.34]]])
    values, _, ids = largest(scores, np.zeros((2, 1)), 3)
    assert values.tolist() == [[0.0, -0.1, -1.5], [-0.00789, -1.34, -5.0]]
    assert ids.tolist() == [[2, 0, 3], [2, 3, 1]]
