"""The keyboard after every event of whole sequences: what `decode.steps.keyboard` follows event by event.

Shapes in comments: B rows, L positions, K keys, V velocities, F = 2 K + V features, W width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from triptych.decode.steps.keyboard import AGE_SCALE, UNHEARD


class KeyboardFeatures(nn.Module):
    """A vector for each key that is down, one to be multiplied by how long it is, and one for the last velocity.

    layout: see `decode.steps.keyboard.Keyboard`.
    """

    def __init__(self, layout: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.keys, self.shifts, self.velocities = layout
        self.vectors = nn.Embedding(2 * self.keys + self.velocities, width)

    def initialize(self) -> None:
        """Zeros, so that a trained model that is given a keyboard stays what it is."""
        nn.init.zeros_(self.vectors.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """The sum of the features after each of ids [B, L]: [B, L, W]."""
        index = torch.arange(ids.size(1), device=ids.device)[:, None]
        key, now = torch.arange(self.keys, device=ids.device), self._shift(ids).cumsum(1)
        pressed, released = (ids[..., None] == key + first for first in (0, self.keys))  # [B, L, K]
        last, up = (index.where(event, UNHEARD).cummax(1).values for event in (pressed, released))
        struck = now[..., None].where(pressed, UNHEARD).cummax(1).values.where(last > up, UNHEARD)  # [B, L, K]
        velocity = self._velocity(ids)
        latest = index[:, 0].where(velocity >= 0, UNHEARD).cummax(1).values
        velocity = velocity.gather(1, latest.clamp(min=0))  # at 0 before the first, which is then no velocity
        weight = self.vectors.weight
        down = struck >= 0
        # Held notes differ by their ratio, not by their difference.
        age = (now[..., None] - struck).where(down, 0).double().log1p().to(weight.dtype) / AGE_SCALE
        loud = velocity[..., None] == torch.arange(self.velocities, device=weight.device)
        features = torch.cat((down.to(weight.dtype), age, loud.to(weight.dtype)), -1)  # [B, L, F]
        return features @ weight * math.sqrt(weight.size(1))

    def _shift(self, ids: Tensor) -> Tensor:
        """By how much each id moves the clock."""
        shift = ids - 2 * self.keys + 1
        return shift.where((shift > 0) & (shift <= self.shifts), 0)

    def _velocity(self, ids: Tensor) -> Tensor:
        """The velocity that each id sets, or -1."""
        velocity = ids - 2 * self.keys - self.shifts
        return velocity.where((velocity >= 0) & (velocity < self.velocities), UNHEARD)
