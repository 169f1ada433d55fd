"""Attention block by block: trainable, memory linear in the length, for every pattern and relation.

Full attention, and most of 1-D local attention, goes through in chunks of queries, whose keys are a slice (`chunked`).
Other local attention folds its blocks into the batch: a block of queries and the keys that its row of the table names
make one row of a larger batch, [B * blocks, H, queries, D]. Four dimensions, because torch's fused kernel on a CPU
takes no fifth. Blocks that see as much before them as they hold need no table (`neighbours`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from triptych.attention.chunked import chunked
from triptych.attention.dense import bias, check
from triptych.attention.neighbours import available, neighbours
from triptych.attention.relation import Relation, gathered
from triptych.attention.tables import table
from triptych.shape.pattern import Full, Local, Local1D, Pattern, block_size, check_sizes

KEEP = 16 * 1024 * 1024  # logits that a call keeps for its backward pass; of more, each group's are computed again
GROUP = 4 * 1024 * 1024  # logits of a group


def blockwise(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    pattern: Pattern,
    relations: Sequence[Relation] = (),
    lengths: Tensor | None = None,
) -> Tensor:
    """Attention [B, H, Lq, D] as defined by `dense`, in memory linear in the length, forward and backward.

    Differentiable once for `Full` and mostly for `Local1D` (no second derivative). Raises UserError where shapes do
    not fit together.
    """
    check(query, key, value, relations=relations, lengths=lengths)
    check_sizes(pattern, query.size(2), key.size(2))
    # Without relations, torch's fused kernel is faster than ours; but not its backward pass in 16 bits, on a CPU.
    by_kernel = not relations and query.dtype.itemsize > 2
    if isinstance(pattern, Full) or (isinstance(pattern, Local1D) and not by_kernel):
        return chunked(query, key, value, pattern=pattern, relations=relations, lengths=lengths)
    if query.numel() == 0:
        return query * 1
    if isinstance(pattern, Local1D):  # no block, and no memory of one, is longer than what there is
        longest = query.size(2)
        pattern = replace(pattern, query=min(pattern.query, longest), memory=min(pattern.memory, longest))
    if isinstance(pattern, Local1D) and pattern.query == pattern.memory and lengths is None and available(query.device):
        return neighbours(query, key, value, pattern.query)
    fold = _Fold(pattern, query, lengths)
    folded = fold.queries(query), fold.keys(key), fold.keys(value)
    terms = [_term(relation, fold) for relation in relations]
    if by_kernel:
        return fold.undo(_group(fold, None, fold.rows, *folded))
    logits_of_row = query.size(1) * fold.table.size(1) * fold.size
    if logits_of_row * len(fold.rows) <= KEEP:
        return fold.undo(_group(fold, terms, fold.rows, *folded))
    groups = zip(*(torch.split(x, max(1, GROUP // logits_of_row)) for x in (fold.rows, *folded)), strict=True)
    outs = [checkpoint(_group, fold, terms, *group, use_reentrant=False, preserve_rng_state=False) for group in groups]
    return fold.undo(torch.cat(outs))


class _Fold:
    """Blocks into the batch and back: row r of the folded batch is block r % blocks of row r // blocks."""

    def __init__(self, pattern: Local, query: Tensor, lengths: Tensor | None) -> None:
        self.batch, _, self.length, _ = query.shape
        self.table, self.lengths = table(pattern, self.length).to(query.device), lengths
        self.blocks, self.size = self.table.size(0), block_size(pattern)
        self.pick = self.table.clamp(min=0).flatten()
        self.inside = torch.arange(self.size, device=query.device)
        self.rows = torch.arange(self.batch * self.blocks, device=query.device)

    def queries(self, x: Tensor) -> Tensor:
        """[B, H, L, D] to [B * blocks, H, size, D]; the last block is filled up with zeros."""
        padded = F.pad(x, (0, 0, 0, self.blocks * self.size - self.length))
        batch, heads, _, width = x.shape
        return padded.reshape(batch, heads, self.blocks, self.size, width).transpose(1, 2).flatten(0, 1)

    def keys(self, x: Tensor) -> Tensor:
        """[B, H, L, D] to [B * blocks, H, slots, D]; what lies in holes is anything."""
        picked = x.transpose(1, 2).index_select(1, self.pick)
        return picked.reshape(self.batch * self.blocks, -1, *picked.shape[2:]).transpose(1, 2)

    def undo(self, x: Tensor) -> Tensor:
        """[B * blocks, H, size, D] to [B, H, L, D]."""
        apart = x.reshape(self.batch, self.blocks, *x.shape[1:])
        return apart.transpose(1, 2).flatten(2, 3)[:, :, : self.length]

    def positions(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Positions of the queries, [rows, size, 1], and of the keys, [rows, 1, slots]."""
        block = rows % self.blocks
        return (block[:, None] * self.size + self.inside)[:, :, None], self.table[block][:, None]

    def see(self, rows: Tensor) -> Tensor:
        """True where a query may look at a slot: bool [rows, 1, size, slots]."""
        queries, keys = self.positions(rows)
        see = (keys >= 0) & (keys <= queries)
        if self.lengths is not None:
            see &= keys < self.lengths[rows // self.blocks][:, None, None]
        return see[:, None]


Term = Callable[[Tensor, Tensor], Tensor]  # (scaled queries [rows, H, size, D], rows) -> [rows, H, size, slots]


def _group(
    fold: _Fold, terms: Sequence[Term] | None, rows: Tensor, query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    """Attention of some rows of the folded batch; terms None = by torch's fused kernel, which has no relations."""
    see = fold.see(rows)
    if terms is None:
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias(see, query.dtype))
    else:
        query = query * (1 / math.sqrt(query.size(-1)))
        logits = query @ key.transpose(-1, -2) + bias(see, query.dtype)
        for term in terms:
            logits = logits + term(query, rows)
        out = logits.softmax(-1).to(value.dtype) @ value
    return out if fold.lengths is None else out.masked_fill(~see.any(-1, keepdim=True), 0)


def _term(relation: Relation, fold: _Fold) -> Term:
    """The relation's term of scaled queries, by its definition: the rows of the folded positions or coordinates."""
    if relation.query is None or relation.key is None:
        return lambda query, rows: gathered(query, relation, relation.row(*fold.positions(rows)))
    padding = fold.blocks * fold.size - fold.length
    of_query = F.pad(relation.query, (0, padding)).view(-1, fold.size, 1)  # [B * blocks, size, 1]
    of_key = relation.key[:, fold.pick].view(fold.batch * fold.blocks, 1, -1)  # [B * blocks, 1, slots]
    return lambda query, rows: gathered(query, relation, relation.row(of_query[rows], of_key[rows]))
