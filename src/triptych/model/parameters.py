"""How parameters begin, in one place."""

from __future__ import annotations

from torch import nn

from triptych.model.layers import FusedLinear, SelfAttention


def initialize(model: nn.Module, width: int) -> None:
    """Every weight: Xavier for projections (each part of a fused one alone), else variance 1 / width or 1 / row length.

    A module that begins otherwise has a method `initialize`, which is called after that.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            for part in module.weight.chunk(module.parts if isinstance(module, FusedLinear) else 1):
                nn.init.xavier_uniform_(part)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=width**-0.5)
        elif isinstance(module, SelfAttention):
            for table in module.tables():
                nn.init.normal_(table, std=table.size(-1) ** -0.5)
    for module in model.modules():
        begin = getattr(module, "initialize", None)
        if begin is not None:
            begin()
