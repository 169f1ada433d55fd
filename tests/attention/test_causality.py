"""The checker passes what is causal and catches what is not, down to a single broken pair."""

from typing import Any

import pytest
import torch
from torch import Tensor

from triptych.attention.attend import attend
from triptych.attention.blockwise import blockwise
from triptych.attention.causality import causality_violations
from triptych.attention.dense import dense
from triptych.attention.relation import Relation
from triptych.errors import UserError
from triptych.shape.pattern import Full, Local1D, Local2D

CAUSAL = [Full(causal=True), Local1D(4, 3), Local2D(4, 6, 2, 3, 2, 2)]


def self_attention(pattern: Any, function: Any, relations: Any = ()) -> Any:
    """A function of one sequence: two heads that are its two halves."""

    def run(x: Tensor) -> Tensor:
        heads = x.view(1, x.size(1), 2, -1).transpose(1, 2)
        return function(heads, heads, heads, pattern=pattern, relations=relations).transpose(1, 2).flatten(2)

    return run


@pytest.mark.parametrize("pattern", CAUSAL)
@pytest.mark.parametrize("function", [dense, blockwise, attend])
@pytest.mark.parametrize("related", [False, True])
def test_our_attention_is_causal(pattern: Any, function: Any, related: bool) -> None:
    relations = [Relation(torch.randn(2, 5, 4, dtype=torch.float64))] if related else []
    assert causality_violations(self_attention(pattern, function, relations), 19) == []


def test_in_float32_and_across_chunks() -> None:
    run = self_attention(Full(causal=True), blockwise, [Relation(torch.randn(2, 5, 4))])
    moved = []

    def one_step(x: Tensor) -> Tensor:
        moved.append(x)
        return run(x)

    assert causality_violations(one_step, 40, dtype=torch.float32) == []
    assert len(moved) == 42


def broken(pattern: Any, query: int, key: int) -> Any:
    """Attention whose mask lets one query see one key too many."""

    def run(x: Tensor) -> Tensor:
        from triptych.attention.tables import mask

        see = mask(pattern, x.size(1), x.size(1)).clone()
        see[query, key] = True
        return (x @ x.mT).masked_fill(~see, -torch.inf).softmax(-1) @ x

    return run


@pytest.mark.parametrize("pattern", CAUSAL)
@pytest.mark.parametrize(("query", "key"), [(0, 18), (3, 4), (17, 18)])
def test_one_pair_too_many_is_found(pattern: Any, query: int, key: int) -> None:
    assert causality_violations(broken(pattern, query, key), 19, width=2) == [(key, query)]


def test_bidirectional_attention_is_all_violations() -> None:
    found = causality_violations(self_attention(Full(), dense), 5)
    assert found == [(j, i) for j in range(5) for i in range(j)]


def test_strict_asks_for_a_shift() -> None:
    def shifted(x: Tensor) -> Tensor:
        return torch.cat((torch.zeros_like(x[:, :1]), x[:, :-1].cumsum(1)), 1)

    assert causality_violations(shifted, 6, strict=True) == []
    assert causality_violations(lambda x: x, 3) == []
    assert causality_violations(lambda x: x, 3, strict=True) == [(0, 0), (1, 1), (2, 2)]


def test_ids_go_through_an_embedding() -> None:
    embedding = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    assert causality_violations(lambda ids: embedding[ids].cumsum(1), 9, vocabulary=7) == []
    assert causality_violations(lambda ids: embedding[ids].flip(1), 4, vocabulary=7) == [(2, 1), (3, 0)]


def test_tolerance() -> None:
    def faint(x: Tensor) -> Tensor:
        return x + 1e-9 * x.sum(1, keepdim=True)

    assert causality_violations(faint, 3) == [(1, 0), (2, 0), (2, 1)]
    assert causality_violations(faint, 3, tolerance=1e-6) == []


def test_mistakes_are_one_clear_line() -> None:
    with pytest.raises(UserError, match="same output for the same input"):
        causality_violations(torch.nn.functional.dropout, 4)
    with pytest.raises(UserError, match=r"return \[1, 4, ...\], got \[1, 3, 8\]"):
        causality_violations(lambda x: x[:, 1:], 4)
    with pytest.raises(UserError, match="a length from 1 and a vocabulary from 2"):
        causality_violations(lambda x: x, 0)
    with pytest.raises(UserError, match="a vocabulary from 2, got 3 and 1"):
        causality_violations(lambda x: x, 3, vocabulary=1)
