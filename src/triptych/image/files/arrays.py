"""Pictures and labels in IDX files and .npz archives: no more is unpacked of them than was checked before.

IDX: the format of MNIST (LeCun, Cortes, Burges), with or without gzip. npz: NumPy's zip of .npy files (NEP 1).
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, printable

Parts = tuple[NDArray[np.uint8], NDArray[np.int64] | None, tuple[str, ...]]  # pictures, labels, names of classes

MAX_ARRAY_BYTES = 2_000_000_000  # bytes
MAX_CLASSES = 100_000
NAME_LENGTH = 80  # characters of a class
HELD_OUT = 10  # every so many-th picture is one of the validation split, where none was set apart
IDX_SPLITS = {"train": "train", "test": "t10k"}  # as MNIST names them; EMNIST has "test"
IDX_NAME = re.compile(
    r"(.*[-_.])?(train|t10k|test)[-_.](images(?=[-_.]idx3)|labels(?=[-_.]idx1))[-_.]idx[13]([-_.]ubyte)?(\.gz)?",
    re.IGNORECASE,
)
IDX_HELD_OUT = 12  # the last part in so many of the training file is the validation split, ...
MAX_HELD_OUT = 5_000  # ... at most so many pictures
DIGITS = tuple("0123456789")
FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
MAX_DIRECTORY_BYTES = 1 << 20  # bytes of what lists the members of a zip
BLOCK = 1 << 20  # bytes or pixels at a time
END_OF_DIRECTORY, END_OF_LARGE_DIRECTORY = b"PK\5\6", b"PK\6\7"  # the second is before the first in zips above 4 GB
# What reading a damaged or encrypted file raises, depending on how it is compressed.
DAMAGED = (
    zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, OverflowError, MemoryError, struct.error,
    zlib.error, SyntaxError, tokenize.TokenError,
)  # fmt: skip


def has_idx(folder: Path) -> bool:
    """Whether a folder has pictures in IDX files."""
    return any(kind == "images" for _, _, kind in _idx_files(folder))


def idx_split(folder: Path, split: str) -> tuple[Parts, list[str]]:
    """Pictures uint8 [N, height, width, 1] of a split of a folder of IDX files, and warnings about missing files.

    Test is t10k, valid the end of the training file. The classes are those of Fashion-MNIST in a folder with "fashion"
    in its path, else numbers. Raises UserError for damaged files, and those that contradict each other.
    """
    warnings: list[str] = []
    path, beside = _idx_pair(folder, split)
    pictures, labels = read_idx(path, 3)[..., None], None
    if len(pictures) and 0 in pictures.shape:
        raise UserError(f"expected pictures in {str(path)!r}, got {len(pictures):,} without pixels; make it anew")
    if beside is None:
        warnings.append(f"no file of labels beside {path.name}: the pictures are without classes")
    else:
        labels = read_idx(beside, 1).astype(np.int64)
        _check_labels(labels, len(pictures), beside)
    if split != "test":
        start = len(pictures) - min(MAX_HELD_OUT, -(-len(pictures) // IDX_HELD_OUT))
        chosen = slice(start, None) if split == "valid" else slice(start)
        pictures, labels = pictures[chosen], None if labels is None else labels[chosen]
    if labels is None:
        return (pictures, None, ()), warnings
    highest = int(labels.max(initial=0))
    called = "".join(folder.absolute().parts[-2:]).lower()
    if ("fashion" in called or "fmnist" in called) and highest < len(FASHION):
        return (pictures, labels, FASHION), warnings
    return (pictures, labels, DIGITS + tuple(str(label) for label in range(len(DIGITS), highest + 1))), warnings


def _idx_pair(folder: Path, split: str) -> tuple[Path, Path | None]:
    """The files of pictures and of labels of a split. Raises UserError unless there is one data set with it."""
    files, part = _idx_files(folder), "test" if split == "test" else "train"
    found = {name: path for (name, own, kind), path in files.items() if (own, kind) == (part, "images")}
    if len(found) > 1:
        names = ", ".join(path.name for path in [*found.values()][:5])
        raise UserError(
            f"expected one data set of IDX files in {str(folder)!r}, got {names}; move each into a folder of its own"
        )
    if not found:
        there = next((path.name for (_, _, kind), path in files.items() if kind == "images"), "none")
        raise UserError(
            f"expected {IDX_SPLITS[part]}-images-idx3-ubyte in {str(folder)!r} for the split {split!r}, got {there} "
            "alone; put it there"
        )
    ((name, path),) = found.items()
    return path, files.get((name, part, "labels"))


def _idx_files(folder: Path) -> dict[tuple[str, str, str], Path]:
    """Files by the name of their data set, their part (train, test) and their kind (images, labels): with or without
    gzip, train-images-idx3-ubyte as MNIST has it, or as it is after unpacking with some programs
    train-images.idx3-ubyte, maybe with the name of the data set before it. The unpacked come first.
    """
    found: dict[tuple[str, str, str], Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (path.suffix.lower() == ".gz", path.name)):
        if (name := IDX_NAME.fullmatch(path.name)) and path.is_file():
            data_set, part, kind = (name[group].lower() if name[group] else "" for group in (1, 2, 3))
            found.setdefault((data_set, "train" if part == "train" else "test", kind), path)
    return found


def npz_split(path: Path, split: str) -> tuple[Parts, list[str]]:
    """Pictures uint8 [N, height, width, 1 or 3] of a split of a .npz file, and warnings about changes.

    x_train [N, height, width] or with 1, 3 or 4 channels, y_train [N], and so on; class_names. Raises UserError for
    arrays that are missing, damaged or of other shapes.
    """
    there = npz_names(path)
    warnings: list[str] = []
    source = "train" if split == "valid" and "x_valid" not in there else split
    if f"x_{source}" not in there:
        known = ", ".join(repr(name[:NAME_LENGTH]) for name in there[:10]) or "none"
        raise UserError(f"expected the array 'x_{source}' in {str(path)!r}, got {known}; save it under that name")
    pictures = read_npz(path, f"x_{source}")
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] not in (1, 3, 4) or 0 in pictures.shape:
        raise UserError(
            f"expected x_{source} as uint8 [N, height, width] or with 1, 3 or 4 channels, got {pictures.dtype} "
            f"{list(pictures.shape)} in {str(path)!r}; save it so"
        )
    labels: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    if f"y_{source}" in there:
        labels = _npz_labels(path, f"y_{source}", len(pictures))
        names = _npz_classes(path, there, labels)
    if split != "test" and "x_valid" not in there:
        chosen = (np.arange(len(pictures)) % HELD_OUT == HELD_OUT - 1) == (split == "valid")
        pictures, labels = pictures[chosen], None if labels is None else labels[chosen]
    if pictures.shape[3] == 4:
        pictures = _on_white(pictures, warnings)
    return (pictures, labels, names), warnings


def _npz_labels(path: Path, name: str, count: int | None = None) -> NDArray[np.int64]:
    """Labels [N] of an array of integers [N] or [N, 1]."""
    labels = read_npz(path, name)
    if labels.dtype.kind not in "iu" or labels.ndim not in (1, 2) or labels.size != len(labels):
        raise UserError(
            f"expected {name} as integers [N], got {labels.dtype} {list(labels.shape)} in {str(path)!r}; save it so"
        )
    labels = labels.reshape(-1).astype(np.int64)
    _check_labels(labels, len(labels) if count is None else count, path)
    return labels


def _npz_classes(path: Path, there: list[str], labels: NDArray[np.int64]) -> tuple[str, ...]:
    """Names of the classes: those in class_names, or the numbers up to the highest label of all splits."""
    highest = int(labels.max(initial=0))
    if "class_names" not in there:
        for name in ("y_train", "y_valid", "y_test"):
            if name in there:
                highest = max(highest, int(_npz_labels(path, name).max(initial=0)))
        return tuple(str(label) for label in range(highest + 1))
    names = read_npz(path, "class_names")
    if names.dtype.kind not in "US" or names.ndim != 1 or not highest < len(names) <= MAX_CLASSES:
        raise UserError(
            f"expected class_names as text, one for each of the labels to {highest}, got {names.dtype} "
            f"{list(names.shape)} in {str(path)!r}; save them so"
        )
    texts = [name.decode(errors="replace") if isinstance(name, bytes) else name for name in names.tolist()]
    return tuple(printable(text, NAME_LENGTH) or str(label) for label, text in enumerate(texts))


def _check_labels(labels: NDArray[np.int64], count: int, path: Path) -> None:
    if len(labels) != count:
        raise UserError(f"expected {count:,} labels, one a picture, got {len(labels):,} in {str(path)!r}; make it anew")
    if labels.size and not 0 <= labels.min() <= labels.max() < MAX_CLASSES:
        raise UserError(
            f"expected labels from 0 to {MAX_CLASSES - 1:,}, got {labels.min()} to {labels.max()} in {str(path)!r}; "
            "number the classes from 0"
        )


def _on_white(pictures: NDArray[np.uint8], warnings: list[str]) -> NDArray[np.uint8]:
    """RGB of RGBA, a block of pixels after the other: the products need more room than bytes."""
    colours = np.empty((*pictures.shape[:3], 3), np.uint8)
    source, target = pictures.reshape(-1, 4), colours.reshape(-1, 3)
    for start in range(0, len(source), BLOCK):
        block = source[start : start + BLOCK].astype(np.uint32)
        opacity = block[:, 3:]
        target[start : start + BLOCK] = (block[:, :3] * opacity + 255 * (255 - opacity) + 127) // 255
    changed = np.count_nonzero((pictures[..., 3] < 255).any((1, 2)))
    if changed:
        warnings.append(f"transparency is put on white: {changed:,} of {len(pictures):,} pictures")
    return colours


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The bytes of an IDX file of so many dimensions; unpacked if its name ends in .gz.

    Raises UserError for any other file, and for more than `MAX_ARRAY_BYTES` bytes.
    """
    kind = f"a whole IDX file of bytes in {dimensions} dimensions"
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            magic, header = file.read(4), file.read(4 * dimensions)
            if not magic:
                raise ValueError("it is empty")
            if len(magic) == 4 and magic != bytes([0, 0, 8, dimensions]):
                raise ValueError(f"it begins with {magic.hex()}")
            if len(header) < 4 * dimensions:
                raise ValueError("it ends in its header")
            shape = struct.unpack(f">{dimensions}I", header)
            flat = _filled(file, math.prod(shape))
            if file.read(1):
                raise ValueError("it has more bytes than its header gives")
    except DAMAGED as error:
        raise _damaged(kind, path, error) from None
    return flat.reshape(shape)


