"""Index tables as tensors: the same as the arrays, and usable in training whenever they were made."""

import torch

from triptych.attention import tables
from triptych.shape import pattern as arrays
from triptych.shape.pattern import Local1D, Local2D

PICTURE = Local2D(height=6, width=8, query_rows=3, query_columns=2, memory_rows=2, memory_columns=3)


def test_tensors_are_the_arrays() -> None:
    for pattern in (Local1D(4, 6), PICTURE):
        assert torch.equal(tables.table(pattern, 40), torch.from_numpy(arrays.table(pattern, 40)))
        assert torch.equal(tables.mask(pattern, 40, 40), torch.from_numpy(arrays.mask(pattern, 40, 40)))
        assert torch.equal(tables.members(pattern, 40), torch.from_numpy(arrays.members(pattern, 40)))
        assert torch.equal(tables.visible(pattern, 39), torch.from_numpy(arrays.visible(pattern, 39)))
    assert torch.equal(tables.order(PICTURE), torch.from_numpy(arrays.order(PICTURE)))


def test_they_may_be_saved_for_backward_even_if_first_made_in_inference_mode() -> None:
    with torch.inference_mode():
        made = [tables.table(Local1D(7, 5), 23), tables.mask(Local1D(7, 5), 23, 23), tables.order(PICTURE)]
    assert not any(each.is_inference() for each in made)
