"""The hidden part of a picture: the white of a mask, or the transparent part of the picture itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.image.files.decoding import ON_WHITE, Size
from triptych.image.files.pictures import read_whole
from triptych.image.files.resizing import covering, middle

Mask = NDArray[np.bool_]
WHITE = 128  # of a mask, from this on


def read_mask(path: str | Path, size: Size) -> Mask:
    """A mask bool [height, width]: True where the picture of that size in a file is white, which is to be found.

    White is from 128 on, after it was made grey; what is transparent is not white. Raises UserError as `read_picture`
    does, for another size, and where nothing is white.
    """
    grey = read_whole(path, size, channels=1, behind=0).pixels
    if grey.shape[:2] != size:
        raise UserError(
            f"expected a mask of {size[0]} x {size[1]} pixels, as the picture has, got {str(path)!r} of "
            f"{grey.shape[0]} x {grey.shape[1]}; resize it"
        )
    if grey.max() < WHITE:
        raise UserError(
            f"expected a mask with something white in it, got {str(path)!r}, whose brightest pixel is a grey of "
            f"{grey.max()} of 255; paint white (from {WHITE} on) what is to be found"
        )
    return grey[..., 0] >= WHITE


def read_transparent(path: str | Path, size: Size) -> Mask | None:
    """Where the picture of that size in a file is transparent, at least in part: bool [height, width]; None if nowhere.

    Raises UserError as `read_picture` does, and where nothing of it is opaque.
    """
    light = read_whole(path, size, channels=1, behind=255)
    if ON_WHITE not in light.warnings:
        return None
    # Where the shade behind it can be seen.
    clear = (light.pixels != read_whole(path, size, channels=1, behind=0).pixels)[..., 0]
    if clear.all():
        raise UserError(
            f"expected a picture of which something is opaque, got {str(path)!r}; give a mask, or what to keep"
        )
    return np.asarray(clear)


def brought(hidden: Mask, size: Size, name: str) -> tuple[Mask, list[str]]:
    """The mask of a picture, bool [height, width], resized with it (`resizing.covering`), and warnings about hidden
    pixels that are cut off. Raises UserError, which names it, where nothing is left.
    """
    found, inside = covering(hidden, size), int(hidden[middle(hidden.shape, size)].sum())
    remedy = f"cut the picture to the aspect ratio of {size[0]} x {size[1]} before"
    if not inside:
        raise UserError(
            f"expected something to be found in the middle of {name}, got it in the edges that are cut off; {remedy}"
        )
    warnings = []
    if (lost := int(hidden.sum()) - inside) > 0:
        warnings.append(f"{lost:,} of the {lost + inside:,} pixels to be found are in the edges that are cut off")
    if found.all():
        warnings.append("all is to be found: nothing of the picture is kept")
    return found, warnings
