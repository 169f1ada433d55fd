"""Blockwise attention equals the definition, forward and backward, and keeps nothing quadratic."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from triptych.attention.blockwise import blockwise
from triptych.attention.dense import dense
from triptych.attention.relation import Relation
from triptych.errors import UserError
from triptych.shape.pattern import Full, Local1D, Local2D
from triptych.shape.relations import Difference

DTYPES = [torch.float64, torch.float32, torch.bfloat16]
KINDS = [
    "distance",
    "distance-zero",
    "two-sided",
    "two-sided-zero",
    "coordinate",
    "coordinate-zero",
    "odd-zero",
    "odd-coordinate",
]
LOCAL = [Local1D(4, 4), Local1D(2, 5), Local1D(7, 2), Local1D(1, 0), Local2D(6, 6, 2, 3, 2, 2)]


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_equals_the_definition(data: st.DataObject, dtype: torch.dtype, cases: Any, agree: Any) -> None:
    agree(data.draw(cases()), blockwise, dense, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_equals_it_in_several_tiles(
    data: st.DataObject, dtype: torch.dtype, cases: Any, agree: Any, small_tiles: Any
) -> None:
    case = data.draw(cases())
    with small_tiles():
        agree(case, blockwise, dense, dtype)


@pytest.mark.parametrize("pattern", [Full(), Full(causal=True), *LOCAL])
@pytest.mark.parametrize("kinds", [[], *([kind] for kind in KINDS), ["distance", "coordinate-zero", "coordinate"]])
def test_every_pattern_and_relation(pattern: Any, kinds: list[str], case: Any, agree: Any, small_tiles: Any) -> None:
    for lengths in (None, [17, 0, 9]):
        made = case(pattern, 17, batch=3, kinds=kinds, lengths=lengths)
        with small_tiles():
            for dtype in DTYPES:
                agree(made, blockwise, dense, dtype)


@pytest.mark.parametrize(
    "pattern",
    [
        *(Full(), Full(causal=True), Local2D(20, 32, 4, 16, 8, 8)),
        *(Local1D(64, 96), Local1D(16, 40), Local1D(24, 80), Local1D(300, 7), Local1D(5, 10_000)),
    ],
)
@pytest.mark.parametrize("kinds", [["distance", "coordinate"], ["two-sided-zero"]])
def test_lengths_of_several_chunks(pattern: Any, kinds: list[str], case: Any, agree: Any) -> None:
    made = case(pattern, 600, batch=2, heads=2, width=8, kinds=kinds, rows=40, lengths=[590, 100])
    for dtype in DTYPES:
        agree(made, blockwise, dense, dtype)


def test_a_gradient_asked_for_under_autocast(case: Any) -> None:
    made = case(Full(causal=True), 40, kinds=["distance"]).to(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(made.run(blockwise).sum(), made.leaves())
    expected = torch.autograd.grad(made.run(blockwise).sum(), made.leaves())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def gradcheck(made: Any) -> bool:
    def of_leaves(query: Tensor, key: Tensor, value: Tensor, *tables: Tensor) -> Tensor:
        relations = [type(r)(**{**vars(r), "table": t}) for r, t in zip(made.relations, tables, strict=True)]
        return blockwise(query, key, value, pattern=made.pattern, relations=relations, lengths=made.lengths)

    return torch.autograd.gradcheck(of_leaves, made.leaves())


@pytest.mark.parametrize("pattern", [Full(), Full(causal=True), Local1D(2, 3), Local2D(4, 2, 2, 1, 1, 1)])
@pytest.mark.parametrize("kinds", [[], ["two-sided-zero"], ["distance", "coordinate"]])
def test_gradients_by_differences(pattern: Any, kinds: list[str], case: Any, small_tiles: Any) -> None:
    made = case(pattern, 7, kinds=kinds, rows=2, heads=1, width=2, lengths=[0, 6])
    with small_tiles():
        assert gradcheck(made.to(torch.float64))


def test_only_what_needs_a_gradient_gets_one(case: Any) -> None:
    made = case(Full(causal=True), 7, kinds=["distance"]).to(torch.float32)
    made.query.requires_grad_(False)
    made.run(blockwise).sum().backward()
    assert made.query.grad is None
    assert all(x.grad is not None for x in made.leaves()[1:])


def test_strided_inputs_and_gradients(case: Any) -> None:
    """A model's heads come out of one fused projection as views, and a sum hands back an expanded gradient."""
    fused = torch.randn(2, 9, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    table = torch.randn(2, 5, 4, dtype=torch.float64)
    for pattern in (Full(causal=True), Local1D(4, 4), Local2D(3, 3, 1, 3, 1, 1)):
        found = []
        for function in (blockwise, dense):
            query, key, value = fused.permute(2, 0, 3, 1, 4).unbind(0)
            out = function(query, key, value, pattern=pattern, relations=[Relation(table)])
            found.append(torch.autograd.grad(out.sum(), fused)[0])
        assert torch.allclose(*found, atol=1e-12)


def test_a_table_in_another_dtype(case: Any) -> None:
    """Under autocast the parameters stay float32 while the heads are bfloat16."""
    made = case(Full(causal=True), 9, kinds=["distance", "coordinate"])
    query, key, value = (x.bfloat16() for x in (made.query, made.key, made.value))
    tables = [r.table.float().requires_grad_() for r in made.relations]
    relations = [type(r)(**{**vars(r), "table": t}) for r, t in zip(made.relations, tables, strict=True)]
    for function in (blockwise, dense):
        for pattern in (Full(causal=True), Local1D(4, 4), Local2D(3, 3, 1, 3, 1, 1)):
            with torch.autocast("cpu", torch.bfloat16):
                out = function(query, key, value, pattern=pattern, relations=relations)
            assert out.dtype == torch.bfloat16
            gradients = torch.autograd.grad(out.float().sum(), tables)
            assert all(g.dtype == torch.float32 for g in gradients)


@pytest.mark.parametrize("function", [blockwise, dense])
@pytest.mark.parametrize("pattern", [Full(causal=True), Local1D(30, 1170), Local2D(40, 30, 1, 30, 39, 0)])
def test_a_row_shared_by_many_keys_gets_a_precise_gradient(function: Any, pattern: Any) -> None:
    """All of one sign, a thousand small parts of one sum: added up in bfloat16 it would stop growing on the way."""
    length = 1200
    parity = (torch.arange(length) % 2)[None]
    value = (1 - 2 * parity).view(1, 1, length, 1)
    relation = Relation(torch.zeros(1, 3, 1), Difference(1), torch.zeros_like(parity), parity)
    found = []
    for dtype in (torch.float64, torch.bfloat16):
        query, table = torch.ones(1, 1, length, 1, dtype=dtype), relation.table.to(dtype).requires_grad_()
        asked = replace(relation, table=table)
        out = function(query, torch.zeros_like(query), value.to(dtype), pattern=pattern, relations=[asked])
        found.append(torch.autograd.grad(out[:, :, -30:].sum(), table)[0].double())
    assert (found[0] - found[1]).norm() < 2e-2 * found[0].norm()


def test_many_chunks_add_up_precisely(small_tiles: Any) -> None:
    """Two hundred small parts, summed in bfloat16, would be rounded up two hundred times."""
    nothing = torch.zeros(1, 1, 600, 1, dtype=torch.bfloat16)
    value = torch.ones_like(nothing, requires_grad=True)
    with small_tiles():
        out = blockwise(nothing, nothing, value, pattern=Full())
        (gradient,) = torch.autograd.grad(out.sum(), value)
    assert (gradient.double() - 1).abs().max() < 1e-2


def saved_elements(made: Any) -> int:
    """Numbers kept for the backward pass, each storage counted once."""
    kept: dict[int, Tensor] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = made.run(blockwise)
    assert out.requires_grad
    return sum(x.untyped_storage().nbytes() // x.element_size() for x in kept.values())


PICTURES = {length: Local2D(length // 16, 16, 4, 4, 4, 4) for length in (512, 1024)}


@pytest.mark.parametrize("kinds", [[], ["distance"], ["coordinate-zero"]])
@pytest.mark.parametrize("name", ["full", "causal", "local-1d", "local-2d"])
def test_what_is_kept_grows_with_the_length_alone(name: str, kinds: list[str], case: Any) -> None:
    found = []
    for length in (512, 1024):
        pattern = {
            "full": Full(),
            "causal": Full(causal=True),
            "local-1d": Local1D(32, 32),
            "local-2d": PICTURES[length],
        }[name]
        made = case(pattern, length, batch=1, kinds=kinds, rows=8, lengths=[length]).to(torch.float32)
        found.append(saved_elements(made))
    assert found[1] <= 2.05 * found[0]
    assert found[1] < 1024 * 1024  # one head's logits; there are two heads


def test_nothing_to_do() -> None:
    empty = torch.zeros(2, 3, 0, 4, requires_grad=True)
    for pattern in (Full(), Full(causal=True), Local1D(2, 2), Local2D(2, 2, 1, 1, 1, 1)):
        out = blockwise(empty, empty, empty, pattern=pattern)
        assert out.shape == empty.shape and torch.autograd.grad(out.sum(), empty)[0].shape == empty.shape
    query, none = torch.randn(2, 3, 5, 4), torch.zeros(2, 3, 0, 4)
    assert not blockwise(query, none, none, pattern=Full()).any()
    nobody = torch.zeros(0, 3, 5, 4)
    for local in (Full(causal=True), Local1D(2, 2)):
        assert blockwise(nobody, nobody, nobody, pattern=local).shape == nobody.shape


def test_a_second_derivative_is_refused(case: Any) -> None:
    made = case(Full(causal=True), 5, kinds=["distance"]).to(torch.float64)
    (first,) = torch.autograd.grad(made.run(blockwise).square().sum(), made.query, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_mistakes_are_one_clear_line() -> None:
    query, key = torch.zeros(1, 2, 4, 8), torch.zeros(1, 2, 5, 8)
    for pattern in (Full(causal=True), Local1D(2, 2)):
        with pytest.raises(UserError, match="as many queries as keys"):
            blockwise(query, key, key, pattern=pattern)
    with pytest.raises(UserError, match="0 to 4 positions, got 5"):
        blockwise(key, key, key, pattern=Local2D(2, 2, 1, 1, 1, 1))
    coordinates = torch.zeros(1, 3, dtype=torch.int64)
    relation = Relation(torch.zeros(2, 3, 8), Difference(1), coordinates, coordinates)
    with pytest.raises(UserError, match="expected coordinates of shape"):
        blockwise(key, key, key, pattern=Full(), relations=[relation])


def test_equality_is_not_blind(case: Any, agree: Callable[..., None]) -> None:
    """A relation read one row off must be noticed in every dtype."""

    def wrong(query: Tensor, key: Tensor, value: Tensor, *, pattern: Any, relations: Any, lengths: Any) -> Tensor:
        shifted = [replace(r, table=r.table.roll(1, 1)) for r in relations]
        return blockwise(query, key, value, pattern=pattern, relations=shifted, lengths=lengths)

    for dtype in DTYPES:
        with pytest.raises(AssertionError):
            agree(case(Full(causal=True), 9, kinds=["distance"]), wrong, dense, dtype)
