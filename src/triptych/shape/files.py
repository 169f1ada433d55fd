"""Files that are whole or not there: written under a temporary name, flushed to the disk, then renamed.

Nothing is removed here by its name alone: a folder goes only if it holds exactly the files that the caller wrote.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from triptych.errors import UserError
from triptych.shape.plain import from_json, read_bounded

MARK = "triptych-part"  # ends the name of what is being written by its only writer, who may remove it after a kill
DIGEST = "digest"  # of a JSON file: the sha256 of the file without this entry


def read_file(path: Path, name: str, what: str, most: int, remedy: str) -> bytes:
    """The content of a person's file. Raises UserError where it is none, cannot be read, or has more than `most` bytes.

    name, what, remedy: of the error: expected `what`, got the file of that name.
    """
    try:
        if not path.is_file():
            raise UserError(f"expected {what}, got {name!r}, which is no file; check the path")
        size = path.stat().st_size
        if size <= most:
            with path.open("rb") as file:
                return file.read(size)  # and not `most`, for which memory would be set aside
    except OSError as error:
        raise UserError(f"expected {what}, got {name!r}: {error.strerror}; check the path") from None
    raise UserError(f"expected {what} of at most {most:,} bytes, got {name!r} of {size:,}; {remedy}")


def write_file(path: Path, data: bytes, mark: str | None = None) -> None:
    """Write `path` so that a crash at any moment leaves the old content or the new, never a part.

    mark: the end of the temporary name, by which its owner finds what a kill left behind; random if None.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_of(path, mark)
    if mark is not None:  # the owner's own, from before a kill
        temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # of the temporary file, or of a full disk, which names none
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    _flush_folder(path.parent)


def write_folder(
    path: Path, files: Mapping[str, bytes], *, replaced: Collection[str] = (), mark: str | None = None
) -> None:
    """Write a new folder at once: it appears complete under its name, or not at all.

    An empty folder of that name is replaced, and one that holds exactly the files `replaced`, which the caller has
    checked to be its own; a crash between the two renames leaves it under a `.old` name. Raises UserError for any other
    folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_of(path, mark)
    if mark is not None:  # of this mark, so the owner's own, from before a kill
        remove_folder(temporary, _names(temporary))
    temporary.mkdir()
    try:
        for name, data in files.items():
            write_file(temporary / name, data, mark)
        if os.path.lexists(path):
            if path.is_symlink() or not path.is_dir() or _names(path) != set(replaced):
                raise UserError(f"expected a new folder, got {path}, which holds other things; name another")
            old = temporary.with_name(f"{temporary.name}.old")
            path.replace(old)
            temporary.replace(path)
            remove_folder(old, replaced)
        else:
            temporary.replace(path)
    except BaseException:
        remove_folder(temporary, _names(temporary))
        raise
    _flush_folder(path.parent)


def temporary_of(path: Path, mark: str | None = None) -> Path:
    """The name under which `path` is written first: that of this mark, or a new one."""
    return path.with_name(f".{path.name}.{mark or secrets.token_hex(8)}")


def remove_folder(path: Path, names: Collection[str]) -> bool:
    """Remove a folder that holds exactly these plain files, and nothing else; True if it did, and is gone."""
    if path.is_symlink() or not path.is_dir() or _names(path) != set(names):
        return False
    if any((path / name).is_symlink() or not (path / name).is_file() for name in names):
        return False
    for name in names:
        (path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something came in the meantime: it stays
        path.rmdir()
    return not path.exists()


def holds(path: Path, digests: Mapping[str, str], *, exactly: bool) -> bool:
    """Whether a folder holds these plain files with these sha256, and, if `exactly`, nothing else."""
    if path.is_symlink() or not path.is_dir() or (exactly and _names(path) != set(digests)):
        return False
    files = {name: path / name for name in digests}
    return all(
        not file.is_symlink() and file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == digests[name]
        for name, file in files.items()
    )


def sealed(value: Mapping[str, Any]) -> bytes:
    """The value as a JSON file that ends with its own digest, so that a damage of any byte is found."""
    plain = {name: item for name, item in value.items() if name != DIGEST}
    # A card may come from TOML, which has dates: they become text.
    text = json.dumps(plain, indent=2, ensure_ascii=False, default=str)
    whole = {**json.loads(text), DIGEST: hashlib.sha256(text.encode()).hexdigest()}
    return (json.dumps(whole, indent=2, ensure_ascii=False) + "\n").encode()


def read_sealed(path: Path) -> dict[str, Any]:
    """The value of a file that `sealed` made, without its digest. Raises UserError if a byte of it is another."""
    data = read_bounded(path)
    value = from_json(data, path)
    try:
        whole = DIGEST in value and sealed(value) == data
    except ValueError:  # half of a character of two
        whole = False
    if not whole:
        raise UserError(f"expected {path} as it was written (its digest differs); the file is damaged, take it anew")
    value.pop(DIGEST)
    return value


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def _flush_folder(folder: Path) -> None:
    """Make a rename durable; only POSIX lets a folder be opened for that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
