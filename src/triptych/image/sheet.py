"""Many pictures on one: side by side, enlarged pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from triptych.image.codec import Pixels

GAP = 4  # pixels between pictures, on white
USUAL = 96  # edge of a picture on a sheet, about


def sheet(pictures: Sequence[Pixels], columns: int, *, zoom: int | None = None) -> Pixels:
    """Pictures [height, width, channels] of any sizes in rows of so many: uint8 [H, W, 1 or 3].

    Every picture is enlarged by whole factors, to the size of the largest of them times `zoom` or so that this is
    about `USUAL` pixels; a picture that does not fill its place is centred on white.
    """
    largest = max(max(picture.shape[:2]) for picture in pictures)
    edge = largest * (zoom or max(1, round(USUAL / largest)))
    channels = max(picture.shape[2] for picture in pictures)
    rows = -(-len(pictures) // columns)
    whole = np.full((rows * (edge + GAP) + GAP, columns * (edge + GAP) + GAP, channels), 255, np.uint8)
    for place, picture in enumerate(pictures):
        factor = edge // max(picture.shape[:2])
        large = picture.repeat(factor, 0).repeat(factor, 1)
        row, column = divmod(place, columns)
        top = GAP + row * (edge + GAP) + (edge - large.shape[0]) // 2
        left = GAP + column * (edge + GAP) + (edge - large.shape[1]) // 2
        whole[top : top + large.shape[0], left : left + large.shape[1]] = large
    return whole
