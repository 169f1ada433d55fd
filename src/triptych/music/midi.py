"""Standard MIDI Files of pieces: written to the tick, and read without trust.

MIDI 1.0 Detailed Specification 4.2, "Standard MIDI Files 1.0". Files are parsed by symusic in a process of its own
(`triptych.music.midi_process`): whatever a file does to the parser, the reader's process lives on.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from triptych.errors import UserError
from triptych.model.files import write_file
from triptych.music import midi_process
from triptych.music.midi_process import MOST_NOTES, MOST_VOICES, NAME_LENGTH, READY
from triptych.music.piece import Note, Piece

LARGEST_FILE = 10_000_000  # bytes
LAST_TICK = 2**31 - 1
START_SECONDS = 10.0  # the first start after an installation reads symusic from a cold disk
READ_SECONDS = 1.5
MOST_TRACKS = 1024
LONGEST_HEADER = 1 << 20  # bytes of an answer's first line

TICKS_PER_QUARTER = 480  # of a written file, at least; the custom of sequencers
LONGEST_DELTA = 2**28 - 1  # of a variable-length quantity
MICROSECONDS_PER_MINUTE = 60e6


def write_midi(piece: Piece, path: Path) -> None:
    """Write `midi_bytes` of `piece` to `path`, completely or not at all."""
    write_file(path, midi_bytes(piece))


def midi_bytes(piece: Piece) -> bytes:
    """Standard MIDI File of format 1: one track a voice with its name, the tempo and 4/4 in the first.

    A resolution below 96 is multiplied by a whole number to at least 480 ticks a quarter note (4 becomes 480), so no
    note moves. Each voice has a channel to itself, up to 15 voices. MIDI knows a note by its pitch: when one ends, it
    is taken to be the one of this pitch and voice that began first. So a note that lies within another of its pitch
    and voice swaps ends with it when it is read. The bar lines are those of a piece without a pickup.
    Raises UserError for a tempo, resolution or length that MIDI cannot write.
    """
    factor = 1 if piece.resolution >= 96 else -(-TICKS_PER_QUARTER // piece.resolution)
    slowest = MICROSECONDS_PER_MINUTE / 0xFFFFFF
    if not slowest <= piece.tempo <= MICROSECONDS_PER_MINUTE:
        raise UserError(f"expected a tempo from {slowest:.2f} for a MIDI file, got {piece.tempo}; change the tempo")
    if piece.resolution * factor > 0x7FFF or piece.length * factor > LONGEST_DELTA or len(piece.voices) > 0xFFFF:
        raise UserError(
            f"expected a piece that fits a MIDI file, got {piece.length} ticks at {piece.resolution} a quarter note in "
            f"{len(piece.voices)} voices; choose a coarser resolution or cut the piece"
        )
    microseconds = round(MICROSECONDS_PER_MINUTE / piece.tempo)
    opening = _meta(0x51, microseconds.to_bytes(3, "big")) + _meta(0x58, bytes([4, 2, 24, 8]))
    parts: list[list[Note]] = [[] for _ in piece.voices]
    for note in piece.notes:
        parts[note.voice].append(note)
    chunks = [b"MThd" + struct.pack(">IHHH", 6, 1, len(parts), piece.resolution * factor)]
    for voice, (title, part) in enumerate(zip(piece.voices, parts, strict=True)):
        channel = (*range(9), *range(10, 16))[voice % 15]  # 9 is for drums
        start = _meta(0x03, title.encode(errors="replace")) + (b"" if voice else opening)
        body = start + _events(part, channel, factor, piece.length)
        chunks.append(b"MTrk" + struct.pack(">I", len(body)) + body)
    return b"".join(chunks)


def _events(notes: list[Note], channel: int, factor: int, length: int) -> bytes:
    """Events of a track with these notes, up to its end at tick `length`; a tick is `factor` of the file's."""
    events = []
    for note in notes:
        events.append((note.end, 0, bytes([0x80 | channel, note.pitch, 0])))
        events.append((note.start, 1, bytes([0x90 | channel, note.pitch, note.velocity])))
    # A note has to end before it is struck again; those that begin together stay in the order of their ends.
    events.sort(key=lambda event: event[:2])
    body, now = bytearray(), 0
    for tick, _, message in [*events, (length, 2, b"\xff\x2f\x00")]:
        body += _variable_length((tick - now) * factor) + message
        now = tick
    return bytes(body)


