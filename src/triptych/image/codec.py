"""Pictures <-> token ids: every subpixel an id from 0 to 255, in the order in which a picture is made.

Red, green and blue are side by side, so a picture of C channels is a grid of `height` rows and `width * C` columns of
subpixels (Parmar et al. 2018, section 3.1). One position of the attention holds a `cell` of them: a single one, all of
a pixel, or a small square. Cells follow each other row by row (raster) or block by block (the paper's local 2-D
attention, section 3.2), subpixels row by row inside of a cell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, printable, whole_number
from triptych.shape.plain import bounded

Pixels = NDArray[np.uint8]
Ids = NDArray[np.int64]

LEVELS = 256  # intensities of a subpixel
HOLE = LEVELS  # in a source alone: a hidden subpixel
FILE = "picture.json"
MAX_TOKENS = 2**20  # of one picture
MAX_LABELS = 100_000


@dataclass(frozen=True)
class PictureCodec:
    """The order of the subpixels of pictures of one size.

    cell: rows and subpixel columns at one position. block: rows and columns of positions in a block, or None for raster
    order. A picture that is no whole number of blocks is padded with zeros below and to the right, and cut back.
    labels: the names of the classes. factor: how many times smaller the source of an upscaling model is.
    """

    height: int
    width: int
    channels: int
    cell: tuple[int, int] = (1, 1)
    block: tuple[int, int] | None = None
    labels: tuple[str, ...] = ()
    factor: int = 1

    def __post_init__(self) -> None:
        for name in ("cell", "block", "labels"):
            value = getattr(self, name)
            if isinstance(value, list):  # as JSON has it
                object.__setattr__(self, name, tuple(value))
        block = (1, 1) if self.block is None else self.block
        pairs: tuple[object, ...] = (self.cell, block)
        if any(not isinstance(pair, tuple) or len(pair) != 2 for pair in pairs):
            raise UserError(f"expected cell and block to be rows and columns, got {self.cell!r} and {self.block!r}")
        sizes: tuple[object, ...] = (self.height, self.width, self.channels, self.factor, *self.cell, *block)
        if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
            raise UserError(f"expected sizes of a picture, its cells and blocks from 1 on, got {sizes}")
        if self.channels > 4:
            raise UserError(f"expected 1 to 4 channels, got {self.channels}; 1 is grey, 3 is RGB")
        if self.height % self.factor or self.width % self.factor:
            raise UserError(f"expected a size that factor={self.factor} divides, got {self.height}x{self.width}")
        labels: object = self.labels
        if not isinstance(labels, tuple) or len(labels) > MAX_LABELS or any(type(label) is not str for label in labels):
            raise UserError(f"expected at most {MAX_LABELS:,} names of classes, got {printable(str(labels), 60)}")
        if self.tokens > MAX_TOKENS:
            raise UserError(f"expected at most {MAX_TOKENS:,} subpixels a picture, got {self.tokens:,}; shrink it")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a picture."""
        return self.height, self.width, self.channels

    @property
    def small(self) -> PictureCodec:
        """The codec of the source of an upscaling model, by itself."""
        return PictureCodec(self.height // self.factor, self.width // self.factor, self.channels, self.cell)

    @property
    def rows(self) -> int:
        """Rows of positions."""
        unit = self.cell[0] * (self.block[0] if self.block else 1)
        return -(-self.height // unit) * unit // self.cell[0]

    @property
    def columns(self) -> int:
        """Columns of positions. Only whole pixels are padded."""
        unit = math.lcm(self.channels, self.cell[1] * (self.block[1] if self.block else 1))
        return -(-self.width * self.channels // unit) * unit // self.cell[1]

    @property
    def positions(self) -> int:
        """Positions of a picture."""
        return self.rows * self.columns

    @property
    def tokens(self) -> int:
        """Subpixels of a picture with its padding, `cell` of them at a position."""
        return self.positions * self.cell[0] * self.cell[1]

    @cached_property
    def order(self) -> Ids:
        """The subpixel of the padded grid of each token, in raster order: int64 [tokens]."""
        (rows, columns), cell, block = (self.rows, self.columns), self.cell, self.block or (1, self.columns)
        grid = np.arange(self.tokens).reshape(
            rows // block[0], block[0], cell[0], columns // block[1], block[1], cell[1]
        )
        return grid.transpose(0, 3, 1, 4, 2, 5).reshape(-1)

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """True for tokens of the picture, False for padding: bool [tokens]."""
        grid = np.zeros((self.rows * self.cell[0], self.columns * self.cell[1]), bool)
        grid[: self.height, : self.width * self.channels] = True
        return grid.reshape(-1)[self.order]

    @cached_property
    def places(self) -> Ids:
        """The position of each subpixel of a picture: int64 [height, width, channels]."""
        return self.in_place(np.arange(self.tokens) // (self.cell[0] * self.cell[1]))

    def in_place(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of tokens [..., tokens] at their subpixels: [..., height, width, channels]."""
        grid = np.empty_like(values)
        grid[..., self.order] = values
        whole = grid.reshape(*values.shape[:-1], self.rows * self.cell[0], self.columns * self.cell[1])
        kept = whole[..., : self.height, : self.width * self.channels]
        return np.ascontiguousarray(kept).reshape(*values.shape[:-1], *self.shape)

    def encode(self, pictures: Pixels) -> Ids:
        """Ids [N, tokens] of pictures [N, height, width, channels], the padding 0."""
        return self._in_order(self._checked(pictures).astype(np.int64))

    def encode_source(self, pictures: Pixels, hidden: NDArray[np.bool_]) -> Ids:
        """The same with HOLE for the pixels that are to be found: hidden [N, height, width]; the padding is known."""
        pictures = self._checked(pictures)
        if hidden.shape != pictures.shape[:3]:
            raise UserError(f"expected a mask {list(pictures.shape[:3])}, got {list(hidden.shape)}; one a pixel")
        return self._in_order(np.where(hidden[..., None], HOLE, pictures.astype(np.int64)))

    def encode_small(self, small: Pixels, *, aligned: bool = True) -> Ids:
        """The source of an upscaling model, ids [N, S] of pictures [N, height / factor, width / factor, channels].

        aligned: each pixel is repeated over the square that it covers, so that there are as many ids as in the
        target; otherwise they are the small picture alone, in raster order (Parmar et al. 2018, section 5.3).
        """
        shape = (self.height // self.factor, self.width // self.factor, self.channels)
        small = np.asarray(small)
        if small.dtype != np.uint8 or small.ndim != 4 or small.shape[1:] != shape:
            raise UserError(
                f"expected pictures uint8 [N, {', '.join(map(str, shape))}] to upscale, got {small.dtype} "
                f"{list(small.shape)}; shrink them first"
            )
        if not aligned:
            return self.small.encode(small)
        return self.encode(small.repeat(self.factor, 1).repeat(self.factor, 2))

    def decode(self, ids: Ids) -> Pixels:
        """Pictures [N, height, width, channels] of ids [N, tokens]; what is no intensity is taken for the nearest."""
        ids = np.asarray(ids)
        if ids.ndim != 2 or ids.shape[1] != self.tokens:
            raise UserError(f"expected ids [N, {self.tokens}], got {list(ids.shape)}")
        return self.in_place(ids.clip(0, LEVELS - 1).astype(np.uint8))

    def label(self, name: str | int) -> int:
        """The class of that name, or number, as text or not."""
        name = name if isinstance(name, str) else str(whole_number(name, "a label, where it is no text,", 0))
        if name in self.labels:  # two may differ in case alone
            return self.labels.index(name)
        lowered = [label.lower() for label in self.labels]
        name_lowered = name.strip().lower()
        if name_lowered in lowered:
            return lowered.index(name_lowered)
        if name_lowered.isdecimal() and int(name_lowered) < len(lowered):
            return int(name_lowered)
        known = printable(", ".join(self.labels[:20]), 400) if self.labels else "none: the model has no classes"
        raise UserError(f"expected a label of {known}, got {name!r}")

    def numbers(self, names: Sequence[str]) -> list[int]:
        """The classes of these names, -1 for one that is none. Where none of them is one, numbers alone count the
        classes from 0: they may be of anything.
        """
        found = [self.labels.index(name) if name in self.labels else -1 for name in names]
        if max(found, default=0) < 0 and all(name.isdecimal() and int(name) < len(self.labels) for name in names):
            return [int(name) for name in names]
        return found

    def to_bytes(self) -> bytes:
        """The codec as JSON, for a model folder."""
        return (json.dumps(asdict(self)) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> PictureCodec:
        """The codec of a model folder; one of another kind is a UserError."""
        try:
            found = bounded(json.loads(data), FILE)
            if set(found) == {field.name for field in fields(cls)}:
                return cls(**found)
        except UserError:
            raise
        except (ValueError, TypeError, RecursionError):
            pass
        raise UserError(f"expected a codec of pictures in {FILE}, got another; use the version that wrote it")

    def _checked(self, pictures: Pixels) -> Pixels:
        pictures = np.asarray(pictures)
        if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1:] != self.shape:
            raise UserError(
                f"expected pictures uint8 [N, {self.height}, {self.width}, {self.channels}], got {pictures.dtype} "
                f"{list(pictures.shape)}; resize them"
            )
        return pictures

    def _in_order(self, pictures: Ids) -> Ids:
        count = len(pictures)
        grid = np.zeros((count, self.rows * self.cell[0], self.columns * self.cell[1]), np.int64)
        grid[:, : self.height, : self.width * self.channels] = pictures.reshape(count, self.height, -1)
        return grid.reshape(count, self.tokens)[:, self.order]
