"""A pixel a position: the sum of a vector for each channel, and of those of the pixel above the one that comes next.

Attention could find the pixel above, but it would have to learn where that is and to carry it to the end in all its
digits.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from triptych.decode.history import MISSING
from triptych.decode.steps.inputs import columns_of
from triptych.model.inputs.base import Input, shifted
from triptych.model.inputs.patches import PlaceEmbedding, patches
from triptych.shape.config import Config
from triptych.shape.parts import Pixels
from triptych.shape.pattern import causal_neighbours


class PixelInput(Input):
    """The last pixel, and the one above the next where the picture's columns are known."""

    def __init__(self, settings: Pixels, vocabulary: int, config: Config) -> None:
        super().__init__()
        self.size, self.pattern, self.columns = settings.channels, config.pattern, columns_of(config)
        self.places = PlaceEmbedding(vocabulary, settings.channels, config.width)
        self.above = PlaceEmbedding(vocabulary, settings.channels, config.width) if self.columns else None

    def read(self, ids: Tensor) -> Tensor:
        """[B, P, W] of ids [B, L]."""
        return self.places(patches(ids, self.size)).sum(2)

    def whole(self, ids: Tensor) -> Tensor:
        """[B, P, W] of ids [B, L]: the pixel before, and the one above."""
        read = shifted(self.read(ids))
        if self.above is None:
            return read
        pixels = patches(ids, self.size)
        places = torch.from_numpy(causal_neighbours(self.pattern, self.columns, pixels.size(1))[:, 1]).to(ids.device)
        found = self.above(pixels[:, places.clamp(min=0)]).sum(2)  # [B, P, W]
        above: Tensor = found * (places != MISSING)[:, None]
        return read + above

    def tables(self) -> Mapping[str, tuple[Tensor, float]]:
        """The vectors of the channels of the pixel before, and of the one above."""
        found = {"tokens": (self.places.tokens.weight, self.places.scale)}
        if self.above is not None:
            found["above"] = self.above.tokens.weight, self.above.scale
        return found
