"""Self-similarity of a picture: which places of it look alike, as a non-local mean sees it (Buades et al. 2005)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REACH = 2  # pixels: a patch is 5 x 5
FLAT = 32.0  # of 255: differences below it make two patches hardly unlike
MAX_PIXELS = 4096
ALIKE = 0.5
EDGE, PALE, CHOSEN = 2.8, "0.45", "#d55e00"


def similarity(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Similarity of the neighbourhoods of every two pixels, from 0 to 1: [pixels, pixels] in raster order of a picture
    uint8 [height, width, channels].

    exp(-d / FLAT), where d is the root of the mean squared difference of patches of 5 x 5 pixels; beyond the edge a
    picture is mirrored. Raises UserError for more than `MAX_PIXELS` pixels.
    """
    height, width, channels = picture.shape
    if height * width > MAX_PIXELS:
        raise UserError(f"expected at most {MAX_PIXELS:,} pixels to compare, got {height * width:,}; shrink it")
    padded = np.pad(picture.astype(np.float64), ((REACH, REACH), (REACH, REACH), (0, 0)), mode="symmetric")
    size = 2 * REACH + 1
    patches = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (0, 1)).reshape(height * width, -1)
    squares = (patches**2).sum(1)
    distance = np.maximum(0, squares[:, None] + squares - 2 * patches @ patches.T) / (size * size * channels)
    np.fill_diagonal(distance, 0)  # which rounding leaves a little off
    return np.asarray(np.exp(-np.sqrt(distance) / FLAT))


def repetition(matrix: NDArray[np.float64], width: int) -> float:
    """Share of the pixels whose neighbourhood recurs: similarity `ALIKE` or more to that of a pixel which is further
    away than a patch is wide.
    """
    rows, columns = np.divmod(np.arange(len(matrix)), width)
    far = np.maximum(abs(rows[:, None] - rows), abs(columns[:, None] - columns)) > 2 * REACH
    return float((np.where(far, matrix, 0) >= ALIKE).any(1).mean())


def draw(picture: NDArray[np.uint8], matrix: NDArray[np.float64], chosen: tuple[int, int]) -> Figure:
    """Draw the picture with the pixel `chosen` (row, column), and how similar all neighbourhoods are to its own."""
    from matplotlib.figure import Figure

    height, width = picture.shape[:2]
    across, down = EDGE * width / max(height, width), EDGE * height / max(height, width)
    figure = Figure(figsize=(2 * across + 1.4, down + 0.75), facecolor="white")
    total = figure.get_size_inches()
    row, column = chosen
    shown = picture if picture.shape[2] == 3 else picture[..., 0]
    alike = matrix[row * width + column].reshape(height, width)
    for place, (values, colours, top) in enumerate(((shown, "gray", 255), (alike, "Blues", 1))):
        left = 0.15 + place * (across + 0.2)
        axes = figure.add_axes((left / total[0], 0.1 / total[1], across / total[0], down / total[1]))
        drawn = axes.imshow(values, cmap=colours, vmin=0, vmax=top, interpolation="nearest")
        axes.plot(column, row, "o", markersize=7, markerfacecolor="none", markeredgecolor=CHOSEN, markeredgewidth=1.8)
        axes.set_axis_off()
    bar = figure.add_axes(((0.45 + 2 * across) / total[0], 0.1 / total[1], 0.12 / total[0], down / total[1]))
    figure.colorbar(drawn, cax=bar).ax.tick_params(labelsize=7, length=2)
    caption = f"{repetition(matrix, width):.0%} of the pixels have a neighbourhood that comes back elsewhere"
    figure.text(
        0.15 / total[0], 1 - 0.25 / total[1], "Which places look alike", fontsize=11, weight="bold", color="0.15"
    )
    figure.text(0.15 / total[0], 1 - 0.45 / total[1], caption, fontsize=9, color=PALE)
    return figure
