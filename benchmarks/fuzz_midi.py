"""Damaged MIDI files, read through `triptych.music.reading.MusicReader`: each has to give a piece or a UserError.

Every second one is read as a performance.

    python benchmarks/fuzz_midi.py --data ZIP_OR_FOLDER [--files 20] [--mutations 5000] [--seed 1]

Draws files, damages them (bits, bytes, runs, truncation, splices, chunk lengths, divisions, chunks that occur twice)
and prints what became of them. Exits with 1 if anything else came out, a read took more than 2 s, or a process had more
than 300 MB. Its memory is the largest resident size of any, or of this program where that is larger.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from triptych.errors import UserError
from triptych.music.reading import MusicReader

MOST_SECONDS = 2.0
MOST_MEGABYTES = 300

Damage = Callable[[bytearray, random.Random, list[bytes]], None]


def draw_files(data: Path, count: int, draw: random.Random) -> list[bytes]:
    """`count` of the MIDI files in a ZIP or a folder."""
    if data.is_dir():
        paths = sorted(path for path in data.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
        return [path.read_bytes() for path in draw.sample(paths, min(count, len(paths)))]
    with zipfile.ZipFile(data) as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith((".mid", ".midi")))
        return [archive.read(name) for name in draw.sample(names, min(count, len(names)))]


def flip_bits(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    for _ in range(draw.choice([1, 1, 4, 64])):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def change_bytes(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    for _ in range(draw.choice([1, 4, 64])):
        data[draw.randrange(len(data))] = draw.choice([0, 0x7F, 0x80, 0x90, 0xF0, 0xF7, 0xFF, draw.randrange(256)])


def change_header(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    data[draw.randrange(14)] = draw.choice([0, 1, 0x7F, 0x80, 0xE7, 0xFF, draw.randrange(256)])


def change_division(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    data[12:14] = draw.choice([0, 1, 0x7FFF, 0x8000, 0xE728, draw.randrange(0x10000)]).to_bytes(2, "big")


def change_chunk_length(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    at = draw.choice(chunks(data) or [14]) + 4
    length = int.from_bytes(data[at : at + 4], "big")
    choices = [0, 0xFFFFFFFF, 0x7FFFFFFF, draw.getrandbits(32), max(0, length + draw.randint(-9, 9))]
    data[at : at + 4] = draw.choice(choices).to_bytes(4, "big")


def cut(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    del data[draw.randrange(len(data)) :]


def remove(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    at = draw.randrange(len(data))
    del data[at : at + draw.choice([1, 2, 100])]


def splice(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    other = draw.choice(files)
    data[draw.randrange(len(data)) :] = other[draw.randrange(len(other)) :]


def insert_run(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    at = draw.randrange(14, len(data) + 1) if len(data) > 14 else len(data)
    unit = draw.choice([b"\x00", b"\xff", b"\x80", b"\x00\x90\x3c\x40", b"\xff\xff\xff\x7f", draw.randbytes(3)])
    data[at:at] = unit * draw.choice([1, 10, 1_000, 100_000])


def double_chunk(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    starts = [*chunks(data), len(data)]
    at = draw.randrange(max(1, len(starts) - 1))
    data += data[starts[at] : starts[min(at + 1, len(starts) - 1)]] * draw.choice([1, 2, 300])
    del data[9_000_000:]


def chunks(data: bytearray) -> list[int]:
    """Where the track chunks begin."""
    starts, at = [], data.find(b"MTrk")
    while at >= 0:
        starts.append(at)
        at = data.find(b"MTrk", at + 4)
    return starts


DAMAGES: list[Damage] = [
    flip_bits, change_bytes, change_header, change_division, change_chunk_length, cut, remove, splice, insert_run,
    double_chunk,
]  # fmt: skip


def damaged(files: list[bytes], draw: random.Random) -> bytes:
    data = bytearray(draw.choice(files))
    for _ in range(draw.choice([1, 1, 2, 3])):
        if data:
            draw.choice(DAMAGES)(data, draw, files)
    return bytes(data)


def worker_megabytes() -> float:
    """Largest resident size of the processes that have ended."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--mutations", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    files = draw_files(options.data, options.files, draw)
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    with MusicReader() as reader:
        for number in range(options.mutations):
            data = damaged(files, draw)
            begin = time.perf_counter()
            try:
                read = reader.read_performance if number % 2 else reader.read_piece
                read(data, name=f"mutation {number}")
                outcomes["read"] += 1
            except UserError as error:
                outcomes["refused"] += 1
                assert "\n" not in str(error)
            except Exception:
                outcomes["anything else"] += 1
                traceback.print_exc()
            slowest = max(slowest, time.perf_counter() - begin)
    memory = worker_megabytes()
    print(
        f"read {outcomes['read']}, refused {outcomes['refused']}, anything else {outcomes['anything else']}; "
        f"slowest {slowest:.2f} s, {memory:.0f} MB, {reader.starts - 1} restarts"
    )
    return int(bool(outcomes["anything else"]) or slowest > MOST_SECONDS or memory > MOST_MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