def npz_names(path: Path) -> list[str]:
    """The names of the arrays in a .npz file. Raises UserError if it is none."""
    try:
        with _opened(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except DAMAGED as error:
        raise _damaged("a whole .npz file", path, error) from None


def read_npz(path: Path, name: str) -> NDArray[Any]:
    """One array of numbers or of text in a .npz file; nothing pickled is loaded.

    Raises UserError where the array is damaged, larger than `MAX_ARRAY_BYTES`, or not of the size given in the zip.
    """
    try:
        with _opened(path) as archive:
            if f"{name}.npy" not in archive.namelist():
                raise ValueError("it has no such array")
            member = archive.getinfo(f"{name}.npy")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("it is compressed as NumPy does not do it")  # others unpack without a limit
            with archive.open(member) as file:
                if file.read(8) != b"\x93NUMPY\1\0":
                    raise ValueError("it is no array of numbers or text")
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
                if dtype.kind not in "biufSU" or dtype.itemsize == 0 or min(shape, default=0) < 0:
                    raise ValueError("it is no array of numbers or text")
                size = math.prod(shape) * dtype.itemsize
                if size != member.file_size - file.tell():
                    raise ValueError(f"its header gives {size:,} bytes, and the zip {member.file_size:,} in all")
                flat = _filled(file, size)  # to the end of the member, where its check sum is compared
    except DAMAGED as error:
        raise _damaged(f"a whole array {name!r}", path, error) from None
    return flat.view(dtype).reshape(shape, order="F" if fortran else "C")


def _opened(path: Path) -> zipfile.ZipFile:
    """The zip, once what lists its members is known to be small."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - (1 << 16) - 22 - 20))  # the longest comment, and the two ends
        tail = file.read()
    at = tail.rfind(END_OF_DIRECTORY)
    if at < 0 or at + 16 > len(tail):
        raise ValueError("it is no zip")
    if END_OF_LARGE_DIRECTORY in tail[max(0, at - 20) : at]:
        raise ValueError("it is larger than 4 GB, or made as if it were")
    if int.from_bytes(tail[at + 12 : at + 16], "little") > MAX_DIRECTORY_BYTES:
        raise ValueError("it has too many members")
    return zipfile.ZipFile(path)


def _filled(file: IO[bytes] | gzip.GzipFile, size: int) -> NDArray[np.uint8]:
    """The next `size` bytes. Memory grows as they come, whatever was promised."""
    if size > MAX_ARRAY_BYTES:
        raise ValueError(f"it has {size:,} bytes, more than {MAX_ARRAY_BYTES:,}")
    flat, filled = np.empty(size, np.uint8), 0
    while filled < size:
        block = file.read(min(BLOCK, size - filled))
        if not block:
            raise EOFError(f"it ends after {filled:,} of {size:,} bytes")
        flat[filled : filled + len(block)] = np.frombuffer(block, np.uint8)
        filled += len(block)
    return flat


def _damaged(expected: str, path: Path, error: BaseException) -> UserError:
    if isinstance(error, OSError) and error.strerror:
        return UserError(f"expected {expected}, got {str(path)!r}: {error.strerror}; check the path")
    reason = printable(str(error), 200) or type(error).__name__
    return UserError(f"expected {expected}, got {str(path)!r}: {reason}; make it anew")
