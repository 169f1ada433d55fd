"""The cached step: one new query against the keys kept so far, for every pattern and relation.

A cache has S slots and the key of position p lies in slot p % S. With S = `ring(pattern, length)` a local pattern keeps
only what may still be looked at, so its memory does not grow with the length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.attention.dense import bias, check
from triptych.attention.relation import Relation, logits
from triptych.attention.tables import visible
from triptych.errors import UserError
from triptych.shape.pattern import Full, Local, Pattern


def step(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    position: int,
    pattern: Pattern,
    relations: Sequence[Relation] = (),
    lengths: Tensor | None = None,
) -> Tensor:
    """Attention of the query at `position` alone: [B, H, 1, D], equal to that row of the parallel form.

    query [B, H, 1, D]; keys, values [B, H, S, D] with position p in slot p % S, the position's own key and value
    already written (`fill`); slots not yet written must hold finite numbers. Coordinates of a relation are query [B, 1]
    and key [B, S], in the same order of slots. lengths: as in `dense`. For `Full()` (cross-attention) all S keys are
    seen and `position` serves only the relations of positions. Raises UserError where the cache is too small for the
    pattern.
    """
    check(query, keys, values, relations=relations, lengths=lengths)
    if query.size(2) != 1 or position < 0:
        raise UserError(f"expected one query at a position from 0, got {query.size(2)} at {position}; use attend")
    slots, low, see = keys.size(2), None, None
    if isinstance(pattern, Full):
        seen = position + 1 if pattern.causal else slots
        _check_slots(seen, slots, position)
        keys, values, span = keys[:, :, :seen], values[:, :, :seen], (position + 1 - seen, position)
        relations = [r if r.key is None else replace(r, key=r.key[:, :seen]) for r in relations]
        positions = None if lengths is None else torch.arange(seen, device=query.device)
    else:
        positions, see, low = _held(pattern, position, slots, query.device, query.dtype)
        span = (0, slots - 1)
    if lengths is not None:
        assert positions is not None
        valid = (positions < lengths[:, None])[:, None, None]  # [B, 1, 1, S]
        see = valid if see is None else see & valid
        low = bias(see, query.dtype)
    if not relations and (query.dtype.itemsize > 2 or query.device.type != "cpu"):  # one call instead of several
        out = F.scaled_dot_product_attention(query, keys, values, attn_mask=low)
    else:
        query = query / math.sqrt(query.size(-1))
        scores = _product(query, keys.transpose(-1, -2))  # [B, H, 1, S]
        for relation in relations:
            scores = scores + _term(query, relation, position, None if see is None else positions, span)
        out = _product((scores if low is None else scores + low).softmax(-1).to(values.dtype), values)  # [B, H, 1, D]
    # Without padding, every query sees at least itself.
    return out if lengths is None or see is None else out.masked_fill(~see.any(-1, keepdim=True), 0)


def _check_slots(needed: int, slots: int, position: int) -> None:
    if needed > slots:
        raise UserError(
            f"expected a cache of at least {needed} slots at position {position}, got {slots}; "
            "make it with ring(pattern, length) slots"
        )


@lru_cache(maxsize=8)  # every layer of a model asks for the same step
@torch.inference_mode(False)
def _held(
    pattern: Local, position: int, slots: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """The content of a ring once `position` is written: the position in each slot (int64 [slots], negative = none yet),
    whether it is seen (bool [1, slots]), and what is therefore added to its logit.

    All slots are computed and the unseen ones masked: they are few, and gathering the others would copy the cache.
    """
    seen = visible(pattern, position)
    _check_slots(position - int(seen[0]) + 1, slots, position)
    positions = position - (position - torch.arange(slots, device="cpu")) % slots
    see = torch.zeros(1, slots, dtype=torch.bool, device="cpu")
    see[0, seen % slots] = True
    return positions.to(device), see.to(device), bias(see, dtype).to(device)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Left @ right for [B, H, ., .] without the copy that matmul makes of a cache, whose slots lie outermost."""
    product = torch.bmm(left.flatten(0, 1), right.flatten(0, 1))
    return product.view(*left.shape[:2], *product.shape[1:])


def _term(query: Tensor, relation: Relation, position: int, positions: Tensor | None, span: tuple[int, int]) -> Tensor:
    """The relation's term [B, H, 1, slots] for a scaled query; span: smallest and largest distance to a position.

    positions: the position in each slot of a ring; None where slot p holds position p.
    """
    if relation.offset is None:
        if positions is None:
            positions = torch.arange(position - span[1], position - span[0] + 1, device=query.device)
        return logits(query, relation, positions.new_full((1,), position), positions)
    # Only the rows that these distances can ask for, and one index for all rows of the batch and heads.
    last = relation.table.size(1) - 1
    first, final = (min(max(relation.offset + distance, 0), last) for distance in span)
    rows = relation.table[:, first : final + 1].to(query.dtype)  # [H, R, D]
    products = torch.bmm(query[:, :, 0].transpose(0, 1), rows.transpose(1, 2)).transpose(0, 1)  # [B, H, R]
    if positions is None:
        return _in_order(products, relation, span, (first, final))
    row = relation.offset + position - first - positions  # [S]
    inside = row.clamp(0, final - first)
    term = products.index_select(2, inside)[:, :, None]  # [B, H, 1, S]
    return term if relation.far == "clip" else term.masked_fill(row != inside, 0)


def _in_order(products: Tensor, relation: Relation, span: tuple[int, int], rows: tuple[int, int]) -> Tensor:
    """The term [B, H, 1, keys] for keys one after another, the farthest first: the products [B, H, rows] turned round.

    What is outside the table, at either end, takes the nearest row or nothing.
    """
    nearest, farthest = span
    assert relation.offset is not None
    before = max(0, min(relation.offset + farthest - rows[1], farthest - nearest))
    after = max(0, min(rows[0] - relation.offset - nearest, farthest - nearest))
    term = products.flip(-1)
    if relation.far == "clip":
        ends = (term[..., :1].expand(-1, -1, before), term, term[..., -1:].expand(-1, -1, after))
        return (torch.cat(ends, -1) if before or after else term)[:, :, None]
    # A table that no distance reaches still gave one product.
    inside = max(0, min(relation.offset + farthest, rows[1]) - max(relation.offset + nearest, rows[0]) + 1)
    term = term if inside else term * 0
    return F.pad(term, (before, after))[:, :, None]


def fill(ring: Tensor, entries: Tensor, *, start: int = 0) -> None:
    """Write the keys (or values) of positions start, start + 1, ... into their slots p % S, in place.

    ring [..., S, D] and entries [..., L, D]. For coordinates [B, S] give `ring[..., None]` and `entries[..., None]`. Of
    more than S entries only the last S are kept, so one call turns a parallel prefill into the cache of the next step.
    """
    slots, length = ring.size(-2), entries.size(-2)
    if ring.shape[:-2] != entries.shape[:-2] or ring.size(-1) != entries.size(-1) or start < 0:
        raise UserError(
            f"expected entries of shape {[*ring.shape[:-2], 'length', ring.size(-1)]} from position 0 or later, "
            f"got {list(entries.shape)} from {start}; make the ring for the same heads"
        )
    kept = min(slots, length)
    done, slot = length - kept, (start + length - kept) % max(slots, 1)
    until_wrap = min(kept, slots - slot)
    ring[..., slot : slot + until_wrap, :] = entries[..., done : done + until_wrap, :]
    if until_wrap < kept:
        ring[..., : kept - until_wrap, :] = entries[..., done + until_wrap :, :]
