"""The cached step equals the rows of the definition, position by position, in a cache of constant size."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from triptych.attention.dense import dense
from triptych.attention.relation import Relation
from triptych.attention.step import fill, step
from triptych.errors import UserError
from triptych.shape.pattern import Full, Local1D, Local2D, ring

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 2e-2}


class Walk:
    """A decoder's cache for one case: rings of keys, values and coordinates, filled as the positions come."""

    def __init__(self, case: Any) -> None:
        self.case = case
        batch, heads, length, width = case.key.shape
        self.slots = ring(case.pattern, length)
        self.keys, self.values = (case.key.new_zeros(batch, heads, self.slots, width) for _ in range(2))
        self.coordinates = [torch.zeros(batch, self.slots, dtype=torch.int64) for _ in case.relations]

    def write(self, start: int, stop: int) -> None:
        fill(self.keys, self.case.key[:, :, start:stop], start=start)
        fill(self.values, self.case.value[:, :, start:stop], start=start)
        for relation, kept in zip(self.case.relations, self.coordinates, strict=True):
            if relation.key is not None:
                fill(kept[..., None], relation.key[:, start:stop, None], start=start)

    def relations(self, position: int) -> list[Relation]:
        found: list[Relation] = []
        for relation, kept in zip(self.case.relations, self.coordinates, strict=True):
            here = None if relation.query is None else relation.query[:, position : position + 1]
            found.append(relation if here is None else replace(relation, query=here, key=kept))
        return found

    def step(self, position: int) -> Tensor:
        query = self.case.query[:, :, position : position + 1]
        return step(
            query,
            self.keys,
            self.values,
            position=position,
            pattern=self.case.pattern,
            relations=self.relations(position),
            lengths=self.case.lengths,
        )


def assert_equal_rows(case: Any, dtype: torch.dtype, prefill: int = 0) -> None:
    rounded = case.to(dtype)
    expected = rounded.to(torch.float64).run(dense).detach()
    walk, got = Walk(rounded), []
    with torch.no_grad():
        walk.write(0, prefill)
        for position in range(prefill, case.query.size(2)):
            walk.write(position, position + 1)
            got.append(walk.step(position))
    found = torch.cat(got, 2)
    assert found.dtype == dtype
    rest = expected[:, :, prefill:]
    floor = 0.0 if dtype == torch.bfloat16 else rest.numel() ** 0.5
    assert (found.double() - rest).norm() <= TOLERANCE[dtype] * max(rest.norm().item(), floor)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_equals_the_definition(data: st.DataObject, dtype: torch.dtype, cases: Any) -> None:
    case = data.draw(cases(causal=True))
    assert_equal_rows(case, dtype, data.draw(st.integers(0, case.query.size(2) - 1)))


PATTERNS = [Full(causal=True), Local1D(4, 3), Local1D(3, 0), Local2D(6, 6, 2, 3, 2, 2)]
KINDS = ["distance", "distance-zero", "two-sided", "two-sided-zero", "coordinate", "coordinate-zero"]
KINDS += ["odd", "odd-zero", "odd-coordinate", "odd-coordinate-zero"]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("kinds", [[], *([kind] for kind in KINDS), ["distance-zero", "coordinate", "two-sided"]])
def test_every_pattern_and_relation(pattern: Any, kinds: list[str], case: Any) -> None:
    for lengths in (None, [31, 0, 7]):
        made = case(pattern, 31, batch=3, kinds=kinds, lengths=lengths)
        for dtype in TOLERANCE:
            assert_equal_rows(made, dtype)


@pytest.mark.parametrize("kinds", [[], ["two-sided"], ["two-sided-zero", "coordinate"]])
@pytest.mark.parametrize("lengths", [None, [9, 0]])
def test_cross_attention(kinds: list[str], lengths: list[int] | None, case: Any) -> None:
    made = case(Full(), 5, 9, kinds=kinds, rows=3, lengths=lengths)
    expected = made.run(dense)
    for i in range(5):
        relations = [r if r.query is None else replace(r, query=r.query[:, i : i + 1]) for r in made.relations]
        out = step(
            made.query[:, :, i : i + 1],
            made.key,
            made.value,
            position=i,
            pattern=Full(),
            relations=relations,
            lengths=made.lengths,
        )
        assert torch.allclose(out, expected[:, :, i : i + 1], atol=1e-12)


