"""Lines of text from a file or a stream: unpacked, bounded, decoded. Only line feeds end lines."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from triptych.errors import UserError, closest

CHUNK = 2**20  # bytes that are read at once, if they are there
MAX_LINE_BYTES = 100_000  # of a line; of a longer one only the beginning is kept, so that memory stays bounded
_MARK = b"\xef\xbb\xbf"  # the byte order mark of UTF-8


class Unusable(Exception):  # noqa: N818  # a finding about one line, which the reader of many collects
    """Why a line cannot be used."""


class Stream(Protocol):
    """Bytes to read line by line: a file, a gzip file, standard input."""

    def readline(self, size: int, /) -> bytes:
        """Read up to the next line feed, or `size` bytes."""
        ...


class Arriving:
    """A stream that is read as it is filled: of a pipe what is there, and no waiting for more while a line is left."""

    def __init__(self, stream: BufferedReader) -> None:
        self._stream, self._lines = stream, io.BytesIO()

    def readline(self, size: int, /) -> bytes:
        """Read up to the next line feed, or `size` bytes."""
        line = self._lines.readline(size)
        while len(line) < size and not line.endswith(b"\n") and (more := self._stream.read1(CHUNK)):
            self._lines = io.BytesIO(more)
            line += self._lines.readline(size - len(line))
        return line

    def must_wait(self) -> bool:
        """True if no whole line is buffered."""
        return self._lines.getvalue().find(b"\n", self._lines.tell()) < 0


def read_lines(path: str | Path) -> list[str]:
    """Read every line of a UTF-8 file, gz or not, stripped. A line that cannot be used is a UserError that names it."""
    lines = []
    for number, raw in enumerate(raw_lines(path), 1):
        try:
            lines.append(decoded(raw).strip())
        except Unusable as fault:
            raise UserError(f"expected lines of UTF-8 in {path}, got line {number} {fault}; mend the file") from None
    return lines


def raw_lines(path: str | Path) -> Iterator[bytes]:
    """Yield the lines of a file, unpacked, as `lines_of` cuts them. A file that cannot be read is a UserError."""
    path = Path(path)
    with _opened(path) as file, _unpacked(file) as stream:
        try:
            yield from lines_of(stream, str(path))
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise UserError(f"expected a whole gzip file, got a damaged one: {path}; fetch it again") from None
        except OSError as error:
            raise UserError(f"expected a readable file, got {path} ({error.strerror}); check it") from None


def lines_of(stream: Stream, name: str) -> Iterator[bytes]:
    """Yield the lines of a stream called `name`, without their line ends (LF or CRLF) and a byte order mark.

    Of a line of more than `MAX_LINE_BYTES` bytes the first `MAX_LINE_BYTES` + 1 are given: `decoded` refuses it.
    """
    first = True
    while line := stream.readline(MAX_LINE_BYTES + 2):
        if first and line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UserError(f"expected UTF-8 in {name}, got UTF-16; convert it (iconv -f UTF-16 -t UTF-8)")
        ended = line.endswith(b"\n")
        while not ended and (rest := stream.readline(MAX_LINE_BYTES)):
            line, ended = line[: MAX_LINE_BYTES + 1] + rest[: MAX_LINE_BYTES + 1 - len(line)], rest.endswith(b"\n")
        bare = line.removesuffix(b"\n").removesuffix(b"\r")
        yield bare.removeprefix(_MARK) if first else bare
        first = False


def decoded(raw: bytes, what: str = "") -> str:
    """Decode a line of UTF-8. `what` begins the reason of the `Unusable` that is raised where that cannot be done."""
    if len(raw) > MAX_LINE_BYTES:
        raise Unusable(f"{what} over {MAX_LINE_BYTES:,} bytes".lstrip())
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Unusable(f"{what} not UTF-8".lstrip()) from None


def _opened(path: Path) -> BufferedReader:
    """Open a file. Raises UserError with the nearest name where there is none."""
    if path.is_dir():
        raise UserError(f"expected a file of text, got the folder {path}; name a file in it")
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(f"expected a file of text, got no file at {path}; {_nearest(path)}") from None
    except OSError as error:
        raise UserError(f"expected a readable file, got {path} ({error.strerror}); check it") from None


def _unpacked(file: BufferedReader) -> BufferedReader | gzip.GzipFile:
    """See through gzip, which begins with two magic bytes."""
    return gzip.GzipFile(fileobj=file) if file.peek(2).startswith(b"\x1f\x8b") else file


def _nearest(path: Path) -> str:
    """Advice about a file that is not there."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    near = closest(path.name, names)
    return f"did you mean {path.parent / near}?" if near else "check the path"
