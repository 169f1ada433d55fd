"""Dropout whose random numbers are drawn in bulk: on a CPU, drawing them one by one costs more than the model."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


class _ByteDropout(torch.autograd.Function):
    """Eight keep decisions from each 64-bit draw; a byte below the threshold drops its element."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor, threshold: int) -> Tensor:
        count = values.numel()
        bits = torch.empty((count + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        keep = (bits.view(torch.uint8)[:count] >= threshold).view(values.shape)
        ctx.save_for_backward(keep)
        ctx.scale = 256 / (256 - threshold)  # type: ignore[attr-defined]
        return torch.mul(values, keep).mul_(ctx.scale)  # type: ignore[attr-defined]

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return torch.mul(gradients[0], keep).mul_(ctx.scale), None  # type: ignore[attr-defined]


def dropout(values: Tensor, probability: float, training: bool) -> Tensor:
    """Zero each element with `probability` and scale the rest so that the mean stays (Srivastava et al. 2014).

    On a CPU the probability is rounded to a 256th (0.1 becomes 0.1016, 0.3 becomes 0.3008) and the scale follows the
    rounded value, so the mean is exact. Other devices use torch's own. The random state is torch's default generator.
    """
    threshold = round(probability * 256)
    if not training or threshold == 0:
        return values
    if values.device.type != "cpu":
        return functional.dropout(values, probability)
    result: Tensor = _ByteDropout.apply(values, threshold)  # type: ignore[no-untyped-call]
    return result
