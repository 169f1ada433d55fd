"""Whether every note of real performances survives as events: read, encoded, decoded, and held against the file.

    python benchmarks/codec_performance.py --data ZIP_OR_FOLDER [--limit N]

What should sound is worked out here a second time, note by note, from what symusic finds in the file: a key sounds
until it is released, or the pedal after it, or it is struck again; notes of one key that begin at one tick are one, as
long as the longest and as loud as the loudest. A note fails that is missing, is too many, begins or
ends more than 10 ms off, or has a velocity of another bin; a file fails whose events change when they are decoded and
encoded. Exits with 1 if anything fails.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import symusic

from triptych.errors import UserError
from triptych.music.music_files import MusicFiles
from triptych.music.performance import BIN, NOTE_OFF, TIME_SHIFT, VELOCITY, PerformanceCodec
from triptych.music.reading import MusicReader

Played = dict[int, list[tuple[float, float, int]]]  # by pitch: start and end in seconds, velocity

MOST = 0.01 + 1e-9  # seconds


def what_should_sound(data: bytes) -> Played:
    score: Any = symusic.Score.from_midi(data)
    found: Played = defaultdict(list)
    for track in score.tracks:
        if track.is_drum or not len(track.notes):
            continue
        changes = [(change.time, change.value >= 64) for change in track.controls if change.number == 64]
        ticks = [tick for tick, _ in changes]
        last = max(note.time + note.duration for note in track.notes)
        for note in track.notes:
            end = note.time + note.duration
            place = bisect_right(ticks, end)
            if place and changes[place - 1][1]:
                end = next((tick for tick, down in changes[place:] if not down), last)
            if end > note.time and 21 <= note.pitch <= 108:
                found[note.pitch].append((seconds(score, note.time), seconds(score, end), note.velocity))
    for notes in found.values():
        notes.sort()
        for place in range(len(notes) - 1, 0, -1):
            if notes[place][0] == notes[place - 1][0]:
                start, end, velocity = notes.pop(place)
                notes[place - 1] = start, max(end, notes[place - 1][1]), max(velocity, notes[place - 1][2])
        for place in range(len(notes) - 1):
            start, end, velocity = notes[place]
            notes[place] = start, min(end, notes[place + 1][0]), velocity
    return found


def seconds(score: Any, tick: int) -> float:
    """When a tick is, by the tempos before it."""
    total, before, microseconds = 0, 0, 500_000
    for tempo in score.tempos:
        if tempo.time > tick:
            break
        total += (tempo.time - before) * microseconds
        before, microseconds = tempo.time, tempo.mspq
    return float((total + (tick - before) * microseconds) / 1e6 / score.ticks_per_quarter)


def compare(expected: Played, rows: list[tuple[float, float, int, int]]) -> tuple[int, float, float]:
    """Failures, and the furthest that an onset and an end have moved, in seconds."""
    found: Played = defaultdict(list)
    for start, end, pitch, velocity in rows:
        found[pitch].append((start, end, velocity))
    failures, onset, release = 0, 0.0, 0.0
    for pitch in expected.keys() | found.keys():
        before, after = expected.get(pitch, []), found.get(pitch, [])
        failures += abs(len(before) - len(after))
        for (start, end, velocity), (start_after, end_after, velocity_after) in zip(before, after, strict=False):
            moved, held = abs(start - start_after), abs(end - end_after)
            failures += moved > MOST or held > MOST or (velocity - 1) // BIN != (velocity_after - 1) // BIN
            onset, release = max(onset, moved), max(release, held)
    return failures, onset, release


def kind(token: int) -> str:
    names = {NOTE_OFF: "on", TIME_SHIFT: "off", VELOCITY: "shift", math.inf: "velocity"}
    return next(name for first_after, name in names.items() if token < first_after)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="the first N files only")
    options = parser.parse_args()
    codec, kinds = PerformanceCodec(), Counter[str]()
    files, failed, refused, notes, minutes = 0, 0, 0, 0, 0.0
    onset, release = 0.0, 0.0
    spent = {"encoding": 0.0, "decoding": 0.0}
    with MusicFiles(options.data) as archive, MusicReader() as reader:
        for name in archive.names[: options.limit]:
            source = archive.source(name)
            data = source if isinstance(source, bytes) else source.read_bytes()
            try:
                performance, words = reader.read_performance(data, name=name)
            except UserError as error:
                refused += 1
                print(error, file=sys.stderr)
                continue
            begin = time.perf_counter()
            ids = codec.encode(performance).tolist()
            middle = time.perf_counter()
            decoded = codec.decode(ids)
            spent["encoding"] += middle - begin
            spent["decoding"] += time.perf_counter() - middle
            failures, moved, held = compare(what_should_sound(data), decoded.notes.tolist())
            failures += codec.encode(decoded).tolist() != ids
            if failures or words:
                print(f"{name!r}: {failures} failures; {'; '.join(words)}", file=sys.stderr)
            files, failed = files + 1, failed + failures
            onset, release = max(onset, moved), max(release, held)
            notes, minutes = notes + len(performance), minutes + performance.seconds / 60
            kinds.update(map(kind, ids))
    tokens = kinds.total()
    print(f"{files} files, {refused} refused; {notes:,} notes, {failed} failures")
    print(f"furthest onset {1_000 * onset:.2f} ms, furthest end {1_000 * release:.2f} ms")
    if tokens:
        shares = ", ".join(f"{name} {100 * count / tokens:.1f} %" for name, count in kinds.most_common())
        print(f"{minutes / 60:.1f} h, {tokens:,} tokens: {tokens / minutes:,.0f} a minute, {tokens / notes:.2f} a note")
        print(f"{shares}; {', '.join(f'{what} {tokens / each / 1e6:.1f} M tokens/s' for what, each in spent.items())}")
    return int(bool(failed or refused or not files))


if __name__ == "__main__":
    sys.exit(main())
