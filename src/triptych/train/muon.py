"""Muon, orthogonalizing in the number format in which this machine multiplies fast."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
# The quintic a x + b x^3 + c x^5 of Jordan et al. 2024, steepest at zero: five steps bring every singular value between
# about 0.7 and 1.2, which serves as well as 1.
A, B, C = 3.4445, -4.7750, 2.0315
STEPS = 5
MIN_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """Momentum whose sum is made orthogonal before each update (Jordan et al. 2024, kellerjordan.github.io/posts/muon),
    scaled to the size of AdamW's updates whatever the matrix's shape (Liu et al. 2025, "Muon is scalable for LLM
    training", section 2.2).

    The same update as `torch.optim.Muon` with match_rms_adamw, which always orthogonalizes in bfloat16. On a processor
    without instructions for it that takes fifty times as long as float32, and longer than the rest of the training.

    Args:
        matrices: Parameters of two dimensions.
        learning_rate: Of AdamW's scale.
        weight_decay: Decoupled.
        dtype: In which to orthogonalize.
    """

    def __init__(
        self, matrices: Iterable[Tensor], *, learning_rate: float, weight_decay: float, dtype: torch.dtype
    ) -> None:
        super().__init__(matrices, {"lr": learning_rate, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update every matrix that has a gradient; those of one shape together, which asks for fewer products."""
        assert closure is None, "the loss is computed by the loop"
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    shapes.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in shapes.items():
                steps = orthogonal(torch.stack([self._sum(matrix) for matrix in matrices]), self.dtype)
                rate = group["lr"] * 0.2 * math.sqrt(max(shape))
                for matrix, step in zip(matrices, steps, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(step, alpha=-rate)

    def _sum(self, matrix: Tensor) -> Tensor:
        """Nesterov's look ahead of the running mean of this matrix's gradients."""
        assert matrix.grad is not None
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        mean: Tensor = state["momentum_buffer"].lerp_(matrix.grad, 1 - MOMENTUM)
        return matrix.grad.lerp(mean, MOMENTUM)


def orthogonal(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearest matrices with orthonormal rows (or columns, of which there are fewer), about.

    By Newton and Schulz's iteration, in `dtype`; shape `(matrices, rows, columns)`, as given.
    """
    upright = matrices.shape[1] > matrices.shape[2]
    wide = (matrices.mT if upright else matrices).to(dtype)
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=MIN_NORM)
    for _ in range(STEPS):
        squares = wide @ wide.mT
        polynomial = torch.baddbmm(squares, squares, squares, beta=B, alpha=C)
        wide = torch.baddbmm(wide, polynomial, wide, beta=A)
    return wide.mT if upright else wide
