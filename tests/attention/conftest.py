"""Drawn cases of attention, and what it means that two ways of computing it agree."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from triptych.attention.relation import Relation
from triptych.shape.pattern import Full, Local1D, Local2D, Pattern
from triptych.shape.relations import Difference

KINDS = ("distance", "distance-zero", "two-sided", "two-sided-zero", "coordinate", "coordinate-zero")
KINDS += ("odd", "odd-zero", "odd-coordinate", "odd-coordinate-zero")  # which no faster way knows
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 2e-2}


@dataclass(frozen=True)
class Case:
    pattern: Pattern
    query: Tensor
    key: Tensor
    value: Tensor
    relations: tuple[Relation, ...]
    lengths: Tensor | None

    def leaves(self) -> list[Tensor]:
        return [self.query, self.key, self.value, *(relation.table for relation in self.relations)]

    def to(self, dtype: torch.dtype) -> Case:
        """The same numbers (rounded to the dtype) in leaves of their own."""
        query, key, value, *tables = (x.detach().to(dtype).requires_grad_() for x in self.leaves())
        relations = tuple(replace(r, table=table) for r, table in zip(self.relations, tables, strict=True))
        return replace(self, query=query, key=key, value=value, relations=relations)

    def run(self, function: Callable[..., Tensor]) -> Tensor:
        return function(
            self.query, self.key, self.value, pattern=self.pattern, relations=self.relations, lengths=self.lengths
        )

    def results(self, function: Callable[..., Tensor]) -> list[Tensor]:
        """The output, and the gradient of every leaf for one gradient of the output."""
        out = self.run(function)
        weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
        gradients = torch.autograd.grad(out, self.leaves(), weight, allow_unused=True)
        leaves = zip(gradients, self.leaves(), strict=True)
        return [out, *(torch.zeros_like(leaf) if gradient is None else gradient for gradient, leaf in leaves)]


def odd(query: Tensor, key: Tensor) -> Tensor:
    """A row that is no difference, of which some are outside a table of five."""
    return (2 * query + key) % 7 - 1


def make_case(
    pattern: Pattern,
    queries: int,
    keys: int | None = None,
    *,
    batch: int = 2,
    heads: int = 2,
    width: int = 4,
    kinds: Sequence[str] = (),
    rows: int = 5,
    lengths: Sequence[int] | None = None,
    seed: int = 0,
) -> Case:
    random = torch.Generator().manual_seed(seed)
    keys = queries if keys is None else keys

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    def coordinates(length: int) -> Tensor:
        return torch.randint(-rows, rows, (batch, length), generator=random)

    relations: list[Relation] = []
    for kind in kinds:
        name, far = kind.removesuffix("-zero"), "zero" if kind.endswith("-zero") else "clip"
        row = odd if name.startswith("odd") else Difference(0 if name == "distance" else rows - 1)
        table = normal(heads, rows if name == "distance" else 2 * rows - 1, width)
        query = key = None
        if name.endswith("coordinate"):
            key = coordinates(keys)
            query = key if keys == queries else coordinates(queries)
        relations.append(Relation(table, row, query, key, far))
    query, key, value = normal(batch, heads, queries, width), *normal(2, batch, heads, keys, width)
    return Case(pattern, query, key, value, tuple(relations), None if lengths is None else torch.tensor(lengths))


@st.composite
def drawn_patterns(draw: st.DrawFn, causal: bool = False) -> tuple[Pattern, int, int]:
    """A pattern with its numbers of queries and keys: shorter than a block, no multiple of one, one row, cross."""
    kind = draw(st.sampled_from(["causal", "local-1d", "local-2d"] + ([] if causal else ["full", "cross"])))
    if kind == "local-2d":
        query_rows, query_columns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        height, width = query_rows * draw(st.integers(1, 3)), query_columns * draw(st.integers(1, 3))
        memory = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        length = draw(st.integers(1, height * width))
        return Local2D(height, width, query_rows, query_columns, *memory), length, length
    length = draw(st.integers(1, 17))
    if kind == "local-1d":
        return Local1D(draw(st.integers(1, 6)), draw(st.integers(0, 7))), length, length
    return Full(causal=kind == "causal"), length, draw(st.integers(1, 17)) if kind == "cross" else length


@st.composite
def drawn_cases(draw: st.DrawFn, causal: bool = False, related: bool = True) -> Case:
    pattern, queries, keys = draw(drawn_patterns(causal))
    batch = draw(st.integers(1, 3))
    padded = draw(st.booleans())
    return make_case(
        pattern,
        queries,
        keys,
        batch=batch,
        heads=draw(st.integers(1, 3)),
        width=draw(st.sampled_from([1, 4, 8])),
        kinds=draw(st.lists(st.sampled_from(KINDS), max_size=2)) if related else (),
        rows=draw(st.integers(1, 6)),
        lengths=draw(st.lists(st.integers(0, keys), min_size=batch, max_size=batch)) if padded else None,
        seed=draw(st.integers(0, 99)),
    )


def assert_close(got: Sequence[Tensor], expected: Sequence[Tensor], dtype: torch.dtype) -> None:
    """Every result within the tolerance of its dtype, relative to its size (as norms).

    A gradient that cancels to zero keeps the rounding errors of what was cancelled, so nothing is held to less than the
    rounding of unit numbers; in 16 bits, where that means little for one small result, all results are taken as one.
    """
    pairs = [(x.detach().double(), y.detach().double()) for x, y in zip(got, expected, strict=True)]
    assert all(x.shape == y.shape and bool(x.isfinite().all()) for x, y in pairs)
    if dtype == torch.bfloat16:
        pairs = [(torch.cat([x.flatten() for x, _ in pairs]), torch.cat([y.flatten() for _, y in pairs]))]
    for x, y in pairs:
        floor = y.numel() ** 0.5 if dtype != torch.bfloat16 else 0.0
        assert (x - y).norm() <= TOLERANCE[dtype] * max(y.norm().item(), floor)


@pytest.fixture(scope="session")
def case() -> Callable[..., Case]:
    return make_case


@pytest.fixture(scope="session")
def cases() -> Callable[..., st.SearchStrategy[Case]]:
    return drawn_cases


@pytest.fixture(scope="session")
def agree() -> Callable[..., None]:
    """Two ways of computing one case agree: the first in `dtype`, the second in float64 on the same rounded numbers."""

    def check(case: Case, fast: Callable[..., Tensor], definition: Callable[..., Tensor], dtype: torch.dtype) -> None:
        rounded = case.to(dtype)
        expected = rounded.to(torch.float64).results(definition)
        first = rounded.results(fast)
        assert_close(first, expected, dtype)
        assert_close(rounded.results(fast), expected, dtype)  # a buffer that survives a call would show here

    return check


@pytest.fixture(scope="session")
def small_tiles() -> Callable[[], AbstractContextManager[None]]:
    """To be entered: chunks, tiles and groups so small that tiny cases are made of several."""
    return _small_tiles


@contextmanager
def _small_tiles() -> Iterator[None]:
    # By name, because the package exports functions under the names of two of its modules.
    chunked, blockwise = (sys.modules[f"triptych.attention.{name}"] for name in ("chunked", "blockwise"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "CHUNK", 5)  # two local blocks of two, one of three to five, a part of a larger one
        patch.setattr(chunked, "TILE", 5 * 4 * 2)
        patch.setattr(blockwise, "KEEP", 40)
        patch.setattr(blockwise, "GROUP", 60)
        yield
