"""Photographs larger than what is kept whole."""

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from triptych.errors import UserError
from triptych.image.files import decoding
from triptych.image.files.decoding import decode
from triptych.image.files.masks import read_mask
from triptych.image.files.pictures import read_picture, read_pictures, read_resized


def smooth(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    """Colours that change slowly, so that a picture made small by any way is nearly the same."""
    coarse = np.random.default_rng(0).integers(0, 256, (2, 3, channels), np.uint8)
    image = Image.fromarray(coarse.squeeze())
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)).reshape(height, width, channels)


KINDS: list[tuple[str, dict[str, Any], int]] = [
    ("jpg", {"quality": 95}, 3), ("jpg", {"quality": 95, "progressive": True}, 3), ("jpg", {"quality": 95}, 1),
    ("png", {"compress_level": 1}, 3), ("webp", {"lossless": True}, 3),
    ("png", {"compress_level": 1}, 4),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options", "channels"), KINDS)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_picture_is_nearly_what_it_would_be_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: dict[str, Any], channels: int, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind}"
    Image.fromarray(smooth(300, 500, channels).squeeze()).save(path, **options, exif=exif)
    shown = 1 if channels == 1 else 3
    whole, size, words = read_resized(path, (6, 10), channels=shown)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 100_000)
    monkeypatch.setattr(decoding, "STRIP", 7_000)
    small, same, again = read_resized(path, (6, 10), channels=shown)
    assert (same, again) == (size, words) and size == ((300, 500) if orientation == 1 else (500, 300))
    assert small.shape == whole.shape == (6, 10, shown)
    apart = np.abs(small.astype(int) - whole)
    assert apart.max() <= 12 and apart.mean() < 2
    with pytest.raises(UserError, match=r"at most 100,000 pixels, got .* of 500 x 300; shrink it"):
        read_picture(path)


def test_strips_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {
        "rgba": np.random.default_rng(1).integers(0, 256, (23, 31, 4), np.uint8),
        "deep": np.random.default_rng(2).integers(0, 65_536, (23, 31)).astype(np.uint16),
        "bits": np.random.default_rng(3).random((23, 31)) < 0.5,
    }
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    Image.fromarray(pictures["rgba"][..., :3]).quantize(9).save(tmp_path / "palette.png", transparency=3)
    paths = sorted(tmp_path.iterdir())
    before = [read_picture(path) for path in paths]
    monkeypatch.setattr(decoding, "STRIP", 31 * 5)
    for path, (picture, words) in zip(paths, before, strict=True):
        again, warnings = read_picture(path)
        assert np.array_equal(again, picture) and warnings == words


def test_what_is_reduced_is_at_least_four_times_as_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 10)
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth(100, 150)).save(path)
    for size, shape in (
        ((3, 3), (13, 19)),
        ((4, 4), (25, 38)),
        ((12, 10), (50, 75)),
        ((30, 30), (100, 150)),
        ((100, 100), (100, 150)),
    ):
        found = decode(path.read_bytes(), "a.jpg", channels=None, size=size)
        assert found.pixels.shape[:2] == shape and found.size == (100, 150)


def jpeg_header(width: int, height: int, kind: int) -> bytes:
    return b"\xff\xd8\xff" + bytes([kind]) + b"\0\x0b\x08" + struct.pack(">HH", height, width) + b"\1\1\x11\0\xff\xd9"


@pytest.mark.parametrize(
    ("kind", "width", "most"),
    [(0xC0, 13_000, "134,217,728"), (0xC2, 7_500, "50,000,000")],
    ids=["lines", "progressive"],
)
def test_there_is_a_largest_photograph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int, width: int, most: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_header(width, width, kind))
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(UserError, match=f"at most {most} pixels"):
        read_resized(tmp_path / "a.jpg", (28, 28))


MEASURED = """
import sys
from pathlib import Path
from PIL import Image
from triptych.image.files.pictures import read_resized

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1000

Image.init()
before = peak()
picture, size, words = read_resized(sys.argv[1], (32, 32), channels=3)
print(size, picture.shape, peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the system gives no peak of memory")
def test_a_photograph_of_24_megapixels_in_little_memory(tmp_path: Path) -> None:
    row = np.linspace(0, 255, 6000, dtype=np.uint8)[None, :, None]
    Image.fromarray(np.broadcast_to(row, (4000, 6000, 3)).copy()).save(tmp_path / "a.jpg")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path / "a.jpg")], capture_output=True, text=True, check=True
    )
    size, megabytes = done.stdout.rsplit(" ", 1)
    assert size == "(4000, 6000) (32, 32, 3)"
    assert float(megabytes) < 40
    found, words = read_pictures(tmp_path, size=(32, 32))
    expected = smooth_row = found.pictures[0, 0, :, 0].astype(int)
    assert (np.diff(smooth_row) > 0).all() and (np.abs(found.pictures[0, ..., 0] - expected[None]) <= 1).all()
    assert words == [
        "edges cut off to the aspect ratio of 32 x 32: 1 picture, first 'a.jpg'",
        "resized to 32 x 32 pixels: 1 picture, first 'a.jpg'",
    ]


def test_a_mask_of_a_photograph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1_000)
    mask = np.random.default_rng(0).random((60, 80)) < 0.01
    Image.fromarray(mask).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png", (60, 80)), mask)


def test_of_a_file_of_several_photographs_the_first_is_read(tmp_path: Path) -> None:
    pictures = [Image.fromarray(smooth(20, 30)), Image.fromarray(smooth(20, 30)[::-1].copy())]
    pictures[0].save(tmp_path / "a.mpo", save_all=True, append_images=pictures[1:])
    found, words = read_picture(tmp_path / "a.mpo")
    with Image.open(tmp_path / "a.mpo") as whole:
        assert np.array_equal(found, np.asarray(whole))
    assert words == ["only the first of several pictures is read"]
