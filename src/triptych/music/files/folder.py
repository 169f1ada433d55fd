"""The files of music of a folder, with all folders in it, or of a zip, of which nothing is unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Self

from triptych.errors import UserError
from triptych.music.files.parsing.musicxml import DAMAGED_ZIP
from triptych.music.files.reading import MAX_BYTES

SUFFIXES = (".mid", ".midi", ".kar", ".rmi", ".musicxml", ".mxl", ".xml")  # of MIDI and of MusicXML
HELD_OUT = 10  # every so many-th file, by name, is one of the validation split


class MusicFiles:
    """The files of music of a folder or a zip. Use it in a `with` statement.

    names: their paths inside of it, with "/" between folders, in the order of folders and files.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._archive = None if self._path.is_dir() else _opened(self._path)
        if self._archive is None:
            found = [file.relative_to(self._path).as_posix() for file in self._path.rglob("*")]
        else:
            found = list(set(self._archive.namelist()))
        self.names = sorted(
            (name for name in found if name.lower().endswith(SUFFIXES)), key=lambda name: name.split("/")
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive is not None:
            self._archive.close()

    def source(self, name: str) -> Path | bytes:
        """What `MusicReader` reads: the path of a file, or the content of a member of a zip. Raises UserError."""
        return self._path / name if self._archive is None else _content(self._archive, name)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"expected a folder or a zip of MIDI files, got {path}: {reason}; make it anew") from None


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    member = archive.getinfo(name)
    if member.file_size > MAX_BYTES:
        raise UserError(f"expected a file of music of at most {MAX_BYTES:,} bytes, got {name!r}; cut it")
    try:
        with archive.open(member) as packed:
            return packed.read(MAX_BYTES)
    except DAMAGED_ZIP as error:
        raise UserError(f"expected a whole file without a password, got {name!r}: {error}; pack it anew") from None
