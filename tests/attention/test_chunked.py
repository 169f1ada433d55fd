"""How full attention is cut into tiles; that it is right is tested in test_blockwise."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.attention.chunked import CHUNK, TILE, _Plan, _sheared
from triptych.attention.tables import visible
from triptych.shape.pattern import Full, Local1D


@given(causal=st.booleans(), queries=st.integers(1, 900), lengths=st.lists(st.integers(0, 900), max_size=3))
@settings(deadline=None, max_examples=30)
def test_tiles_cover_every_query_that_sees_something(causal: bool, queries: int, lengths: list[int]) -> None:
    valid = tuple(min(length, queries) for length in lengths) if causal else tuple(lengths)
    covered = [0] * len(valid)
    for tile in _Plan(Full(causal), valid, (), (3, queries)).tiles():
        assert tile.start == covered[tile.batch] and tile.queries <= CHUNK and tile.first == 0
        assert tile.keys == (min(valid[tile.batch], tile.stop) if causal else valid[tile.batch])
        covered[tile.batch] = tile.stop
    assert covered == [queries if length else 0 for length in valid]


@given(query=st.integers(1, 600), memory=st.integers(0, 600), queries=st.integers(1, 900), length=st.integers(0, 900))
@settings(deadline=None, max_examples=50)
def test_local_tiles_reach_what_their_queries_see(query: int, memory: int, queries: int, length: int) -> None:
    pattern, valid = Local1D(query, memory), min(length, queries)
    covered = 0
    for tile in _Plan(pattern, (valid,), (), (3, queries)).tiles():
        assert tile.start == covered and tile.queries <= CHUNK
        assert tile.keys <= memory + max(query, CHUNK)
        for position in (tile.start, tile.stop - 1):
            seen = visible(pattern, position)
            seen = seen[seen < valid]
            assert len(seen) and tile.first <= seen[0] and seen[-1] < tile.last
        covered = tile.stop
    beyond = visible(pattern, covered) if covered < queries else torch.tensor([valid])
    assert beyond[0] >= valid


@pytest.mark.parametrize("length", [100, 5000, 100_000])
def test_buffers_are_linear_in_the_length(length: int) -> None:
    buffers = _Plan(Full(causal=True), (length,), (), (8, length)).buffers(1, torch.zeros(1, device="meta"))
    assert buffers[0].numel() <= max(2 * TILE, CHUNK * (length + CHUNK))
    local = _Plan(Local1D(256, 256), (length,), (), (8, length)).buffers(1, torch.zeros(1, device="meta"))
    assert local[0].numel() <= 2 * TILE


def test_the_shear_is_the_skew_of_the_paper() -> None:
    products = torch.arange(12.0).view(1, 3, 4)  # rows of queries, columns of distances 3, 2, 1, 0 of the last query
    skewed = torch.nn.functional.pad(products, (1, 0)).flatten(1)[:, 3:].view(1, 3, 4)
    read = _sheared(products, 4)
    for i in range(3):
        assert read[0, i, : 2 + i].tolist() == skewed[0, i, : 2 + i].tolist()
