"""Who may look at whom: full and local patterns, all of them as index tables over the generation order.

A local pattern cuts the positions into blocks of equal size. `table` lists, for every block, the key positions its
queries may look at; "causal" is then always "the key's index is not larger than mine", in one dimension as in two,
because a picture is put into its generation order (`order`) before it gets here. The cached step reads a row of the
same table (`visible`).

Image Transformer (Parmar et al. 2018), "Local Self-Attention", for both local patterns; the "relative local attention"
of the Music Transformer (Huang et al. 2018) is `Local1D` with `query == memory`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.errors import UserError


@dataclass(frozen=True)
class Full:
    """Every query sees every key or, if `causal`, the keys that are not later than itself.

    Without `causal` the number of queries and keys may differ (cross-attention).
    """

    causal: bool = False


@dataclass(frozen=True)
class Local1D:
    """Causal; a block of `query` positions sees the `memory` positions before the block, and the block itself up to
    me.
    """

    query: int
    memory: int

    def __post_init__(self) -> None:
        _at_least(self, query=1, memory=0)


@dataclass(frozen=True)
class Local2D:
    """Causal in generation order, over a picture of `height` x `width` positions (subpixels side by side count as
    columns).

    A block of `query_rows` x `query_columns` sees `memory_rows` rows above it, with `memory_columns` more columns on
    both sides, `memory_columns` columns to its left, and itself up to me.
    """

    height: int
    width: int
    query_rows: int
    query_columns: int
    memory_rows: int
    memory_columns: int

    def __post_init__(self) -> None:
        _at_least(self, height=1, width=1, query_rows=1, query_columns=1, memory_rows=0, memory_columns=0)
        if self.height % self.query_rows or self.width % self.query_columns:
            raise UserError(
                f"expected a picture of whole query blocks, got {self.height}x{self.width} with blocks of "
                f"{self.query_rows}x{self.query_columns}; pad the picture or choose a block that divides it"
            )


Local = Local1D | Local2D
Pattern = Full | Local


def _at_least(pattern: Local, **least: int) -> None:
    for field in fields(pattern):
        value = getattr(pattern, field.name)
        if not isinstance(value, int) or value < least[field.name]:
            raise UserError(
                f"expected {type(pattern).__name__}.{field.name} to be an integer of at least {least[field.name]}, "
                f"got {value!r}; correct the pattern"
            )


def block_size(pattern: Local) -> int:
    """Number of positions in one query block."""
    if isinstance(pattern, Local1D):
        return pattern.query
    return pattern.query_rows * pattern.query_columns


def order(pattern: Local2D) -> Tensor:
    """Raster positions of a picture in generation order: int64 [height * width].

    Blocks in raster order, raster inside a block. `picture.flatten()[order(pattern)]` puts a picture into generation
    order and `sequence[order(pattern).argsort()]` puts it back.
    """
    p = pattern
    raster = torch.arange(p.height * p.width, device="cpu")
    blocks = raster.view(p.height // p.query_rows, p.query_rows, p.width // p.query_columns, p.query_columns)
    return blocks.transpose(1, 2).reshape(-1)


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


def table(pattern: Local, length: int) -> Tensor:
    """Key positions that each query block may look at: int64 [blocks, slots], -1 = hole. Do not write into it.

    The last block may be cut short by `length`; positions outside the sequence are holes. A query at position i sees a
    slot only if it is no hole and its position is at most i.
    """
    if isinstance(pattern, Full):
        raise UserError("expected a local pattern, got Full, which has no table; use mask")
    check_length(pattern, length)
    return _table(pattern, length)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is cached may later be saved for a backward pass, so it must be an ordinary tensor
def _table(pattern: Local, length: int) -> Tensor:
    blocks = -(-length // block_size(pattern))
    if isinstance(pattern, Local1D):
        starts = torch.arange(blocks, device="cpu")[:, None] * pattern.query
        keys = starts + torch.arange(-min(pattern.memory, length), min(pattern.query, length), device="cpu")
    else:
        keys = _windows(pattern)[:blocks]
    return keys.masked_fill((keys < 0) | (keys >= length), -1)


def _windows(p: Local2D) -> Tensor:
    """Memory of every block of the picture, in generation order: [blocks, slots], -1 = outside the picture."""
    where = torch.empty(p.height * p.width, dtype=torch.int64, device="cpu")
    where[order(p)] = torch.arange(p.height * p.width, device="cpu")
    edges = (p.memory_columns, p.memory_columns, p.memory_rows, 0)
    padded = F.pad(where.view(p.height, p.width), edges, value=-1)
    rows, columns = p.memory_rows + p.query_rows, 2 * p.memory_columns + p.query_columns
    windows = padded.unfold(0, rows, p.query_rows).unfold(1, columns, p.query_columns).flatten(0, 1)
    above = windows[:, : p.memory_rows].flatten(1)
    # What is to the right of the block comes later.
    beside = windows[:, p.memory_rows :, : p.memory_columns + p.query_columns].flatten(1)
    return torch.cat((above, beside), 1)


def mask(pattern: Pattern, queries: int, keys: int) -> Tensor:
    """True where a query may look at a key: bool [queries, keys]. Do not write into it."""
    check_sizes(pattern, queries, keys)
    return _mask(pattern, queries, keys)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _mask(pattern: Pattern, queries: int, keys: int) -> Tensor:
    see = torch.ones(queries, keys, dtype=torch.bool, device="cpu")
    if isinstance(pattern, Full):
        return see.tril() if pattern.causal else see
    return see.tril() & members(pattern, keys).repeat_interleave(min(block_size(pattern), queries), 0)[:queries]


def members(pattern: Local, length: int) -> Tensor:
    """True where a position is in the table row of a block: bool [blocks, length]."""
    keys = table(pattern, length)
    holes_last = torch.zeros(keys.size(0), length + 1, dtype=torch.bool, device="cpu")
    holes_last.scatter_(1, torch.where(keys < 0, length, keys), value=True)
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
    first = torch.where(keys < 0, length, keys).amin(1)
    last = (torch.arange(1, keys.size(0) + 1, device="cpu") * block_size(pattern)).clamp(max=length) - 1
    return int((last - first).max()) + 1


def visible(pattern: Pattern, position: int) -> Tensor:
    """Key positions that the query at `position` sees, ascending: int64 [keys]. Only for causal patterns."""
    check_length(pattern, position + 1)
    if position < 0 or pattern == Full():
        raise UserError(f"expected a causal pattern and a position from 0, got {pattern} and {position}; use mask")
    if isinstance(pattern, Full):
        return torch.arange(position + 1, device="cpu")
    block = position // block_size(pattern)
    if isinstance(pattern, Local1D):
        return torch.arange(max(0, block * pattern.query - pattern.memory), position + 1, device="cpu")
    keys = table(pattern, pattern.height * pattern.width)[block]
    return keys[(keys >= 0) & (keys <= position)].sort().values
