"""The pixels: pictures as they are painted, completed and enlarged, and what a pixel looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from triptych.image.data import shrunk
from triptych.image.files.pictures import read_resized
from triptych.image.files.plain import PlainPicture, plain_mask
from triptych.image.files.resizing import with_channels
from triptych.image.shapes import drawn, shape_of
from triptych.look.pixels import all_layers, blocks_of
from triptych.shape.plain import packed
from triptych.studio.answers import draw_options, envelope, map_of, settled
from triptych.studio.models import Models
from triptych.studio.requests import MAX_MAPPED, Complete, Example, Paint, PictureAttention, Upscale
from triptych.studio.work import Job, RefusedError

GIVEN, MASK, LABEL = "picture.png", "mask.png", "sneaker"  # files that the commands name; the class of the example
MAX_MAP_BYTES = 512_000_000  # of the attention of a picture
PADDING = 2**32 - 1  # the place of a subpixel that is none


def paint(models: Models, asked: Paint, job: Job) -> dict[str, Any]:
    """Pictures from nothing, or of a class."""
    entry = models.find(asked.model, "paint")
    asked, painter = settled(asked, entry), entry.load()
    painter.check("paint", asked.label)
    about = envelope("paint", asked, entry, ["paint", *draw_options(asked), "--out", "painted"])
    return _made(job, painter, about, asked, lambda **how: painter.paint(asked.count, **how))


def complete(models: Models, asked: Complete, job: Job) -> dict[str, Any]:
    """The hidden part of a picture, in several ways."""
    entry = models.find(asked.model, "complete")
    asked, painter = settled(asked, entry), entry.load()
    painter.check("complete", asked.label)
    picture = asked.picture.pixels(painter.codec.shape)
    hidden = plain_mask(asked.hidden, picture.shape[:2])
    command = ["complete", GIVEN, "--mask", MASK, *draw_options(asked), "--out", "completed"]
    about = envelope("complete", asked, entry, command, GIVEN, MASK)
    made = _made(job, painter, about, asked, lambda **how: painter.complete(picture, hidden, count=asked.count, **how))
    return {**made, "hidden": asked.hidden}


def upscale(models: Models, asked: Upscale, job: Job) -> dict[str, Any]:
    """A small picture enlarged, in several ways."""
    entry = models.find(asked.model, "upscale")
    painter = entry.load()
    usual = painter.usual.temperature
    asked = settled(asked, entry, temperature=usual)
    painter.check("upscale", asked.label)
    small = asked.picture.pixels(painter.codec.small.shape)
    command = ["upscale", GIVEN, *draw_options(asked, usual), "--out", "large.png"]
    about = envelope("upscale", asked, entry, command, GIVEN)
    return _made(job, painter, about, asked, lambda **how: painter.upscale(small, count=asked.count, **how))


def _made(job: Job, painter: Any, about: dict[str, Any], asked: Any, make: Callable[..., Any]) -> dict[str, Any]:
    """Make the pictures, while `pixels` shows the tokens in the order in which they are made."""
    codec = painter.codec
    height, width, channels = codec.shape
    row, column = np.divmod(codec.order, codec.columns * codec.cell[1])
    order = np.where(codec.inside, row * width * channels + column, PADDING)
    size = {"count": asked.count, "height": height, "width": width, "channels": channels, "order": packed(order, "<u4")}
    job.send("start", {**about, **size})
    sent = 0

    def progress(cache: Any) -> None:
        nonlocal sent
        now = cache.history.length
        if now > sent:
            values = cache.history.ids.reshape(cache.rows, -1)[:, sent:now]
            job.send("pixels", {"first": sent, "values": packed(values)})
            sent = now

    with job.watched(progress):
        made = make(label=asked.label, sampling=asked.sampling(), seed=asked.seed)
    return {**about, **size, "label": asked.label, "pictures": [vars(PlainPicture.of(one)) for one in made]}


def attention(models: Models, asked: PictureAttention, job: Job) -> dict[str, Any]:
    """What a pixel, or every position, looked at when it was made: all layers and heads."""
    entry = models.find(asked.model, "paint", "complete", "upscale")
    painter = entry.load()
    painter.check(entry.task, asked.label)
    codec, config, whole = painter.codec, painter.config, asked.pixel is None
    picture = asked.picture.pixels(codec.shape)
    hidden = None if asked.hidden is None else plain_mask(asked.hidden, picture.shape[:2])
    count, (row, column) = codec.positions, asked.pixel or (0, 0)
    if (whole and count > MAX_MAPPED) or 4 * config.decoder_layers * config.heads * count**2 > MAX_MAP_BYTES:
        raise RefusedError(f"expected a pixel, and not too many positions, got {count:,} positions; name a pixel", 413)
    if row >= codec.height or column >= codec.width:
        raise RefusedError(f"expected a pixel in {codec.height} rows and {codec.width} columns, got {row}, {column}")
    chosen = list(range(count)) if whole else [int(codec.places[row, column, 0])]
    blocks = [blocks_of(config.pattern, position, count) for position in chosen]
    own, seen = np.array(blocks).swapaxes(0, 1)
    first = codec.places[..., 0]
    pixels = [list(divmod(int((first == each).argmax()), codec.width)) for each in chosen] if whole else [[row, column]]
    return {
        "model": entry.name,
        "kind": "picture",
        "layers": config.decoder_layers,
        "heads": config.heads,
        "positions": count,
        "places": packed(codec.places, "<u4"),
        "pattern": config.to_dict()["pattern"],
        "pixels": pixels,
        "weights": map_of(all_layers(painter, picture, chosen, label=asked.label, hidden=hidden)),
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
    entry = models.find(name, "complete", "upscale", "paint")
    codec = entry.load().codec
    height, width, channels = codec.small.shape if entry.task == "upscale" else codec.shape
    if not data:
        raise RefusedError("expected a picture, got an empty file; choose another")
    picture, _, words = read_resized(data, (height, width), channels=channels)
    return {"picture": vars(PlainPicture.of(picture)), "words": words}


def example(models: Models, asked: Example, job: Job) -> dict[str, Any]:
    """A picture to begin with: for completion a painted one, where a model paints in that size, else a drawing."""
    entry = models.find(asked.model, "complete", "upscale")
    codec = entry.load().codec
    size = {name: getattr(codec, name) for name in ("height", "width", "channels")}
    for other in models.entries.values():
        if entry.task == "complete" and other.task == "paint" and size.items() <= other.codec.items():
            label = LABEL if LABEL in other.codec["labels"] else None
            return {"picture": vars(PlainPicture.of(other.load().paint(1, label=label)[0])), "label": label}
    picture = drawn(shape_of("star", 16, 17, 13, 0.3, "#e8862a", "#ffffff"), max(codec.height, codec.width))
    picture = with_channels(picture[: codec.height, : codec.width], codec.channels)
    return {"picture": vars(PlainPicture.of(shrunk(picture[None], codec.factor)[0])), "label": None}
