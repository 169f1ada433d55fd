"""Picture files cut down to their first picture: all that the decoder gets to see of them.

What else a file carries (further frames, texts, colour profiles, previews, the notes of a camera) can be far larger
than the picture once it is unpacked, or take minutes to walk through. It is dropped here without being unpacked.
The size of the picture is known before anything is decoded.

PNG (Third Edition), GIF89a, JPEG (ITU-T T.81), WebP (RFC 9649), TIFF 6.0, BMP, and Netpbm (PBM, PGM, PPM).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from triptych.image.files.tags import (
    PROFILES,
    TIFF_VALUES,
    XMP_TEXT,
    Orientation,
    content,
    directory,
    number,
)

MAX_PARTS = 1 << 20  # chunks, segments or blocks of a file; a GIF of 100 MB has 400,000 blocks
MAX_CHUNKS = 100_000  # of them, those that are kept
MAX_TEXTS = 16  # of a PNG: texts that may hold its orientation, and are unpacked for it
MAX_SCANS = 100  # of a JPEG file; a progressive one has about 10
MAX_TAG_VALUES = 1 << 16  # of a TIFF tag, and strips or tiles of a TIFF file
MAX_TILE_PIXELS = 1 << 24  # pixels
MAX_HEADER_BYTES = 10_000  # bytes of a Netpbm file before its pixels, with comments
MAX_COMMENTS = 1_000  # of such a file with its pixels in text
MAX_SLOW_BYTES = 4_000_000  # bytes of a file whose pixels Pillow decodes one by one in Python

PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
WEBP_CHUNKS = (b"VP8X", b"ANIM", b"ALPH", b"VP8 ", b"VP8L")
JPEG_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
JPEG_SEQUENTIAL = (0xC0, 0xC1)  # Huffman coded; decoded line by line, where others keep all coefficients in memory
# Application segments (but JFIF and Adobe, which the colours depend on) and comments.
JPEG_NOTES = (*range(0xE1, 0xEE), 0xEF, 0xFE)
# A marker with a segment: no fill bytes, no escaped 255 in a scan, and none of TEM, RST0 to RST7 and SOI.
JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
# No JPEG of before 1995, and none of those that fetch a dictionary of up to 4 GB (LZMA, Zstandard).
TIFF_COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)
WIDTH, LENGTH, COMPRESSION, SAMPLES, ROWS, PLANES = 256, 257, 259, 277, 278, 284
TILE_WIDTH, TILE_LENGTH, XMP = 322, 323, 700
DEFAULTS = {WIDTH: 0, LENGTH: 0, COMPRESSION: 1, SAMPLES: 1, ROWS: 0, PLANES: 1}
# With them: bits, photometric interpretation, fill order, places and sizes of strips and tiles, fax options, predictor,
# colour map, extra samples, sample format, JPEG tables, YCbCr subsampling and positioning.
TIFF_TAGS = (
    WIDTH, LENGTH, 258, COMPRESSION, 262, 266, 273, SAMPLES, ROWS, 279, PLANES, 292, 293, 317, 320, TILE_WIDTH,
    TILE_LENGTH, 324, 325, 338, 339, 347, 530, 531,
)  # fmt: skip
GAP = rb"(?:\s|#[^\r\n]*[\r\n])++"
BITMAP = re.compile(rb"P[14]%b(\d++)%b(\d++)\s" % (GAP, GAP))
PIXMAP = re.compile(rb"P[2356]%b(\d++)%b(\d++)%b(\d++)\s" % (GAP, GAP, GAP))


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
    orientation: int = 1
    more: bool = False
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
    view, at, orientation, more, notes = memoryview(data), 8, Orientation(), False, 0
    width, height = struct.unpack_from(">II", data, 16)
    kept = [view[:8]]
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind in PNG_CHUNKS:
            kept.append(view[at:end])
        elif kind == b"eXIf":
            orientation.read_exif(data[at + 8 : end - 4])
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and notes < MAX_TEXTS and _may_have_orientation(data, at + 8):
            orientation.read_text(kind, data[at + 8 : end - 4])
            notes += 1
        elif kind == b"acTL":
            more = struct.unpack_from(">I", data, at + 8)[0] > 1
        _too_many(len(kept), MAX_CHUNKS, "chunks")
        at = end
        if kind == b"IEND":
            break
    return FirstPicture("PNG", b"".join(kept), width, height, orientation.value, more)


def _may_have_orientation(data: bytes, at: int) -> bool:
    """True if a text chunk has a keyword of EXIF or XMP."""
    return data.startswith((*PROFILES, XMP_TEXT), at)


def _gif(data: bytes) -> FirstPicture:
    """The frame is alone, so what is to be done with it before the next is dropped; that alone could fill memory."""
    width, height = struct.unpack_from("<HH", data, 6)
    at = 13 + _palette_bytes(data[10])
    header, control, picture, more = data[:at], b"", b"", False
    for _ in range(MAX_PARTS):
        kind = data[at : at + 1]
        if kind == b",":
            if picture:
                more = True
                break
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, at + 1)
            width, height = max(width, left + wide), max(height, top + high)
            end = _after_blocks(data, at + 11 + _palette_bytes(flags))
            picture, at = data[at:end], end
        elif kind == b"!":
            end = _after_blocks(data, at + 2)
            if data[at + 1 : at + 3] == b"\xf9\x04" and not picture:
                control = data[at : at + 3] + bytes([data[at + 3] & 1]) + data[at + 4 : at + 7] + b"\0"
            at = end
        elif kind in (b"", b";"):
            break
        else:
            at += 1
    if not picture:
        raise ValueError("it has no picture in it")
    return FirstPicture("GIF", header + control + picture + b";", width, height, more=more)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """Where a chain of blocks ends, or the file if it ends before."""
    for _ in range(MAX_PARTS):
        if at >= len(data):
            return len(data)
        size = data[at]
        at += 1 + size
        if not size:
            return at
    raise ValueError(f"it has more than {MAX_PARTS:,} blocks")


def _jpeg(data: bytes) -> FirstPicture:
    view, at, scans, width, height, orientation = memoryview(data), 2, 0, 0, 0, Orientation()
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
            orientation.read_note(data[at + 4 : end])
        elif kind == 0xE2:  # a list of several pictures (CIPA DC-007)
            more = more or data[at + 4 : at + 8] == b"MPF\0"
        if kind not in JPEG_NOTES:
            kept.append(view[at:end])
        at, parts = end, parts + 1
        _too_many(parts, MAX_CHUNKS, "segments")
        _too_many(scans, MAX_SCANS, "scans")
    sequential = bool(frames) and set(frames) <= set(JPEG_SEQUENTIAL)
    return FirstPicture("JPEG", b"".join(kept), width, height, orientation.value, more, sequential)


def _webp(data: bytes) -> FirstPicture:
    view, at, frames, orientation = memoryview(data), 12, 0, Orientation()
    kept = []
    for _ in range(MAX_PARTS):
        if at + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        if kind in WEBP_CHUNKS or (kind == b"ANMF" and not frames):
            kept.append(view[at:end])
        elif kind == b"EXIF":
            orientation.read_exif(data[at + 8 : at + 8 + length])
        elif kind == b"XMP ":
            orientation.read_xmp(data[at + 8 : at + 8 + length])
        frames += kind == b"ANMF"
        _too_many(len(kept), MAX_CHUNKS, "chunks")
        at = end
    width, height = _webp_size(data)
    body = b"WEBP" + b"".join(kept)
    return FirstPicture(
        "WEBP", b"RIFF" + struct.pack("<I", len(body)) + body, width, height, orientation.value, more=frames > 1
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


def _bmp(data: bytes) -> FirstPicture:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        return FirstPicture("BMP", data, *struct.unpack_from("<HH", data, 18))
    _check_slow(data, slow=struct.unpack_from("<I", data, 30)[0] in (1, 2))  # run lengths
    width, height = struct.unpack_from("<Ii", data, 18)  # a negative height: the first row is the highest
    return FirstPicture("BMP", data, width, abs(height))


def _netpbm(data: bytes) -> FirstPicture:
    found = (BITMAP if data[1:2] in b"14" else PIXMAP).match(data, 0, MAX_HEADER_BYTES)
    if not found:
        raise ValueError("its header is damaged")
    width, height, *maximum = (int(number[:12]) for number in found.groups())
    text = data[1:2] in b"123"
    # As they are: bits, bytes, and words if they are grey.
    _check_slow(data, slow=text or maximum not in ([], [255], [65535] if data[1:2] == b"5" else []))
    if text:  # the decoder copies a megabyte for every comment
        _too_many(data.count(b"#"), MAX_COMMENTS, "comments")
    return FirstPicture("PPM", data, width, height)


def _check_slow(data: bytes, *, slow: bool) -> None:
    if slow and len(data) > MAX_SLOW_BYTES:
        raise ValueError(f"it is of a kind that is slow to read, and larger than {MAX_SLOW_BYTES:,} bytes")


def _tiff(data: bytes) -> FirstPicture:
    """The file with a new directory at its end, with only the tags that decoding its pixels needs."""
    order = "<" if data[:2] == b"II" else ">"
    entries, following = directory(data)
    if WIDTH not in entries or LENGTH not in entries:
        raise ValueError("it has no size in it")
    kept = []
    for tag in sorted(entries.keys() & set(TIFF_TAGS)):
        _, kind, count = struct.unpack_from(f"{order}HHI", entries[tag])
        if kind not in TIFF_VALUES:
            raise ValueError(f"its tag {tag} is of a wrong type")
        _too_many(count, MAX_TAG_VALUES, f"values of tag {tag}")
        kept.append(entries[tag])
    values = {tag: number(data, entries.get(tag), default) for tag, default in DEFAULTS.items()}
    width, height, samples = values[WIDTH], values[LENGTH], values[SAMPLES]
    wide, high = width, values[ROWS] or height
    if TILE_WIDTH in entries or TILE_LENGTH in entries:
        wide, high = (number(data, entries.get(tag), 0) for tag in (TILE_WIDTH, TILE_LENGTH))
        if not 0 < wide * high <= MAX_TILE_PIXELS:
            raise ValueError(f"its tiles are {wide} x {high}")
    if values[COMPRESSION] not in TIFF_COMPRESSIONS or samples > 6:
        raise ValueError(f"its compression ({values[COMPRESSION]}) or its {samples} samples a pixel are not known")
    if width and height:
        planes = samples if values[PLANES] == 2 else 1
        _too_many(math.ceil(width / wide) * math.ceil(height / high) * planes, MAX_TAG_VALUES, "strips or tiles")
    gap = bytes(len(data) % 2)
    opening = data[:4] + struct.pack(f"{order}I", len(data) + len(gap))
    listed = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + bytes(4)
    cut = b"".join((opening, memoryview(data)[8:], gap, listed))
    orientation = Orientation()
    orientation.read_exif(data)
    if XMP in entries:
        orientation.read_xmp(content(data, entries[XMP]))
    return FirstPicture("TIFF", cut, width, height, orientation.value, following != 0)


FORMATS: tuple[tuple[bytes, Callable[[bytes], FirstPicture]], ...] = (
    (rb"\x89PNG\r\n\x1a\n....IHDR", _png),
    (rb"\xff\xd8\xff", _jpeg),
    (rb"RIFF....WEBPVP8[ LX]", _webp),
    (rb"GIF8[79]a", _gif),
    (rb"BM", _bmp),
    (rb"II\*\0|MM\0\*", _tiff),
    (rb"P[1-6]\s", _netpbm),
)
