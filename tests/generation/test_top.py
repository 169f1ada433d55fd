"""The largest few: against a plain sort, with ties, holes, odd sizes and NaN."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from triptych.generation.top import BLOCK, largest


def by_sorting(scores: Tensor, offset: Tensor, count: int) -> list[list[tuple[float, int, int]]]:
    found = []
    for group in (scores.double() + offset[:, :, None]).tolist():
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
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(groups, beams, vocabulary, generator=generator).mul(levels).round().div(levels)
    offset = torch.randn(groups, beams, generator=generator).round().double()
    count = min(count, beams * vocabulary)
    values, beam, ids = largest(scores, offset, count)
    got = [list(zip(*one, strict=True)) for one in zip(values.tolist(), beam.tolist(), ids.tolist(), strict=True)]
    assert got == by_sorting(scores, offset, count)


def test_all_equal_takes_the_first_ids_in_order() -> None:
    values, beam, ids = largest(torch.zeros(2, 3, 500), torch.zeros(2, 3, dtype=torch.float64), 10)
    assert (values == 0).all()
    assert (beam == 0).all()
    assert ids.tolist() == [list(range(10))] * 2


def test_a_beam_that_is_switched_off_gives_nothing_while_others_have_something() -> None:
    offset = torch.tensor([[-torch.inf, 0.0]], dtype=torch.float64)
    scores = torch.stack([torch.full((70,), 9.0), torch.arange(70.0)])[None]
    values, beam, ids = largest(scores, offset, 3)
    assert (values.tolist(), beam.tolist(), ids.tolist()) == ([[69.0, 68.0, 67.0]], [[1, 1, 1]], [[69, 68, 67]])


def test_minus_infinity_fills_up_what_does_not_exist() -> None:
    scores = torch.full((1, 1, 100), -torch.inf)
    scores[0, 0, 77] = 1.0
    values, _, ids = largest(scores, torch.zeros(1, 1, dtype=torch.float64), 3)
    assert values[0].tolist() == [1.0, -torch.inf, -torch.inf]
    assert ids[0, 0] == 77


@pytest.mark.parametrize("place", [0, 63, 64, 129])
def test_nan_comes_out_first(place: int) -> None:
    scores = torch.zeros(1, 2, 130)
    scores[0, 1, place] = torch.nan
    assert largest(scores, torch.zeros(1, 2, dtype=torch.float64), 4)[0][0, 0].isnan()


def test_the_scores_are_left_alone() -> None:
    scores = torch.randn(2, 2, 130)
    before = scores.clone()
    largest(scores, torch.ones(2, 2, dtype=torch.float64), 4)
    assert torch.equal(scores, before)


def test_t2t_best_of_finished() -> None:
    """The figures of tensor2tensor's utils/beam_search_test.py, testComputeTopkScoresAndSeq."""
    scores = torch.tensor([[[-0.1, -2.5, 0.0, -1.5]], [[-100.0, -5.0, -0.00789, -1.34]]], dtype=torch.float64)
    values, _, ids = largest(scores, torch.zeros(2, 1, dtype=torch.float64), 3)
    assert values.tolist() == [[0.0, -0.1, -1.5], [-0.00789, -1.34, -5.0]]
    assert ids.tolist() == [[2, 0, 3], [2, 3, 1]]
