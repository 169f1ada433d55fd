"""One entrance: every backend equals the definition, the rule chooses as documented, a wrong choice is refused."""

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.attention.attend import attend, choose, fused
from triptych.attention.dense import dense
from triptych.errors import UserError
from triptych.shape.pattern import Full, Local1D, Local2D

DTYPES = [torch.float64, torch.float32, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_auto_equals_the_definition(data: st.DataObject, dtype: torch.dtype, cases: Any, agree: Any) -> None:
    agree(data.draw(cases()), attend, dense, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", [None, [7, 0, 3]])
@pytest.mark.parametrize(("pattern", "queries"), [(Full(causal=True), 7), (Full(), 7), (Full(), 2)])
@pytest.mark.parametrize("backend", ["dense", "blockwise", "fused"])
def test_every_backend_for_full_attention(
    backend: Any, pattern: Any, queries: int, lengths: Any, dtype: torch.dtype, case: Any, agree: Any
) -> None:
    agree(case(pattern, queries, 7, batch=3, lengths=lengths), partial(attend, backend=backend), dense, dtype)


def test_flex_can_be_forced(case: Any) -> None:
    made = case(Local1D(4, 4), 9, width=16)
    assert torch.allclose(made.run(partial(attend, backend="flex")), made.run(dense))


SHORT, LONG = torch.zeros(1, 1, 100, 8), torch.zeros(1, 1, 1100, 8)
LENGTHS = torch.tensor([5])


@pytest.mark.parametrize(
    ("query", "pattern", "lengths", "expected"),
    [
        (SHORT, Full(), None, "fused"),
        (LONG, Full(causal=True), None, "fused"),
        (LONG, Full(), LENGTHS, "fused"),
        (SHORT, Full(causal=True), LENGTHS, "fused"),
        (LONG, Full(causal=True), LENGTHS, "blockwise"),
        (SHORT.bfloat16(), Full(), None, "dense"),
        (LONG.bfloat16(), Full(), None, "blockwise"),
        (SHORT.half(), Full(causal=True), LENGTHS, "dense"),
        (SHORT, Local1D(4, 4), None, "blockwise"),
        (SHORT.bfloat16(), Local2D(10, 10, 2, 2, 1, 1), LENGTHS, "blockwise"),
        (SHORT.to("meta"), Full(), None, "fused"),
        (SHORT.bfloat16().to("meta"), Full(), None, "fused"),
    ],
)
def test_the_rule(query: Any, pattern: Any, lengths: Any, expected: str) -> None:
    assert choose(query, query, pattern=pattern, lengths=lengths) == expected


def test_the_rule_with_relations(case: Any) -> None:
    for pattern, length, expected in (
        (Full(causal=True), 128, "dense"),
        (Full(causal=True), 129, "blockwise"),
        (Local1D(4, 4), 9, "blockwise"),
    ):
        made = case(pattern, length, kinds=["distance"])
        assert choose(made.query, made.key, pattern=pattern, relations=made.relations) == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_rule_on_a_gpu() -> None:
    query = SHORT.cuda()
    assert choose(query, query, pattern=Local1D(4, 4)) == "flex"
    assert choose(query, query, pattern=Full()) == "fused"


def test_a_wrong_choice_is_refused(case: Any) -> None:
    with pytest.raises(UserError, match="backend among auto, dense, blockwise, fused, flex, got 'fast'"):
        case(Full(), 3).run(partial(attend, backend="fast"))
    for made in (case(Full(), 3, kinds=["distance"]), case(Local1D(2, 2), 3)):
        with pytest.raises(UserError, match=r"Full without relations for the fused backend.*use backend='blockwise'"):
            made.run(partial(attend, backend="fused"))
    with pytest.raises(UserError, match="no relations for the flex backend"):
        case(Full(), 3, kinds=["distance"]).run(partial(attend, backend="flex"))
    with pytest.raises(UserError, match="as many queries as keys"):
        case(Full(causal=True), 3, 4).run(attend)
    with pytest.raises(UserError, match="integer lengths of shape"):
        case(Full(), 3, lengths=[1, 2, 3]).run(attend)


def test_fused_without_keys() -> None:
    query, none = torch.randn(1, 2, 3, 4), torch.zeros(1, 2, 0, 4)
    assert not fused(query, none, none, pattern=Full()).any()
