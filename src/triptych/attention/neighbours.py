"""1-D local attention as two calls of torch's CPU kernel: each block and itself, causal, and each and the one before.

No mask is made and no key copied. The kernel gives each part's logarithm of the sum of exponentials, by which the parts
are weighed; its backward pass, given the whole output and the whole sum, gives each part's share of the gradients (the
arithmetic of FlashAttention, Dao et al. 2022, section 3.1, for blocks that are computed apart).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_KERNEL = "_scaled_dot_product_flash_attention_for_cpu"  # what scaled_dot_product_attention runs on a CPU


def available(device: torch.device) -> bool:
    """Whether this torch has the kernel for the device."""
    return device.type == "cpu" and hasattr(torch.ops.aten, _KERNEL)


def neighbours(query: Tensor, key: Tensor, value: Tensor, size: int) -> Tensor:
    """Attention [B, H, L, D] for `Local1D(size, size)` of query, key and value [B, H, L, D], differentiable once."""
    length = query.size(2)
    if length <= size:  # one block, and none before it: the kernel fails on nothing
        with torch.autocast("cpu", enabled=False):  # longer ones are the same without it
            return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    missing = -length % size
    parts = (F.pad(x, (0, 0, 0, missing)) if missing else x for x in (query, key, value))
    out: Tensor = _Neighbours.apply(*parts, size)  # type: ignore[no-untyped-call]
    return out[:, :, :length]


class _Neighbours(torch.autograd.Function):
    """Rows of the folded batch are rows and heads, its heads are the blocks: [B * H, blocks, size, D], a view."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, size: int) -> Tensor:
        shape = query.shape
        folded = [x.contiguous().view(-1, shape[2] // size, size, shape[3]) for x in (query, key, value)]
        kernel = getattr(torch.ops.aten, _KERNEL)
        out, total = kernel(*folded, 0.0, True)
        out, total = out.contiguous(), total.contiguous()
        before, share = kernel(*_shifted(folded), 0.0, False)
        own = total[:, 1:].clone()
        total[:, 1:] = torch.logaddexp(own, share)
        out[:, 1:] *= (own - total[:, 1:]).exp_()[..., None]
        out[:, 1:] += before * (share - total[:, 1:]).exp_()[..., None]
        ctx.save_for_backward(*folded, out, total)
        whole: Tensor = out.view(shape)
        return whole

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *folded, out, total = ctx.saved_tensors
        kernel = getattr(torch.ops.aten, f"{_KERNEL}_backward")
        passed = gradient.contiguous().view(out.shape)
        of_query, of_key, of_value = kernel(passed, *folded, out, total, 0.0, True)
        more = kernel(passed[:, 1:], *_shifted(folded), out[:, 1:], total[:, 1:], 0.0, False)
        for whole, part in zip((of_query[:, 1:], of_key[:, :-1], of_value[:, :-1]), more, strict=True):
            whole.add_(part)
        return *(x.reshape(gradient.shape) for x in (of_query, of_key, of_value)), None


def _shifted(folded: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of the blocks from the second on, keys and values of the blocks before them."""
    query, key, value = folded
    return query[:, 1:], key[:, :-1], value[:, :-1]
