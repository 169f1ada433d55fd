"""Pictures in and out of files: single ones, and whole data sets; nothing in them is believed before it is checked.

A picture is uint8 [height, width, channels], grey (1 channel) or RGB (3). Data sets: a folder of IDX files (as MNIST
is), a .npz file of arrays, or a folder of pictures, in folders of their classes or not.
"""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, printable
from triptych.image.arrays import (
    HELD_OUT,
    LARGEST_ARRAY,
    MOST_CLASSES,
    NAME_LENGTH,
    has_idx,
    idx_split,
    npz_split,
)
from triptych.image.container import FirstPicture, first_picture
from triptych.model.files import write_file

if TYPE_CHECKING:
    from PIL import Image

Picture = NDArray[np.uint8]
Size = tuple[int, int]

LARGEST_FILE = 50_000_000  # bytes
MOST_PIXELS = 2**24
MOST_PICTURES = 2_000_000  # of a folder
MOST_WORDS = 1_000  # about pictures of a folder that were left out; each names one
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
SPLITS = ("train", "valid", "test")
NAMES_OF_VALID = ("validation", "val", "dev")  # as some folders call it
WHITE = 128  # of a mask, from this on
# EXIF orientations as steps in rows and columns, after rows and columns were exchanged from 5 on.
TURNS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}


def read_picture(path: str | Path, *, channels: int | None = None, behind: int = 255) -> tuple[Picture, list[str]]:
    """One picture of a file, uint8 [height, width, channels], and a word about everything that was changed.

    PNG, JPEG, WebP, GIF, BMP, TIFF, and PBM, PGM, PPM. channels: 1 makes it grey, 3 makes it RGB; without, it stays
    what it is. Transparency is put on white, or on another shade `behind` it, 16 bits become 8, EXIF's orientation is
    applied, and of several pictures in a file the first is read. Raises UserError, which names the file, for any other
    file, a damaged one, and one of more than `LARGEST_FILE` bytes or `MOST_PIXELS` pixels.
    """
    _check_channels(channels)
    name = str(path)
    try:
        return _decoded(_content(Path(path), name), name, channels, behind)
    except UserError:
        raise
    # A decoder that meets a damaged file raises what it pleases: OSError, SyntaxError, ValueError, IndexError,
    # EOFError, struct.error, zlib.error, MemoryError, ... All are about the file, for nothing else is at work here.
    except Exception as error:
        told = "its header is damaged" if type(error).__name__ == "UnidentifiedImageError" else str(error)
        raise UserError(
            f"expected a whole PNG, JPEG, WebP, GIF, BMP, TIFF, PBM, PGM or PPM file, got {name!r}: "
            f"{printable(told, 200) or type(error).__name__}; save it anew as PNG"
        ) from None


def _content(path: Path, name: str) -> bytes:
    """Content of the file. Raises UserError if it cannot be read, is empty or too large."""
    try:
        if not path.is_file():
            raise UserError(f"expected a picture, got {name!r}, which is no file; check the path")
        size, data = path.stat().st_size, b""
        if size <= LARGEST_FILE:
            with path.open("rb") as file:
                data = file.read(size)
    except OSError as error:
        raise UserError(f"expected a picture, got {name!r}: {error.strerror}; check the path") from None
    if size > LARGEST_FILE:
        raise UserError(f"expected a picture of at most {LARGEST_FILE:,} bytes, got {name!r} of {size:,}; shrink it")
    if not data:
        raise UserError(f"expected a picture, got {name!r}, which is empty; choose another file")
    return data


def _decoded(data: bytes, name: str, channels: int | None, behind: int) -> tuple[Picture, list[str]]:
    first = first_picture(data)
    del data  # may be as large as what is kept of it
    if first.width * first.height > MOST_PIXELS:
        raise UserError(
            f"expected a picture of at most {MOST_PIXELS:,} pixels, got {name!r} of {first.width} x {first.height}; "
            "shrink it"
        )
    words = ["only the first of several pictures is read"] if first.more else []
    with warnings.catch_warnings():
        # Those of Pillow alone: what other threads are warned of meanwhile is shown.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        flat = _opened(first, words, behind)
        if channels is not None:
            flat = flat.convert("L" if channels == 1 else "RGB")
    picture = np.array(flat).reshape(first.height, first.width, -1)
    if first.orientation > 1:
        words.append("turned as its EXIF orientation tells")
        rows, columns = TURNS[first.orientation]
        turned = picture.swapaxes(0, 1) if first.orientation >= 5 else picture
        picture = np.ascontiguousarray(turned[::rows, ::columns])
    return picture, words


