"""Attention of one pixel when it was made: its query block, its memory block, and the attention of every head.

Memory blocks are those of Parmar et al. 2018, figure 1. Attention shows where information was read, which is not the
same as why (Jain and Wallace 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.look.attention import row_of
from triptych.shape.pattern import Full, Pattern, block_size, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from triptych.image.data import Mask
    from triptych.image.painter import Painter

INK, PALE = "0.15", "0.45"
QUERY, MEMORY, CHOSEN = "#d55e00", "#0072b2", "#009e73"  # after Okabe and Ito
UNSEEN = 0.25  # of its contrast is left to what the pixel cannot see
EDGE, GAP, TOP, LEGEND = 1.9, 0.15, 0.65, 0.35  # inches
MAX_COLUMNS = 5


@dataclass(frozen=True, eq=False)
class PixelAttention:
    """Attention of one layer at the step that makes the pixel `chosen` (row, column).

    picture: uint8 [height, width, 1 or 3]. query, memory: bool [height, width], the pixels made in its block, and those
    that it may look at. weights: [heads, height, width], what each head gives to every pixel; what a head lacks to 1
    went to the start, which is no pixel. heads: their names. layer: its name.
    """

    picture: NDArray[np.uint8]
    chosen: tuple[int, int]
    query: NDArray[np.bool_]
    memory: NDArray[np.bool_]
    weights: NDArray[np.floating[Any]]
    layer: str
    heads: tuple[str, ...]

    def start(self) -> NDArray[np.float64]:
        """The attention of each head to the start: [heads]."""
        return np.asarray(np.clip(1 - self.weights.sum((1, 2), dtype=np.float64), 0, 1))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; weights rounded to 6 decimals."""
        return {
            "pixel": list(self.chosen),
            "layer": self.layer,
            "heads": list(self.heads),
            "query": int(self.query.sum()),
            "memory": int(self.memory.sum()),
            "weights": self.weights.astype(np.float64).round(6).tolist(),
            "start": self.start().round(6).tolist(),
        }