def _meta(kind: int, content: bytes) -> bytes:
    return bytes([0, 0xFF, kind]) + _variable_length(len(content)) + content


def _variable_length(number: int) -> bytes:
    """7 bits a byte, the highest first, all but the last marked by their top bit."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))


def read_midi(source: str | Path | bytes, *, name: str | None = None) -> Piece:
    """Read a MIDI file, or its bytes, with the time in beats.

    Resolution: the file's ticks a quarter note. Tempo: its first, else 120. A voice is a track, or what one channel
    and program plays within a track; its name is the track's, else "voice" and a number. Left out: drums, notes
    without a duration or an end, voices without notes, the pickup and the silence after the last note.
    `name` stands for the file in errors. Raises UserError for anything that is not a MIDI file with notes, and for more
    than 10 MB, 200,000 notes or 256 voices.
    """
    with MidiReader() as reader:
        return reader.read(source, name=name)


def read_many(paths: Iterable[str | Path]) -> Iterator[tuple[Path, Piece | UserError]]:
    """Read many files as `read_midi` does, each with its path and the piece or the error; one process serves them."""
    with MidiReader() as reader:
        for path in map(Path, paths):
            found: Piece | UserError
            try:
                found = reader.read(path)
            except UserError as error:
                found = UserError(str(error))  # without the traceback, which would keep the file in memory
            yield path, found


class MidiReader:
    """Reads MIDI files in a process that is started at the first one and again whenever a file has broken it.

    Use it in a `with` statement. starts: how often a process was started.
    """

    def __init__(self) -> None:
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def read(self, source: str | Path | bytes, *, name: str | None = None) -> Piece:
        """Read one file: see `read_midi`."""
        name = name or ("MIDI bytes" if isinstance(source, bytes) else str(source))
        data = _load(source, name)
        resolution = _resolution(data, name)
        header, notes = self._parse(data, name)
        return _piece(header, notes, resolution, name)

    def _parse(self, data: bytes, name: str) -> tuple[dict[str, Any], bytes]:
        """Send a file to the process and receive its answer, checked for its form alone."""
        process = self._running(name)
        late = threading.Event()
        answer = None
        try:
            with _deadline(process, READ_SECONDS, late):
                answer = _ask(process, data)
        finally:
            if answer is None or late.is_set():
                self._stop()
        if answer is None:
            reason = f"takes more than {READ_SECONDS} s" if late.is_set() else "breaks the parser"
            raise _damaged(name, f"it {reason}")
        return answer

    def _running(self, name: str) -> subprocess.Popen[bytes]:
        """Find the process alive, or start it."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._stop()
        self.starts += 1
        ready = b""
        with suppress(OSError):
            self._process = process = subprocess.Popen(
                worker_command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            with _deadline(process, START_SECONDS, threading.Event()):
                ready = process.stdout.readline(len(READY)) if process.stdout else b""
        if ready != READY or self._process is None:
            self._stop()
            raise UserError(
                f"expected a parser that starts to read {name!r}, got none; install it again with "
                "pip install --force-reinstall symusic"
            )
        return self._process

    def _stop(self) -> None:
        """End the process, which has nothing to lose."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError), process:  # which closes the pipes, where something may be left to send
            if process.poll() is None:
                _kill(process)


def worker_command() -> list[str]:
    """Command that starts the parsing process. Raises UserError without symusic."""
    found = importlib.util.find_spec("symusic")
    if found is None or not found.submodule_search_locations:
        raise UserError("expected symusic to read MIDI files, got none; install it with pip install symusic")
    # -I and -S: no environment variables, no user's packages, no start-up files.
    return [sys.executable, "-I", "-S", midi_process.__file__, found.submodule_search_locations[0]]


@contextmanager
def _deadline(process: subprocess.Popen[bytes], seconds: float, late: threading.Event) -> Iterator[None]:
    """Kill the process and set `late` unless the block ends in time; a dead process ends every wait for it."""

    def end() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that has not been waited for, and its children with it."""
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):  # macOS forbids to kill what has just died
            os.killpg(process.pid, signal.SIGKILL)


