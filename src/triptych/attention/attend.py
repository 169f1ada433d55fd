"""One entrance to all ways of computing attention, and the rule that chooses among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from triptych.attention.blockwise import blockwise
from triptych.attention.dense import bias, check, dense, valid_keys
from triptych.attention.relation import Relation
from triptych.attention.tables import mask
from triptych.errors import UserError
from triptych.shape.pattern import Full, Pattern, check_sizes

Backend = Literal["auto", "dense", "blockwise", "fused", "flex"]

SHORT = 256 * 256  # logits of one head; up to so many, three plain products in 16 bits beat every kernel on a CPU
SHORT_RELATED = 128 * 128  # the same, with relations
LONG = 1024  # queries from which on a mask for torch's kernel is too large to write down


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
    """Attention [B, H, Lq, D] of query [B, H, Lq, D] over key and value [B, H, Lk, D]; `dense` is its definition.

    lengths: int64 [B], the number of valid keys of each row; None = all. relations: terms by distance or coordinate.
    backend: "auto" chooses by `choose`; a forced one raises UserError where it cannot compute what is asked for.
    """
    if backend not in get_args(Backend):
        raise UserError(f"expected a backend among {', '.join(get_args(Backend))}, got {backend!r}; choose one of them")
    name = choose(query, key, pattern=pattern, relations=relations, lengths=lengths) if backend == "auto" else backend
    return _BACKENDS[name](query, key, value, pattern=pattern, relations=relations, lengths=lengths)


def choose(
    query: Tensor, key: Tensor, *, pattern: Pattern, relations: Sequence[Relation] = (), lengths: Tensor | None = None
) -> Backend:
    """The backend that "auto" takes: a rule by kind, device, dtype and length, so that one call always goes one way.

    Local: blockwise, on a GPU without relations flex. Full with relations: blockwise, or dense where the sequence is
    short. Full: torch's fused kernel, except in two cases: 16 bits on a CPU, where the kernel's backward pass is slow
    (dense if short, else blockwise), and long padded causal sequences, where it would need a mask of all pairs
    (blockwise).
    """
    on_cpu, pairs = query.device.type == "cpu", query.size(-2) * key.size(-2)
    if not isinstance(pattern, Full):
        return "flex" if query.device.type == "cuda" and not relations else "blockwise"
    if relations:
        return "dense" if pairs <= SHORT_RELATED else "blockwise"
    if on_cpu and query.dtype.itemsize == 2:
        return "dense" if pairs <= SHORT else "blockwise"
    if pattern.causal and lengths is not None and query.size(-2) > LONG:
        return "blockwise"
    return "fused"


def fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    pattern: Pattern,
    relations: Sequence[Relation] = (),
    lengths: Tensor | None = None,
) -> Tensor:
    """Attention [B, H, Lq, D] by torch's scaled_dot_product_attention, as defined by `dense`; for `Full` without
    relations.

    Memory linear in the length, except with both `causal` and lengths, where it needs a mask of all pairs.
    Raises UserError for local patterns and relations.
    """
    check(query, key, value, relations=relations, lengths=lengths)
    if relations or not isinstance(pattern, Full):
        raise UserError(
            f"expected Full without relations for the fused backend, got {pattern} with {len(relations)} relations; "
            "use backend='blockwise' or 'auto'"
        )
    check_sizes(pattern, query.size(2), key.size(2))
    if key.size(2) == 0:
        return query * 0
    if lengths is not None and lengths.device.type == "cpu" and bool((lengths >= key.size(2)).all()):
        lengths = None  # nothing is padded: no mask to make; elsewhere the question would wait for the device
    if lengths is None:
        return F.scaled_dot_product_attention(query, key, value, is_causal=pattern.causal)
    see = valid_keys(lengths, key.size(2))
    if pattern.causal:
        see = see & mask(pattern, query.size(2), key.size(2)).to(query.device)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias(see, query.dtype))
    return out.masked_fill((lengths == 0)[:, None, None, None], 0)


def _flex(query: Tensor, key: Tensor, value: Tensor, **settings: Any) -> Tensor:
    """Only who uses FlexAttention imports it: `import torch` does not."""
    from triptych.attention.flex import flex

    return flex(query, key, value, **settings)


_BACKENDS: dict[str, Callable[..., Tensor]] = {"dense": dense, "blockwise": blockwise, "fused": fused, "flex": _flex}
