"""Tags of TIFF and EXIF data, and the orientation of a picture by EXIF or XMP.

TIFF 6.0, EXIF 2.3 (section 4.6), XMP (ISO 16684-1), and the text chunks in which ImageMagick keeps both in a PNG.
"""

from __future__ import annotations

import re
import struct
import zlib

TIFF_VALUES = {1: (1, "B"), 3: (2, "H"), 4: (4, "I"), 7: (1, "B")}  # bytes and format of byte, short, long, undefined
ORIENTATION = 274
EXIF_NOTE, XMP_NOTE = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"  # as JPEG segments begin
XMP_TEXT = b"XML:com.adobe.xmp"
PROFILES = (b"Raw profile type exif", b"Raw profile type APP1", b"Raw profile type xmp")
MAX_NOTE = 1 << 20  # bytes of a text, unpacked
XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*(\d)")


class Orientation:
    """Collects the orientation in the notes of a file: EXIF comes before XMP, and the first of each counts."""

    def __init__(self) -> None:
        self._exif: int | None = None
        self._xmp: int | None = None

    @property
    def value(self) -> int:
        """1 to 8 of EXIF; 1 is upright."""
        found = self._exif if self._exif is not None else self._xmp
        return found if found is not None and 1 <= found <= 8 else 1

    def read_exif(self, data: bytes) -> None:
        """Read EXIF data, with its JPEG opening or without."""
        data = data.removeprefix(EXIF_NOTE)
        if self._exif is not None or data[:4] not in (b"II*\0", b"MM\0*"):
            return
        try:
            entry = directory(data)[0].get(ORIENTATION)
            self._exif = None if entry is None else number(data, entry, 1)
        except (ValueError, struct.error):  # a damaged note about a picture is no damage to the picture
            return

    def read_xmp(self, data: bytes) -> None:
        """Read XMP data, which is XML in UTF-8; the one number in it is looked up without parsing the rest."""
        found = XMP_ORIENTATION.search(data, 0, MAX_NOTE) if self._xmp is None else None
        if found:
            self._xmp = int(found[1])

    def read_note(self, data: bytes) -> None:
        """Read a JPEG segment APP1: EXIF, XMP, or neither."""
        if data.startswith(EXIF_NOTE):
            self.read_exif(data)
        elif data.startswith(XMP_NOTE):
            self.read_xmp(data[len(XMP_NOTE) :])

    def read_text(self, kind: bytes, data: bytes) -> None:
        """Read a text chunk of a PNG: tEXt, zTXt or iTXt. No more than `MAX_NOTE` bytes are unpacked, of few texts."""
        keyword, _, rest = data.partition(b"\0")
        if keyword == XMP_TEXT and kind == b"iTXt" and self._xmp is None:
            packed, (_, _, text) = rest[:1] == b"\1", _parts(rest[2:])
            self.read_xmp(_unpacked(text) if packed else text)
        elif keyword in PROFILES and self._exif is None:
            if kind == b"iTXt":
                packed, (_, _, text) = rest[:1] == b"\1", _parts(rest[2:])
            else:
                packed, text = kind == b"zTXt", rest[1:] if kind == b"zTXt" else rest
            profile = _profile(_unpacked(text) if packed else text[: 2 * MAX_NOTE])
            if keyword.endswith(b"xmp"):
                self.read_xmp(profile)
            elif profile.startswith(XMP_NOTE):
                self.read_note(profile)
            else:
                self.read_exif(profile)


def _parts(rest: bytes) -> tuple[bytes, bytes, bytes]:
    """Language, translated keyword and text of an iTXt chunk."""
    language, _, more = rest.partition(b"\0")
    translated, _, text = more.partition(b"\0")
    return language, translated, text


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, MAX_NOTE)
    except zlib.error:
        return b""


def _profile(text: bytes) -> bytes:
    """The bytes that ImageMagick writes as lines: an empty one, the kind, the length, then hexadecimal digits."""
    lines = text.split(b"\n", 3)
    try:
        return bytes.fromhex(lines[3].decode("ascii")) if len(lines) == 4 else b""
    except ValueError:
        return b""


def directory(data: bytes) -> tuple[dict[int, bytes], int]:
    """The 12 bytes of each tag in the first directory of TIFF data, and the place of the next directory."""
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(f"{order}I", data, 4)[0]
    count = struct.unpack_from(f"{order}H", data, at)[0]
    entries: dict[int, bytes] = {}
    for place in range(at + 2, at + 2 + 12 * count, 12):
        tag = struct.unpack_from(f"{order}HHII", data, place)[0]
        entries.setdefault(tag, data[place : place + 12])
    end = at + 2 + 12 * count
    return entries, int.from_bytes(data[end : end + 4], "little" if order == "<" else "big")


def number(data: bytes, entry: bytes | None, default: int) -> int:
    """The one value of a tag. Raises ValueError where it is none."""
    if entry is None:
        return default
    order = "<" if data[:2] == b"II" else ">"
    tag, kind, count = struct.unpack_from(f"{order}HHI", entry)
    if kind not in TIFF_VALUES or count != 1:
        raise ValueError(f"its tag {tag} is not one number")
    return int(struct.unpack_from(order + TIFF_VALUES[kind][1], entry, 8)[0])


def content(data: bytes, entry: bytes) -> bytes:
    """The bytes of a tag of bytes, at most `MAX_NOTE`; of any other tag none."""
    order = "<" if data[:2] == b"II" else ">"
    _, kind, count, at = struct.unpack(f"{order}HHII", entry)
    return data[at : at + min(count, MAX_NOTE)] if kind in (1, 7) and count > 4 else b""
