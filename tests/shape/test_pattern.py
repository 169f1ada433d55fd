"""Patterns against the geometry they are defined by: blocks, strips and rasters, with no table in sight."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.shape.pattern import (
    Full,
    Local1D,
    Local2D,
    block_size,
    causal_neighbours,
    mask,
    members,
    order,
    ring,
    table,
    visible,
)

PICTURE = Local2D(height=6, width=8, query_rows=3, query_columns=2, memory_rows=2, memory_columns=3)


def sees_1d(pattern: Local1D, me: int, other: int) -> bool:
    """Image Transformer, "Local Self-Attention": the memory of my block, my block, and in it nothing after me."""
    start = me - me % pattern.query
    return start - pattern.memory <= other <= me


def place(pattern: Local2D, position: int) -> tuple[int, int]:
    """Row and column of the position that is generated as number `position`."""
    block, inside = divmod(position, pattern.query_rows * pattern.query_columns)
    block_row, block_column = divmod(block, pattern.width // pattern.query_columns)
    row, column = divmod(inside, pattern.query_columns)
    return block_row * pattern.query_rows + row, block_column * pattern.query_columns + column


def sees_2d(pattern: Local2D, me: int, other: int) -> bool:
    """Image Transformer, figure 1: a strip above with both corners, a strip to the left, my block up to me."""
    p, (row, column), (other_row, other_column) = pattern, place(pattern, me), place(pattern, other)
    top, left = row - row % p.query_rows, column - column % p.query_columns
    above = top - p.memory_rows <= other_row < top
    above = above and left - p.memory_columns <= other_column < left + p.query_columns + p.memory_columns
    same_rows = top <= other_row < top + p.query_rows
    beside = same_rows and left - p.memory_columns <= other_column < left
    own = same_rows and left <= other_column < left + p.query_columns
    return above or beside or (own and (other_row, other_column) <= (row, column))


@given(query=st.integers(1, 6), memory=st.integers(0, 9), length=st.integers(0, 20))
@settings(deadline=None, max_examples=30)
def test_local_1d_is_its_geometry(query: int, memory: int, length: int) -> None:
    pattern = Local1D(query, memory)
    expected = [[sees_1d(pattern, i, j) for j in range(length)] for i in range(length)]
    assert mask(pattern, length, length).tolist() == expected


@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_local_2d_is_its_geometry(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    height, width = rows * data.draw(st.integers(1, 3)), columns * data.draw(st.integers(1, 3))
    memory = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    pattern = Local2D(height, width, rows, columns, *memory)
    length = data.draw(st.integers(0, height * width))
    expected = [[sees_2d(pattern, i, j) for j in range(length)] for i in range(length)]
    assert mask(pattern, length, length).tolist() == expected


def test_order_is_blocks_in_raster_order_and_raster_inside() -> None:
    rows_and_columns = [divmod(raster, PICTURE.width) for raster in order(PICTURE).tolist()]
    assert rows_and_columns == [place(PICTURE, position) for position in range(48)]


def test_full_masks() -> None:
    assert mask(Full(), 2, 3).tolist() == [[True] * 3] * 2
    assert mask(Full(causal=True), 2, 2).tolist() == [[True, False], [True, True]]


def test_a_table_written_out() -> None:
    assert table(Local1D(query=2, memory=1), 5).tolist() == [[-1, 0, 1], [1, 2, 3], [3, 4, -1]]
    small = Local2D(height=2, width=3, query_rows=1, query_columns=1, memory_rows=1, memory_columns=1)
    assert table(small, 6)[4].tolist() == [0, 1, 2, 3, 4]  # above with both corners, to the left, itself
    assert table(small, 6)[0].tolist() == [-1, -1, -1, -1, 0]


def test_a_table_holds_no_more_than_in_the_paper() -> None:
    slots = PICTURE.memory_rows * (PICTURE.query_columns + 2 * PICTURE.memory_columns)
    slots += PICTURE.query_rows * (PICTURE.memory_columns + PICTURE.query_columns)
    assert table(PICTURE, 48).shape == (8, slots)
    assert members(PICTURE, 48).sum() == (table(PICTURE, 48) >= 0).sum()


@pytest.mark.parametrize("pattern", [Full(causal=True), Local1D(4, 6), Local1D(3, 0), PICTURE])
def test_visible_is_a_row_of_the_mask(pattern: Full | Local1D | Local2D) -> None:
    rows = mask(pattern, 48, 48)
    for position in range(48):
        assert visible(pattern, position).tolist() == rows[position].nonzero()[0].tolist()


@pytest.mark.parametrize("pattern", [Local1D(4, 6), Local1D(3, 0), Local1D(50, 50), PICTURE])
@pytest.mark.parametrize("length", [0, 1, 7, 30, 48])
def test_ring_holds_all_that_is_seen_and_no_more(pattern: Local1D | Local2D, length: int) -> None:
    needed = max((i - int(visible(pattern, i)[0]) + 1 for i in range(length)), default=0)
    exact = isinstance(pattern, Local2D) or length % block_size(pattern) == 0
    slots = ring(pattern, length)
    assert slots == needed if exact else needed <= slots <= length


def test_ring_does_not_grow_with_the_length() -> None:
    assert ring(Local1D(4, 6), 10**9) == 10
    assert ring(Full(causal=True), 77) == 77
    tall = [Local2D(height, 8, 2, 2, 2, 2) for height in (8, 80)]
    assert ring(tall[0], 64) == ring(tall[1], 640) < 64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Local1D(0, 4), "expected pattern.query of 1 to 1,048,576, got 0"),
        (lambda: Local1D(4, -1), "expected pattern.memory of 0 to 1,048,576, got -1"),
        (lambda: Local1D(2.5, 4), "got 2.5"),  # type: ignore[arg-type]
        (lambda: Local2D(5, 4, 2, 2, 1, 1), "whole query blocks, got 5x4"),
        (lambda: Local2D(4, 4, 2, 2, -1, 1), "pattern.memory_rows of 0 to 1,048,576"),
        (lambda: table(PICTURE, 49), "0 to 48 positions, got 49"),
        (lambda: table(Full(), 4), "expected a local pattern"),  # type: ignore[arg-type]
        (lambda: ring(PICTURE, 49), "0 to 48 positions"),
        (lambda: ring(Full(), -1), "0 or more positions, got -1"),
        (lambda: mask(Full(causal=True), 3, 4), "as many queries as keys"),
        (lambda: mask(Local1D(2, 2), 3, 4), "as many queries as keys"),
        (lambda: visible(Full(), 3), "expected a causal pattern"),
        (lambda: visible(Local1D(2, 2), -1), "0 or more positions|a position from 0"),
    ],
)
def test_mistakes_are_one_clear_line(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(UserError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(1, 3), columns=st.integers(1, 3), block=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_neighbours_in_blocks_are_those_of_the_picture(rows: int, columns: int, block: tuple[int, int]) -> None:
    height, width = rows * block[0], columns * block[1]
    pattern = Local2D(height, width, *block, 1, 1)
    places = order(pattern).tolist()
    near = causal_neighbours(pattern, width, height * width).tolist()
    for at, place in enumerate(places):
        left = places.index(place - 1) if place % width else -1
        above = places.index(place - width) if place >= width else -1
        assert near[at] == [left, above]


def test_neighbours_line_by_line() -> None:
    near = causal_neighbours(Full(causal=True), 3, 8)
    assert near[:, 0].tolist() == [-1, 0, 1, -1, 3, 4, -1, 6], "the last row is not whole"
    assert near[:, 1].tolist() == [-1, -1, -1, 0, 1, 2, 3, 4]


def test_what_is_no_picture_has_the_position_before() -> None:
    assert causal_neighbours(Full(causal=True), 0, 4).tolist() == [[-1, -1], [0, -1], [1, -1], [2, -1]]
