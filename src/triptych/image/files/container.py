"""Picture files cut down to their first picture: all that the decoder gets to see of them.

What else a file carries (further frames, texts, colour profiles, previews, the notes of a camera) can be far larger
than the picture once it is unpacked, or take minutes to walk through. It is dropped here without being unpacked.
The size of the picture is known before anything is decoded.

PNG (Third Edition), JPEG (ITU-T T.81), WebP (RFC 9649), and of EXIF 2.3 the orientation (section 4.6).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

MAX_PARTS = 1 << 20  # chunks of a WebP file
MAX_CHUNKS = 100_000  # chunks that are kept, or segments
MAX_SCANS = 100  # of a JPEG file; a progressive one has about 10

PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
WEBP_CHUNKS = (b"VP8X", b"ANIM", b"ALPH", b"VP8 ", b"VP8L")
JPEG_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
JPEG_SEQUENTIAL = (0xC0, 0xC1)  # Huffman coded; decoded line by line, where others keep all coefficients in memory
# Application segments (but JFIF and Adobe, which the colours depend on) and comments.
JPEG_NOTES = (*range(0xE1, 0xEE), 0xEF, 0xFE)
# A marker with a segment: no fill bytes, no escaped 255 in a scan, and none of TEM, RST0 to RST7 and SOI.
JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
EXIF, ORIENTATION = b"Exif\0\0", 274  # as a segment with EXIF begins, and the tag


@dataclass(eq=False)
class FirstPicture:
    """A file with nothing but one picture in it.

    format: as Pillow names it. data: the file. width, height: in pixels, as stored. orientation: 1 to 8 of EXIF, 1 is
    upright. more: whether the file had further pictures. sequential: whether it is a JPEG that is decoded line by line.
    """

    format: str
    data: bytes
    width: int
    height: int
    orientation: int
    more: bool
    sequential: bool = False


def first_picture(data: bytes) -> FirstPicture:
    """The first picture of a file in one of the formats, still encoded. Raises ValueError for any other file."""
    for opening, cut in FORMATS:
        if re.match(opening, data, re.DOTALL):
            try:
                return cut(data)
            except (struct.error, IndexError):
                raise ValueError("it ends before its picture begins") from None
    raise ValueError("it is none of these")


def _too_many(number: int, most: int, parts: str) -> None:
    if number > most:
        raise ValueError(f"it has more than {most:,} {parts}")


def _png(data: bytes) -> FirstPicture:
    view, at, orientation, more = memoryview(data), 8, 0, False
    width, height = struct.unpack_from(">II", data, 16)
    kept = [view[:8]]
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind in PNG_CHUNKS:
            kept.append(view[at:end])
        elif kind == b"eXIf":
            orientation = orientation or _orientation(data[at + 8 : end - 4])
        elif kind == b"acTL":
            more = struct.unpack_from(">I", data, at + 8)[0] > 1
        _too_many(len(kept), MAX_CHUNKS, "chunks")
        at = end
        if kind == b"IEND":
            break
    return FirstPicture("PNG", b"".join(kept), width, height, orientation or 1, more)


def _jpeg(data: bytes) -> FirstPicture:
    view, at, scans, width, height, orientation = memoryview(data), 2, 0, 0, 0, 0
    kept, parts, frames, more = [view[:2]], 0, [], False
    while found := JPEG_MARKER.search(data, at):
        at, kind = found.start(), data[found.start() + 1]
        if kind == 0xD9:
            kept.append(view[at : at + 2])
            break
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if kind == 0xDA:  # a scan: its header, then its data
            following = JPEG_MARKER.search(data, end)
            end, scans = following.start() if following else len(data), scans + 1
        elif kind in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            frames.append(kind)
        elif kind == 0xE1:
            orientation = orientation or _orientation(data[at + 4 : end])
        elif kind == 0xE2:  # a list of several pictures (CIPA DC-007)
            more = more or data[at + 4 : at + 8] == b"MPF\0"
        if kind not in JPEG_NOTES:
            kept.append(view[at:end])
        at, parts = end, parts + 1
        _too_many(parts, MAX_CHUNKS, "segments")
        _too_many(scans, MAX_SCANS, "scans")
    sequential = bool(frames) and set(frames) <= set(JPEG_SEQUENTIAL)
    return FirstPicture("JPEG", b"".join(kept), width, height, orientation or 1, more, sequential)


def _webp(data: bytes) -> FirstPicture:
    view, at, frames, orientation = memoryview(data), 12, 0, 0
    kept = []
    for _ in range(MAX_PARTS):
        if at + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if kind in WEBP_CHUNKS or (kind == b"ANMF" and not frames):
            kept.append(view[at:end])
        elif kind == b"EXIF":
            orientation = orientation or _orientation(data[at + 8 : at + 8 + length])
        frames += kind == b"ANMF"
        _too_many(len(kept), MAX_CHUNKS, "chunks")
        at = end
    width, height = _webp_size(data)
    body = b"WEBP" + b"".join(kept)
    return FirstPicture(
        "WEBP", b"RIFF" + struct.pack("<I", len(body)) + body, width, height, orientation or 1, more=frames > 1
    )


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by the first chunk."""
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        packed = struct.unpack_from("<I", data, 21)[0]
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    wide, high = struct.unpack_from("<HH", data, 26)
    return wide & 0x3FFF, high & 0x3FFF


def _orientation(data: bytes) -> int:
    """The orientation in EXIF data, with its JPEG opening or without; 0 where there is none."""
    data = data.removeprefix(EXIF)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return 0
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        for place in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", data, place)
            if tag == ORIENTATION:
                return value if kind == 3 and value <= 8 else 0
    except struct.error:  # a damaged note about a picture is no damage to the picture
        pass
    return 0


FORMATS: tuple[tuple[bytes, Callable[[bytes], FirstPicture]], ...] = (
    (rb"\x89PNG\r\n\x1a\n....IHDR", _png),
    (rb"\xff\xd8\xff", _jpeg),
    (rb"RIFF....WEBPVP8[ LX]", _webp),
)
