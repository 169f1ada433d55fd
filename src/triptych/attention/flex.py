"""The patterns on a GPU, by torch's FlexAttention: its block mask is made from the same tables."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from triptych.attention.dense import check
from triptych.attention.relation import Relation
from triptych.attention.tables import members
from triptych.errors import UserError
from triptych.shape.pattern import Full, Pattern, block_size, check_sizes


def flex(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    pattern: Pattern,
    relations: Sequence[Relation] = (),
    lengths: Tensor | None = None,
) -> Tensor:
    """Attention [B, H, Lq, D] by FlexAttention, as defined by `dense`. Compiled on a GPU; on a CPU a check of the same
    masks.

    Raises UserError for relations, and on a CPU for inputs that need a gradient, which torch does not offer there.
    """
    check(query, key, value, relations=relations, lengths=lengths)
    check_sizes(pattern, query.size(2), key.size(2))
    if relations:
        raise UserError(
            f"expected no relations for the flex backend, got {len(relations)}; use backend='blockwise', which has them"
        )
    on_cpu = query.device.type == "cpu"
    if on_cpu and torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value)):
        raise UserError("expected a GPU to train with the flex backend, got a CPU; use backend='blockwise' there")
    if query.numel() == 0 or key.numel() == 0:
        return query * 0
    if lengths is None:
        block_mask = _block_mask(pattern, query.size(2), key.size(2), query.device)
    else:
        block_mask = _make(pattern, query.size(2), key.size(2), query.device, lengths)
    if not on_cpu:
        on_gpu: Tensor = _compiled()(query, key, value, block_mask=block_mask)
        return on_gpu
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*flex_attention called without torch.compile.*")
        out: Tensor = flex_attention(query, key, value, block_mask=block_mask)
    return out


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex_attention, dynamic=False)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _block_mask(pattern: Pattern, queries: int, keys: int, device: torch.device) -> BlockMask:
    return _make(pattern, queries, keys, device, None)


def _make(pattern: Pattern, queries: int, keys: int, device: torch.device, lengths: Tensor | None) -> BlockMask:
    batch = None if lengths is None else lengths.size(0)
    may_see = _may_see(pattern, keys, device, lengths)
    return create_block_mask(may_see, batch, None, queries, keys, device=str(device))


def _may_see(pattern: Pattern, keys: int, device: torch.device, lengths: Tensor | None) -> Callable[..., Tensor]:
    """The pattern as FlexAttention asks for it: a function of (batch, head, query, key) index tensors."""
    size = 1 if isinstance(pattern, Full) else block_size(pattern)
    member = None if isinstance(pattern, Full) else members(pattern, keys).to(device)

    def may_see(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        see = key >= 0
        if member is not None:
            see = (key <= query) & member[query // size, key]
        elif isinstance(pattern, Full) and pattern.causal:  # no pattern is made here: torch compiles this
            see = key <= query
        return see if lengths is None else see & (key < lengths[batch])

    return may_see
