"""Inputs: how tokens become the vector that a position reads. One module a kind, over its step in `decode`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from triptych.decode.steps.inputs import Rows
from triptych.model.inputs.base import Input
from triptych.model.inputs.patches import PatchInput
from triptych.model.inputs.pixels import PixelInput
from triptych.model.inputs.tokens import TokenInput
from triptych.shape.config import Config
from triptych.shape.parts import Patches, Pixels, Tokens

MODULES: dict[type[Any], type[Any]] = {Tokens: TokenInput, Patches: PatchInput, Pixels: PixelInput}


def input_of(config: Config) -> Input:
    """The input of a configuration, untrained."""
    found: Input = MODULES[type(config.input)](config.input, config.vocabulary, config)
    return found


def source_input_of(config: Config) -> Input | None:
    """The input that reads the source; None where that of the target does, or there is no source."""
    if not config.encoder_layers or config.source_vocabulary is None:
        return None
    settings = config.input.of_source()
    found: Input = MODULES[type(settings)](settings, config.source_vocabulary, config)
    return found


def weighted_sum(source: Input, found: Sequence[Rows], rows: int) -> Tensor:
    """What a step reads: [rows, 1, W], the sum of these rows of the input's tables; zeros of none."""
    tables = source.tables()
    total = None
    for each in found:
        weight, scale = tables[each.table]
        index = torch.from_numpy(each.index).to(weight.device)
        by = None if each.weights is None else torch.from_numpy(each.weights).to(weight)
        part = functional.embedding_bag(index, weight, mode="sum", per_sample_weights=by) * scale
        total = part if total is None else total + part
    if total is None:
        some, _ = next(iter(tables.values()))
        return some.new_zeros(rows, 1, some.size(1))
    return total[:, None]
