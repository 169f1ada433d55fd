"""Which pixels stand beside each one of a picture, where a position is a pixel: the one to its left and the one above.

Both come earlier in every order that there is here, so they may be told to a pixel at once: attention could find them,
but it would have to learn where they are and to carry them to the end in all their digits.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from triptych.attention.pattern import Local2D, Pattern, check_length, order
from triptych.model.config import Config

NOTHING = -1  # the id of a pixel that there is not


class Surroundings:
    """The left and the upper neighbour of every position. Where neither a 2-D pattern nor 2-D positions say how wide
    the picture is, they are the position before and nothing.
    """

    def __init__(self, config: Config) -> None:
        pattern, positions = config.pattern, config.positions
        self.columns = positions.length if positions.kind == "sinusoidal_2d" else 0
        self.columns = pattern.width if isinstance(pattern, Local2D) else self.columns
        self.pattern = pattern

    def of(self, pixels: Tensor) -> Tensor:
        """The neighbours [B, P, 2, C] of pixels [B, P, C], ids; NOTHING where there are none."""
        places = _neighbours(self.pattern, self.columns, pixels.size(1), pixels.device)
        return pixels[:, places.clamp(min=0)].masked_fill((places < 0)[..., None], NOTHING)

    def places(self, count: int) -> Tensor:
        """The columns of the left and the upper neighbour of each of so many pixels, -1 where there is none: int64
        [count, 2].
        """
        return _neighbours(self.pattern, self.columns, count, torch.device("cpu"))

    def at(self, column: int, written: Tensor) -> Tensor:
        """The neighbours [rows, 2, C] of the pixel at a column, of those that were written [rows, columns, C]."""
        places = _neighbours(self.pattern, self.columns, written.size(1), torch.device("cpu"))[column].tolist()
        missing = torch.full_like(written[:, 0], NOTHING)
        return torch.stack([missing if place < 0 else written[:, place] for place in places], 1)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _neighbours(pattern: Pattern, columns: int, count: int, device: torch.device) -> Tensor:
    """Positions of the left and the upper neighbour: int64 [count, 2], -1 where there is none."""
    check_length(pattern, count)
    here = torch.arange(count, device="cpu")
    if not columns:
        return torch.stack((here - 1, torch.full_like(here, -1)), 1).to(device)
    # Raster place of each position, and the position of each raster place.
    raster = order(pattern)[:count] if isinstance(pattern, Local2D) else here
    whole = max(count, pattern.height * columns) if isinstance(pattern, Local2D) else count
    position = torch.full((whole,), -1, device="cpu")
    position[raster] = here
    left = torch.where(raster % columns > 0, position[(raster - 1).clamp(min=0)], -1)
    above = torch.where(raster >= columns, position[(raster - columns).clamp(min=0)], -1)
    return torch.stack((left, above), 1).to(device)
