"""Pictures drawn from a few shapes: those of the tour, and a small free set of pictures in colour to learn from.

The set is CC0: nobody's picture is in it.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEED = 2018
EDGE = 16  # pixels of a picture of the set
COUNTS = {"train": 60, "valid": 10, "test": 10}  # pictures of a class
FINE = 4  # drawn so many times as large and made small, so that edges are smooth
UNITS = 32  # along an edge, in which corners are given

Shape = tuple[Any, ...]  # the method of `PIL.ImageDraw.Draw`, the colour, corners x1, y1, x2, y2, ...
Picture = NDArray[np.uint8]

COLOURS = ("#d62f3a", "#e8862a", "#e9c53a", "#3f9b4b", "#2e7fc2", "#7a4fb5", "#d0579b", "#333a45")
GROUNDS = ("#ffffff", "#f3ead8", "#dcebf5", "#e3f0dc")
CORNERS = {"triangle": 3, "square": 4}


def drawn(shapes: Sequence[Shape], edge: int, ground: str = "white") -> Picture:
    """The shapes one over the other on a ground, uint8 [edge, edge, 3]; corners in units of 1/32 of an edge."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (FINE * edge, FINE * edge), ground)
    draw, unit = ImageDraw.Draw(image), FINE * edge / UNITS
    for shape, colour, *corners in shapes:
        getattr(draw, shape)([corner * unit for corner in corners], fill=colour)
    return np.array(image.resize((edge, edge), Image.Resampling.BOX))


def shape_of(name: str, x: float, y: float, size: float, turn: float, colour: str, ground: str) -> list[Shape]:
    """One of the classes: its middle x, y and its radius in units, turned by so many radians."""
    around = [x - size, y - size, x + size, y + size]
    if name == "circle":
        return [("ellipse", colour, *around)]
    if name == "ring":
        return [("ellipse", colour, *around), ("ellipse", ground, *(value + edge for value, edge in _inset(around)))]
    if name == "star":
        radii = [size, 0.42 * size] * 5
    elif name == "cross":
        flat = math.atan(1 / 3)
        angles = [quarter * math.pi / 2 + side for quarter in range(4) for side in (-flat, flat, math.pi / 4)]
        radii = [size, size, math.sqrt(0.2) * size] * 4
        return [("polygon", colour, *_polygon(x, y, radii, [turn + angle for angle in angles]))]
    else:
        radii = [size] * CORNERS[name]
    angles = [turn + 2 * math.pi * corner / len(radii) for corner in range(len(radii))]
    return [("polygon", colour, *_polygon(x, y, radii, angles))]


CLASSES = ("circle", "cross", "ring", "square", "star", "triangle")


def pictures() -> dict[str, Picture]:
    """The set, uint8 [16, 16, 3] by names such as train/star/01.png; always the same, and no picture twice."""
    draw = random.Random(SEED)  # of which `random` alone draws the same numbers in every version of Python
    found: dict[str, Picture] = {}
    seen: set[bytes] = set()
    for split, count in COUNTS.items():
        for name in CLASSES:
            number = 0
            while number < count:
                picture = _one(draw, name)
                if picture.tobytes() not in seen:
                    seen.add(picture.tobytes())
                    number += 1
                    found[f"{split}/{name}/{number:02}.png"] = picture
    return found


def files() -> dict[str, bytes]:
    """The set as PNG files, by name."""
    from PIL import Image

    made = {}
    for name, picture in pictures().items():
        data = io.BytesIO()
        Image.fromarray(picture).save(data, "png")
        made[name] = data.getvalue()
    return made


def _one(draw: random.Random, name: str) -> Picture:
    size = 7 + 6 * draw.random()
    x, y = (size + 1 + draw.random() * (UNITS - 2 * size - 2) for _ in range(2))
    colour = COLOURS[int(draw.random() * len(COLOURS))]
    ground = GROUNDS[int(draw.random() * len(GROUNDS))]
    return drawn(shape_of(name, x, y, size, 2 * math.pi * draw.random(), colour, ground), EDGE, ground)


def _inset(around: Sequence[float]) -> list[tuple[float, float]]:
    inset = 0.25 * (around[2] - around[0])
    return list(zip(around, (inset, inset, -inset, -inset), strict=True))


def _polygon(x: float, y: float, radii: Sequence[float], angles: Sequence[float]) -> list[float]:
    corners = ((x + r * math.cos(angle), y + r * math.sin(angle)) for r, angle in zip(radii, angles, strict=True))
    return [value for corner in corners for value in corner]
