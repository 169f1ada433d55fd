"""Absolute positions: sinusoids or learned vectors, and the digits of a position in a grid."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.attention.tables import order
from triptych.errors import UserError
from triptych.shape.config import Positions
from triptych.shape.pattern import Local2D, Pattern

TOGETHER = 1024  # positions of a picture that are computed at once


class PositionEncoding(nn.Module):
    """Adds to each token the vector of its position (`Config.positions`); the pattern gives the order of a picture."""

    def __init__(self, positions: Positions, width: int, pattern: Pattern) -> None:
        super().__init__()
        self.positions, self.pattern, self.length = positions, pattern, positions.length or 0
        if positions.kind == "learned":
            self.learned = nn.Embedding(self.length, width)
        if positions.kind == "concatenated":
            self.projection = nn.Linear(2 * width, width)
        self.digits = nn.ModuleList(nn.Embedding(size, width) for size in positions.grid)

    def forward(self, hidden: Tensor, first: int) -> Tensor:
        """Hidden [B, L, W] of positions first, first + 1, ... with their positions."""
        kind, last, width = self.positions.kind, first + hidden.size(1), hidden.size(2)
        if kind == "learned":
            if last > self.length:
                raise UserError(
                    f"expected at most {self.length} positions (learned), got {last}; "
                    "shorten the input or use a model with sinusoidal or relative positions"
                )
            hidden = hidden + self.learned.weight[first:last]
        elif kind == "sinusoidal_2d":
            count = -(-last // TOGETHER) * TOGETHER  # in blocks, those of the whole picture, whose order is then given
            count = self.pattern.height * self.pattern.width if isinstance(self.pattern, Local2D) else count
            waves = _picture(self.pattern, count, self.length, width, hidden.dtype, hidden.device)
            hidden = hidden + waves[first:last]
        elif kind != "none":
            waves = _remembered_sinusoids(first, last, width, hidden.dtype, hidden.device)
            if kind == "concatenated":
                hidden = self.projection(torch.cat((hidden, waves.expand_as(hidden)), -1))
            else:
                hidden = hidden + waves
        return hidden + self._places(first, last, hidden.device) if self.digits else hidden

    def _places(self, first: int, last: int, device: torch.device) -> Tensor:
        """The vectors of the digits of positions first .. last - 1, summed: [last - first, W]."""
        places = torch.arange(first, last, device=device)
        total = None
        for size, digit in zip(self.positions.grid, self.digits, strict=True):
            vectors = digit(places % size)
            total = vectors if total is None else total + vectors
            places = places // size
        assert total is not None
        # As large as token embeddings, which are scaled the same way.
        return total * math.sqrt(total.size(-1))


class MetreEmbedding(nn.Module):
    """The place of each position in its bar and the length of the bar, `Config.positions.metre`, as two vectors.

    Nothing is added by an untrained one, so that a trained model may be given it.
    """

    def __init__(self, longest: int, width: int) -> None:
        super().__init__()
        self.longest = longest
        self.place = nn.Embedding(longest + 1, width)  # 0: withheld, else places from 1 on
        self.bar = nn.Embedding(longest + 1, width)  # 0: withheld, else the length

    def initialize(self) -> None:
        """Begin with zeros."""
        for table in (self.place, self.bar):
            nn.init.zeros_(table.weight)

    def forward(self, metre: Tensor | None, count: int) -> Tensor:
        """Vectors [B, count, W] of metre [B, P, 2]: place, from 1 on, and length of bar, both 0 where withheld; without
        any it is withheld everywhere, as it is past P and in bars longer than the tables: [1, count, W].
        """
        if metre is None:
            metre = self.place.weight.new_zeros(1, count, 2, dtype=torch.int64)
        metre = functional.pad(metre[:, :count], (0, 0, 0, max(0, count - metre.size(1))))
        metre = metre * (metre[..., 1:] <= self.longest)
        vectors = self.place(metre[..., 0]) + self.bar(metre[..., 1])
        return vectors * math.sqrt(vectors.size(-1))


def sinusoids(first: int, last: int, width: int, like: Tensor) -> Tensor:
    """Positional encoding [last - first, width]: sines at even, cosines at odd columns (section 3.5 of the paper)."""
    position = torch.arange(first, last, dtype=torch.float64, device=like.device)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float64, device=like.device) * (-math.log(10_000.0) / width))
    angle = position * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1).to(like.dtype)


@lru_cache(maxsize=512)  # a step asks for one position, training for a few lengths, and both again and again
@torch.inference_mode(False)
def _remembered_sinusoids(first: int, last: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return sinusoids(first, last, width, torch.empty(0, dtype=dtype, device=device))


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _picture(
    pattern: Pattern, count: int, columns: int, width: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The first half of each row is the sinusoids of the picture's row, the other half those of its column: [count,
    width], of many positions together, so that a step seldom asks for more than the one before.
    """
    if isinstance(pattern, Local2D):
        columns, places = pattern.width, order(pattern).to(device)
    else:
        places = torch.arange(count, device=device)
    longest = max(-(-count // columns), min(columns, count))
    waves = sinusoids(0, longest, width // 2, torch.empty(0, dtype=dtype, device=device))
    return torch.cat((waves[places // columns], waves[places % columns]), 1)
