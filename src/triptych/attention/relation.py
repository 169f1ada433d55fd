"""Relations add to the logit of a query and a key the product of the query with a row of a table.

Which row, is a function of where both are: of their positions, as in Huang et al. 2018 ("relative positional
self-attention", without the memory that Shaw et al. 2018 needed), or of integer coordinates, such as pitch and time in
their section 4.1. Values have no such term. `shape.relations` has the kinds that models use.

Shapes in comments: B rows, H heads, Lq queries, Lk keys, R rows of a table, D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from triptych.errors import UserError
from triptych.shape.relations import Difference, Far, Row

DISTANCE = Difference()  # in causal attention, where the first row is that of distance 0


@dataclass(frozen=True)
class Relation:
    """The logit of query i and key j is joined by q_i . table[row(query_i, key_j)].

    table: [H, R, D]. row: rows of coordinates of queries and keys, int64 and broadcast; by default their difference.
    query, key: these coordinates, int64 [B, Lq] and [B, Lk], for a cached step in the order of the cache's slots; None:
    the positions. far: what a row outside the table does: "clip" takes the nearest one, "zero" adds nothing.
    """

    table: Tensor
    row: Row = DISTANCE
    query: Tensor | None = None
    key: Tensor | None = None
    far: Far = "clip"

    @cached_property
    def offset(self) -> int | None:
        """The row of distance 0, where rows are distances between positions, for which there are faster ways; else
        None.
        """
        return self.row.offset if type(self.row) is Difference and self.query is None else None

    def rows(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The row of every query and key, not yet limited to the table: int64, broadcastable to [B, Lq, Lk].

        queries int64 [Lq] and keys int64 [Lk] are positions; coordinates take their place.
        """
        if self.query is None or self.key is None:
            return self.row(queries[None, :, None], keys[None, None, :])
        return self.row(self.query[:, :, None], self.key[:, None, :])


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
        if type(relation.row) is Difference and not 0 <= relation.row.offset < relation.table.size(1):
            raise UserError(
                f"expected an offset from 0 to {relation.table.size(1) - 1}, a row, got {relation.row.offset}; "
                "use 0 for causal tables and the middle row for two-sided ones"
            )
        if (relation.query is None) != (relation.key is None):
            raise UserError("expected coordinates of queries and of keys, got one of them; give both or neither")
        if relation.query is None or relation.key is None:
            continue
        if relation.query.shape != (batch, queries) or relation.key.shape != (batch, keys):
            raise UserError(
                f"expected coordinates of shape {[batch, queries]} and {[batch, keys]}, "
                f"got {list(relation.query.shape)} and {list(relation.key.shape)}; give one for every query and key"
            )
        if relation.query.is_floating_point() or relation.key.is_floating_point():
            raise UserError("expected integer coordinates, got floating point ones; round them to integers")


def logits(query: Tensor, relation: Relation, queries: Tensor, keys: Tensor) -> Tensor:
    """The term that a relation adds to unscaled logits, by its definition: [B, H, Lq, Lk].

    query [B, H, Lq, D]; queries int64 [Lq] and keys int64 [Lk] are positions. In float32 for 16-bit queries.
    """
    return gathered(query, relation, relation.rows(queries, keys))


def gathered(query: Tensor, relation: Relation, rows: Tensor) -> Tensor:
    """The products of queries [B, H, Lq, D] with the rows int64 [B or 1, Lq, Lk] of a relation's table.

    The products with all rows of the table are made once and gathered, so that no tensor of shape [Lq, Lk, D] ever is.
    """
    table, rows = relation.table.to(query.dtype), rows[:, None]  # [H, R, D], [B or 1, 1, Lq, Lk]
    products = torch.einsum("bhqd,hnd->bhqn", query, table)  # [B, H, Lq, R]
    if products.dtype.itemsize == 2:  # many keys may share a row, and the gradient of that row is a sum over them
        products = products.float()
    inside = rows.clamp(0, table.size(1) - 1)
    term = products.gather(-1, inside.expand(*query.shape[:3], -1))  # [B, H, Lq, Lk]
    return term if relation.far == "clip" else term.masked_fill(rows != inside, 0)


def by_distance(relation: Relation, farthest: int, nearest: int) -> Tensor:
    """The rows of the table for distances farthest, farthest - 1, ..., nearest: [H, farthest - nearest + 1, D].

    For a relation with an `offset`. The rule for far distances is applied here, differentiably: every distance has a
    row. In float32 for a 16-bit table, because the gradient of the last row is a sum over all that were clipped to it.
    """
    assert relation.offset is not None
    table = relation.table.to(torch.promote_types(relation.table.dtype, torch.float32))
    rows = relation.offset + torch.arange(farthest, nearest - 1, -1, device=table.device)
    inside = rows.clamp(0, table.size(1) - 1)
    expanded = table.index_select(1, inside)
    return expanded if relation.far == "clip" else expanded.masked_fill((rows != inside)[:, None], 0)
