"""Pixels in the gallery: pictures painted by class, one completed in several ways, small ones enlarged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from triptych.cli.gallery.pages import element, facts, figure, picture, section
from triptych.image.shapes import Shape, drawn

if TYPE_CHECKING:
    from triptych.image.codec import Pixels
    from triptych.image.painter import Painter

EACH, PAINTING = 5, 0  # pictures of a class, and the seed
GIVEN, COMPLETIONS, COMPLETING = (0, 4), 5, 0  # number of the painted picture to hide half of, by class; and the seed
ENLARGING = 0  # the seed

PAINTED = """<code>{model}</code> has painted these pictures just now, from nothing but the name of a class: {each}
each of {classes}, two classes a row. It made them in cells of 2 x 2 pixels from the upper left to the lower right; each
cell knew those in its memory block, and through them, layer by layer, all before it. Clothes of 28 x 28 pixels are all
that it has seen: from afar a shoe is a shoe; near by, patterns and straps do not always agree with themselves."""
LOOKED = """What one pixel looked at when it was made. Blue is its memory block, orange the block that it is made in;
beside it a map for each head of the last layer, the darker the more attention. Attention shows where the model read,
not why it chose the grey."""
COMPLETED = """The lower half of two of these pictures was hidden, and <code>{model}</code> found it, {count} times
each, all different; at the end of a row is what had been there. Every pixel that was known came back as it was. It
can do the same for any hole, and reads what comes after it too: <code>triptych complete PICTURE --mask MASK.png --out
DIR</code>."""
UPSCALED = """Three drawings of ours were made small, to {small} pixels, and <code>{model}</code> enlarged each
again. From the left: what it was given, bicubic interpolation, the model, and the drawing. What the model makes is a
guess at what could have been there, in the manner of emoji, moved to what is known of each square of pixels; where
nothing is known, it invents. Your own: <code>triptych upscale {given} --seed 2
--out large.png</code>"""


PARTS = {"painting": 5, "completing": 2, "enlarging": 5}  # and their shares of the time


def pixels(
    painter: Painter, filler: Painter | None, upscaler: Painter | None, out: Path, begin: Callable[[str], None]
) -> Iterator[str]:
    """The sections of the pixels, as far as the models are there; pictures go to `out`/pixels. begin: called with each
    of the `PARTS`.
    """
    begin("painting")
    folder = out / "pixels"
    folder.mkdir(parents=True, exist_ok=True)
    labels = painter.codec.labels
    painted = painter.paint(EACH * len(labels), label=[label for label in labels for _ in range(EACH)], seed=PAINTING)
    yield _painted(painter, painted, folder, out)
    if filler is not None:
        begin("completing")
        yield _completed(filler, [painted[EACH * number] for number in GIVEN], folder, out)
    if upscaler is not None:
        begin("enlarging")
        yield _enlarged(upscaler, folder, out)


def _painted(painter: Painter, painted: Pixels, folder: Path, out: Path) -> str:
    from triptych.look.pixels import draw, pixel_of

    labels = painter.codec.labels
    alternative = f"{EACH} painted pictures of each class: {', '.join(labels)}."
    grid = _sheet(list(painted), 2 * EACH, folder / "painted.png", out, alternative)
    chosen = painted[EACH * GIVEN[1]]
    drawn = draw(pixel_of(painter, chosen, label=labels[GIVEN[1]]))
    blocks = picture(
        drawn, folder / "blocks.png", out, "A picture with the memory block of one pixel, and its attention."
    )
    text = PAINTED.format(model=_name(painter), each=EACH, classes=escape(", ".join(labels)))
    body = [facts(painter.card), grid, figure(blocks, LOOKED)]
    return section("pixels", "Pixels: painted from nothing", text, body)


def _completed(filler: Painter, given: list[Pixels], folder: Path, out: Path) -> str:
    from triptych.image.data import SHADE, half

    height, width, _ = filler.codec.shape
    hidden = half(height, width, "bottom")
    shown: list[Pixels] = []
    for number, whole in enumerate(given):
        damaged = whole.copy()
        damaged[hidden] = SHADE
        label = filler.codec.labels[GIVEN[number]]
        shown += [damaged, *filler.complete(whole, hidden, count=COMPLETIONS, label=label, seed=COMPLETING), whole]
    alternative = f"Two pictures without their lower half, {COMPLETIONS} completions of each, and what it was before."
    grid = _sheet(shown, COMPLETIONS + 2, folder / "completed.png", out, alternative)
    text = COMPLETED.format(model=_name(filler), count=COMPLETIONS)
    return section("completed", "Completed in several ways", text, [facts(filler.card), grid])


def _enlarged(upscaler: Painter, folder: Path, out: Path) -> str:
    from triptych.image.data import shrunk
    from triptych.image.files.pictures import write_picture
    from triptych.image.score import bicubic

    factor, (height, width, _) = upscaler.codec.factor, upscaler.codec.shape
    truth = drawings(height)
    small = shrunk(truth, factor)
    # One after another: for one alone the flattened step takes less time than a batch does for all.
    made = [upscaler.upscale(one, seed=ENLARGING)[0] for one in small]
    smooth = bicubic(small, factor)
    shown = [one for row in zip(small, smooth, made, truth, strict=True) for one in row]
    write_picture(folder / "small.png", small[0])
    alternative = "Three small drawings, bicubic interpolation, what the model made of them, and the drawings."
    grid = _sheet(shown, 4, folder / "enlarged.png", out, alternative)
    size = f"{height // factor} x {width // factor}"
    text = UPSCALED.format(model=_name(upscaler), small=size, given="pixels/small.png")
    return section("enlarged", "Enlarged", text, [facts(upscaler.card), grid])


def drawings(edge: int) -> Pixels:
    """A face, a heart and a tree of ours, uint8 [3, edge, edge, 3] on white."""
    return np.stack([drawn(SHAPES[name], edge) for name in ("face", "heart", "tree")])


# Of each drawing the shapes one over the other, in units of a picture of 32 x 32.
SHAPES: dict[str, tuple[Shape, ...]] = {
    "face": (
        ("ellipse", "#ffcc33", 2, 2, 30, 30),
        ("ellipse", "#553311", 9, 9, 13, 15),
        ("ellipse", "#553311", 19, 9, 23, 15),
        ("ellipse", "#553311", 9, 17, 23, 26),
        ("rectangle", "#ffcc33", 8, 16, 24, 20),
    ),
    "heart": (
        ("ellipse", "#dd2e44", 2, 4, 17, 19),
        ("ellipse", "#dd2e44", 15, 4, 30, 19),
        ("polygon", "#dd2e44", 3.6, 15.5, 28.4, 15.5, 16, 30),
    ),
    "tree": (
        ("rectangle", "#7a5230", 14, 22, 18, 31),
        ("ellipse", "#4f8f3a", 5, 2, 27, 24),
        ("ellipse", "#66aa44", 9, 4, 20, 15),
    ),
}


def _sheet(pictures: list[Pixels], columns: int, path: Path, out: Path, alternative: str) -> str:
    from triptych.image.files.pictures import write_picture
    from triptych.image.sheet import sheet

    write_picture(path, sheet(pictures, columns))
    return figure(element(path, out, alternative))


def _name(painter: Painter) -> str:
    return escape(str(painter.card["name"]))
