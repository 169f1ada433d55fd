"""Augmentation: pictures mirrored and moved, drawn again for each epoch of training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.image.codec import Pixels


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training pictures; the default changes nothing.

    mirror: a picture is turned left to right with probability 1/2. shift: it moves by up to so many pixels in each
    direction, uniformly; its edge is repeated where nothing is left.
    """

    mirror: bool = False
    shift: int = 0

    def check(self, height: int, width: int) -> None:
        """Raise UserError unless it suits pictures of this size."""
        if not 0 <= self.shift < min(height, width):
            raise UserError(f"expected a shift from 0 to {min(height, width) - 1} pixels, got {self.shift}")

    def __call__(self, pictures: Pixels, random: np.random.Generator) -> Pixels:
        """Pictures [N, height, width, channels], each augmented by draws of its own."""
        if self.mirror:
            turned = random.random(len(pictures)) < 0.5
            pictures = np.where(turned[:, None, None, None], pictures[:, :, ::-1], pictures)
        if self.shift:
            pictures = _moved(pictures, random.integers(-self.shift, self.shift + 1, (len(pictures), 2)))
        return pictures


def _moved(pictures: Pixels, by: NDArray[np.int64]) -> Pixels:
    """Pictures [N, height, width, channels] moved down and to the right `by` [N, 2] pixels, their edges repeated."""
    count, height, width, _ = pictures.shape
    rows = np.clip(np.arange(height) - by[:, :1], 0, height - 1)  # [N, height]
    columns = np.clip(np.arange(width) - by[:, 1:], 0, width - 1)  # [N, width]
    moved: Pixels = pictures[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved
