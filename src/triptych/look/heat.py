"""Where the bits of pictures go, as a heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EDGE = 4.2  # inches, the longer one
PALE = "0.45"


def draw(heat: NDArray[np.floating]) -> Figure:
    """Draw bits of every pixel [height, width], the mean over many pictures."""
    from matplotlib.figure import Figure

    height, width = heat.shape
    inch = EDGE / max(height, width)
    figure = Figure(figsize=(width * inch + 1.1, height * inch + 0.6), facecolor="white")
    total = figure.get_size_inches()
    box = (0.15 / total[0], 0.1 / total[1], width * inch / total[0], height * inch / total[1])
    axes = figure.add_axes(box)
    shown = axes.imshow(heat, cmap="magma", vmin=0, interpolation="nearest")
    axes.set_axis_off()
    figure.text(box[0], 1 - 0.3 / total[1], "Where the bits go", fontsize=12, weight="bold", color="0.15")
    bar = figure.add_axes((box[0] + box[2] + 0.15 / total[0], box[1], 0.14 / total[0], box[3]))
    figure.colorbar(shown, cax=bar).ax.tick_params(labelsize=7, length=2)
    bar.set_ylabel("bits a pixel", fontsize=8, color=PALE)
    return figure
