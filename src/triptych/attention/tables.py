"""The index tables of patterns (`shape.pattern`) as tensors, made in this one place. Do not write into them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from triptych.shape import pattern as arrays
from triptych.shape.pattern import Local, Local2D, Pattern


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is cached may later be saved for a backward pass, so it must be an ordinary tensor
def table(pattern: Local, length: int) -> Tensor:
    """Key positions that each query block may look at: int64 [blocks, slots], -1 = hole; see `shape.pattern.table`."""
    return torch.from_numpy(arrays.table(pattern, length))


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def mask(pattern: Pattern, queries: int, keys: int) -> Tensor:
    """True where a query may look at a key: bool [queries, keys]; see `shape.pattern.mask`."""
    return torch.from_numpy(arrays.mask(pattern, queries, keys))


@torch.inference_mode(False)
def members(pattern: Local, length: int) -> Tensor:
    """True where a position is in the table row of a block: bool [blocks, length]; see `shape.pattern.members`."""
    return torch.from_numpy(arrays.members(pattern, length))


@torch.inference_mode(False)
def order(pattern: Local2D) -> Tensor:
    """Raster positions of a picture in generation order: int64 [height * width]; see `shape.pattern.order`."""
    return torch.from_numpy(arrays.order(pattern))


@torch.inference_mode(False)
def visible(pattern: Pattern, position: int) -> Tensor:
    """Key positions that the query at `position` sees, ascending: int64 [keys]; see `shape.pattern.visible`."""
    return torch.from_numpy(arrays.visible(pattern, position))