def _opened(first: FirstPicture, words: list[str], behind: int) -> Image.Image:
    """The picture in mode L or RGB, on the shade behind it where it is transparent, without file and decoder."""
    from PIL import Image

    file = io.BytesIO(first.data)
    first.data = b""  # a decoder keeps a copy of its own, and lets go of the file once it has it
    with Image.open(file, formats=(first.format,)) as picture:
        del file
        if picture.size != (first.width, first.height):
            raise ValueError("its header contradicts itself")
        if picture.mode == "F" or "I;12" in str(picture.tile):
            raise ValueError("its channels have neither 8 nor 16 bits")
        if picture.mode.startswith("I") or re.search(r"(?<!BGR);16[BLN]?'", str(picture.tile)):
            words.append("16 bits a channel become 8")
        picture.load()
        if picture.mode.startswith("I"):
            return _eight_bits(picture, words, behind)
        grey = picture.mode in ("1", "L", "LA")
        if not picture.has_transparency_data:
            return picture.convert("L" if grey else "RGB")
        mode = "LA" if grey else "RGBA"
        clear = picture if picture.mode == mode else picture.convert(mode)
        alpha = clear.getchannel("A")
        if alpha.getextrema() == (255, 255):
            return clear.convert("L" if grey else "RGB")
        words.append("transparency is put on white")
        ground = Image.new("L" if grey else "RGB", picture.size, behind if grey else (behind, behind, behind))
        ground.paste(clear.convert("L") if grey else clear, mask=alpha)
        return ground


def _eight_bits(picture: Image.Image, words: list[str], behind: int) -> Image.Image:
    """Mode L of 16 bits grey, that may be in 32."""
    from PIL import Image

    values = np.asarray(picture)
    if picture.mode == "I" and (values.min() < 0 or values.max() > 0xFFFF):
        raise ValueError("its channels have neither 8 nor 16 bits")
    shades = ((np.arange(0x10000) * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8)[values]
    clear = values == picture.info.get("transparency", -1)
    if clear.any():
        words.append("transparency is put on white")
        shades[clear] = behind
    return Image.fromarray(shades)


def write_picture(path: str | Path, picture: Picture) -> None:
    """Write a picture, uint8 [height, width, 1 or 3], as PNG; completely or not at all.

    Raises UserError for another suffix than .png, and for what is no picture.
    """
    from PIL import Image

    path = Path(path)
    check_png(path)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3) or 0 in picture.shape:
        raise UserError(
            f"expected uint8 [height, width, 1 or 3], got {picture.dtype} {list(picture.shape)}; convert it before"
        )
    data = io.BytesIO()
    Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture).save(data, "png")
    write_file(path, data.getvalue())


def check_png(path: Path) -> None:
    """Raise UserError for another suffix than .png, before any work is done."""
    if path.suffix.lower() != ".png":
        raise UserError(f"expected a picture named *.png, got {path.name!r}; change the suffix")


def read_mask(path: str | Path, height: int, width: int) -> NDArray[np.bool_]:
    """A mask bool [height, width]: True where the picture of that size in a file is white, which is to be found.

    White is from 128 on, after it was made grey; what is transparent is not white. Raises UserError as `read_picture`
    does, and for another size.
    """
    grey, _ = read_picture(path, channels=1, behind=0)
    if grey.shape[:2] != (height, width):
        raise UserError(
            f"expected a mask of {_size((height, width))} pixels, as the picture has, got {str(path)!r} of "
            f"{_size(grey.shape)}; resize it"
        )
    return grey[..., 0] >= WHITE


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

    def evenly(self, most: int) -> Pictures:
        """At most so many of the pictures, evenly from all."""
        if most >= len(self):
            return self
        chosen = np.linspace(0, len(self) - 1, most).round().astype(np.int64)
        return Pictures(self.pictures[chosen], None if self.labels is None else self.labels[chosen], self.names)


