"""Pictures and masks as plain values, which JSON and programs in a browser can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.fields import Size
from triptych.shape.plain import packed, unpacked

Edge = Annotated[int, Size(1, 64, True)]
Bytes = Annotated[str, Size(0, 100_000, True)]  # in base64


@dataclass(frozen=True, kw_only=True)
class PlainPicture:
    """Pixels row by row, channels side by side, in base64: 1 channel is grey, 3 are RGB."""

    height: Edge
    width: Edge
    channels: Annotated[int, Size(1, 3)]
    data: Bytes

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> PlainPicture:
        """The plain form of a picture [height, width, channels]."""
        height, width, channels = pixels.shape
        return cls(height=height, width=width, channels=channels, data=packed(pixels))

    def pixels(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The pixels. UserError where they have another shape."""
        found = (self.height, self.width, self.channels)
        if found != shape:
            expected, got = (" x ".join(map(str, one)) for one in (shape, found))
            raise UserError(f"expected a picture of {expected} (height, width, channels), got {got}; resize it")
        return unpacked(self.data, shape, "the pixels")


def plain_mask(data: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The mask of a picture, true where it is hidden, of a byte a pixel in base64. UserError where it hides nothing."""
    mask: NDArray[np.bool_] = unpacked(data, shape, "the mask") > 0
    if not mask.any():
        raise UserError("expected a mask that hides a pixel, got an empty one; draw one")
    return mask
