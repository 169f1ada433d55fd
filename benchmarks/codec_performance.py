"""Whether every note of real performances survives as events: read, encoded, decoded, and held against the file.

    python benchmarks/codec_performance.py --data ZIP_OR_FOLDER [--limit N]

What should sound is worked out here a second time, note by note, from the messages that mido (which comes with
pretty_midi, an extra of `dev`) finds in the file: a key sounds until it is released, or the pedal after it, or it is
struck again; notes of one key that begin at one tick are one, as
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
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import mido

from triptych.errors import UserError
from triptych.music.files.folder import MusicFiles
from triptych.music.files.reading import MusicReader
from triptych.music.performances.codec import BIN, NOTE_OFF, TIME_SHIFT, VELOCITY, PerformanceCodec

Played = dict[int, list[tuple[float, float, int]]]  # by pitch: start and end in seconds, velocity

MAX_ERROR = 0.01 + 1e-9  # seconds


def what_should_sound(data: bytes) -> Played:
    file = mido.MidiFile(file=BytesIO(data))
    tempos = sorted(
        (tick, message.tempo) for track in file.tracks for tick, message in timed(track) if message.type == "set_tempo"
    )
    found: Played = defaultdict(list)
    for track in file.tracks:
        for pitch, notes in rows_of(list(timed(track))).items():
            found[pitch] += [
                (seconds(file.ticks_per_beat, tempos, start), seconds(file.ticks_per_beat, tempos, end), velocity)
                for start, end, velocity in notes
                if end > start and 21 <= pitch <= 108
            ]
    for played in found.values():
        played.sort()
        for place in range(len(played) - 1, 0, -1):
            if played[place][0] == played[place - 1][0]:
                start, end, velocity = played.pop(place)
                played[place - 1] = start, max(end, played[place - 1][1]), max(velocity, played[place - 1][2])
        for place in range(len(played) - 1):
            start, end, velocity = played[place]
            played[place] = start, min(end, played[place + 1][0]), velocity
    return found


def timed(track: Any) -> Iterator[tuple[int, Any]]:
    """The messages of a track with their ticks."""
    now = 0
    for message in track:
        now += message.time
        yield now, message


def rows_of(messages: list[tuple[int, Any]]) -> dict[int, list[tuple[int, int, int]]]:
    """Start, end and velocity of the notes of a track with one channel, in ticks, by pitch."""
    rows: dict[int, list[list[int]]] = defaultdict(list)
    held: dict[int, list[int]] = {}  # by pitch: the note that sounds
    pedals = {controller: Pedal() for controller in (64, 66)}
    for tick, message in messages:
        if message.type == "control_change" and message.control in pedals:
            pedals[message.control].change(tick, message.value >= 64)
        elif message.type in ("note_on", "note_off") and message.channel != 9:
            if message.note in held:
                held.pop(message.note)[1] = tick
            if message.type == "note_on" and message.velocity:
                held[message.note] = [tick, tick, message.velocity]
                rows[message.note].append(held[message.note])
    for row in held.values():
        row[1] = max(tick for tick, _ in messages)
    last = max((row[1] for notes in rows.values() for row in notes), default=0)
    for notes in rows.values():
        for row in notes:
            caught = [down for down in pedals[66].downs if row[0] < down < row[1]]
            if caught:
                row[1] = max(row[1], pedals[66].up_after(caught[-1], last))
    last = max((row[1] for notes in rows.values() for row in notes), default=0)
    for notes in rows.values():
        for row in notes:
            if pedals[64].is_down(row[1]):
                row[1] = pedals[64].up_after(row[1], last)
    return {pitch: [(start, end, velocity) for start, end, velocity in notes] for pitch, notes in rows.items()}


class Pedal:
    """When a pedal went down and up."""

    def __init__(self) -> None:
        self.changes: list[tuple[int, bool]] = []

    def change(self, tick: int, down: bool) -> None:
        if down != (self.changes[-1][1] if self.changes else False):
            self.changes.append((tick, down))

    @property
    def downs(self) -> list[int]:
        return [tick for tick, down in self.changes if down]

    def is_down(self, tick: int) -> bool:
        place = bisect_right(self.changes, (tick, True))
        return place > 0 and self.changes[place - 1][1]

    def up_after(self, tick: int, last: int) -> int:
        return next((up for up, down in self.changes[bisect_right(self.changes, (tick, True)) :] if not down), last)


def seconds(resolution: int, tempos: list[tuple[int, int]], tick: int) -> float:
    """When a tick is, by the tempos before it."""
    total, before, microseconds = 0, 0, 500_000
    for begin, tempo in tempos:
        if begin > tick:
            break
        total += (begin - before) * microseconds
        before, microseconds = begin, tempo
    return float((total + (tick - before) * microseconds) / 1e6 / resolution)


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
            failures += moved > MAX_ERROR or held > MAX_ERROR or (velocity - 1) // BIN != (velocity_after - 1) // BIN
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
