"""Full and 1-D local attention, with or without relations, in memory linear in the length: queries are taken in
chunks, and nothing of size Lq x Lk is ever whole or kept for the backward pass, which computes the probabilities of
each chunk again.

A chunk of queries of one row of the batch sees its keys as a plain slice (padding lies behind `lengths`, the future
behind the chunk, what is out of reach before it), so a tile is a few matrix products and a softmax over [heads,
queries, keys]. Buffers are made once and serve every tile, because the first touch of fresh memory costs more than the
arithmetic done in it.

Relative terms after Huang et al. (2018), figure 1: the products of a query with the rows of successive distances
are one place further to the left for each later query. Their skew pads and reshapes; here the same memory is read
through a strided view (`_sheared`) and, in the backward pass, written through one.

Shapes in comments: B rows, H heads, Lq queries, Lk keys, D width of a head; in a tile: h heads, q queries, k keys, r
rows of a relation's table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from triptych.attention.relation import Relation, by_distance
from triptych.shape.pattern import Full, Local1D

CHUNK = 256  # queries of a tile, at most
MIN_QUERIES = 64  # queries of a tile of small local blocks, about: fewer are not worth the calls
TILE = 4 * 1024 * 1024  # elements of a tile, at most: so many heads go together; in fewer steps, threads wait less


def chunked(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    pattern: Full | Local1D,
    relations: Sequence[Relation],
    lengths: Tensor | None,
) -> Tensor:
    """Attention [B, H, Lq, D] over key and value [B, H, Lk, D], differentiable once, in memory O(chunk * reach).

    All arguments as in `dense`, already checked. A second derivative raises torch's own error.
    """
    (batch, heads, queries, _), keys = query.shape, key.size(2)
    if isinstance(pattern, Local1D):  # no memory lies before the beginning
        pattern = replace(pattern, memory=min(pattern.memory, queries))
    valid = [keys] * batch if lengths is None else lengths.clamp(0, keys).tolist()
    # Distances from 0 on that occur in a tile; local tiles of several blocks also compute some that are out of reach.
    reach = min(queries, queries if isinstance(pattern, Full) else pattern.memory + _together(pattern))
    placements: list[_Distance | _Gathered] = []
    tables = []
    for relation in relations:
        if relation.offset is not None:
            nearest = 1 - keys if pattern == Full() else 0
            table = by_distance(relation, reach - 1, nearest).to(query.dtype)  # [H, reach - nearest, D]
            tables.append(F.pad(table, (0, 0, 0, 1)))  # a row for the column that `_Shear.write` leaves
            placements.append(_Distance(reach, reach - nearest))
        else:
            extra = 1 if relation.far == "zero" else 0
            tables.append(F.pad(relation.table, (0, 0, 0, extra)).to(query.dtype))
            placements.append(_Gathered(replace(relation, table=relation.table.detach())))
    plan = _Plan(pattern, tuple(valid), tuple(placements), (heads, queries))
    with torch.autocast(query.device.type, enabled=False):
        out: Tensor = _Chunked.apply(plan, query, key, value, *tables)  # type: ignore[no-untyped-call]
    return out


@dataclass(frozen=True)
class _Tile:
    """Queries start..stop of row `batch` against keys first..last, for `heads` heads at a time."""

    batch: int
    start: int
    stop: int
    first: int
    last: int
    heads: int

    @property
    def queries(self) -> int:
        return self.stop - self.start

    @property
    def keys(self) -> int:
        return self.last - self.first

    @property
    def span(self) -> slice:
        return slice(self.first, self.last)


@dataclass(frozen=True)
class _Shear:
    """A relation by distance in one tile: `rows` of the expanded table, the farthest distance first."""

    rows: slice
    tile: _Tile

    @property
    def written(self) -> slice:
        """The rows that the columns of `write` belong to."""
        return slice(self.rows.start, self.rows.stop + 1)

    def read(self, products: Tensor, _: Tensor) -> Tensor:
        """The term [heads, queries, keys] of products [heads, queries, rows]; future keys read garbage."""
        return _sheared(products, self.tile.keys)

    def write(self, gradient: Tensor, buffer: Tensor) -> Tensor:
        """The gradient of the products from that of the term, with a column more than there are products.

        That column keeps the (zero) gradients of future keys, which stick out of their row, out of what the next row
        holds: the same column that the skew of Huang et al. pads. It stays, because a cut tensor would be copied by
        every product that it enters.
        """
        width = self.rows.stop - self.rows.start + 1
        heads, queries, keys = gradient.shape
        padded = buffer[: heads * queries * width].view(heads, queries, width)
        padded[..., : queries - 1].zero_()
        padded[..., keys:].zero_()
        _sheared(padded, keys).copy_(gradient)
        return padded


def _sheared(products: Tensor, keys: int) -> Tensor:
    """View t[h, i, j] = products[h, i, j + queries - 1 - i]: distance i - j, where column 0 of the last row holds the
    first key.
    """
    heads, queries, _ = products.shape
    per_head, per_row, _ = products.stride()
    first = products.storage_offset() + queries - 1
    return products.as_strided((heads, queries, keys), (per_head, per_row - 1, 1), first)


@dataclass(frozen=True)
class _Gather:
    """Any other relation in one tile: the row of its table for every query and key, int64 [queries, keys]."""

    rows: slice
    row: Tensor

    @property
    def written(self) -> slice:
        return self.rows

    def read(self, products: Tensor, buffer: Tensor) -> Tensor:
        heads, size = products.size(0), self.row.numel()
        term = buffer[: heads * size].view(heads, *self.row.shape)
        return torch.gather(products, -1, self.row.expand_as(term), out=term)

    def write(self, gradient: Tensor, _: Tensor) -> Tensor:
        precise = gradient.to(_accumulator(gradient.dtype))  # many keys share a row: no sum in 16 bits
        products = precise.new_zeros(*gradient.shape[:2], self.rows.stop)
        return products.scatter_add_(-1, self.row.expand_as(precise), precise).to(gradient.dtype)


@dataclass(frozen=True)
class _Distance:
    reach: int
    rows: int  # of the expanded table: distances reach - 1, reach - 2, ...

    def place(self, tile: _Tile) -> _Shear:
        first = self.reach - (tile.stop - tile.first)
        return _Shear(slice(first, min(first + tile.keys + tile.queries - 1, self.rows)), tile)


@dataclass(frozen=True)
class _Gathered:
    relation: Relation

    @property
    def rows(self) -> int:
        """Of the table, with one of zeros for everything outside it where that adds nothing."""
        return self.relation.table.size(1) + (self.relation.far == "zero")

    def place(self, tile: _Tile) -> _Gather:
        relation, last = self.relation, self.relation.table.size(1) - 1
        if relation.query is None or relation.key is None:
            device = relation.table.device
            query, key = torch.arange(tile.start, tile.stop, device=device), torch.arange(tile.last, device=device)
        else:
            query, key = relation.query[tile.batch, tile.start : tile.stop], relation.key[tile.batch]
        row = relation.row(query[:, None], key[None, tile.span]).expand(tile.queries, tile.keys)
        inside = row.clamp(0, last)
        if relation.far == "zero":
            inside = inside.masked_fill(row != inside, last + 1)
        return _Gather(slice(0, self.rows), inside)


def _together(pattern: Local1D) -> int:
    """Queries of the local blocks that make one tile: of small ones many, although each meets keys out of its reach."""
    return max(1, min(CHUNK, max(MIN_QUERIES, pattern.memory)) // pattern.query) * pattern.query


@dataclass(frozen=True)
class _Plan:
    """All that a call needs besides the tensors that take a gradient."""

    pattern: Full | Local1D
    lengths: tuple[int, ...]  # valid keys of each row of the batch
    placements: tuple[_Distance | _Gathered, ...]  # one for each relation
    shape: tuple[int, int]  # heads, queries

    def tiles(self) -> list[_Tile]:
        heads, found = self.shape[0], []
        for batch, valid in enumerate(self.lengths):
            for start, stop, first in self._chunks(valid):
                last = valid if self.pattern == Full() else min(valid, stop)
                if last > first:
                    together = max(1, min(heads, TILE // (CHUNK * (last - first))))
                    found.append(_Tile(batch, start, stop, first, last, together))
        return found

    def _chunks(self, valid: int) -> Iterator[tuple[int, int, int]]:
        """Queries from, to, and the first key that one of them may see."""
        queries = self.shape[1]
        if isinstance(self.pattern, Full):
            yield from ((start, min(queries, start + CHUNK), 0) for start in range(0, queries, CHUNK))
            return
        memory, size = self.pattern.memory, _together(self.pattern)
        seeing = -(-(valid + memory) // self.pattern.query) * self.pattern.query  # later blocks see no valid key
        for block in range(0, min(queries, seeing), size):
            end = min(queries, seeing, block + size)
            for start in range(block, end, CHUNK):
                yield start, min(end, start + CHUNK), max(0, block - memory)

    def masks(self, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """True where a query of a tile must not look, bool [queries, keys]: the future, from the key at the first query
        on; and, of several local blocks, what is out of reach, from the memory of the first block on.
        """
        future = torch.ones(CHUNK, CHUNK, dtype=torch.bool, device=device).triu_(1)
        if isinstance(self.pattern, Full) or _together(self.pattern) == self.pattern.query:
            return future, None
        rows = torch.arange(_together(self.pattern), device=device)
        first = rows // self.pattern.query * self.pattern.query
        return future, torch.arange(len(rows) + self.pattern.memory, device=device) < first[:, None]

    def buffers(self, count: int, like: Tensor) -> list[Tensor]:
        """Flat buffers that hold one tile's logits, or the products with all rows of any relation, of any tile."""
        widest = max((p.rows for p in self.placements if isinstance(p, _Gathered)), default=0)
        spans = ((t, max(t.keys + t.queries, widest)) for t in self.tiles())
        size = max((t.heads * t.queries * span for t, span in spans), default=0)
        return [like.new_empty(size) for _ in range(count)]


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Total += left @ right, where total may be of a wider dtype."""
    if total.dtype == left.dtype:
        total.baddbmm_(left, right)
    else:
        total.add_(torch.bmm(left, right))


class _Walk:
    """The tiles of a call one after another: what forward and backward compute alike."""

    def __init__(self, plan: _Plan, query: Tensor, key: Tensor, tables: Sequence[Tensor], buffers: int) -> None:
        self.plan, self.key, self.tables = plan, key, tables
        self.query = query * (1 / math.sqrt(query.size(-1)))
        self.first, self.second, *self.others = plan.buffers(buffers, query)
        self.future, self.out_of_reach = plan.masks(query.device)

    def probabilities(self, tile: _Tile, heads: slice, places: Sequence[_Shear | _Gather]) -> Tensor:
        """[heads, queries, keys], in the first buffer; the others are free again."""
        query = self.query[tile.batch, heads, tile.start : tile.stop]  # [h, q, D]
        count = query.size(0)
        logits = self.second[: count * tile.queries * tile.keys].view(count, tile.queries, tile.keys)  # [h, q, k]
        torch.bmm(query, self.key[tile.batch, heads, tile.span].mT, out=logits)
        for place, table in zip(places, self.tables, strict=True):
            width = place.rows.stop - place.rows.start
            products = self.first[: count * tile.queries * width].view(count, tile.queries, width)  # [h, q, r]
            torch.bmm(query, table[heads, place.rows].mT, out=products)
            logits.add_(place.read(products, self.others[0]))  # [h, q, k]
        self._hide(logits, tile)
        return torch.softmax(logits, -1, out=self.first[: logits.numel()].view_as(logits))

    def _hide(self, logits: Tensor, tile: _Tile) -> None:
        pattern = self.plan.pattern
        if pattern != Full() and tile.last > tile.start:
            future = self.future[: tile.queries, : tile.last - tile.start]
            logits[..., tile.start - tile.first :].masked_fill_(future, -math.inf)
        if self.out_of_reach is not None and isinstance(pattern, Local1D):
            cut = tile.first - (tile.start - pattern.memory)  # positions before the beginning
            logits.masked_fill_(self.out_of_reach[: tile.queries, cut : cut + tile.keys], -math.inf)


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, query: Tensor, key: Tensor, value: Tensor, *tables: Tensor) -> Tensor:
        walk = _Walk(plan, query, key, tables, buffers=3)
        out = torch.zeros_like(query, memory_format=torch.contiguous_format)
        for tile in plan.tiles():
            places = [placement.place(tile) for placement in plan.placements]
            for head in range(0, query.size(1), tile.heads):
                heads = slice(head, min(query.size(1), head + tile.heads))
                seen = value[tile.batch, heads, tile.span]  # [h, k, D]
                out[tile.batch, heads, tile.start : tile.stop] = walk.probabilities(tile, heads, places) @ seen
        ctx.save_for_backward(query, key, value, out, *tables)
        ctx.plan = plan
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, *tables = ctx.saved_tensors
        plan: _Plan = ctx.plan
        with torch.autocast(query.device.type, enabled=False):  # some call backward inside of it
            walk = _Walk(plan, query, key, tables, buffers=3)
            pass_back = _Backward(walk, value, gradient.contiguous(), out)
            for tile in plan.tiles():
                places = [placement.place(tile) for placement in plan.placements]
                for head in range(0, query.size(1), tile.heads):
                    pass_back.tile(tile, slice(head, min(query.size(1), head + tile.heads)), places)
        totals = (pass_back.query, pass_back.key, pass_back.value, *pass_back.tables)
        return None, *(total.to(query.dtype) for total in totals)


class _Backward:
    """Gradients of query, key, value and tables, summed up tile by tile (in float32 for 16-bit inputs)."""

    def __init__(self, walk: _Walk, value: Tensor, gradient: Tensor, out: Tensor) -> None:
        self.walk, self.of_value, self.gradient, self.out = walk, value, gradient, out
        wide = _accumulator(value.dtype)
        self.query = torch.zeros_like(walk.query)
        self.key, self.value = (torch.zeros(value.shape, dtype=wide, device=value.device) for _ in range(2))
        self.tables = [torch.zeros(t.shape, dtype=wide, device=t.device) for t in walk.tables]

    def tile(self, tile: _Tile, heads: slice, places: Sequence[_Shear | _Gather]) -> None:
        walk, queries, keys = self.walk, slice(tile.start, tile.stop), tile.span
        query, gradient, out = (
            x[tile.batch, heads, queries] for x in (walk.query, self.gradient, self.out)
        )  # [h, q, D]
        probabilities = walk.probabilities(tile, heads, places)  # [h, q, k]; query, gradient and out are [h, q, D]
        _add_product(self.value[tile.batch, heads, keys], probabilities.mT, gradient)  # [h, k, D]
        scores = walk.second[: probabilities.numel()].view_as(probabilities)
        torch.bmm(gradient, self.of_value[tile.batch, heads, keys].mT, out=scores)  # [h, q, k]
        # From here on, the gradient of the logits.
        scores.sub_((gradient * out).sum(-1, keepdim=True)).mul_(probabilities)
        total = torch.bmm(scores, walk.key[tile.batch, heads, keys])  # [h, q, D]
        _add_product(self.key[tile.batch, heads, keys], scores.mT, query)  # [h, k, D]
        for place, table, of_table in zip(places, walk.tables, self.tables, strict=True):
            products = place.write(scores, walk.others[0])  # [h, q, r]
            total.baddbmm_(products, table[heads, place.written])
            _add_product(of_table[heads, place.written], products.mT, query)  # [h, r, D]
        self.query[tile.batch, heads, queries] = total.mul_(1 / math.sqrt(query.size(-1)))
