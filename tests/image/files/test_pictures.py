import json
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from triptych.errors import UserError
from triptych.image.files.decoding import MAX_PIXELS
from triptych.image.files.pictures import MAX_FILE_BYTES, Pictures, read_picture, write_picture

ONE_LINE = r"^expected [^\n]*; [a-z][^\n]*$"
ON_WHITE = "transparency is put on white"
SIXTEEN = "16 bits a channel become 8"
FIRST = "only the first of several pictures is read"
TURNED = "turned by its EXIF orientation"


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def image(pixels: NDArray[Any]) -> Image.Image:
    return Image.fromarray(pixels)


SMOOTH = np.asarray(image(noise(3, 4, 3)).resize((30, 20)))


def save(path: Path, picture: Image.Image, **options: Any) -> Path:
    picture.save(path, **options)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_a_written_picture_is_read_back_exactly(
    folder: Path, height: int, width: int, channels: int, seed: int
) -> None:
    picture = noise(height, width, channels, seed=seed)
    write_picture(folder / "a.png", picture)
    found, words = read_picture(folder / "a.png")
    assert np.array_equal(found, picture)
    assert found.dtype == np.uint8
    assert words == []
    assert found.flags.writeable
    assert found.flags.c_contiguous


def test_writing_makes_the_folder_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_picture(str(tmp_path / "deep" / "a.PNG"), SMOOTH)
    write_picture(tmp_path / "deep" / "a.PNG", SMOOTH[:5])
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.PNG"]
    assert read_picture(tmp_path / "deep" / "a.PNG")[0].shape == (5, 30, 3)


def test_what_is_no_png_or_no_picture_is_not_written(tmp_path: Path) -> None:
    for name in ("a.jpg", "png", "a.png.bak"):
        with pytest.raises(UserError, match=r"expected a picture named \*\.png, got '.*'; change the suffix"):
            write_picture(tmp_path / name, noise(0))  # the suffix comes before the pixels
    wrong: list[NDArray[Any]] = [
        SMOOTH.astype(np.int64), SMOOTH[..., 0], SMOOTH[..., :2], noise(2, 2, 4), SMOOTH[:0], SMOOTH[:, :0],
    ]  # fmt: skip
    for pixels in wrong:
        with pytest.raises(UserError, match=ONE_LINE):
            write_picture(tmp_path / "a.png", pixels)
    assert not list(tmp_path.iterdir())


GREY = SMOOTH[..., 0]
EXACT: dict[str, tuple[Image.Image, dict[str, Any], NDArray[np.uint8]]] = {
    "grey.png": (image(GREY), {}, GREY[..., None]),
    "bits.png": (image(GREY > 99), {}, np.where(GREY > 99, 255, 0)[..., None]),
    "rgb.png": (image(SMOOTH), {}, SMOOTH),
    "palette.png": (image(SMOOTH).quantize(9), {}, np.asarray(image(SMOOTH).quantize(9).convert("RGB"))),
    "rgb.webp": (image(SMOOTH), {"lossless": True}, SMOOTH),
}


@pytest.mark.parametrize("name", EXACT)
def test_formats_that_keep_every_pixel(tmp_path: Path, name: str) -> None:
    picture, options, expected = EXACT[name]
    found, words = read_picture(str(save(tmp_path / name, picture, **options)))
    assert np.array_equal(found, expected)
    assert words == []


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}, {"comment": b"x" * 9}])
def test_a_jpeg_is_what_pillow_makes_of_it(tmp_path: Path, options: dict[str, Any]) -> None:
    for picture in (image(SMOOTH), image(GREY)):
        path = save(tmp_path / "a.jpeg", picture, **options)
        with Image.open(path) as whole:
            assert np.array_equal(read_picture(path)[0].squeeze(), np.asarray(whole))
    inks = save(tmp_path / "inks.jpg", image(SMOOTH).convert("CMYK"))
    with Image.open(inks) as whole:
        assert np.array_equal(read_picture(inks)[0], np.asarray(whole.convert("RGB")))


