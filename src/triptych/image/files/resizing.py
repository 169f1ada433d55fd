"""Pictures and masks in another size: the middle part with the target aspect ratio, made small or large."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triptych.image.files.decoding import Picture, Size

if TYPE_CHECKING:
    from PIL import Image


def resized(picture: Picture, size: Size | None, *, whole: Size | None = None) -> Picture:
    """The middle of the picture, of the aspect ratio of `size`, by a box filter if it shrinks or else bicubic.

    whole: the size that the picture had before it was reduced.
    """
    from PIL import Image

    if size is None or size == picture.shape[:2]:
        return picture
    rows, columns = middle(whole or picture.shape[:2], size)
    if whole is not None and whole != picture.shape[:2]:
        (top, bottom), (left, right) = (
            (part.start * now / old, part.stop * now / old)
            for part, now, old in zip((rows, columns), picture.shape[:2], whole, strict=True)
        )
        box = (left, top, right, bottom)
        return np.array(image_of(picture).resize(size[::-1], Image.Resampling.BOX, box)).reshape(*size, -1)
    part = picture[rows, columns]
    shrinks = min(part.shape[0] / size[0], part.shape[1] / size[1]) > 1
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.array(image_of(part).resize(size[::-1], method)).reshape(*size, -1)


def middle(shape: tuple[int, ...], size: Size) -> tuple[slice, slice]:
    """Rows and columns of the largest part of a picture, in its middle, that has the aspect ratio of a size."""
    scale = min(shape[0] / size[0], shape[1] / size[1])
    lengths = [max(1, round(scale * edge)) for edge in size]
    starts = [(edge - length) // 2 for edge, length in zip(shape, lengths, strict=False)]
    rows, columns = (slice(start, start + length) for start, length in zip(starts, lengths, strict=True))
    return rows, columns


def is_cut(whole: Size, size: Size) -> bool:
    """Whether `resized` cuts edges off a picture of one size on its way to another."""
    return any(part.stop - part.start < edge for part, edge in zip(middle(whole, size), whole, strict=True))


def covering(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """A mask in the size to which `resized` brings its picture: True where any part of a pixel was."""
    part = mask[middle(mask.shape, size)]
    rows = np.stack([part[_under(place, len(part), size[0])].any(0) for place in range(size[0])])
    return np.stack([rows[:, _under(place, part.shape[1], size[1])].any(1) for place in range(size[1])], 1)


def _under(place: int, old: int, new: int) -> slice:
    """The slice of `old` pixels along an edge that overlap pixel `place` of `new` ones."""
    return slice(place * old // new, -(-(place + 1) * old // new))


def with_channels(picture: Picture, channels: int) -> Picture:
    """The picture made grey or RGB."""
    if picture.shape[2] == channels:
        return picture
    return picture.repeat(3, 2) if channels == 3 else np.array(image_of(picture).convert("L"))[..., None]


def image_of(picture: Picture) -> Image.Image:
    """The picture as Pillow has it."""
    from PIL import Image

    return Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture)
