import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych.image.files.container import first_picture

SMOOTH = Image.fromarray(np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)).resize((30, 20))


def encoded(kind: str, picture: Image.Image = SMOOTH, **options: Any) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def segment(kind: int, content: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", 2 + len(content)) + content


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[274] = orientation
    found[270] = "a long description " * 99
    return found


def frames(**options: Any) -> dict[str, Any]:
    return {"save_all": True, "append_images": [SMOOTH.rotate(180), SMOOTH.rotate(90)], **options}


CASES: dict[str, tuple[bytes, tuple[str, int, bool]]] = {
    "png": (encoded("png", exif=exif(3), icc_profile=bytes(999)), ("PNG", 3, False)),
    "apng": (encoded("png", **frames()), ("PNG", 1, True)),
    "jpeg": (encoded("jpeg", exif=exif(6), comment=bytes(999)), ("JPEG", 6, False)),
    "progressive": (encoded("jpeg", progressive=True, icc_profile=bytes(99_999)), ("JPEG", 1, False)),
    "webp": (encoded("webp", exif=exif(8), xmp=bytes(99)), ("WEBP", 8, False)),
    "webps": (encoded("webp", **frames(lossless=True)), ("WEBP", 1, True)),
}


@pytest.mark.parametrize("name", CASES)
def test_one_picture_is_left_with_the_same_pixels(name: str) -> None:
    data, (form, orientation, more) = CASES[name]
    found = first_picture(data)
    assert (found.format, found.orientation, found.more) == (form, orientation, more)
    assert (found.width, found.height) == (30, 20)
    with Image.open(io.BytesIO(data)) as whole, Image.open(io.BytesIO(found.data)) as alone:
        assert alone.size == (30, 20)
        assert (alone.format, getattr(alone, "n_frames", 1)) == (form, 1)
        assert "exif" not in alone.info
        assert dict(alone.getexif()).keys().isdisjoint({270, 274})
        assert np.array_equal(np.asarray(alone.convert("RGB")), np.asarray(whole.convert("RGB")))


def test_what_is_left_is_small() -> None:
    junk = np.random.default_rng(1).bytes(60_000)
    plain = {kind: len(encoded(kind)) for kind in ("png", "jpeg", "webp")}
    png, jpeg = encoded("png"), encoded("jpeg")
    stuffed = {
        "png": png[:33] + chunk(b"iCCP", b"a\0\0" + zlib.compress(junk)) + chunk(b"prVt", junk) + png[33:] + junk,
        "jpeg": jpeg[:2] + b"".join(segment(kind, junk) for kind in (0xE1, 0xE2, 0xED, 0xFE)) + jpeg[2:] + junk,
        "webp": encoded("webp", xmp=junk, icc_profile=junk),
    }
    for kind, data in stuffed.items():
        assert len(data) > plain[kind] + len(junk) // 2
        assert len(first_picture(data).data) <= plain[kind] + 30


def peak(data: bytes) -> int:
    """Most memory taken, beyond the file, by cutting one that is refused."""
    tracemalloc.start()
    with pytest.raises(ValueError, match="it has"):
        first_picture(data)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


PNG, JPEG = encoded("png"), encoded("jpeg", progressive=True)
SCAN = JPEG[JPEG.rindex(b"\xff\xda") : -2]
TOO_MANY = {
    "png chunks": (PNG[:-12] + chunk(b"IDAT") * 100_000 + PNG[-12:], "100,000 chunks"),
    "jpeg scans": (JPEG[:-2] + SCAN * 100 + JPEG[-2:], "100 scans"),
    "jpeg segments": (JPEG[:2] + segment(0xE1, b"") * 100_000 + JPEG[2:], "100,000 segments"),
    "webp chunks": (CASES["webp"][0] + b"ALPH\0\0\0\0" * 100_000, "100,000 chunks"),
}


@pytest.mark.parametrize("name", TOO_MANY)
def test_files_in_too_many_parts_are_refused(name: str) -> None:
    data, message = TOO_MANY[name]
    with pytest.raises(ValueError, match=f"it has more than {message}"):
        first_picture(data)
    assert peak(data) < 30_000_000


def test_as_many_parts_as_are_allowed_can_be_read() -> None:
    for data in (
        PNG[:-12] + chunk(b"IDAT") * 99_000 + PNG[-12:],
        PNG[:33] + chunk(b"prVt") * 200_000 + PNG[33:],
        JPEG[:-2] + SCAN * (100 - JPEG.count(b"\xff\xda")) + JPEG[-2:],
        JPEG[:2] + b"\xff" * 1_000_000 + JPEG[2:],
    ):
        with Image.open(io.BytesIO(first_picture(data).data)) as alone:
            assert alone.convert("RGB").size == (30, 20)


def test_files_of_no_format_and_of_nothing_but_an_opening() -> None:
    for data in (
        b"",
        b"text",
        b"II*\0" + bytes(99),
        b"P6 1 1 255 abc",
        b"GIF89a" + bytes(99),
        b"BM" + bytes(99),
        b"RIFF0000WAVEfmt ",
    ):
        with pytest.raises(ValueError, match="it is none of these"):
            first_picture(data)
    for data in (b"RIFF\0\0\0\0WEBPVP8 ", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
        with pytest.raises(ValueError, match="it ends before its picture begins"):
            first_picture(data)
