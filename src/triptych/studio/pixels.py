"""The pixels: pictures as they are painted, completed and enlarged, and what a pixel looked at."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np

from triptych.fields import Size
from triptych.image.data import shrunk
from triptych.image.files.pictures import read_resized
from triptych.image.files.plain import Bytes, PlainPicture, plain_mask
from triptych.image.files.resizing import with_channels
from triptych.image.shapes import drawn, shape_of
from triptych.look.pixels import all_layers, blocks_of
from triptych.shape.plain import packed
from triptych.studio.models import Entry, Models
from triptych.studio.requests import MASK, MAX_COUNT, MAX_MAPPED, PICTURE, Drawn, Label, Model, Request, map_of
from triptych.studio.work import Job, RefusedError

LABEL = "sneaker"  # the class of the example
MAX_MAP_BYTES = 512_000_000  # of the attention of a picture
PADDING = 2**32 - 1  # the place of a subpixel that is none


class Paint(Drawn):
    """Paint pictures, of a class or of none."""

    label: Label | None = None
    count: Annotated[int, Size(1, MAX_COUNT, True)] = 4

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry, painter = models.find(self.model, "paint")
        return _made(self, entry, job, ["paint"], "painted", painter.paint)


class Complete(Drawn):
    """Find the hidden part of a picture: hidden has a byte a pixel, 1 where it is to be found."""

    picture: PlainPicture
    hidden: Bytes
    label: Label | None = None
    count: Annotated[int, Size(1, 8, True)] = 4

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry, painter = models.find(self.model, "complete")
        picture = self.picture.pixels(painter.codec.shape)
        complete = partial(painter.complete, picture, plain_mask(self.hidden, picture.shape[:2]))
        made = _made(self, entry, job, ["complete", PICTURE, "--mask", MASK], "completed", complete)
        return {**made, "hidden": self.hidden}


class Upscale(Drawn):
    """Enlarge a small picture."""

    picture: PlainPicture
    label: Label | None = None
    count: Annotated[int, Size(1, 8, True)] = 2

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry, painter = models.find(self.model, "upscale")
        upscale = partial(painter.upscale, self.picture.pixels(painter.codec.small.shape))
        return _made(self, entry, job, ["upscale", PICTURE], "large.png", upscale)


def _made(
    request: Paint | Complete | Upscale, entry: Entry, job: Job, command: list[str], out: str, make: Callable[..., Any]
) -> dict[str, Any]:
    """Make the pictures, while `pixels` shows the tokens in the order in which they are made."""
    asked, painter, sent = request.settled(entry), entry.load(), 0
    painter.check(entry.task, asked.label)
    codec = painter.codec
    height, width, channels = codec.shape
    row, column = np.divmod(codec.order, codec.columns * codec.cell[1])
    order = packed(np.where(codec.inside, row * width * channels + column, PADDING), "<u4")
    about = asked.envelope(entry, command, out)
    about |= {"count": asked.count, "height": height, "width": width, "channels": channels, "order": order}
    job.send("start", about)

    def progress(cache: Any) -> None:
        nonlocal sent
        now = cache.history.length
        if now > sent:
            values = cache.history.ids.reshape(cache.rows, -1)[:, sent:now]
            job.send("pixels", {"first": sent, "values": packed(values)})
            sent = now

    with job.watched(progress):
        made = make(count=asked.count, label=asked.label, **asked.drawing())
    return {**about, "label": asked.label, "pictures": [vars(PlainPicture.of(one)) for one in made]}


class PictureAttention(Request):
    """Attention of the pixel [row, column] when it was made, of all layers and heads; null: of every position."""

    kind: Literal["picture"]
    picture: PlainPicture
    model: Model | None = None
    label: Label | None = None
    hidden: Bytes | None = None
    pixel: Annotated[list[Annotated[int, Size(0, 63)]], Size(2, 2)] | None = None

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry, painter = models.find(self.model, "paint", "complete", "upscale")
        painter.check(entry.task, self.label)
        codec, config, whole = painter.codec, painter.config, self.pixel is None
        picture = self.picture.pixels(codec.shape)
        hidden = None if self.hidden is None else plain_mask(self.hidden, picture.shape[:2])
        count, (row, column) = codec.positions, self.pixel or (0, 0)
        if (whole and count > MAX_MAPPED) or 4 * config.decoder_layers * config.heads * count**2 > MAX_MAP_BYTES:
            raise RefusedError(f"expected a pixel of few positions, got {count:,} positions; name a pixel", 413)
        if row >= codec.height or column >= codec.width:
            size = f"{codec.height} rows and {codec.width} columns"
            raise RefusedError(f"expected a pixel in {size}, got {row}, {column}; choose another")
        chosen = list(range(count)) if whole else [int(codec.places[row, column, 0])]
        blocks = [blocks_of(config.pattern, position, count) for position in chosen]
        own, seen = np.array(blocks).swapaxes(0, 1)
        first = codec.places[..., 0]
        pixels = [list(divmod(int((first == each).argmax()), codec.width)) for each in chosen]
        return {
            "model": entry.name,
            "kind": "picture",
            "layers": config.decoder_layers,
            "heads": config.heads,
            "positions": count,
            "places": packed(codec.places, "<u4"),
            "pattern": config.to_dict()["pattern"],
            "pixels": pixels if whole else [[row, column]],
            "weights": map_of(all_layers(painter, picture, chosen, label=self.label, hidden=hidden)),
            "query": "" if whole else packed(own[:, codec.places].any(3)),
            "memory": "" if whole else packed(seen[:, codec.places].any(3)),
            "window": packed(np.concatenate((_reach(own), _reach(seen)), 1), "<u4"),
        }


def _reach(masks: Any) -> Any:
    """Of each row the first true position, and the last one plus 1; of none 0 and 0: [rows, 2]."""
    last = np.where(masks.any(1), masks.shape[1] - masks[:, ::-1].argmax(1), 0)
    return np.stack((masks.argmax(1), last), 1)


def read_picture(models: Models, data: bytes, name: str) -> dict[str, Any]:
    """The picture of an uploaded file in the size that a model reads, and a word about every change."""
    entry, painter = models.find(name, "complete", "upscale", "paint")
    height, width, channels = painter.codec.small.shape if entry.task == "upscale" else painter.codec.shape
    if not data:
        raise RefusedError("expected a picture, got an empty file; choose another")
    picture, _, words = read_resized(data, (height, width), channels=channels)
    return {"picture": vars(PlainPicture.of(picture)), "words": words}


class Example(Request):
    """A picture to begin with, for a model that completes (a painted one, where a model paints so) or enlarges."""

    model: Model

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry, painter = models.find(self.model, "complete", "upscale")
        codec = painter.codec
        size = {name: getattr(codec, name) for name in ("height", "width", "channels")}
        for other in models.entries.values():
            if entry.task == "complete" and other.task == "paint" and size.items() <= other.codec.items():
                label = LABEL if LABEL in other.codec["labels"] else None
                return {"picture": vars(PlainPicture.of(other.load().paint(1, label=label)[0])), "label": label}
        picture = drawn(shape_of("star", 16, 17, 13, 0.3, "#e8862a", "#ffffff"), max(codec.height, codec.width))
        picture = with_channels(picture[: codec.height, : codec.width], codec.channels)
        return {"picture": vars(PlainPicture.of(shrunk(picture[None], codec.factor)[0])), "label": None}
