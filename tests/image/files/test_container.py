import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych.image.files.container import MAX_SLOW_BYTES, first_picture

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
    "gif": (encoded("gif", comment=bytes(999)), ("GIF", 1, False)),
    "gifs": (encoded("gif", **frames(disposal=2)), ("GIF", 1, True)),
    "webp": (encoded("webp", exif=exif(8), xmp=bytes(99)), ("WEBP", 8, False)),
    "webps": (encoded("webp", **frames(lossless=True)), ("WEBP", 1, True)),
    "bmp": (encoded("bmp"), ("BMP", 1, False)),
    "ppm": (encoded("ppm"), ("PPM", 1, False)),
    "tiff": (encoded("tiff", exif=exif(5), compression="tiff_lzw"), ("TIFF", 5, False)),
    "tiffs": (encoded("tiff", **frames()), ("TIFF", 1, True)),
    "big-endian tiff": (encoded("tiff", SMOOTH.convert("I;16").convert("I;16B")), ("TIFF", 1, False)),
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
        expected = np.asarray(whole.convert("RGB"))
        if orientation == 5 and form == "TIFF":  # which Pillow exchanges rows and columns of as it loads it
            expected = expected.swapaxes(0, 1)
        assert np.array_equal(np.asarray(alone.convert("RGB")), expected)


def test_a_frame_that_is_alone_is_not_to_be_disposed_of() -> None:
    data = encoded("gif", SMOOTH.quantize(9), transparency=7, disposal=2)
    with Image.open(io.BytesIO(data)) as whole, Image.open(io.BytesIO(first_picture(data).data)) as alone:
        assert whole.disposal_method == 2  # type: ignore[attr-defined]
        assert alone.disposal_method == 0  # type: ignore[attr-defined]
        assert whole.info["transparency"] == alone.info["transparency"]


def test_what_is_left_is_small() -> None:
    junk = np.random.default_rng(1).bytes(60_000)
    plain = {kind: len(encoded(kind)) for kind in ("png", "jpeg", "gif", "webp", "tiff")}
    png, jpeg, gif = encoded("png"), encoded("jpeg"), encoded("gif")
    comment = b"!\xfe" + b"".join(b"\xff" + junk[:255] for _ in range(200)) + b"\0"
    stuffed = {
        "png": png[:33] + chunk(b"iCCP", b"a\0\0" + zlib.compress(junk)) + chunk(b"prVt", junk) + png[33:] + junk,
        "jpeg": jpeg[:2] + b"".join(segment(kind, junk) for kind in (0xE1, 0xE2, 0xED, 0xFE)) + jpeg[2:] + junk,
        "gif": gif[: 13 + 768] + comment + gif[13 + 768 :] + junk,
        "webp": encoded("webp", xmp=junk, icc_profile=junk),
    }
    for kind, data in stuffed.items():
        assert len(data) > plain[kind] + len(junk) // 2
        assert len(first_picture(data).data) <= plain[kind] + 30
    found = first_picture(encoded("tiff", tiffinfo={700: junk, 33432: "copyright", 65000: tuple(range(100))}))
    with Image.open(io.BytesIO(found.data)) as alone:
        assert dict(alone.getexif()).keys().isdisjoint({700, 33432, 65000})


def peak(data: bytes) -> int:
    """Most memory taken, beyond the file, by cutting one that is refused."""
    tracemalloc.start()
    with pytest.raises(ValueError, match="it has"):
        first_picture(data)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


PNG, JPEG, GIF = encoded("png"), encoded("jpeg", progressive=True), encoded("gif")
SCAN = JPEG[JPEG.rindex(b"\xff\xda") : -2]
PALETTE = GIF[: 13 + 768]
TOO_MANY = {
    "png chunks": (PNG[:-12] + chunk(b"IDAT") * 100_000 + PNG[-12:], "100,000 chunks"),
    "jpeg scans": (JPEG[:-2] + SCAN * 100 + JPEG[-2:], "100 scans"),
    "jpeg segments": (JPEG[:2] + segment(0xE1, b"") * 100_000 + JPEG[2:], "100,000 segments"),
    "gif blocks": (PALETTE + b"!\xfe" + b"\1x" * (1 << 20) + b"\0" + GIF[len(PALETTE) :], "1,048,576 blocks"),
    "webp chunks": (CASES["webp"][0] + b"ALPH\0\0\0\0" * 100_000, "100,000 chunks"),
    "comments": (b"P3 1 1 255 " + b"#\n" * 1_001 + b"1 2 3 ", "1,000 comments"),
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
        PALETTE + b"!\xfe" + b"\1x" * (1 << 19) + b"\0" + GIF[len(PALETTE) :],
    ):
        with Image.open(io.BytesIO(first_picture(data).data)) as alone:
            assert alone.convert("RGB").size == (30, 20)


def test_a_gif_that_is_nothing_but_crumbs_is_refused() -> None:
    for crumbs in (b"!\xfe\0", b"\1"):
        data = PALETTE + crumbs * 2_000_000 + GIF[len(PALETTE) :]
        with pytest.raises(ValueError, match="it has no picture in it"):
            first_picture(data)