def read_pictures(
    path: str | Path, split: str = "train", *, channels: int | None = None, size: Size | None = None
) -> tuple[Pictures, list[str]]:
    """The pictures of a split ("train", "valid" or "test"), and words about what was left out or changed.

    size (height, width): what pictures are resized to, after their edges were cut to its aspect ratio. A folder of
    pictures of several sizes needs it: without, those of another size than the first are left out.

    - IDX files: "valid" is the last twelfth of the training file, at most 5,000 pictures, "test" is t10k.
    - .npz: x_train, y_train, x_valid, ... and maybe class_names. Without x_valid, every tenth of x_train is "valid".
    - A folder of pictures: its folders train, valid (validation, val, dev) and test, if they are there, each with
      folders of classes or without. Without valid, every tenth picture by name is "valid".

    Raises UserError where nothing can be read, the split is empty, or it needs more than `LARGEST_ARRAY` bytes.
    """
    _check_channels(channels)
    path = Path(path)
    if split not in SPLITS:
        raise UserError(f"expected the split 'train', 'valid' or 'test', got {split!r}; choose one of them")
    if size is not None and not (min(size) > 0 and size[0] * size[1] <= MOST_PIXELS):
        raise UserError(f"expected a size of 1 to {MOST_PIXELS:,} pixels, got {_size(size)}; choose another")
    if path.is_dir() and not has_idx(path):
        found, words = _from_folder(path, split, channels, size)
    elif path.is_dir():
        parts, words = idx_split(path, split)
        found = Pictures(_fitted(parts[0], channels, size, words), *parts[1:])
    elif path.suffix.lower() == ".npz" and path.is_file():
        parts, words = npz_split(path, split)
        found = Pictures(_fitted(parts[0], channels, size, words), *parts[1:])
    else:
        raise UserError(f"expected a folder of pictures or of IDX files, or a .npz file, got {str(path)!r}; check it")
    if not len(found):
        reason = f"; first: {words[0]}" if words else f"; without folders of splits, every {HELD_OUT}th is 'valid'"
        raise UserError(f"expected pictures in the split {split!r} of {str(path)!r}, got none{reason}")
    return found, words


def _check_channels(channels: int | None) -> None:
    if channels not in (None, 1, 3):
        raise UserError(f"expected 1 channel (grey) or 3 (RGB), got {channels}; choose one of them")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _fitted(pictures: Picture, channels: int | None, size: Size | None, words: list[str]) -> Picture:
    """Pictures of one size [N, ...] in other channels and another size, if need be."""
    count, height, width, now = pictures.shape
    if channels in (None, now) and size in (None, (height, width)):
        return pictures
    if size not in (None, (height, width)):
        words.append(f"all resized from {_size((height, width))} to {_size(size)} pixels")
    shape = (count, *(size or (height, width)), channels or now)
    _check_room(int(np.prod(shape, dtype=object)), count)
    fitted = np.empty(shape, np.uint8)
    for place, picture in enumerate(pictures):
        fitted[place] = _with_channels(resized(picture, size), shape[3])
    return fitted


