from importlib import import_module
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from triptych.attention.blockwise import blockwise
from triptych.attention.dense import dense
from triptych.attention.neighbours import available, neighbours
from triptych.shape.pattern import Local1D

pytestmark = pytest.mark.skipif(not available(torch.device("cpu")), reason="this torch has no such kernel")


@settings(deadline=None, max_examples=30)
@given(
    batch=st.integers(1, 2),
    heads=st.integers(1, 3),
    length=st.integers(1, 40),
    size=st.integers(1, 17),
    width=st.sampled_from([1, 4, 8]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_equals_the_definition(batch: int, heads: int, length: int, size: int, width: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(length)
    given_ = [
        torch.randn(batch, heads, length, width, generator=generator, dtype=dtype).requires_grad_() for _ in range(3)
    ]
    gradient = torch.randn(batch, heads, length, width, generator=generator, dtype=dtype)
    got, want = neighbours(*given_, size), dense(*given_, pattern=Local1D(size, size))
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(got, want, **tolerance)
    for one, other in zip(
        torch.autograd.grad(got, given_, gradient), torch.autograd.grad(want, given_, gradient), strict=True
    ):
        torch.testing.assert_close(one, other, **tolerance)


def test_large_logits_and_views() -> None:
    torch.manual_seed(0)
    fused = torch.randn(2, 24, 3, 2, 8, dtype=torch.float64, requires_grad=True)
    query, key, value = (fused[:, :, part].transpose(1, 2) for part in range(3))
    got = neighbours(100 * query, 100 * key, value, 4)
    torch.testing.assert_close(got, dense(100 * query, 100 * key, value, pattern=Local1D(4, 4)))
    got.sum().backward()  # type: ignore[no-untyped-call]
    assert fused.grad is not None and bool(fused.grad.isfinite().all())


def test_blockwise_goes_this_way_only_where_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def watched(*given_: Any) -> Tensor:
        taken.append(given_[-1])
        return neighbours(*given_)

    # The package gives the function that name too.
    monkeypatch.setattr(import_module("triptych.attention.blockwise"), "neighbours", watched)
    x = torch.randn(1, 2, 12, 4)
    for pattern, lengths in ((Local1D(4, 4), None), (Local1D(4, 8), None), (Local1D(4, 4), torch.tensor([9]))):
        got = blockwise(x, x, x, pattern=pattern, lengths=lengths)
        torch.testing.assert_close(got, dense(x, x, x, pattern=pattern, lengths=lengths))
    assert taken == [4]
