"""Pictures in and out of files: single ones, and whole data sets; everything in them is checked before it is used.

A picture is uint8 [height, width, channels], grey (1 channel) or RGB (3). Data sets: a folder of IDX files (as MNIST
is), a .npz file of arrays, or a folder of pictures, in folders of their classes or not.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.image.files.arrays import HELD_OUT, MAX_ARRAY_BYTES, has_idx, idx_split, npz_split
from triptych.image.files.decoding import MAX_PIXELS, Decoded, Picture, Size, decode, read_header
from triptych.image.files.folders import Layout, Warnings, read_layout, split_of
from triptych.image.files.resizing import image_of, is_cut, middle, resized, with_channels
from triptych.shape.files import read_file, write_file
from triptych.shape.marks import marked
from triptych.splits import SPLITS, evenly

MAX_FILE_BYTES = 100_000_000  # bytes
SAME = "left out of training, the same pixels are held out or tested"


def read_picture(path: str | Path, *, channels: int | None = None) -> tuple[Picture, list[str]]:
    """One picture of a file, uint8 [height, width, channels], and a warning for each change.

    PNG, JPEG or WebP. channels: 1 makes it grey, 3 makes it RGB; without, it keeps its own. Transparency is put on
    white, 16 bits become 8, the orientation of EXIF is applied, and of several pictures in a file the first is read.
    Raises UserError, which names the file, for any other file, a damaged one, and one of more than `MAX_FILE_BYTES`
    bytes or `MAX_PIXELS` pixels.
    """
    found = read_whole(path, None, channels=channels)
    return found.pixels, found.warnings


def read_resized(
    path: str | Path | bytes, size: Size, *, channels: int | None = None
) -> tuple[Picture, Size, list[str]]:
    """One picture of a file, or of its bytes, as `read_picture` reads it, in another size (`resizing.resized`); the
    size it had; and a warning for each change. Photographs of up to 134 million pixels are read, in bounded memory.
    """
    found = read_whole(path, size, channels=channels)
    warnings = list(found.warnings)
    if found.size != size:
        if is_cut(found.size, size):
            part = tuple(edge.stop - edge.start for edge in middle(found.size, size))
            warnings.append(f"its edges are cut off, to the middle {_size(part)} of {_size(found.size)} pixels")
        warnings.append(f"resized from {_size(found.size)} to the {_size(size)} pixels of the model")
    return resized(found.pixels, size, whole=found.size), found.size, warnings


def read_whole(
    path: str | Path | bytes, size: Size | None, *, channels: int | None = None, behind: int = 255
) -> Decoded:
    """One picture of a file as `decoding.decode` gives it, for it is going to be resized."""
    _check_channels(channels)
    name = "the picture" if isinstance(path, bytes) else str(path)
    data = path if isinstance(path, bytes) else _content(Path(path), name)
    return decode(data, name, channels=channels, behind=behind, size=size)


def _content(path: Path, name: str) -> bytes:
    """Content of the file. Raises UserError if it cannot be read, is empty or too large."""
    data = read_file(path, name, "a picture", MAX_FILE_BYTES, "shrink it")
    if not data:
        raise UserError(f"expected a picture, got {name!r}, which is empty; choose another file")
    return data


def write_picture(path: str | Path, picture: Picture) -> None:
    """Write a picture, uint8 [height, width, 1 or 3], as PNG; completely or not at all. It is marked as ours.

    Raises UserError for another suffix than .png, and for what is no picture.
    """
    path = Path(path)
    check_png(path)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3) or 0 in picture.shape:
        raise UserError(
            f"expected uint8 [height, width, 1 or 3], got {picture.dtype} {list(picture.shape)}; convert it before"
        )
    data = io.BytesIO()
    image_of(picture).save(data, "png")
    write_file(path, marked(data.getvalue(), ".png"))


def check_png(path: Path) -> None:
    """Raise UserError for another suffix than .png, before any work is done."""
    if path.suffix.lower() != ".png":
        raise UserError(f"expected a picture named *.png, got {path.name!r}; change the suffix")


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one size with their classes.

    pictures: uint8 [N, height, width, channels]. labels: int64 [N], or None. names: of the classes, by label; none
    without labels.
    """

    pictures: Picture
    labels: NDArray[np.int64] | None
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def evenly(self, most: int | None) -> Pictures:
        """At most so many of the pictures, evenly from all."""
        return self if most is None or most >= len(self) else self.only(evenly(len(self), most))

    def only(self, chosen: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Pictures:
        """The chosen ones, by their numbers, a mask or a slice."""
        return Pictures(self.pictures[chosen], None if self.labels is None else self.labels[chosen], self.names)

    def counts(self) -> dict[str, int]:
        """The number of pictures of each class, by its name; empty without labels."""
        if self.labels is None:
            return {}
        return dict(zip(self.names, np.bincount(self.labels, minlength=len(self.names)).tolist(), strict=True))

    def digests(self) -> list[bytes]:
        """A digest of each picture; equal where all pixels are."""
        return [_digest(picture) for picture in self.pictures]

    def without(self, others: Iterable[Pictures]) -> Pictures:
        """The pictures of which none of the others has the same pixels."""
        known = {digest for some in others for digest in some.digests()}
        new = np.array([digest not in known for digest in self.digests()], bool)
        return self if new.all() else self.only(new)


def _digest(picture: Picture) -> bytes:
    return hashlib.blake2b(picture.tobytes(), digest_size=16, key=str(picture.shape).encode()).digest()


def read_pictures(
    path: str | Path, split: str = "train", *, channels: int | None = None, size: Size | None = None
) -> tuple[Pictures, list[str]]:
    """The pictures of a split ("train", "valid" or "test"), and warnings about what was left out or changed.

    size (height, width): what pictures are resized to, after their edges were cut to its aspect ratio. A folder of
    pictures of many sizes needs it: without, those of another size than more than half of them have are left out.
    channels: without, what most pictures of a folder have. Of the training pictures those are left out that are
    held out or tested, too, in another file.

    - IDX files: "valid" is the last twelfth of the training file, at most 5,000 pictures, "test" is t10k.
    - .npz: x_train, y_train, x_valid, ... and maybe class_names. Without x_valid, every tenth of x_train is "valid".
    - A folder of pictures: its folders train, valid (validation, val, dev) and test, in capitals or not, if they are
      there, each with folders of classes or without; a class is the first folder, whatever folders it has in it.
      Without valid, every tenth picture by name is "valid".

    Raises UserError where nothing can be read, the split is empty, the meaning of the folders is unclear, or it needs
    more than `MAX_ARRAY_BYTES` bytes.
    """
    _check_channels(channels)
    path, known = Path(path), split_of(split)
    if known is None:
        raise UserError(f"expected the split 'train', 'valid' or 'test', got {split!r}; choose one of them")
    if size is not None and not (min(size) > 0 and size[0] * size[1] <= MAX_PIXELS):
        raise UserError(f"expected a size of 1 to {MAX_PIXELS:,} pixels, got {_size(size)}; choose another")
    if path.is_dir() and not has_idx(path):
        found, warnings = _from_folder(path, known, channels, size)
    elif path.is_dir() or (path.suffix.lower() == ".npz" and path.is_file()):
        found, warnings = _from_arrays(path, known, channels, size)
    else:
        raise UserError(f"expected a folder of pictures or of IDX files, or a .npz file, got {str(path)!r}; check it")
    if not len(found):
        reason = (
            f"; first: {warnings[0]}" if warnings else f"; without folders of splits, every {HELD_OUT}th is 'valid'"
        )
        raise UserError(f"expected pictures in the split {split!r} of {str(path)!r}, got none{reason}")
    return found, warnings


def _check_channels(channels: int | None) -> None:
    if channels not in (None, 1, 3):
        raise UserError(f"expected 1 channel (grey) or 3 (RGB), got {channels}; choose one of them")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _fitted(pictures: Picture, channels: int | None, size: Size | None, warnings: list[str]) -> Picture:
    """Pictures of one size [N, ...] in other channels and another size, if need be."""
    count, height, width, now = pictures.shape
    if channels in (None, now) and size in (None, (height, width)):
        return pictures
    if channels not in (None, now):
        warnings.append(f"all made {'grey' if channels == 1 else 'RGB'}")
    if size is not None and size != (height, width):
        if is_cut((height, width), size):
            warnings.append(f"edges of all cut off to the aspect ratio of {_size(size)}")
        warnings.append(f"all resized from {_size((height, width))} to {_size(size)} pixels")
    shape = (count, *(size or (height, width)), channels or now)
    _check_room(int(np.prod(shape, dtype=object)), count)
    fitted = np.empty(shape, np.uint8)
    for place, picture in enumerate(pictures):
        fitted[place] = with_channels(resized(picture, size), shape[3])
    return fitted


def _check_room(size: int, count: int) -> None:
    if size > MAX_ARRAY_BYTES:
        raise UserError(
            f"expected at most {MAX_ARRAY_BYTES:,} bytes of pictures, got {size:,} with {count:,} of them; choose a "
            "smaller size or fewer pictures"
        )


def _from_arrays(path: Path, split: str, channels: int | None, size: Size | None) -> tuple[Pictures, list[str]]:
    """The pictures of a split of IDX files or of a .npz file."""
    reader = idx_split if path.is_dir() else npz_split
    known: set[bytes] = set()
    for other in SPLITS[1:] if split == "train" else ():
        try:
            known.update(map(_digest, reader(path, other)[0][0]))
        except UserError:  # there is none, or it cannot be read: nothing of it is used
            continue
    (pixels, labels, names), warnings = reader(path, split)
    if known:
        new = np.array([_digest(picture) not in known for picture in pixels], bool)
        if not new.all():
            warnings.append(f"{SAME}: {_pictures(int((~new).sum()))}")
            pixels, labels = pixels[new], None if labels is None else labels[new]
    return Pictures(_fitted(pixels, channels, size, warnings), labels, names), warnings


def _from_folder(path: Path, split: str, channels: int | None, size: Size | None) -> tuple[Pictures, list[str]]:
    """The pictures of a split of a folder of files."""
    warnings = Warnings()
    layout = read_layout(path, warnings)
    shape = _shape(layout, channels, size)
    known: set[bytes] = set()
    for other in SPLITS[1:] if split == "train" else ():
        try:
            names, _ = layout.names(other, Warnings())
        except UserError:  # there is none
            continue
        known.update(_digest(picture) for _, picture in _read_all(layout, names, shape, size, Warnings()))
    names, inside = layout.names(split, warnings)
    pixels = bytearray()  # bytes grow in place, where arrays would be held twice
    labels: list[int] = []
    classes: dict[bytes, int] = {}
    for name, picture in _read_all(layout, names, shape, size, warnings):
        if known and _digest(picture) in known:
            warnings.count(SAME, name)
            continue
        pixels += picture.tobytes()
        _check_room(len(pixels), len(labels) + 1)
        labels.append(layout.label(split, name) if inside else 0)
        if classes.setdefault(_digest(picture), labels[-1]) != labels[-1]:
            warnings.count("read twice, the same pixels are in two classes", name)
    pictures = np.frombuffer(pixels, np.uint8).reshape(-1, *shape)
    if not inside:
        return Pictures(pictures, None, ()), warnings.lines()
    return Pictures(pictures, np.array(labels, np.int64), layout.called()), warnings.lines()


def _read_all(
    layout: Layout, names: Iterable[str], shape: tuple[int, int, int], size: Size | None, warnings: Warnings
) -> Iterator[tuple[str, Picture]]:
    """The pictures of files in one shape, each with its name; what cannot be read or is of another size is left out."""
    expected = shape[:2]
    for name in names:
        try:
            found = read_whole(layout.root / name, size, channels=shape[2])
        except UserError as error:
            warnings.cannot_read(str(error))
            continue
        if size is None and found.size != expected:
            warnings.count(
                f"left out, of another size than {_size(expected)}, as most are; give a size to have all resized", name
            )
            continue
        for warning in found.warnings:
            warnings.count(warning, name)
        if found.size != expected:
            if is_cut(found.size, expected):
                warnings.count(f"edges cut off to the aspect ratio of {_size(expected)}", name)
            warnings.count(f"resized to {_size(expected)} pixels", name)
        yield name, resized(found.pixels, expected, whole=found.size)


def _shape(layout: Layout, channels: int | None, size: Size | None) -> tuple[int, int, int]:
    """Height, width and channels of what is read of a folder: what was asked for, or what most of its pictures have.
    Raises UserError where no size is that of more than half.
    """
    if size is not None and channels is not None:
        return *size, channels
    sizes, grey = Counter[Size](), 0
    for name in (name for names in layout.files.values() for name in names):
        path = layout.root / name
        try:
            header = read_header(_content(path, str(path)), str(path))
        except UserError:  # it will be left out
            continue
        sizes[header.size] += 1
        grey += header.grey
    number = sizes.total()
    if channels is None:
        channels = 1 if 2 * grey > number else 3
    if size is None:
        size, most = sizes.most_common(1)[0] if sizes else ((1, 1), 0)
        if 2 * most <= number and len(sizes) > 1:
            raise UserError(
                f"expected pictures of one size in {str(layout.root)!r}, got {len(sizes):,} sizes, most often "
                f"{_size(size)} ({most:,} of {number:,}); give a size, as in data.size=[32, 32], to have all resized"
            )
        if size[0] * size[1] > MAX_PIXELS:
            raise UserError(
                f"expected pictures of at most {MAX_PIXELS:,} pixels in {str(layout.root)!r}, got {_size(size)}; give "
                "a size, as in data.size=[32, 32], to have all resized"
            )
    return *size, channels


def _pictures(number: int) -> str:
    return f"{number:,} picture{'s' * (number != 1)}"