def test_far_past_the_table_and_round_the_ring_many_times(case: Any) -> None:
    made = case(Local1D(4, 4), 150, kinds=["distance"], rows=3)
    assert Walk(made).slots == 8
    assert_equal_rows(made, torch.float64, prefill=121)


def test_a_larger_ring_is_no_harm(case: Any) -> None:
    made = case(Local1D(4, 3), 30, kinds=["distance-zero"])
    expected = made.run(dense)
    keys, values = (torch.zeros(2, 2, 11, 4, dtype=torch.float64) for _ in range(2))
    for position in range(30):
        here = slice(position, position + 1)
        fill(keys, made.key[:, :, here], start=position)
        fill(values, made.value[:, :, here], start=position)
        query = made.query[:, :, here]
        out = step(query, keys, values, position=position, pattern=made.pattern, relations=made.relations)
        assert torch.allclose(out, expected[:, :, here], atol=1e-12)


def test_steps_in_inference_mode_do_not_spoil_training(case: Any) -> None:
    made = case(Local2D(4, 4, 2, 2, 1, 1), 16).to(torch.float32)
    with torch.inference_mode():
        walk = Walk(made)
        walk.write(0, 16)
        walk.step(15)
    walk = Walk(made)
    walk.keys, walk.values = walk.keys + made.key[:, :, : walk.slots], walk.values + made.value[:, :, : walk.slots]
    assert torch.autograd.grad(walk.step(walk.slots - 1).sum(), made.query)[0].any()


def test_fill_keeps_the_last_and_puts_each_in_its_slot() -> None:
    kept = torch.full((4, 1), -1.0)
    fill(kept, torch.arange(3.0)[:, None])
    assert kept.flatten().tolist() == [0, 1, 2, -1]
    fill(kept, torch.arange(3.0, 6.0)[:, None], start=3)
    assert kept.flatten().tolist() == [4, 5, 2, 3]
    fill(kept, torch.arange(6.0, 17.0)[:, None], start=6)
    assert kept.flatten().tolist() == [16, 13, 14, 15]
    fill(kept, torch.zeros(0, 1), start=17)
    assert kept.flatten().tolist() == [16, 13, 14, 15]


@given(slots=st.integers(1, 7), lengths=st.lists(st.integers(0, 12), max_size=4))
@settings(deadline=None, max_examples=30)
def test_fill_is_one_write_after_another(slots: int, lengths: list[int]) -> None:
    together, apart, start = torch.zeros(2, slots, 1), torch.zeros(2, slots, 1), 0
    for length in lengths:
        entries = torch.arange(start, start + length).float().expand(2, -1)[..., None]
        fill(together, entries, start=start)
        for position in range(start, start + length):
            apart[:, position % slots] = position
        start += length
    assert torch.equal(together, apart)


def test_mistakes_are_one_clear_line() -> None:
    query, keys = torch.zeros(2, 3, 1, 8), torch.zeros(2, 3, 6, 8)
    with pytest.raises(UserError, match=r"at least 8 slots at position 7, got 6"):
        step(query, keys, keys, position=7, pattern=Full(causal=True))
    with pytest.raises(UserError, match=r"at least 7 slots at position 6, got 6"):
        step(query, keys, keys, position=6, pattern=Local1D(4, 4))
    with pytest.raises(UserError, match="one query at a position from 0, got 6"):
        step(keys, keys, keys, position=0, pattern=Full(causal=True))
    with pytest.raises(UserError, match="got 1 at -1"):
        step(query, keys, keys, position=-1, pattern=Full(causal=True))
    with pytest.raises(UserError, match="0 to 4 positions"):
        step(query, keys, keys, position=4, pattern=Local2D(2, 2, 1, 1, 1, 1))
    with pytest.raises(UserError, match="a relation table of shape"):
        step(query, keys, keys, position=2, pattern=Full(), relations=[Relation(torch.zeros(1, 4, 8))])
    with pytest.raises(UserError, match=r"entries of shape \[2, 3, 'length', 8\]"):
        fill(keys, torch.zeros(2, 1, 1, 8))
    with pytest.raises(UserError, match="from -1"):
        fill(keys, query, start=-1)
