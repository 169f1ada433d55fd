"""Attention patterns, full and local, all of them as index tables over the generation order.

A local pattern cuts the positions into blocks of equal size. `table` lists, for every block, the key positions its
queries may look at; "causal" is then always "the key's index is not larger than mine", in one dimension as in two,
because a picture is put into its generation order (`order`) before it gets here. The cached step reads a row of the
same table (`visible`).

Image Transformer (Parmar et al. 2018), "Local Self-Attention", for both local patterns; the "relative local attention"
of the Music Transformer (Huang et al. 2018) is `Local1D` with `query == memory`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.fields import Checked, Size

Places = NDArray[np.int64]
Sized = Annotated[int, Size(1, 2**20)]


@dataclass(frozen=True)
class Full(Checked):
    """Every query sees every key or, if `causal`, the keys that are not later than itself.

    Without `causal` the number of queries and keys may differ (cross-attention).
    """

    CALLED = "pattern.{name}"

    causal: bool = False


@dataclass(frozen=True)
class Local1D(Checked):
    """Causal; a block of `query` positions sees the `memory` positions before the block, and the block itself up to
    me.
    """

    CALLED = "pattern.{name}"

    query: Sized
    memory: Annotated[int, Size(0, 2**20)]


@dataclass(frozen=True)
class Local2D(Checked):
    """Causal in generation order, over a picture of `height` x `width` positions (subpixels side by side count as
    columns).

    A block of `query_rows` x `query_columns` sees `memory_rows` rows above it, with `memory_columns` more columns on
    both sides, `memory_columns` columns to its left, and itself up to me.
    """

    CALLED = "pattern.{name}"

    height: Sized
    width: Sized
    query_rows: Sized
    query_columns: Sized
    memory_rows: Annotated[int, Size(0, 2**20)]
    memory_columns: Annotated[int, Size(0, 2**20)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.height % self.query_rows or self.width % self.query_columns:
            raise UserError(
                f"expected a picture of whole query blocks, got {self.height}x{self.width} with blocks of "
                f"{self.query_rows}x{self.query_columns}; pad the picture or choose a block that divides it"
            )


Local = Local1D | Local2D
Pattern = Full | Local


def block_size(pattern: Local) -> int:
    """Number of positions in one query block."""
    if isinstance(pattern, Local1D):
        return pattern.query
    return pattern.query_rows * pattern.query_columns


def order(pattern: Local2D) -> Places:
    """Raster positions of a picture in generation order: int64 [height * width].

    Blocks in raster order, raster inside a block. `picture.ravel()[order(pattern)]` puts a picture into generation
    order and `sequence[order(pattern).argsort()]` puts it back.
    """
    p = pattern
    raster = np.arange(p.height * p.width)
    blocks = raster.reshape(p.height // p.query_rows, p.query_rows, p.width // p.query_columns, p.query_columns)
    return blocks.transpose(0, 2, 1, 3).reshape(-1)


def check_length(pattern: Pattern, length: int) -> None:
    """Raise UserError unless a sequence of `length` positions fits the pattern."""
    if length < 0 or (isinstance(pattern, Local2D) and length > pattern.height * pattern.width):
        most = f"0 to {pattern.height * pattern.width}" if isinstance(pattern, Local2D) else "0 or more"
        raise UserError(f"expected {most} positions, got {length}; change the length or the pattern's height and width")


def check_sizes(pattern: Pattern, queries: int, keys: int) -> None:
    """Raise UserError unless this many queries and keys fit the pattern."""
    if pattern != Full() and queries != keys:
        raise UserError(
            f"expected as many queries as keys in a causal or local pattern, got {queries} and {keys}; "
            "use Full() for cross-attention, or step for one query on a cache"
        )
    check_length(pattern, keys)


def table(pattern: Local, length: int) -> Places:
    """Key positions that each query block may look at: int64 [blocks, slots], -1 = hole. Do not write into it.

    The last block may be cut short by `length`; positions outside the sequence are holes. A query at position i sees a
    slot only if it is no hole and its position is at most i.
    """
    if isinstance(pattern, Full):
        raise UserError("expected a local pattern, got Full, which has no table; use mask")
    check_length(pattern, length)
    return _table(pattern, length)


@lru_cache(maxsize=64)
def _table(pattern: Local, length: int) -> Places:
    blocks = -(-length // block_size(pattern))
    if isinstance(pattern, Local1D):
        starts = np.arange(blocks)[:, None] * pattern.query
        keys = starts + np.arange(-min(pattern.memory, length), min(pattern.query, length))
    else:
        keys = _windows(pattern)[:blocks]
    return np.where((keys < 0) | (keys >= length), -1, keys)


def _windows(p: Local2D) -> Places:
    """Memory of every block of the picture, in generation order: [blocks, slots], -1 = outside the picture."""
    where = np.empty(p.height * p.width, np.int64)
    where[order(p)] = np.arange(p.height * p.width)
    edges = (p.memory_rows, 0), (p.memory_columns, p.memory_columns)
    padded = np.pad(where.reshape(p.height, p.width), edges, constant_values=-1)
    shape = p.memory_rows + p.query_rows, 2 * p.memory_columns + p.query_columns
    windows = np.lib.stride_tricks.sliding_window_view(padded, shape)[:: p.query_rows, :: p.query_columns]
    windows = windows.reshape(-1, *shape)  # [blocks, rows, columns]
    above = windows[:, : p.memory_rows].reshape(len(windows), -1)
    # What is to the right of the block comes later.
    beside = windows[:, p.memory_rows :, : p.memory_columns + p.query_columns].reshape(len(windows), -1)
    return np.concatenate((above, beside), 1)


def mask(pattern: Pattern, queries: int, keys: int) -> NDArray[np.bool_]:
    """True where a query may look at a key: bool [queries, keys]. Do not write into it."""
    check_sizes(pattern, queries, keys)
    return _mask(pattern, queries, keys)


@lru_cache(maxsize=16)
def _mask(pattern: Pattern, queries: int, keys: int) -> NDArray[np.bool_]:
    if isinstance(pattern, Full):
        return np.tri(queries, keys, dtype=bool) if pattern.causal else np.ones((queries, keys), bool)
    blocks = members(pattern, keys).repeat(min(block_size(pattern), queries), 0)
    return np.tri(queries, keys, dtype=bool) & blocks[:queries]


def members(pattern: Local, length: int) -> NDArray[np.bool_]:
    """True where a position is in the table row of a block: bool [blocks, length]."""
    keys = table(pattern, length)
    holes_last = np.zeros((len(keys), length + 1), bool)
    np.put_along_axis(holes_last, np.where(keys < 0, length, keys), True, 1)
    return holes_last[:, :length]


def ring(pattern: Pattern, length: int) -> int:
    """Number of slots a cached step must hold for sequences of `length` positions: the key of position p lies in p %
    ring.
    """
    check_length(pattern, length)
    if isinstance(pattern, Full):
        return length
    if isinstance(pattern, Local1D):
        return min(length, pattern.memory + pattern.query)
    return _ring(pattern, length)


@lru_cache(maxsize=64)
def _ring(pattern: Local2D, length: int) -> int:
    if length == 0:
        return 0
    keys = table(pattern, length)
    first = np.where(keys < 0, length, keys).min(1)
    last = np.minimum(np.arange(1, len(keys) + 1) * block_size(pattern), length) - 1
    return int((last - first).max()) + 1


def visible(pattern: Pattern, position: int) -> Places:
    """Key positions that the query at `position` sees, ascending: int64 [keys]. Only for causal patterns."""
    check_length(pattern, position + 1)
    if position < 0 or pattern == Full():
        raise UserError(f"expected a causal pattern and a position from 0, got {pattern} and {position}; use mask")
    if isinstance(pattern, Full):
        return np.arange(position + 1)
    block = position // block_size(pattern)
    if isinstance(pattern, Local1D):
        return np.arange(max(0, block * pattern.query - pattern.memory), position + 1)
    keys = table(pattern, pattern.height * pattern.width)[block]
    return np.sort(keys[(keys >= 0) & (keys <= position)])


@lru_cache(maxsize=16)
def causal_neighbours(pattern: Pattern, columns: int, count: int) -> Places:
    """Positions of the left and the upper neighbour of the first `count` positions: int64 [count, 2], -1 where there is
    none.

    columns: those of the picture; 0 where there is none, and every position follows the one before it. Do not write
    into the result.
    """
    check_length(pattern, count)
    here = np.arange(count)
    if not columns:
        return np.stack((here - 1, np.full_like(here, -1)), 1)
    # Raster place of each position, and the position of each raster place.
    raster = order(pattern)[:count] if isinstance(pattern, Local2D) else here
    whole = max(count, pattern.height * columns) if isinstance(pattern, Local2D) else count
    position = np.full(whole, -1)
    position[raster] = here
    left = np.where(raster % columns > 0, position[np.maximum(raster - 1, 0)], -1)
    above = np.where(raster >= columns, position[np.maximum(raster - columns, 0)], -1)
    return np.stack((left, above), 1)
