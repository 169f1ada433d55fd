"""Damaged pictures and arrays, read through `triptych.image.files.pictures`: each has to give pictures or a UserError.

    python benchmarks/fuzz_pictures.py [--count 3000] [--seed 1]

Makes small files of every format, damages them (bits, bytes, runs, truncation, splices, sizes of up to 4 billion; the
check sums of PNG often mended after it), reads them and a few that unpack to gigabytes, and prints one JSON object:
what became of them, the slowest read in seconds, and the most memory in MB above what reading whole files took. Exits
with 1 if anything but pictures or a UserError came out, a read took more than 5 s, or memory grew by 300 MB.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from triptych.errors import UserError
from triptych.image.files.decoding import MAX_PIXELS
from triptych.image.files.pictures import read_picture, read_pictures, read_resized

MAX_SECONDS = 5.0
MAX_MEGABYTES = 300

Damage = Callable[[bytearray, random.Random, list[tuple[str, bytes]]], None]


def whole_files() -> list[tuple[str, bytes]]:
    """A name and the content of small pictures in every format, and of arrays."""
    random = np.random.default_rng(1)
    smooth = Image.fromarray(random.integers(0, 256, (6, 5, 4), np.uint8)).resize((50, 60))
    colours, grey, frames = smooth.convert("RGB"), smooth.convert("L"), [smooth.convert("P"), smooth.rotate(9)]
    exif = Image.Exif()
    exif[274] = 6
    files: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("png", colours, {}), ("png", smooth, {"exif": exif}), ("png", frames[0], {"transparency": 3}),
        ("png", Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), {}), ("png", grey.convert("1"), {}),
        ("jpeg", colours, {"exif": exif}), ("jpeg", grey, {"progressive": True}), ("jpeg", colours.convert("CMYK"), {}),
        ("webp", colours, {}), ("webp", smooth, {"lossless": True, "exif": exif}),
        ("webp", smooth, {"save_all": True, "append_images": frames}),
    ]  # fmt: skip
    found = []
    for kind, picture, options in files:
        data = io.BytesIO()
        picture.save(data, kind, **options)
        found.append((kind, data.getvalue()))
    arrays = io.BytesIO()
    np.savez_compressed(arrays, x_train=random.integers(0, 256, (20, 4, 5, 4), np.uint8), y_train=np.arange(20))
    return [*found, ("npz", arrays.getvalue())]


def bombs() -> list[tuple[str, bytes]]:
    """Small files that unpack to gigabytes, or say so."""
    zeros = zlib.compressobj(9)
    packed = b"".join(zeros.compress(bytes(6_250_000)) for _ in range(50)) + zeros.flush()
    canvas = b"VP8X" + struct.pack("<II", 10, 0x10) + b"\xff\xff\xff\xff\0\0" + b"VP8L" + bytes(20)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        header = np.lib.format.header_data_from_array_1_0(np.empty((0, 1000, 1000), np.uint8))
        with members.open("x_train.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header | {"shape": (2_100, 1000, 1000)})
            for _ in range(2_100):
                member.write(bytes(1_000_000))
    return [
        ("png", png([(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)), (b"IDAT", packed)])),
        ("png", png([(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)), (b"iCCP", b"a\0\0" + packed),
                     *[(b"zTXt", b"a\0\0" + packed)] * 20, (b"IDAT", zlib.compress(bytes(72)))])),
        ("webp", b"RIFF" + struct.pack("<I", 4 + len(canvas)) + b"WEBP" + canvas),
        ("npz", archive.getvalue()),
    ]  # fmt: skip


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in [*chunks, (b"IEND", b"")]
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def flip_bits(data: bytearray, draw: random.Random, files: list[tuple[str, bytes]]) -> None:
    for _ in range(draw.choice([1, 1, 4, 64])):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def change_bytes(data: bytearray, draw: random.Random, files: list[tuple[str, bytes]]) -> None:
    for _ in range(draw.choice([1, 4, 64])):
        data[draw.randrange(len(data))] = draw.choice([0, 1, 0x7F, 0x80, 0xD9, 0xDA, 0xFF, draw.randrange(256)])


def change_number(data: bytearray, draw: random.Random, files: list[tuple[str, bytes]]) -> None:
    """Write a number over what may be a size."""
    form, most = draw.choice([("<H", 0xFFFF), (">H", 0xFFFF), ("<I", 0xFFFFFFFF), (">I", 0xFFFFFFFF)])
    number = draw.choice([0, 1, 2, 60, 100, 4096, 16_384, 1 << 16, 1 << 24, 1 << 31, most, draw.randint(0, most)])
    at = draw.randrange(min(len(data), draw.choice([30, 300, len(data)])))
    data[at : at + struct.calcsize(form)] = struct.pack(form, min(number, most))


def cut(data: bytearray, draw: random.Random, files: list[tuple[str, bytes]]) -> None:
    del data[draw.randrange(len(data)) :]


def remove(data: bytearray, draw: random.Random, files: list[tuple[str, bytes]]) -> None:
    at = draw.randrange(len(data))
    del data[at : at + draw.choice([1, 2, 100])]


def splice(data: bytearray, draw: random.Random, files: list[tuple[str, bytes]]) -> None:
    other = draw.choice(files)[1]
    data[draw.randrange(len(data)) :] = other[draw.randrange(len(other)) :]


def insert_run(data: bytearray, draw: random.Random, files: list[tuple[str, bytes]]) -> None:
    at = draw.randrange(len(data) + 1)
    unit = draw.choice([b"\0", b"\xff", b"\x80", b"\xff\xda\0\2", draw.randbytes(3)])
    data[at:at] = unit * draw.choice([1, 10, 1_000, 100_000])


def double(data: bytearray, draw: random.Random, files: list[tuple[str, bytes]]) -> None:
    at = draw.randrange(len(data))
    data[at:at] = data[at : at + draw.choice([12, 100, 1000])] * draw.choice([1, 2, 300])


DAMAGES: list[Damage] = [
    flip_bits, change_bytes, change_number, change_number, change_number, cut, remove, splice, insert_run, double,
]  # fmt: skip


def damaged(files: list[tuple[str, bytes]], draw: random.Random) -> tuple[str, bytes]:
    kind, content = draw.choice(files)
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 3])):
        if data:
            draw.choice(DAMAGES)(data, draw, files)
    if kind == "png" and draw.random() < 0.7:
        mend(data)
    return kind, bytes(data)


def mend(data: bytearray) -> None:
    """Give the chunks of a PNG the check sums that they should have."""
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 <= len(data):
            data[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4


def read(path: Path) -> str:
    """Read a file; "read", or the type of the error."""
    try:
        if path.suffix == ".npz":
            found, words = read_pictures(path)
            pictures = found.pictures
        else:
            small, _, words = read_resized(path, (32, 32))  # may be larger than what is read whole
            assert small.shape[:2] == (32, 32)
            picture, words = read_picture(path)
            pictures = picture[None]
        count, height, width, channels = pictures.shape
        assert pictures.dtype == np.uint8
        assert channels in (1, 3)
        assert count > 0 < height * width <= MAX_PIXELS
        assert not any("\n" in word for word in words)
    except UserError as error:
        assert "\n" not in str(error)
        assert repr(str(path)) in str(error)
        return "UserError"
    except Exception as error:
        traceback.print_exc()
        return type(error).__name__
    return "read"


def megabytes(now: bool = False) -> float:
    """Largest resident size of this process so far, or where the system tells it, the size now."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the parent had before this program was loaded
        return int(status.read_text().split("VmRSS:" if now else "VmHWM:")[1].split()[0]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("error")
    draw, outcomes, slowest = random.Random(options.seed), Counter[str](), 0.0
    files, huge = whole_files(), bombs()
    with tempfile.TemporaryDirectory() as folder:
        for place, (kind, data) in enumerate(files):
            path = Path(folder, f"whole{place}.{kind}")
            path.write_bytes(data)
            assert read(path) == "read", kind
        baseline = megabytes(now=True)
        for number in range(options.count):
            kind, data = huge[number] if number < len(huge) else damaged(files, draw)
            path = Path(folder, f"damaged.{kind}")
            path.write_bytes(data)
            begin = time.perf_counter()
            outcomes[read(path)] += 1
            slowest = max(slowest, time.perf_counter() - begin)
    memory = megabytes() - baseline
    errors = {name: count for name, count in outcomes.items() if name != "read"}
    report = {"count": options.count, "read": outcomes["read"], "errors": errors}
    print(json.dumps(report | {"slowest_seconds": round(slowest, 3), "peak_megabytes": round(memory, 1)}))
    return int(bool(errors.keys() - {"UserError"}) or slowest > MAX_SECONDS or memory > MAX_MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
