"""How parameters begin, in one place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from triptych.model.heads.patch import PatchHead
from triptych.model.inputs.patches import PlaceEmbedding
from triptych.model.inputs.tokens import TokenInput
from triptych.model.layers.attention import FusedLinear
from triptych.model.layers.relations import Relations
from triptych.shape.parts import LEVELS

if TYPE_CHECKING:
    from triptych.model.transformer import Transformer

FINEST = 64.0  # waves over all intensities, of the vectors with which `smooth_start` begins
COARSEST = 0.25


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
        elif isinstance(module, Relations):
            for table in module.values():
                nn.init.normal_(table, std=table.size(-1) ** -0.5)
    for module in model.modules():
        begin = getattr(module, "initialize", None)
        if begin is not None:
            begin()


def smooth_start(model: Transformer) -> None:
    """Let vectors of like intensities begin alike: random waves over 0 to 255, as large as what they replace.

    What is learned of one intensity then holds for its neighbours from the first update on.
    """
    width = model.config.width
    with torch.no_grad():
        for module in (model.input, model.head, model.condition.source):
            for part in () if module is None else module.modules():
                if isinstance(part, PlaceEmbedding):
                    _smooth(part.tokens.weight.view(-1, part.vocabulary, width)[:, :LEVELS])
        for table in (model.input, model.condition.source):
            if isinstance(table, TokenInput):
                _smooth(table.embedding.weight[None, :LEVELS])
        if isinstance(model.head, PatchHead):
            _smooth(model.head.output.weight[None])


def _smooth(table: Tensor) -> None:
    """Write waves into vectors of intensities [count, LEVELS, width]."""
    table.copy_(_waves(len(table), table.size(-1)))


def _waves(count: int, width: int) -> Tensor:
    """[count, LEVELS, width], of variance 1 / width."""
    octaves = math.log2(FINEST / COARSEST)
    rate = COARSEST * 2 ** (octaves * torch.rand(count, 1, width))
    phase = 2 * math.pi * torch.rand(count, 1, width)
    return math.sqrt(2 / width) * torch.cos(2 * math.pi / LEVELS * rate * torch.arange(LEVELS)[:, None] + phase)
