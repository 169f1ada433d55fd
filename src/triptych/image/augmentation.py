"""Augmentation: pictures mirrored, moved and turned in hue, drawn again for each epoch of training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.fields import Checked
from triptych.image.codec import Pixels


@dataclass(frozen=True)
class Augmentation(Checked):
    """Random changes of training pictures; the default changes nothing.

    mirror: a picture is turned left to right with probability 1/2. shift: it moves by up to so many pixels in each
    direction, uniformly; its edge is repeated where nothing is left. hue: its colours turn about the axis of greys by
    an angle from -hue to hue degrees, uniformly, which leaves greys as they are and needs RGB.
    """

    CALLED = "data.{name}"

    mirror: bool = False
    shift: int = 0
    hue: float = 0.0

    def check(self, height: int, width: int, channels: int) -> None:
        """Raise UserError unless it suits pictures of this shape."""
        if not 0 <= self.shift < min(height, width):
            raise UserError(f"expected a shift from 0 to {min(height, width) - 1} pixels, got {self.shift}")
        if not 0 <= self.hue <= 180:
            raise UserError(f"expected a hue from 0 to 180 degrees, got {self.hue}")
        if self.hue and channels != 3:
            raise UserError(f"expected pictures in RGB with a hue, got {channels} channel; leave hue out")

    def __call__(self, pictures: Pixels, random: np.random.Generator) -> Pixels:
        """Pictures [N, height, width, channels], each augmented by draws of its own."""
        if self.mirror:
            turned = random.random(len(pictures)) < 0.5
            pictures = np.where(turned[:, None, None, None], pictures[:, :, ::-1], pictures)
        if self.shift:
            pictures = _moved(pictures, random.integers(-self.shift, self.shift + 1, (len(pictures), 2)))
        if self.hue:
            pictures = _turned(pictures, np.radians(random.uniform(-self.hue, self.hue, len(pictures))))
        return pictures


def _moved(pictures: Pixels, by: NDArray[np.int64]) -> Pixels:
    """Pictures [N, height, width, channels] moved down and to the right `by` [N, 2] pixels, their edges repeated."""
    count, height, width, _ = pictures.shape
    rows = np.clip(np.arange(height) - by[:, :1], 0, height - 1)  # [N, height]
    columns = np.clip(np.arange(width) - by[:, 1:], 0, width - 1)  # [N, width]
    moved: Pixels = pictures[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved


def _turned(pictures: Pixels, angles: NDArray[np.float64]) -> Pixels:
    """RGB pictures [N, height, width, 3] with their colours turned by `angles` [N] about the axis of greys (Rodrigues'
    rotation formula), cut off at 0 and 255.
    """
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    cross = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turn = cos * np.eye(3) + (1 - cos) / 3 + sin * cross  # [N, 3, 3]
    colours = np.einsum("nrc,nhwc->nhwr", turn.astype(np.float32), pictures.astype(np.float32))
    turned: Pixels = np.clip(np.rint(colours), 0, 255).astype(np.uint8)
    return turned