def covering(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """A mask in the size to which `resized` brings its picture: True where any part of a pixel was."""
    middle = mask[_middle(mask.shape, size)]
    rows, columns = (_overlaps(old, new) for old, new in zip(middle.shape, size, strict=True))
    return (rows @ middle @ columns.T) > 0


def _overlaps(old: int, new: int) -> NDArray[np.int64]:
    """Which of `old` pixels along an edge lie in part where each of `new` ones is: 0 or 1, [new, old]."""
    first, last = np.arange(new)[:, None] * old, np.arange(1, new + 1)[:, None] * old
    place = np.arange(old) * new
    return ((place + new > first) & (place < last)).astype(np.int64)


def resized(picture: Picture, size: Size | None) -> Picture:
    """The middle of the picture, of the aspect ratio of `size`, by a box filter if it shrinks or else bicubic."""
    from PIL import Image

    if size is None or size == picture.shape[:2]:
        return picture
    middle = picture[_middle(picture.shape, size)]
    shrinks = min(picture.shape[0] / size[0], picture.shape[1] / size[1]) > 1
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.array(_image(middle).resize(size[::-1], method)).reshape(*size, -1)


def _middle(shape: tuple[int, ...], size: Size) -> tuple[slice, slice]:
    """Rows and columns of the largest part of a picture, in its middle, that has the aspect ratio of a size."""
    scale = min(shape[0] / size[0], shape[1] / size[1])
    lengths = [max(1, round(scale * edge)) for edge in size]
    starts = [(edge - length) // 2 for edge, length in zip(shape, lengths, strict=False)]
    rows, columns = (slice(start, start + length) for start, length in zip(starts, lengths, strict=True))
    return rows, columns


def _with_channels(picture: Picture, channels: int) -> Picture:
    if picture.shape[2] == channels:
        return picture
    return picture.repeat(3, 2) if channels == 3 else np.array(_image(picture).convert("L"))[..., None]


def _image(picture: Picture) -> Image.Image:
    from PIL import Image

    return Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture)


def _check_room(size: int, count: int) -> None:
    if size > LARGEST_ARRAY:
        raise UserError(
            f"expected at most {LARGEST_ARRAY:,} bytes of pictures, got {size:,} with {count:,} of them; choose a "
            "smaller size or fewer pictures"
        )


def _from_folder(path: Path, split: str, channels: int | None, size: Size | None) -> tuple[Pictures, list[str]]:
    words = _Words()
    top, files, classes = _of_split(path, split, words)
    pixels, shape = bytearray(), None  # bytes grow in place, where arrays would be held twice
    labels: list[int] = []
    for name in files:
        try:
            picture, said = read_picture(top / name, channels=channels)
        except UserError as error:
            words.leave_out(str(error))
            continue
        if size is not None and picture.shape[:2] != size:
            said.append(f"resized to {_size(size)} pixels")
            picture = resized(picture, size)
        shape = shape or picture.shape
        if picture.shape[:2] != shape[:2]:
            words.leave_out(
                f"expected {_size(shape)} pixels, as the first picture has, got {name!r} of {_size(picture.shape)}; "
                "give a size to have all resized"
            )
            continue
        if picture.shape[2] != shape[2]:
            said.append(f"made {'grey' if shape[2] == 1 else 'RGB'}, as the first picture is")
            picture = _with_channels(picture, shape[2])
        pixels += picture.tobytes()
        _check_room(len(pixels), len(labels) + 1)
        labels.append(classes.get(_class_of(name), 0))
        words.change(name, said)
    pictures = np.frombuffer(pixels, np.uint8).reshape(-1, *(shape or (1, 1, 1)))
    names = tuple(printable(name, NAME_LENGTH) or str(label) for name, label in classes.items())
    return Pictures(pictures, np.array(labels, np.int64) if classes else None, names), words.told()


def _of_split(path: Path, split: str, words: _Words) -> tuple[Path, list[str], dict[str, int]]:
    """A folder, the names in it of the pictures of a split, and labels by class (none if no picture has a class)."""
    called = {name: name for name in SPLITS} | dict.fromkeys(NAMES_OF_VALID, "valid")
    there = [name for name in called if (path / name).is_dir() and not (path / name).is_symlink()]
    tops = {called[name]: path / name for name in there}
    if "train" not in tops or len(tops) == 1:
        tops = {"train": path}
    found = {}
    for name, top in tops.items():
        found[name] = list(_walk(top, words))
    classes = sorted({_class_of(name) for files in found.values() for name in files} - {""})
    if len(classes) > MOST_CLASSES:
        raise UserError(f"expected at most {MOST_CLASSES:,} folders of classes, got {len(classes):,} in {str(path)!r}")
    source = "train" if split == "valid" and "valid" not in tops else split
    if source not in tops:
        known = ", ".join(repr(name) for name in dict.fromkeys([*tops, "valid"]))
        raise UserError(f"expected one of the splits of {str(path)!r}, {known}, got {split!r}; make a folder for it")
    files = found[source]
    if classes:
        files = [name for name in files if _class_of(name)]
        if len(files) < len(found[source]):
            words.leave_out(f"{len(found[source]) - len(files):,} pictures are in no folder of a class, and left out")
    if split != "test" and "valid" not in tops:
        files = [name for place, name in enumerate(files, 1) if (place % HELD_OUT == 0) == (split == "valid")]
    return tops[source], files, {name: label for label, name in enumerate(classes)}


def _class_of(name: str) -> str:
    return Path(name).parent.name


def _walk(top: Path, words: _Words) -> Iterator[str]:
    """Names of the pictures below a folder, in order; no link out of it is followed, nor any to a folder."""
    waiting, root, count = [top], top.resolve(), 0
    while waiting:
        path = waiting.pop()
        try:
            if path != top and path.is_symlink() and (path.is_dir() or root not in path.resolve().parents):
                words.leave_out(f"{str(path)!r} is a link to a folder or out of {str(top)!r}, and not followed")
            elif path.is_dir():
                visible = (inner for inner in path.iterdir() if not inner.name.startswith("."))
                waiting.extend(sorted(visible, key=lambda inner: inner.name, reverse=True))
            elif path.suffix.lower() in SUFFIXES:
                count += 1
                yield str(path.relative_to(top))
        except (OSError, RuntimeError) as error:  # a link to itself is a RuntimeError
            words.leave_out(f"{str(path)!r} cannot be read: {printable(str(error), 200)}")
        if count > MOST_PICTURES:
            raise UserError(f"expected at most {MOST_PICTURES:,} pictures, got more in {str(top)!r}; make it smaller")


@dataclass
class _Words:
    """What is said about many pictures: each one that was left out by name, and the changes by their kind."""

    left_out: list[str] = field(default_factory=list)
    more: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def leave_out(self, word: str) -> None:
        if len(self.left_out) < MOST_WORDS:
            self.left_out.append(word)
        else:
            self.more += 1

    def change(self, name: str, said: list[str]) -> None:
        for word in said:
            self.changed[word] += 1
            self.first.setdefault(word, name)

    def told(self) -> list[str]:
        more = [f"{self.more:,} more pictures were left out"] if self.more else []
        kinds = [f"{word}: {count:,} pictures, first {self.first[word]!r}" for word, count in self.changed.items()]
        return [*self.left_out, *more, *kinds]
