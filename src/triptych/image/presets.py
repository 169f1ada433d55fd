"""Shapes of image models: the paper's, small ones for a CPU, and how a picture's size completes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from triptych.errors import UserError
from triptych.image.codec import HOLE, LEVELS, PictureCodec
from triptych.image.data import Task
from triptych.shape.bounds import encoder_fits, left_out
from triptych.shape.config import Config, Positions
from triptych.shape.pattern import Local2D
from triptych.shape.settings import preset_of
from triptych.trained import check_vocabularies


def usual_preset(channels: int, changes: Mapping[str, Any]) -> str:
    """The preset that is taken unless another is asked for. A square of 2 x 2 subpixels cuts through the pixels of a
    colour picture: a mixture of whole pixels learns their colours far sooner (docs/results/pixels.md).
    """
    head = changes.get("head", "mixture")
    mixture = (head.get("kind", "mixture") if isinstance(head, Mapping) else head) == "mixture"
    return "small-pixels" if channels == 3 and changes.get("cell", "pixel") == "pixel" and mixture else "small"


def shaped(preset: str, task: Task, codec: PictureCodec, changes: Mapping[str, Any]) -> tuple[Config, PictureCodec]:
    """The configuration of a preset for pictures of that codec, and the codec in the order that it needs.

    changes: fields of `Config`, and `cell`, which chooses the input; what is left out of a `head` of the preset's kind
    is the preset's, and the size of a local 2-D `pattern` that of the picture.
    """
    usual = preset_of("triptych.image", preset)
    left_out(changes, ("vocabulary", "source_vocabulary", "classes"), "the pictures")
    shape = {**usual, **changes}
    codec = replace(codec, cell=_cell(shape.pop("cell"), codec.channels))
    pattern = shape["pattern"]
    if isinstance(pattern, Mapping) and pattern.get("kind") == "local_2d":
        block = pattern.get("query_rows", 1), pattern.get("query_columns", 1)
        codec = replace(codec, block=block)
        shape["pattern"] = {"height": codec.rows, "width": codec.columns, **pattern}
    shape["input"], shape["head"] = _parts(codec, usual["head"], changes)
    if task == "paint":
        shape |= {"encoder_layers": 0, "aligned": False}
    else:
        encoder_fits(task, shape["encoder_layers"], True)
        shape["source_vocabulary"] = HOLE + 1 if task == "complete" else LEVELS
    columns = {"kind": "sinusoidal_2d", "length": codec.columns}
    if task == "upscale" and not shape["aligned"]:
        columns["source"] = {"kind": "sinusoidal_2d", "length": codec.small.columns}
    shape = {"positions": columns, **shape, "vocabulary": LEVELS, "classes": len(codec.labels)}
    return Config.from_dict(shape), codec


def _parts(
    codec: PictureCodec, usual: Mapping[str, Any], changes: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The input and the head of a model with the codec's cells: by that of the preset, `usual`, and what is changed."""
    given = changes.get("head", {})
    given = {"kind": given} if isinstance(given, str) else given
    if not isinstance(given, Mapping):
        raise UserError(f"expected head to be a table with its kind, got {given!r}")
    head = {**usual, **given} if given.get("kind", usual["kind"]) == usual["kind"] else dict(given)
    tokens = math.prod(codec.cell)
    if head["kind"] == "mixture":
        if codec.cell != (1, codec.channels):
            raise UserError(f"expected cell='pixel' with head mixture, got {list(codec.cell)}; a mixture is a pixel's")
        return {"kind": "pixels", "channels": codec.channels}, head
    if tokens == 1:
        return {"kind": "tokens"}, {"kind": "tied"}
    reads = changes.get("input", {})
    if not isinstance(reads, Mapping) or not set(reads) <= {"word_dropout", "repeat_features"}:
        raise UserError(f"expected of input only word_dropout and repeat_features with cells, got {reads!r}")
    return {"kind": "patches", "size": tokens, **reads}, head if head["kind"] == "patch" else {"kind": "patch"}


def check_fit(config: Config, codec: PictureCodec) -> None:
    """Raise UserError unless a model of that configuration reads and writes in the order of the codec."""
    source = None if not config.encoder_layers else LEVELS if codec.factor > 1 else HOLE + 1
    check_vocabularies(config, LEVELS, source, "intensities", "a model of pictures")
    if codec.factor > 1 and not config.encoder_layers:
        raise UserError(f"expected encoder_layers from 1 in a model that upscales by {codec.factor}, got 0")
    size = config.input.size
    if size != math.prod(codec.cell) or config.classes != len(codec.labels):
        raise UserError(
            f"expected patches of {math.prod(codec.cell)} and {len(codec.labels)} classes, as the codec has, got "
            f"{size} and {config.classes}"
        )
    _check_positions(config.positions, codec.columns)
    if config.positions.source is not None:
        _check_positions(config.positions.source, codec.small.columns)
    pattern = config.pattern
    if isinstance(pattern, Local2D):
        expected = (codec.rows, codec.columns, *(codec.block or (0, 0)))
        if expected != (pattern.height, pattern.width, pattern.query_rows, pattern.query_columns):
            raise UserError(f"expected a local 2-D pattern of {expected}, as the codec has, got {pattern}")
    elif codec.block is not None:
        raise UserError(f"expected a local 2-D pattern for blocks of {codec.block}, got {pattern}")


def _check_positions(positions: Positions, columns: int) -> None:
    """Raise UserError unless 2-D positions are of so many columns."""
    if positions.kind == "sinusoidal_2d" and positions.length != columns:
        raise UserError(f"expected positions of {columns} columns, as the codec has, got {positions.length}")


def _cell(cell: Sequence[int] | str, channels: int) -> tuple[int, int]:
    """Rows and subpixel columns at one position; "pixel" is all channels of one."""
    if cell == "pixel":
        return 1, channels
    if not isinstance(cell, list | tuple) or len(cell) != 2 or any(type(edge) is not int for edge in cell):
        raise UserError(f"expected a cell of rows and columns, or 'pixel', got {cell!r}")
    return cell[0], cell[1]
