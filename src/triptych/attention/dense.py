"""The definition: a masked softmax, written for reading. Every faster path must equal it, forward and backward.

Shapes everywhere in this package: query [B, H, Lq, D]; key, value [B, H, Lk, D]; lengths int64 [B], the number of valid
keys of each row (later keys are never seen). A query that may look at nothing gives zeros, and passes back zeros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from triptych.attention.relation import Relation, check_relations, logits
from triptych.attention.tables import mask
from triptych.errors import UserError
from triptych.shape.pattern import Full, Pattern


def dense(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    pattern: Pattern,
    relations: Sequence[Relation] = (),
    lengths: Tensor | None = None,
) -> Tensor:
    """Attention by its definition: [B, H, Lq, D]. Time and memory grow with Lq * Lk. Any floating dtype.

    Scaled dot-product attention after Vaswani et al. 2017, section 3.2.1; the relative terms after Huang et al. 2018,
    eq. 3. Raises UserError where shapes do not fit together.
    """
    check(query, key, value, relations=relations, lengths=lengths)
    return weights(query, key, pattern=pattern, relations=relations, lengths=lengths) @ value


def weights(
    query: Tensor,
    key: Tensor,
    *,
    pattern: Pattern,
    relations: Sequence[Relation] = (),
    lengths: Tensor | None = None,
) -> Tensor:
    """Attention probabilities [B, H, Lq, Lk]: softmax((q . k + sum of q . table[row]) / sqrt(D)) over the visible
    keys.
    """
    check(query, key, key, relations=relations, lengths=lengths)
    queries, keys = (torch.arange(x.size(2), device=x.device) for x in (query, key))
    query = query / math.sqrt(query.size(-1))  # every term below is linear in the query, so this divides them all
    scores = query @ key.transpose(-1, -2)  # [B, H, Lq, Lk]
    for relation in relations:
        scores = scores + logits(query, relation, queries, keys)  # [B, H, Lq, Lk]
    return masked_softmax(scores, _visible(query, key, pattern, lengths)).to(query.dtype)


def _visible(query: Tensor, key: Tensor, pattern: Pattern, lengths: Tensor | None) -> Tensor | None:
    """True where a query may look at a key, broadcastable to [B, H, Lq, Lk]; None if all may be seen."""
    see = None if pattern == Full() else mask(pattern, query.size(2), key.size(2)).to(query.device)  # [Lq, Lk]
    if lengths is None:
        return see
    valid = valid_keys(lengths, key.size(2))  # [B, 1, 1, Lk]
    return valid if see is None else see & valid


def valid_keys(lengths: Tensor, keys: int) -> Tensor:
    """True where a key is not padding: bool [B, 1, 1, keys]."""
    return (torch.arange(keys, device=lengths.device) < lengths[:, None])[:, None, None]


def masked_softmax(scores: Tensor, see: Tensor | None) -> Tensor:
    """Softmax over the last dimension among what may be seen (None: everything); zeros where that is nothing."""
    if see is None:
        return scores.softmax(-1)
    probabilities = (scores + bias(see, scores.dtype)).softmax(-1)
    something = see.any(-1, keepdim=True)
    if something.device.type == "cpu" and bool(something.all()):  # saves a pass; elsewhere it would wait for the device
        return probabilities
    return probabilities.masked_fill(~something, 0)


def bias(see: Tensor, dtype: torch.dtype) -> Tensor:
    """The term added to the logits: 0 where a key is seen, else a number so low that its probability is exactly 0.

    Finite, because a row of nothing but -inf would turn into NaN and so would its gradient; half of the lowest number,
    so that adding a logit cannot overflow.
    """
    return torch.zeros(see.shape, dtype=dtype, device=see.device).masked_fill_(~see, torch.finfo(dtype).min / 2)


def check(
    query: Tensor, key: Tensor, value: Tensor, *, relations: Sequence[Relation] = (), lengths: Tensor | None = None
) -> None:
    """Raise UserError unless the tensors fit together; every way of computing attention begins with it."""
    if query.dim() != 4 or key.dim() != 4 or value.dim() != 4:
        got = ", ".join(str(list(x.shape)) for x in (query, key, value))
        raise UserError(f"expected query, key, value of shape [batch, heads, length, width], got {got}; reshape them")
    batch, heads, _, width = query.shape
    if key.shape != value.shape or key.shape[:2] != (batch, heads) or key.size(3) != width:
        raise UserError(
            f"expected key and value of shape [{batch}, {heads}, keys, {width}] to match the query, "
            f"got {list(key.shape)} and {list(value.shape)}; project all three to the same heads"
        )
    if not query.dtype == key.dtype == value.dtype or not query.is_floating_point():
        raise UserError(
            f"expected one floating dtype, got {query.dtype}, {key.dtype} and {value.dtype}; cast the three to one"
        )
    if lengths is not None and (lengths.shape != (batch,) or lengths.is_floating_point()):
        raise UserError(
            f"expected integer lengths of shape [{batch}], got {lengths.dtype} {list(lengths.shape)}; "
            "give one for each row of the batch"
        )
    check_relations(relations, query, key.size(2))
