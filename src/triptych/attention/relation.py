"""Relations add to the logit of a query and a key a term that depends on where both stand: q . table[row].

`ByDistance`: the row is the distance between the two positions, one table per head (Huang et al. 2018, "relative
positional self-attention", without the memory that Shaw et al. 2018 needed). `ByCoordinate`: the row is the difference
of two given integer coordinates; Huang et al. use pitch and time on the chorales. Values carry no such term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from triptych.errors import UserError

Far = Literal["zero", "clip"]


@dataclass(frozen=True)
class ByDistance:
    """Rows by distance: query position i and key position j use row `offset + (i - j)`.

    table: [heads, rows, width of a head]. offset: row of distance 0; 0 for causal tables, the middle row for tables
    that also hold negative distances. far: what a distance outside the table does: "clip" takes the nearest row, "zero"
    adds nothing.
    """

    table: Tensor
    far: Far = "clip"
    offset: int = 0


@dataclass(frozen=True)
class ByCoordinate:
    """Rows by difference of coordinates: row `(rows - 1) / 2 + (query_coordinate - key_coordinate)`.

    table: [heads, 2 * reach - 1, width of a head]. query: int64 [batch, queries]; key: int64 [batch, keys], for a
    cached step in the cache's order of slots. far: as in ByDistance.
    """

    table: Tensor
    query: Tensor
    key: Tensor
    far: Far = "clip"


Relation = ByDistance | ByCoordinate


def check_relations(relations: Sequence[Relation], query: Tensor, keys: int) -> None:
    """Raise UserError unless every relation fits query [B, H, Lq, D] and the number of keys."""
    batch, heads, queries, width = query.shape
    for relation in relations:
        if relation.table.dim() != 3 or relation.table.shape[::2] != (heads, width) or relation.table.size(1) < 1:
            raise UserError(
                f"expected a relation table of shape [{heads}, rows, {width}] (heads, rows, width of a head), "
                f"got {list(relation.table.shape)}; build it for this number and width of heads"
            )
        if relation.far not in ("zero", "clip"):
            raise UserError(f"expected far to be 'zero' or 'clip', got {relation.far!r}; choose one of the two")
        if isinstance(relation, ByDistance):
            if not 0 <= relation.offset < relation.table.size(1):
                raise UserError(
                    f"expected an offset from 0 to {relation.table.size(1) - 1}, a row, got {relation.offset}; "
                    "use 0 for causal tables and the middle row for two-sided ones"
                )
            continue
        if relation.table.size(1) % 2 == 0:
            raise UserError(
                f"expected 2 * reach - 1 rows, an odd number, in a table by coordinate, got {relation.table.size(1)}; "
                "add or drop a row"
            )
        if relation.query.shape != (batch, queries) or relation.key.shape != (batch, keys):
            raise UserError(
                f"expected coordinates of shape {[batch, queries]} and {[batch, keys]}, "
                f"got {list(relation.query.shape)} and {list(relation.key.shape)}; give one for every query and key"
            )
        if relation.query.is_floating_point() or relation.key.is_floating_point():
            raise UserError("expected integer coordinates, got floating point ones; round them to integers")


def rows(relation: Relation, queries: Tensor, keys: Tensor) -> Tensor:
    """Row of the table for every query and key, not yet limited to the table: int64 [batch or 1, Lq, Lk].

    queries int64 [Lq] and keys int64 [Lk] are positions; a relation by coordinate brings its own and leaves these
    unused.
    """
    if isinstance(relation, ByDistance):
        return (relation.offset + queries[:, None] - keys)[None]
    middle = relation.table.size(1) // 2
    return middle + relation.query[:, :, None] - relation.key[:, None, :]


def logits(query: Tensor, relation: Relation, queries: Tensor, keys: Tensor) -> Tensor:
    """The term that a relation adds to unscaled logits, by its definition: [B, H, Lq, Lk].

    query [B, H, Lq, D]; queries int64 [Lq] and keys int64 [Lk] are positions. The products with all rows of the table
    are made once and gathered, so that no tensor of shape [Lq, Lk, D] ever is. In float32 for 16-bit queries.
    """
    table = relation.table.to(query.dtype)
    row = rows(relation, queries, keys)[:, None]
    products = torch.einsum("bhqd,hnd->bhqn", query, table)
    if products.dtype.itemsize == 2:  # many keys may share a row, and the gradient of that row is a sum over them
        products = products.float()
    inside = row.clamp(0, table.size(1) - 1)
    term = products.gather(-1, inside.expand(*query.shape[:3], -1))
    return term if relation.far == "clip" else term.masked_fill(row != inside, 0)


def by_distance(relation: ByDistance, farthest: int, nearest: int) -> Tensor:
    """The rows of the table for distances farthest, farthest - 1, ..., nearest: [H, farthest - nearest + 1, D].

    The rule for far distances is carried out here, differentiably; what comes back has a row for every distance asked
    for. In float32 for a 16-bit table, because the gradient of the last row is a sum over all that were clipped to it.
    """
    table = relation.table.to(torch.promote_types(relation.table.dtype, torch.float32))
    distances = torch.arange(farthest, nearest - 1, -1, device=table.device)
    row = relation.offset + distances
    inside = row.clamp(0, table.size(1) - 1)
    expanded = table.index_select(1, inside)
    return expanded if relation.far == "clip" else expanded.masked_fill((row != inside)[:, None], 0)