def pixel_within(pixel: tuple[int, int] | None, size: tuple[int, ...]) -> tuple[int, int]:
    """The pixel (row, column), or that in the middle. Raises UserError where a picture of that size has none there."""
    row, column = pixel or (size[0] // 2, size[1] // 2)
    if row >= size[0] or column >= size[1]:
        raise UserError(
            f"expected --pixel from 0,0 to {size[0] - 1},{size[1] - 1}, got {row},{column}; rows come first"
        )
    return row, column


def pixel_of(
    painter: Painter,
    picture: NDArray[np.uint8],
    pixel: tuple[int, int] | None = None,
    *,
    label: str | None = None,
    layer: int | None = None,
    head: int | None = None,
) -> PixelAttention:
    """Attention of a pixel (else the one in the middle) in one layer (else the last).

    A position may hold several pixels, or one channel of one: its attention is spread over its pixels, and that to all
    channels of a pixel is added up.
    """
    codec, pattern = painter.codec, painter.config.pattern
    chosen = pixel_within(pixel, codec.shape)
    position = int(codec.places[chosen][0])
    weights, name, heads = row_of(painter.attention(picture, label=label), position, layer, head)
    # Key j has read position j - 1; key 0 is the start.
    read = np.zeros((len(heads), codec.positions))
    read[:, :position] = weights[:, 1 : position + 1]
    own, seen = blocks_of(pattern, position, codec.positions)
    pixels = np.bincount(codec.places.reshape(-1), minlength=codec.positions)  # subpixels at each position
    return PixelAttention(
        picture,
        chosen,
        np.asarray(own[codec.places].any(2)),
        np.asarray(seen[codec.places].any(2)),
        (read / np.maximum(1, pixels))[:, codec.places].sum(3),
        name,
        heads,
    )


def all_layers(
    painter: Painter, picture: NDArray[np.uint8], positions: Sequence[int], *, label: str | None, hidden: Mask | None
) -> NDArray[np.float32]:
    """Attention of positions of a picture to those before them: [positions, layers, heads, all positions]. What a row
    lacks to 1 went to the start. label, hidden: as of `Painter.attention`.
    """
    layers = painter.attention(picture, label=label, hidden=hidden)
    found = np.zeros((len(positions), len(layers), *layers[0].shape[1:3]), np.float32)
    for layer, each in enumerate(layers):
        for place, position in enumerate(positions):  # key j has read position j - 1; key 0 is the start
            found[place, layer, :, :position] = each[0, :, position, 1 : position + 1]
    return found


def blocks_of(pattern: Pattern, position: int, count: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The query block of a position of `count`, none in full attention, and what it may look at: bool [count] each."""
    own, seen = np.zeros(count, bool), np.zeros(count, bool)
    seen[[key - 1 for key in visible(pattern, position).tolist() if key]] = True
    if not isinstance(pattern, Full):
        first = position // block_size(pattern) * block_size(pattern)
        own[first : first + block_size(pattern)] = True
    return own, seen


def draw(attention: PixelAttention) -> Figure:
    """Draw the picture with the two blocks, and beside it for each head what it looked at."""
    from matplotlib.figure import Figure

    panels = 1 + len(attention.heads)
    columns = min(panels, MAX_COLUMNS)
    rows = -(-panels // columns)
    height, width = attention.picture.shape[:2]
    across, down = EDGE * width / max(height, width), EDGE * height / max(height, width)
    size = columns * (across + GAP) + GAP, TOP + rows * (down + LEGEND)
    figure = Figure(figsize=size, facecolor="white")
    for number in range(panels):
        row, column = divmod(number, columns)
        left, bottom = GAP + column * (across + GAP), size[1] - TOP - row * (down + LEGEND) - down
        axes = figure.add_axes((left / size[0], bottom / size[1], across / size[0], down / size[1]))
        axes.set_axis_off()
        if number:
            _head(axes, attention, number - 1)
        else:
            _blocks(axes, attention)
    row, column = attention.chosen
    title = f"What the pixel in row {row}, column {column} looks at: {attention.layer}"
    figure.text(GAP / size[0], 1 - 0.25 / size[1], title, fontsize=12, weight="bold", color=INK)
    return figure


def _blocks(axes: Axes, attention: PixelAttention) -> None:
    picture = attention.picture.astype(float) / 255
    picture = picture.repeat(3, 2) if picture.shape[2] == 1 else picture
    unseen = ~(attention.memory | _mark(attention))[..., None]
    axes.imshow(np.where(unseen, 1 - UNSEEN * (1 - picture), picture), interpolation="nearest")
    _outline(axes, attention.memory, MEMORY)
    _outline(axes, attention.query, QUERY)
    _outline(axes, _mark(attention), CHOSEN)
    axes.set_title("seen", fontsize=9, color=MEMORY, loc="left", pad=3)
    axes.set_title("its block", fontsize=9, color=QUERY, loc="right", pad=3)


def _head(axes: Axes, attention: PixelAttention, head: int) -> None:
    weights = attention.weights[head]
    axes.imshow(weights, cmap="Blues", vmin=0, vmax=max(float(weights.max()), 1e-9), interpolation="nearest")
    _outline(axes, attention.memory, "0.8")
    _outline(axes, _mark(attention), CHOSEN)
    axes.set_title(attention.heads[head], fontsize=9, color=INK, loc="left", pad=3)
    axes.set_title(f"start {attention.start()[head]:.0%}", fontsize=8, color=PALE, loc="right", pad=3)


def _mark(attention: PixelAttention) -> NDArray[np.bool_]:
    mark = np.zeros(attention.picture.shape[:2], bool)
    mark[attention.chosen] = True
    return mark


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: str) -> None:
    """A line around the pixels of the mask."""
    from matplotlib.collections import LineCollection

    padded = np.pad(mask, 1)
    lines = [((x - 1.5, y - 0.5), (x - 0.5, y - 0.5)) for y, x in np.argwhere(padded[1:] != padded[:-1])]
    lines += [((x - 0.5, y - 1.5), (x - 0.5, y - 0.5)) for y, x in np.argwhere(padded[:, 1:] != padded[:, :-1])]
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=1.3, capstyle="round", clip_on=False))
