"""Pictures in batches: what training and measuring the image models read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, expect
from triptych.image.augmentation import Augmentation
from triptych.image.codec import Ids, PictureCodec, Pixels
from triptych.image.files.pictures import Pictures
from triptych.model.batch import Batch, Batches

Task = Literal["paint", "complete", "upscale"]
Side = Literal["top", "bottom", "left", "right"]
Mask = NDArray[np.bool_]
RANDOM_SHARE = 0.6
SHADE = 128  # of a hidden pixel where a picture is shown
HELD_OUT_TOKENS = 16_384  # subpixels of a batch that is measured
HALVINGS = 40  # of an interval of 510: far finer than an intensity
MAX_SQUARE = 8  # pixels: of the squares that are hidden here and there


def shrunk(pictures: Pixels, factor: int) -> Pixels:
    """Pictures [N, height, width, channels] by the box filter: the rounded mean of each square of factor x factor."""
    count, height, width, channels = pictures.shape
    squares = pictures.reshape(count, height // factor, factor, width // factor, factor, channels)
    total: Ids = squares.sum((2, 4), dtype=np.int64)
    return ((2 * total + factor * factor) // (2 * factor * factor)).astype(np.uint8, copy=False)


def fitted(pictures: Pixels, small: Pixels) -> Pixels:
    """Pictures [N, height, width, channels] changed as little as makes the mean of each square exactly what `small`
    [N, height / factor, width / factor, channels] gives, so that `shrunk` of them is `small`.

    The nearest values from 0 to 255 with that mean are those of the square plus one number, cut off at both ends. It is
    found by bisection; the fractions are rounded so that the sum stays, the largest upwards. (The consistency that
    Bahat and Michaeli 2020 enforce, for the box filter.)
    """
    count, height, width, channels = small.shape
    factor = pictures.shape[1] // height
    squares = pictures.reshape(count, height, factor, width, factor, channels).transpose(0, 1, 3, 5, 2, 4)
    flat = squares.reshape(count, height, width, channels, factor * factor).astype(np.float64)  # [N, h, w, C, square]
    target = small.astype(np.float64)[..., None] * factor * factor  # the sum of each square
    low, high = np.full_like(target, -255.0), np.full_like(target, 255.0)
    for _ in range(HALVINGS):
        shift = (low + high) / 2
        below = np.clip(flat + shift, 0, 255).sum(-1, keepdims=True) <= target
        low, high = np.where(below, shift, low), np.where(below, high, shift)
    moved = np.clip(flat + low, 0, 255)  # its sum is the target or slightly less
    whole = np.floor(moved)
    order = np.argsort(np.argsort(whole - moved, axis=-1, kind="stable"), axis=-1)  # the largest fraction first
    whole += order < target - whole.sum(-1, keepdims=True)
    back: Pixels = whole.astype(np.uint8).reshape(count, height, width, channels, factor, factor)
    return back.transpose(0, 1, 4, 2, 5, 3).reshape(pictures.shape)


def half(height: int, width: int, side: Side) -> Mask:
    """The half of a picture at one side, bool [height, width]; of an odd number of lines the larger half."""
    mask = np.zeros((height, width), bool)
    rows, columns = -(-height // 2), -(-width // 2)
    chosen = {
        "top": (slice(None, rows), slice(None)),
        "bottom": (slice(height - rows, None), slice(None)),
        "left": (slice(None), slice(None, columns)),
        "right": (slice(None), slice(width - columns, None)),
    }
    mask[chosen[side]] = True
    return mask


def hiding(kind: Side | Literal["random"], count: int, height: int, width: int) -> Mask:
    """Masks for measuring completion, bool [count, height, width], True where hidden: the half at one side, or a random
    `RANDOM_SHARE` of the pixels of each picture, always the same.
    """
    if kind != "random":
        return np.broadcast_to(half(height, width, kind), (count, height, width))
    return np.random.default_rng(0).random((count, height, width)) < RANDOM_SHARE


def draw_mask(height: int, width: int, random: np.random.Generator) -> Mask:
    """A random mask, True where hidden, bool [height, width].

    A third each: all from some line on, to one of the four sides (in a quarter of these cases all there is); a
    rectangle, or all around it; small squares anywhere, as many as a share that is drawn first.
    """
    kind = random.integers(3)
    if kind == 0:
        hidden = np.zeros((height, width), bool)
        side, share = random.integers(4), min(1.0, random.uniform(0, 4 / 3))
        edge = height if side < 2 else width
        lines = slice(0, round(share * edge)) if side % 2 == 0 else slice(edge - round(share * edge), edge)
        hidden[(lines, slice(None)) if side < 2 else (slice(None), lines)] = True
        return hidden
    if kind == 1:
        rows, columns = (np.sort(random.integers(0, edge + 1, 2)) for edge in (height, width))
        hidden = np.zeros((height, width), bool)
        hidden[rows[0] : rows[1], columns[0] : columns[1]] = True
        return ~hidden if random.random() < 0.5 else hidden
    square = int(random.integers(1, MAX_SQUARE + 1))
    squares = random.random((-(-height // square), -(-width // square))) < random.random()
    return squares.repeat(square, 0).repeat(square, 1)[:height, :width]


@dataclass(frozen=True)
class PictureModel:
    """The input of a model: its codec, its task, and whether its source is aligned with its target."""

    codec: PictureCodec
    task: Task
    aligned: bool = True

    def source(self, pictures: Pixels | None, hidden: Mask | None = None, small: Pixels | None = None) -> Ids | None:
        """The source [N, S] of pictures [N, ...]: what is not hidden [N, height, width] of them, or
        small [N, ...] ones. None for painting, which has none.
        """
        if self.task == "paint":
            return None
        if self.task == "complete":
            assert pictures is not None and hidden is not None
            return self.codec.encode_source(pictures, hidden)
        assert small is not None
        return self.codec.encode_small(small, aligned=self.aligned)

    def holes(self, pictures: Pixels, random: np.random.Generator) -> Mask | None:
        """Random masks of pictures [N, ...] for a model that completes, else None: [N, height, width]."""
        if self.task != "complete":
            return None
        return np.stack([draw_mask(pictures.shape[1], pictures.shape[2], random) for _ in pictures])

    def batch(self, pictures: Pictures, hidden: Mask | None = None) -> Batch:
        """A batch of pictures with their conditions: labels [N] (-1 is none), and what is hidden where it completes."""
        pixels, labels = pictures.pictures, pictures.labels
        target = self.codec.encode(pixels)
        small = shrunk(pixels, self.codec.factor) if self.task == "upscale" else None
        source = self.source(pixels, hidden, small)
        lengths, source_lengths = (None if ids is None else np.full(*ids.shape) for ids in (target, source))
        return Batch.of(target, lengths, source, source_lengths, labels if self.codec.labels else None)


class PictureData:
    """Pictures in batches of about `tokens_per_batch` subpixels, by epoch; each comes once.

    Each is augmented. For completion each gets a random mask. Everything random is a function of (seed, epoch).
    """

    def __init__(
        self,
        pictures: Pictures,
        model: PictureModel,
        *,
        tokens_per_batch: int = 8192,
        augmentation: Augmentation | None = None,
        seed: int = 1,
    ) -> None:
        self.pictures, self.model, self.seed = pictures, model, seed
        self.augmentation = augmentation or Augmentation()
        self.augmentation.check(*model.codec.shape)
        self.rows = max(1, tokens_per_batch // model.codec.tokens)

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.pictures)

    def epoch(self, number: int) -> Batches:
        """The batches of epoch `number`, counted from 0."""
        chosen = np.random.default_rng([self.seed, number]).permutation(len(self.pictures))
        return Batches(partial(self._batch, number, chosen), range(math.ceil(len(chosen) / self.rows)))

    def _batch(self, number: int, chosen: Ids, place: int) -> Batch:
        """Batch `place` of epoch `number`, of whose order `chosen` [pictures] it takes the next `rows`."""
        some = self.pictures.only(chosen[place * self.rows : (place + 1) * self.rows])
        random = np.random.default_rng([self.seed, number, place])
        pixels = self.augmentation(some.pictures, random)
        return self.model.batch(replace(some, pictures=pixels), self.model.holes(pixels, random))


def held_out_batches(pictures: Pictures, model: PictureModel) -> list[Batch]:
    """Pictures as they are, in order, each with its label; for completion with masks that are always the same."""
    rows, random = max(1, HELD_OUT_TOKENS // model.codec.tokens), np.random.default_rng(0)
    parts = (pictures.only(slice(first, first + rows)) for first in range(0, len(pictures), rows))
    return [model.batch(some, model.holes(some.pictures, random)) for some in parts]


def joined(sets: Sequence[Pictures]) -> Pictures:
    """Several sets of pictures as one. Raises UserError unless their sizes, channels and classes are the same."""
    first = sets[0]
    if len(sets) == 1:
        return first
    for some in sets[1:]:
        if some.pictures.shape[1:] != first.pictures.shape[1:]:
            raise UserError(
                f"expected sets of pictures of the same size and channels, got {list(first.pictures.shape[1:])} and "
                f"{list(some.pictures.shape[1:])}; give size and channels to have them resized"
            )
        if some.names != first.names or (some.labels is None) != (first.labels is None):
            raise UserError("expected sets of pictures of the same classes, got others; give them the same names")
    labels = None if first.labels is None else np.concatenate([some.labels for some in sets if some.labels is not None])
    return Pictures(np.concatenate([some.pictures for some in sets]), labels, first.names)


def matched(pictures: Pictures, codec: PictureCodec, *, strict: bool = True) -> Pictures:
    """The pictures, their labels numbered as the model's classes of these names are (`PictureCodec.numbers`).

    Raises UserError for pictures of another size; and for classes that the model has not, unless not `strict`: their
    pictures have label -1 then, none.
    """
    expect(pictures, Pictures, "Pictures", "read_pictures reads a folder")
    if pictures.pictures.shape[1:] != codec.shape:
        raise UserError(
            f"expected pictures of {list(codec.shape)} (height, width, channels), as the model's are, got "
            f"{list(pictures.pictures.shape[1:])}; resize them"
        )
    if pictures.labels is None or not codec.labels or pictures.names == codec.labels:
        return pictures
    numbers = codec.numbers(pictures.names)
    if strict and min(numbers) < 0:
        known, given = (", ".join(names[:20]) for names in (codec.labels, pictures.names))
        raise UserError(
            f"expected the classes of the model, {known}, got {given}; train on with the new ones (train image --from)"
        )
    return Pictures(pictures.pictures, np.array(numbers, np.int64)[pictures.labels], codec.labels)
