"""Damaged MIDI and MusicXML files, read through `triptych.music.files.reading`: each has to give music or a UserError.

    python benchmarks/soak_midi.py [--data ZIP_OR_FOLDER] [--files 40] [--mutations 10000] [--seed 1]

Draws pieces and performances, or takes files of `--data`, as MIDI, MusicXML and compressed MusicXML, damages them
(bits, bytes, runs, truncation, splices; chunk lengths, divisions, chunks that occur twice; numbers, tags, elements that
occur a thousand times, nesting, entities, encodings; archives) and prints what became of them. Every second one is read
as a performance. Exits with 1 if anything else came out, a word had more than one line, a read took more than 2 s, or a
process had more than 300 MB. A read that took more than half of this time is repeated by a process of its own, of which
the time of the processor counts, for the machine may have been busy. The memory is the largest resident size of any
parsing process, or of this program, where that was larger when it started one.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import sys
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from triptych.errors import UserError
from triptych.music.files.folder import MusicFiles
from triptych.music.files.midi import midi_bytes
from triptych.music.files.notation import musicxml
from triptych.music.files.reading import MusicReader
from triptych.music.piece.piece import KeySignature, Note, Piece

MAX_SECONDS = 2.0
MAX_MEGABYTES = 300
MAX_BYTES = 9_000_000  # of a damaged file

Damage = Callable[[bytearray, random.Random, list[bytes]], None]


def drawn(draw: random.Random) -> Piece:
    """A piece of a few voices, or a performance, of our own."""
    metrical, voices = draw.random() < 0.7, draw.randint(1, 4)
    notes, length = [], draw.choice([10, 50, 400])
    for voice in range(voices):
        now = 0
        for _ in range(length):
            start = now + draw.choice([0, 0, 0, 2])
            now = start + draw.choice([1, 2, 4, 7])
            notes.append(Note(start, now, draw.randint(36, 84), draw.randint(1, 127), voice))
    names = tuple(f"Part {voice}" for voice in range(voices))
    keys = (KeySignature(0, draw.randint(-7, 7), minor=draw.random() < 0.5),)
    return Piece(tuple(notes), 4 if metrical else 100, voices=names, keys=keys, metrical=metrical)


def draw_files(data: Path | None, count: int, draw: random.Random) -> list[bytes]:
    """`count` files of a ZIP or a folder, or of our own, half of which are MusicXML."""
    if data is not None:
        with MusicFiles(data) as files:
            names = draw.sample(files.names, min(count, len(files.names)))
            sources = [files.source(name) for name in names]
            return [source if isinstance(source, bytes) else source.read_bytes() for source in sources]
    found = []
    for number in range(count):
        piece = drawn(draw)
        xml = musicxml(piece).encode() if number % 2 and piece.metrical else b""
        found.append(archived(xml) if xml and number % 6 == 5 else xml or midi_bytes(piece))
    return found


def archived(score: bytes) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/container.xml", '<container><rootfile full-path="score.xml"/></container>')
        archive.writestr("score.xml", score)
    return packed.getvalue()


def flip_bits(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    for _ in range(draw.choice([1, 1, 4, 64])):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def change_bytes(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    for _ in range(draw.choice([1, 4, 64])):
        data[draw.randrange(len(data))] = draw.choice([0, 0x7F, 0x80, 0x90, 0xF0, 0xF7, 0xFF, draw.randrange(256)])


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
    unit = draw.choice([b"\x00", b"\xff", b"\x80", b"\x00\x90\x3c\x40", b"\xff\xff\xff\x7f", b"<a>", draw.randbytes(3)])
    data[at:at] = unit * draw.choice([1, 10, 1_000, 100_000])


ANYWHERE: list[Damage] = [flip_bits, change_bytes, cut, remove, splice, insert_run]


def change_header(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    data[draw.randrange(min(14, len(data)))] = draw.choice([0, 1, 0x7F, 0x80, 0xE7, 0xFF, draw.randrange(256)])


def change_division(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    data[12:14] = draw.choice([0, 1, 0x7FFF, 0x8000, 0xE728, draw.randrange(0x10000)]).to_bytes(2, "big")


def change_chunk_length(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    at = draw.choice(chunks(data) or [14]) + 4
    length = int.from_bytes(data[at : at + 4], "big")
    choices = [0, 0xFFFFFFFF, 0x7FFFFFFF, draw.getrandbits(32), max(0, length + draw.randint(-9, 9))]
    data[at : at + 4] = draw.choice(choices).to_bytes(4, "big")


def double_chunk(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    starts = [*chunks(data), len(data)]
    at = draw.randrange(max(1, len(starts) - 1))
    data += data[starts[at] : starts[min(at + 1, len(starts) - 1)]] * draw.choice([1, 2, 300])
    del data[MAX_BYTES:]


def chunks(data: bytearray) -> list[int]:
    """Where the track chunks begin."""
    return [found.start() for found in re.finditer(b"MTrk", data)]


OF_MIDI: list[Damage] = [change_header, change_division, change_chunk_length, double_chunk]


def change_number(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    found = draw.choice(list(re.finditer(rb">\d+<|^", data)))
    values = [b"0", b"-1", b"1e9", b"1e400", b"nan", b"many", b"", b"99999999999999999999", b"0.37"]
    data[found.start() : found.end()] = b">" + draw.choice(values) + b"<"


def change_tag(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    names = [b"note", b"chord", b"backup", b"forward", b"measure", b"part", b"time", b"key", b"divisions", b"grace"]
    one, two = draw.choice(names), draw.choice(names)
    data[:] = data.replace(b"<" + one, b"<" + two).replace(b"</" + one, b"</" + two)


def repeat_element(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    name = draw.choice([b"note", b"measure", b"part", b"attributes", b"score-part", b"duration"])
    start = data.find(b"<" + name, draw.randrange(len(data)))
    end = data.find(b"</" + name + b">", start) + len(name) + 3
    if 0 <= start < end:
        data[end:end] = data[start:end] * min(draw.choice([1, 30, 1_000]), MAX_BYTES // (end - start))
    del data[MAX_BYTES:]


def nest(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    start = data.find(b"<note", draw.randrange(len(data)))
    depth = draw.choice([2, 1_000, 100_000])
    if start >= 0:
        data[start:start] = b"<note>" * depth + b"</note>" * depth


def declare(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    lines = [b'<!ENTITY a "' + b"ha" * 1_000 + b'">'] + [b'<!ENTITY b%d "&a;&a;&a;&a;">' % n for n in range(50)]
    at = max(0, data.find(b"?>") + 2)
    data[at:at] = b"<!DOCTYPE score [" + b"".join(lines) + b"]>"
    data[:] = data.replace(b"<step>", b"<step>&a;", 3)


def change_encoding(data: bytearray, draw: random.Random, files: list[bytes]) -> None:
    name = draw.choice([b"UTF-16", b"UTF-7", b"latin-1", b"base64", b"rot13", b"zip", b"", b"UTF-8"])
    data[:] = data.replace(b"UTF-8", name, 1)
    if draw.random() < 0.3:
        data[:] = data.decode("latin-1").encode(draw.choice(["utf-16", "utf-16-be", "utf-32"]))


OF_XML: list[Damage] = [change_number, change_tag, repeat_element, nest, declare, change_encoding]


def damaged(files: list[bytes], draw: random.Random) -> bytes:
    data = bytearray(draw.choice(files))
    packed = data[:2] == b"PK" and draw.random() < 0.7
    if packed:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            data = bytearray(archive.read(max(archive.namelist(), key=len if draw.random() < 0.1 else score_last)))
    own = OF_XML if data[:1] == b"<" else OF_MIDI
    for _ in range(draw.choice([1, 1, 2, 3])):
        if data:
            draw.choice(ANYWHERE + own)(data, draw, files)
    return archived(bytes(data)) if packed else bytes(data)


def score_last(name: str) -> bool:
    return not name.startswith("META-INF")


def read(reader: MusicReader, data: bytes, number: int) -> str:
    """What becomes of one file."""
    try:
        (reader.read_performance if number % 2 else reader.read_piece)(data, name=f"mutation {number}")
    except UserError as error:
        return "refused" if "\n" not in str(error) else "anything else"
    except Exception:
        traceback.print_exc()
        return "anything else"
    return "read"


def processor_seconds(data: bytes, number: int) -> float:
    """What the processor works for one file, with the start of a process."""
    begin, before = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with MusicReader() as reader:
        read(reader, data, number)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    children = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.process_time() - begin + children


def worker_megabytes() -> float:
    """Largest resident size of the processes that have ended."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="files of music to damage; without, pieces that are drawn")
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    files = draw_files(options.data, options.files, draw)
    outcomes, kinds = Counter[str](), Counter[str]()
    slowest, begun = 0.0, time.perf_counter()
    with MusicReader() as reader:
        for number in range(options.mutations):
            data = damaged(files, draw)
            kinds["MIDI" if data[:4] == b"MThd" else "archives" if data[:2] == b"PK" else "XML or other"] += 1
            begin = time.perf_counter()
            outcomes[read(reader, data, number)] += 1
            taken = time.perf_counter() - begin
            slowest = max(slowest, taken if taken < MAX_SECONDS / 2 else processor_seconds(data, number))
        starts = reader.starts
    memory = worker_megabytes()
    print(
        f"{options.mutations:,} files ({', '.join(f'{kind} {count:,}' for kind, count in kinds.items())}): "
        f"read {outcomes['read']:,}, refused {outcomes['refused']:,}, anything else {outcomes['anything else']}; "
        f"slowest {slowest:.2f} s, {memory:.0f} MB, {starts - 1} restarts, {time.perf_counter() - begun:.0f} s"
    )
    return int(bool(outcomes["anything else"]) or slowest > MAX_SECONDS or memory > MAX_MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
