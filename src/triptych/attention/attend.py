"""One entrance to all ways of computing attention, and the rule that chooses among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.attention.blockwise import blockwise
from triptych.attention.dense import check, dense, valid_keys
from triptych.attention.pattern import Full, Pattern, mask
from triptych.attention.relation import Relation
from triptych.errors import UserError

Backend = Literal["auto", "dense", "blockwise", "fused", "flex"]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    pattern: Pattern,
    relations: Sequence[Relation] = (),
    lengths: Tensor | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Attention [B, H, Lq, D] of query [B, H, Lq, D] over key and value [B, H, Lk, D]; see `dense` for its definition."""
    if backend == "dense":
        return dense(query, key, value, pattern=pattern, relations=relations, lengths=lengths)
    if backend == "blockwise" or relations or not isinstance(pattern, Full):
        return blockwise(query, key, value, pattern=pattern, relations=relations, lengths=lengths)
    if query.dtype == torch.bfloat16 and not query.is_cuda:
        return dense(query, key, value, pattern=pattern, relations=relations, lengths=lengths)
    return fused(query, key, value, pattern=pattern, relations=relations, lengths=lengths)


def fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    pattern: Pattern,
    relations: Sequence[Relation] = (),
    lengths: Tensor | None = None,
) -> Tensor:
    """torch's own scaled_dot_product_attention, for `Full` without relations."""
    check(query, key, value, relations=relations, lengths=lengths)
    if relations or not isinstance(pattern, Full):
        raise UserError(f"expected Full without relations, got {pattern}; use backend='blockwise'")
    if pattern.causal and query.size(2) != key.size(2):
        mask(pattern, query.size(2), key.size(2))
    if lengths is None:
        return F.scaled_dot_product_attention(query, key, value, is_causal=pattern.causal)
    see = valid_keys(lengths, key.size(2))
    if pattern.causal:
        see = see & mask(pattern, query.size(2), key.size(2)).to(query.device)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=see)
    return torch.where((lengths > 0)[:, None, None, None], out, 0)
