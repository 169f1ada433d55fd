"""FlexAttention with masks from our tables equals the definition; on a CPU it runs uncompiled, with the same masks."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.attention.dense import dense
from triptych.attention.flex import _may_see, flex
from triptych.attention.tables import mask
from triptych.errors import UserError
from triptych.shape.pattern import Full, Local1D, Local2D

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("pattern", "queries", "keys", "lengths"),
    [
        (Full(), 5, 40, [0, 30]),
        (Full(causal=True), 20, 20, None),
        (Local1D(16, 8), 70, 70, [70, 30]),
        (Local2D(16, 18, 4, 6, 4, 3), 200, 200, None),
    ],
)
def test_equals_the_definition(
    pattern: Any, queries: int, keys: int, lengths: list[int] | None, device: str, case: Any
) -> None:
    made = case(pattern, queries, keys, width=16, lengths=lengths)
    query, key, value = (x.float().to(device) for x in (made.query, made.key, made.value))
    valid = None if made.lengths is None else made.lengths.to(device)
    expected = dense(query, key, value, pattern=pattern, lengths=valid)
    for _ in range(2):  # the second time, the mask comes from memory
        out = flex(query, key, value, pattern=pattern, lengths=valid)
        assert (out - expected).abs().max() < 1e-5


@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_the_mask_it_is_given(data: st.DataObject, cases: Any) -> None:
    """Every query and key of drawn patterns, without the seconds that torch takes to trace each new one."""
    made = data.draw(cases(related=False))
    queries, keys = made.query.size(2), made.key.size(2)
    may_see = _may_see(made.pattern, keys, torch.device("cpu"), made.lengths)
    batch, query, key = torch.meshgrid(*(torch.arange(n) for n in (len(made.query), queries, keys)), indexing="ij")
    expected = mask(made.pattern, queries, keys).expand(len(made.query), -1, -1)
    if made.lengths is not None:
        expected = expected & (torch.arange(keys) < made.lengths[:, None, None])
    assert torch.equal(may_see(batch, torch.zeros_like(batch), query, key), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch offers FlexAttention's backward pass on a GPU only")
def test_trains_on_a_gpu(case: Any) -> None:
    made = case(Local1D(16, 8), 70, width=16).to(torch.float32)
    gradients = [
        torch.autograd.grad(
            function(*(x.cuda() for x in (made.query, made.key, made.value)), pattern=made.pattern).square().sum(),
            (made.query, made.key, made.value),
        )
        for function in (flex, dense)
    ]
    assert all(torch.allclose(x, y, atol=1e-3) for x, y in zip(*gradients, strict=True))


def test_no_keys() -> None:
    query, none = torch.randn(1, 1, 3, 16), torch.zeros(1, 1, 0, 16)
    assert not flex(query, none, none, pattern=Full()).any()


def test_what_it_cannot_do_names_who_can(case: Any) -> None:
    with pytest.raises(UserError, match="no relations for the flex backend, got 1; use backend='blockwise'"):
        case(Full(causal=True), 4, kinds=["distance"]).run(flex)
    with pytest.raises(UserError, match=r"a GPU to train.*use backend='blockwise'"):
        case(Full(causal=True), 4).to(torch.float32).run(flex)
    with pytest.raises(UserError, match="as many queries as keys"):
        case(Full(causal=True), 4, 5).run(flex)
