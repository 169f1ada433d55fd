"""Weights averaged over training: an exponential moving average, and the mean of the last checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from triptych.model.transformer import Transformer

Weights = dict[str, Tensor]


def weights(model: Transformer) -> Weights:
    """The model's own weights by name (not copied)."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


class MovingAverage:
    """average <- d average + (1 - d) weights after each update; d rises to `decay` so that the start is forgotten."""

    def __init__(self, model: Transformer, decay: float) -> None:
        self.decay = decay
        self.average = {name: value.clone() for name, value in weights(model).items()}

    @torch.no_grad()
    def update(self, model: Transformer, update: int) -> None:
        """Take in the weights after update 1, 2, ..."""
        decay = min(self.decay, (1 + update) / (10 + update))
        own = weights(model)
        torch._foreach_lerp_([self.average[name] for name in own], list(own.values()), 1 - decay)


@contextmanager
def swapped(model: Transformer, other: Weights | None) -> Iterator[None]:
    """The model with `other` weights inside the block, its own again after it."""
    if other is None:
        yield
        return
    own = {name: value.clone() for name, value in weights(model).items()}
    _write(model, other)
    try:
        yield
    finally:
        _write(model, own)


def mean(many: Sequence[Weights]) -> Weights:
    """The mean of several sets of weights (Vaswani et al. 2017, section 6.1: the last 5 checkpoints)."""
    return {name: torch.stack([one[name] for one in many]).mean(0) for name in many[0]}


@torch.no_grad()
def _write(model: Transformer, values: Weights) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(values[name])