def tiff(tags: dict[int, tuple[int, int, int]], order: str = "<") -> bytes:
    """A TIFF file of these tags (type, count, value), without pixels."""
    found = {256: (4, 1, 9), 257: (4, 1, 9), 258: (4, 1, 8), 259: (4, 1, 8), 262: (4, 1, 1), 273: (4, 1, 8)} | tags
    entries = b"".join(struct.pack(f"{order}HHII", tag, *values) for tag, values in sorted(found.items()))
    return (
        {"<": b"II*\0", ">": b"MM\0*"}[order]
        + struct.pack(f"{order}IH", 8, len(found))
        + entries
        + bytes(4 + 1_000_000)
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({322: (4, 1, 1 << 14), 323: (4, 1, (1 << 10) + 1)}, "its tiles are 16384 x 1025"),
        ({322: (4, 1, 16)}, "its tiles are 16 x 0"),
        ({257: (4, 1, 65_537), 278: (4, 1, 1)}, "more than 65,536 strips or tiles"),
        ({257: (4, 1, 40_000), 277: (4, 1, 3), 278: (4, 1, 1), 284: (4, 1, 2)}, "more than 65,536 strips or tiles"),
        ({256: (4, 1, 4096), 257: (4, 1, 4112), 322: (4, 1, 16), 323: (4, 1, 16)}, "more than 65,536 strips or tiles"),
        ({273: (4, 65_537, 8)}, "more than 65,536 values of tag 273"),
        ({273: (5, 10, 8)}, "its tag 273 is of a wrong type"),
        ({256: (4, 2, 8)}, "its tag 256 is not one number"),
        ({259: (4, 1, 34925)}, "its compression (34925) or its 1 samples a pixel are not known"),
        ({259: (4, 1, 50000)}, "its compression (50000)"),
        ({259: (4, 1, 6)}, "its compression (6)"),
        ({277: (4, 1, 7)}, "its 7 samples a pixel are not known"),
    ],
)
def test_tiff_files_that_would_take_much_are_refused(
    tags: dict[int, tuple[int, int, int]], message: str, order: str
) -> None:
    first_picture(tiff({}, order))
    with pytest.raises(ValueError, match="it") as error:
        first_picture(tiff(tags, order))
    assert message in str(error.value)


def test_a_tiff_file_without_a_size() -> None:
    with pytest.raises(ValueError, match="it has no size in it"):
        first_picture(struct.pack("<2sHIH", b"II", 42, 8, 1) + struct.pack("<HHII", 256, 4, 1, 9) + bytes(4))


def repeat_counts(count: int) -> bytes:
    """An 8-bit grey BMP file of 4 x 2 pixels, its rows given as runs."""
    header = struct.pack("<IiiHHIIIIII", 40, 4, 2, 1, 8, 1, 0, 0, 0, 256, 0)
    palette = b"".join(bytes([shade, shade, shade, 0]) for shade in range(256))
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + header + palette + b"\4\x09\0\0\4\x07\0\1" + bytes(count)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (repeat_counts(0), repeat_counts(MAX_SLOW_BYTES)),
        (b"P3 2 1 255 1 2 3 4 5 6\n", b"P3 2 1 255 1 2 3 4 5 6\n" + b" " * MAX_SLOW_BYTES),
        (b"P1 2 1\n1 0\n", b"P1 2 1\n1 0\n" + b" " * MAX_SLOW_BYTES),
        (b"P5 2 1 99\nab", b"P5 2 1 99\nab" + bytes(MAX_SLOW_BYTES)),
        (b"P6 1 1 65535\nabcdef", b"P6 1 1 65535\nabcdef" + bytes(MAX_SLOW_BYTES)),
    ],
    ids=["bmp", "ppm", "pbm", "pgm", "deep ppm"],
)
def test_what_is_slow_to_read_has_to_be_small(small: bytes, large: bytes) -> None:
    with Image.open(io.BytesIO(first_picture(small).data)) as alone:
        alone.load()
    with pytest.raises(ValueError, match="it is of a kind that is slow to read, and larger than 4,000,000 bytes"):
        first_picture(large)


def test_what_is_fast_to_read_may_be_large() -> None:
    for opening in (b"P4 2 1 ", b"P5 2 1 255 ", b"P5 2 1 65535 ", b"P6 2 1 255 "):
        assert first_picture(opening + bytes(MAX_SLOW_BYTES)).width == 2


def test_comments_before_the_pixels() -> None:
    found = first_picture(b"P3 # a\n#b\r2 #2\n\t1\n255 #c\n1 2 3 #4\n 4 5 6\n")
    with Image.open(io.BytesIO(found.data)) as alone:
        assert np.asarray(alone).tolist() == [[[1, 2, 3], [4, 5, 6]]]
    for data in (
        b"P3 #" + b"a" * 20_000 + b"\n2 1 255 1 2 3",
        b"P3" + b" " * 20_000 + b"2 1 255 1 2 3",
        b"P3 2 1\n",
        b"P4 x",
    ):
        with pytest.raises(ValueError, match="its header is damaged"):
            first_picture(data)


def test_files_of_no_format_and_of_nothing_but_an_opening() -> None:
    for data in (b"", b"text", b"II+\0" + bytes(99), b"P7 1 1 ", b"RIFF0000WAVEfmt "):
        with pytest.raises(ValueError, match="it is none of these"):
            first_picture(data)
    for data in (
        b"BM",
        b"II*\0",
        b"MM\0*\0\0\0\x08",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    ):
        with pytest.raises(ValueError, match="it ends before its picture begins"):
            first_picture(data)