def test_channels_can_be_chosen(tmp_path: Path) -> None:
    colours, grey = save(tmp_path / "rgb.png", image(SMOOTH)), save(tmp_path / "grey.png", image(GREY))
    assert np.array_equal(read_picture(grey, channels=3)[0], np.dstack([GREY] * 3))
    assert np.array_equal(read_picture(colours, channels=1)[0][..., 0], np.asarray(image(SMOOTH).convert("L")))
    assert read_picture(colours, channels=3)[0].shape == (20, 30, 3)
    for channels in (0, 2, 4):
        with pytest.raises(UserError, match=f"expected 1 channel .* got {channels}; "):
            read_picture(colours, channels=channels)


def on_white(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The formula for compositing, in real numbers."""
    opacity = pixels[..., -1:] / 255
    return np.rint(pixels[..., :-1] * opacity + 255 * (1 - opacity)).astype(np.int64)


@pytest.mark.parametrize(("kind", "channels"), [("png", 4), ("png", 2), ("webp", 4)])
def test_transparency_is_put_on_white(tmp_path: Path, kind: str, channels: int) -> None:
    options = {"lossless": True, "exact": True} if kind == "webp" else {}
    pixels = noise(9, 8, channels)
    found, words = read_picture(save(tmp_path / f"a.{kind}", image(pixels), **options))
    assert np.array_equal(found, on_white(pixels))
    assert words == [ON_WHITE]
    pixels[..., -1] = 255
    found, words = read_picture(save(tmp_path / f"a.{kind}", image(pixels), **options))
    assert np.array_equal(found, pixels[..., :-1])
    assert words == []


def test_a_transparent_colour_is_white(tmp_path: Path) -> None:
    palette = image(noise(5, 5, 3)).quantize(8)
    whole, places = np.asarray(palette.convert("RGB")), np.asarray(palette)
    for name, transparency, hidden in [
        ("one.png", 3, places == 3),
        ("some.png", bytes([255, 0, 0, 255, 0, 255, 255, 255]), np.isin(places, (1, 2, 4))),
    ]:  # fmt: skip
        found, words = read_picture(save(tmp_path / name, palette, transparency=transparency))
        assert np.array_equal(found, np.where(hidden[..., None], 255, whole))
        assert words == [ON_WHITE]
    shade = int(GREY[0, 0])
    found, words = read_picture(save(tmp_path / "grey.png", image(GREY), transparency=shade))
    assert np.array_equal(found[..., 0], np.where(shade == GREY, 255, GREY))
    assert words == [ON_WHITE]
    grey, _ = read_picture(save(tmp_path / "grey.png", image(noise(5, 5, 4))), channels=1)
    assert np.array_equal(grey[..., 0], np.asarray(image(on_white(noise(5, 5, 4)).astype(np.uint8)).convert("L")))


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = np.array([[0, 127, 128, 129, 256, 32_767, 65_406, 65_407, 65_535]], np.uint16)
    found, words = read_picture(save(tmp_path / "a.png", image(deep)))
    assert np.array_equal(found[..., 0], np.rint(deep / 257))
    assert words == [SIXTEEN]
    assert read_picture(tmp_path / "a.png", channels=3)[0].shape == (1, 9, 3)


def test_sixteen_bits_of_colour_or_with_a_transparent_shade(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + struct.pack(">3H", 258, 513, 0xFFFF) for _ in range(2))
    (tmp_path / "a.png").write_bytes(png(1, 2, 16, 2, rows))
    found, words = read_picture(tmp_path / "a.png")
    assert found.tolist() == [[[1, 2, 255]]] * 2
    assert words == [SIXTEEN]
    (tmp_path / "b.png").write_bytes(png(2, 1, 16, 0, b"\0" + struct.pack(">2H", 258, 514), (b"tRNS", b"\1\2")))
    found, words = read_picture(tmp_path / "b.png")
    assert found.tolist() == [[[255], [2]]]
    assert words == [SIXTEEN, ON_WHITE]


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", range(10))
def test_orientation_is_applied_as_pillow_does(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{kind}", image(SMOOTH), exif=exif)
    found, words = read_picture(path)
    with Image.open(path) as whole:
        assert np.array_equal(found, np.asarray(ImageOps.exif_transpose(whole)))
    assert words == ([TURNED] if 2 <= orientation <= 8 else [])
    assert found.flags.c_contiguous


def test_a_damaged_note_about_the_orientation_is_no_damage_to_the_picture(tmp_path: Path) -> None:
    for exif in (
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x05\0\0\0\1",
    ):
        path = save(tmp_path / "a.jpg", image(SMOOTH), exif=exif)
        assert read_picture(path)[0].shape == (20, 30, 3)


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_of_several_pictures_the_first_is_read(tmp_path: Path, kind: str) -> None:
    frames = [image(np.full((6, 5, 3), shade, np.uint8)) for shade in (0, 60, 255)]
    options = {"lossless": True} if kind == "webp" else {}
    path = save(tmp_path / f"a.{kind}", frames[0], save_all=True, append_images=frames[1:], **options)
    found, words = read_picture(path)
    assert found.shape[:2] == (6, 5)
    assert not found.any()
    assert words == [FIRST]


def png(width: int, height: int, bits: int, colours: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]:
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return data


def test_paths_that_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    paths: list[tuple[str | Path, str]] = [
        (tmp_path / "none.png", "which is no file; check the path"), (tmp_path, "which is no file; check the path"),
        ("zero\0byte.png", "which is no file; check the path"), (tmp_path / ("a" * 5000), "check the path"),
        (tmp_path / "empty.png", "which is empty; choose another file"),
    ]  # fmt: skip
    for path, message in paths:
        with pytest.raises(UserError, match=ONE_LINE) as error:
            read_picture(path)
        assert str(error.value).endswith(message)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_file_that_would_never_end_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero"):
        with pytest.raises(UserError, match="is no file"):
            read_picture(path)


def test_a_file_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    write_picture(tmp_path / "a.png", SMOOTH)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"a\.png': Permission denied; check the path"):
        read_picture(tmp_path / "a.png")


def test_a_large_file_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("opened"))
    with pytest.raises(UserError, match=r"at most 100,000,000 bytes, got '.*' of 100,000,001; shrink it"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize(
    "data",
    [b"GIF", b"hello, world", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe", b"8BPS" + bytes(99), b"\0\0\1\0" + bytes(99),
     b"II+\0" + bytes(99), b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 ", b"BM", b"P6", b"P6 0 9 255\n", b"II*\0\x08"],
)  # fmt: skip
def test_what_is_no_picture_is_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a\nb.png"
    path.write_bytes(data)
    with pytest.raises(UserError, match=ONE_LINE) as error:
        read_picture(path)
    assert repr(str(path)) in str(error.value)


@pytest.mark.parametrize("kind", ["gif", "bmp", "tiff", "ppm"])
def test_other_formats_are_refused_with_the_remedy(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "a.png", image(SMOOTH), format=kind)
    with pytest.raises(UserError, match=r"expected a whole PNG, JPEG or WebP file, got .*; save it anew as PNG"):
        read_picture(path)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("kept", [0.1, 0.4, 0.7])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, kept: float) -> None:
    picture, options, _ = EXACT[name]
    path = save(tmp_path / name, picture, **options)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(UserError, match=ONE_LINE):
        read_picture(path)


RAISED = [
    OSError("a\nb"), SyntaxError("x"), ValueError(), struct.error("x"), EOFError(), IndexError("x"), OverflowError("x"),
    MemoryError(), zlib.error("x"), KeyError("x"), TypeError("x"), RecursionError("x"), ZeroDivisionError("x"),
    Image.DecompressionBombError("x"), UnidentifiedImageError("at 0x7f"), AttributeError("x"), AssertionError(),
]  # fmt: skip


@pytest.mark.parametrize("raised", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["open", "load"])
def test_whatever_the_decoder_raises_is_an_error_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, place: str
) -> None:
    write_picture(tmp_path / "a.png", SMOOTH)

    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(Image if place == "open" else Image.Image, place, fail)
    with pytest.raises(UserError, match=ONE_LINE) as error:
        read_picture(tmp_path / "a.png")
    assert str(tmp_path / "a.png") in str(error.value)
    assert "0x7f" not in str(error.value)


def test_an_interrupt_is_no_error_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    write_picture(tmp_path / "a.png", SMOOTH)
    monkeypatch.setattr(Image, "open", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read_picture(tmp_path / "a.png")


HUGE = {
    "png": (png(50_000, 50_000, 1, 0, bytes(1_000_000)), "50000 x 50000"),
    "jpeg": (b"\xff\xd8\xff\xc0\0\x0b\x08" + struct.pack(">HH", 65500, 257) + b"\1\1\x11\0\xff\xd9", "257 x 65500"),
    "webp": (b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0", "16777216 x 256"),
    "webp lossy": (b"RIFF\x1a\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\1\x2a\xff\x3f\xff\x3f", "16383 x 16383"),
    "webp lossless": (b"RIFF\x1a\0\0\0WEBPVP8L\x0a\0\0\0\x2f\xff\xff\xff\x0f", "16384 x 16384"),
}  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.parametrize("limit", [None, 2**60], ids=["unlimited", "limited"])
def test_a_large_picture_is_refused_before_the_decoder_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: int | None
) -> None:
    data, message = HUGE[name]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)  # Pillow's own limit is not what saves us
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(UserError, match=f"at most 16,777,216 pixels, got '.*' of {message}; shrink it"):
        read_picture(tmp_path / "a")


def test_the_most_pixels_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(4096, 4096, 1, 0, bytes(513 * 4096)))
    assert read_picture(tmp_path / "a.png")[0].size == MAX_PIXELS


def test_a_decoder_that_sees_another_size_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_picture(tmp_path / "a.png", SMOOTH)
    with Image.open(save(tmp_path / "b.png", image(SMOOTH[:9]))) as other:
        monkeypatch.setattr(Image, "open", lambda *_, **__: other)
        with pytest.raises(UserError, match="its header contradicts itself"):
            read_picture(tmp_path / "a.png")


def test_warnings_of_pillow_are_silenced_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_picture(tmp_path / "a.png", SMOOTH)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # 600 pixels are warned of, 1,000 would be refused
    before = list(warnings.filters)
    assert read_picture(tmp_path / "a.png")[0].shape == (20, 30, 3)
    assert list(warnings.filters) == before
    opened = Image.open

    def warn(*arguments: Any, **options: Any) -> Image.Image:
        warnings.warn("of another thread, say", stacklevel=1)
        return opened(*arguments, **options)

    monkeypatch.setattr(Image, "open", warn)
    with pytest.warns(UserWarning, match="of another thread, say"):
        read_picture(tmp_path / "a.png")


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    pictures = [noise(20, 20, 3, seed=seed) for seed in range(8)]
    for place, picture in enumerate(pictures):
        write_picture(tmp_path / f"{place}.png", picture)
    same: list[bool] = []

    def read(place: int) -> None:
        same.extend(np.array_equal(read_picture(tmp_path / f"{place}.png")[0], pictures[place]) for _ in range(20))

    threads = [threading.Thread(target=read, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == [True] * 160


@pytest.mark.skipif(sys.platform == "win32", reason="the memory of a process is measured as on POSIX")
def test_damaged_files_are_read_or_refused_within_memory() -> None:
    program = Path(__file__).parents[3] / "benchmarks" / "fuzz_pictures.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(program), "--count", "300"], capture_output=True, text=True, check=False, env=environment
    )
    found = json.loads(done.stdout)
    assert (done.returncode, found["count"]) == (0, 300), done.stderr
    assert found["errors"].keys() == {"UserError"}
    assert min(found["read"], found["errors"]["UserError"]) > 50
    assert found["read"] + found["errors"]["UserError"] == 300
    assert 0 < found["peak_megabytes"] < 300


def test_pillow_is_loaded_by_the_first_picture_alone() -> None:
    loaded = "print([name for name in ('torch', 'PIL') if name in sys.modules])"
    check = f"import sys, triptych.image.files.pictures; {loaded}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_some_pictures_evenly_from_all() -> None:
    some = Pictures(noise(9, 2, 2, 1), np.arange(9), ("a",) * 9)
    assert some.evenly(9) is some and some.evenly(20) is some
    few = some.evenly(3)
    assert few.labels is not None and few.labels.tolist() == [0, 4, 8]
    assert np.array_equal(few.pictures, some.pictures[[0, 4, 8]])
    assert some.evenly(1).labels == [0]