def _ask(process: subprocess.Popen[bytes], data: bytes) -> tuple[dict[str, Any], bytes] | None:
    """Send a file; the header and the notes of the answer, or None if there is no answer of that form."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(len(data).to_bytes(4, "big") + data)
        process.stdin.flush()
        line = process.stdout.readline(LONGEST_HEADER)
        header = json.loads(line)
        count = header.get("notes", 0)
        if not (line.endswith(b"\n") and type(count) is int and 0 <= count <= MOST_NOTES):
            return None
        notes = process.stdout.read(20 * count)
    except (OSError, ValueError, RecursionError, AttributeError):
        return None
    return (header, notes) if len(notes) == 20 * count else None


def _load(source: str | Path | bytes, name: str) -> bytes:
    """Content of the file. Raises UserError if it cannot be read or is too large."""
    if isinstance(source, bytes):
        size, data = len(source), source
    else:
        path = Path(source)
        try:
            if not path.is_file():
                raise UserError(f"expected a MIDI file, got {name!r}, which is no file; check the path")
            size = path.stat().st_size
            with path.open("rb") as file:
                data = file.read(LARGEST_FILE) if size <= LARGEST_FILE else b""
        except OSError as error:
            raise UserError(f"expected a MIDI file, got {name!r}: {error.strerror}; check the path") from None
    if size > LARGEST_FILE:
        raise UserError(f"expected a MIDI file of at most {LARGEST_FILE:,} bytes, got {name!r} of {size:,}; cut it")
    return data


def _resolution(data: bytes, name: str) -> int:
    """Ticks a quarter note by the header of a file. Raises UserError for a header that is none."""
    if data[:4] != b"MThd" or len(data) < 14:
        raise UserError(f"expected a MIDI file, got {name!r}, which has no MIDI header; export it as .mid")
    length, _, tracks, division = struct.unpack(">IHHH", data[4:14])
    if division & 0x8000:
        raise UserError(f"expected time in beats, got {name!r} in SMPTE frames; export it with ticks per quarter note")
    if length != 6 or not 1 <= tracks <= MOST_TRACKS or not division:
        raise _damaged(name, f"its header tells of {tracks} tracks and {division} ticks per quarter note")
    return int(division)


def _piece(header: dict[str, Any], notes: bytes, resolution: int, name: str) -> Piece:
    """Make the piece of an answer, which is believed in nothing. Raises UserError."""
    if isinstance(reason := header.get("error"), str):
        raise _damaged(name, _line(reason, 200))
    if header.get("large") is True:
        raise UserError(
            f"expected at most {MOST_NOTES:,} notes in {MOST_VOICES} voices, got {name!r} with more; cut it"
        )
    microseconds, voices = header.get("microseconds"), header.get("voices")
    if not isinstance(voices, list) or not all(isinstance(voice, str) for voice in voices):
        raise _damaged(name, "it breaks the parser")
    if type(microseconds) is not int or not 0 < microseconds <= 0xFFFFFF:
        raise _damaged(name, "its tempo is out of range")
    rows = np.frombuffer(notes, np.int32).reshape(-1, 5).astype(np.int64)
    if not len(rows):
        raise UserError(f"expected a MIDI file with music, got {name!r}, which has no notes; choose another file")
    rows[:, 1] += rows[:, 0]
    lowest, highest = rows.min(0), rows.max(0)
    within = (lowest >= (0, 1, 0, 1, 0)) & (highest <= (LAST_TICK, LAST_TICK, 127, 127, len(voices) - 1))
    if not within.all() or (rows[:, 1] <= rows[:, 0]).any():
        raise _damaged(name, "its notes are out of range")
    return Piece(
        notes=tuple(Note(*row) for row in rows.tolist()),
        resolution=resolution,
        tempo=MICROSECONDS_PER_MINUTE / microseconds,
        voices=tuple(_line(voice, NAME_LENGTH) or f"voice {place}" for place, voice in enumerate(voices, start=1)),
    )


def _line(text: str, length: int) -> str:
    """Text of a file, made fit for a line of a terminal or a score."""
    return "".join(character for character in text if character.isprintable())[:length].strip()


def _damaged(name: str, reason: str) -> UserError:
    return UserError(f"expected a valid MIDI file, got {name!r}: {reason}; export it again")
