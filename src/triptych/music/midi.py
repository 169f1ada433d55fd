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
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, printable
from triptych.model.files import write_file
from triptych.music import midi_process
from triptych.music.midi_process import MOST_NOTES, MOST_VOICES, NAME_LENGTH, READY
from triptych.music.performance import HIGHEST, LOWEST, Performance, sustained, together
from triptych.music.piece import Note, Piece

LARGEST_FILE = 10_000_000  # bytes
LAST_TICK = 2**31 - 1
START_SECONDS = 10.0  # the first start after an installation reads symusic from a cold disk
READ_SECONDS = 1.5
MOST_TRACKS = 1024
LONGEST_HEADER = 1 << 20  # bytes of an answer's first line
TABLES = {"notes": 5, "pedals": 3, "tempos": 2}  # of an answer, and their columns

TICKS_PER_QUARTER = 480  # of a written file, at least; the custom of sequencers
LONGEST_DELTA = 2**28 - 1  # of a variable-length quantity
MICROSECONDS_PER_MINUTE = 60e6
TEMPO = 500_000  # microseconds of a quarter note, where a file says nothing

File = TypeVar("File")
Found = TypeVar("Found")


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


def read_performance(source: str | Path | bytes, *, name: str | None = None) -> tuple[Performance, list[str]]:
    """Read a MIDI file as a performance on one piano, with a word about what was left out.

    All parts of `MidiReader.read_parts` together, with their pedals: see there.
    """
    with MidiReader() as reader:
        return reader.read_performance(source, name=name)


def read_many(
    files: Iterable[File], read: Callable[[MidiReader, File], Found], *, workers: int = 1
) -> Iterator[tuple[File, Found | UserError]]:
    """Read many files, `workers` at a time with a process each: every file, in order, with what `read` makes of it.

    A file that `read` refuses comes with its UserError.
    """
    with ExitStack() as stack:
        idle: SimpleQueue[MidiReader] = SimpleQueue()
        for _ in range(workers):
            idle.put(stack.enter_context(MidiReader()))

        def outcome(file: File) -> Found | UserError:
            reader = idle.get()
            try:
                return read(reader, file)
            except UserError as error:
                return UserError(str(error))  # without the traceback, which would keep the file in memory
            finally:
                idle.put(reader)

        pool = stack.enter_context(ThreadPoolExecutor(workers))
        ahead: deque[tuple[File, Future[Found | UserError]]] = deque()
        for file in files:
            ahead.append((file, pool.submit(outcome, file)))
            if len(ahead) > 2 * workers:
                first, future = ahead.popleft()
                yield first, future.result()
        for file, future in ahead:
            yield file, future.result()


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
        return _piece(self._parse(source, name))

    def read_performance(self, source: str | Path | bytes, *, name: str | None = None) -> tuple[Performance, list[str]]:
        """Read one file: see the function `read_performance`."""
        parts, words = self.read_parts(source, name=name)
        return together(part for _, part in parts), words

    def read_parts(
        self, source: str | Path | bytes, *, name: str | None = None, pedal: bool = True
    ) -> tuple[list[tuple[str, Performance]], list[str]]:
        """Read each voice of a file as a performance with its name, and a word about what was left out.

        Voices are those of `read_midi`. Times are seconds by all tempos of the file. The sustain pedal of a voice is
        applied, unless `pedal` is False: see `sustained`. Left out: drums, notes off the 88 keys, and notes without an
        end, or without a duration where no pedal holds them.
        Raises UserError where `read_midi` does, and for music of more than `performance.LONGEST` seconds.
        """
        return _parts(self._parse(source, name), pedal)

    def _parse(self, source: str | Path | bytes, name: str | None) -> _Answer:
        """Send a file to the process; its answer, checked."""
        name = name or ("MIDI bytes" if isinstance(source, bytes) else str(source))
        data = _load(source, name)
        resolution = _resolution(data, name)
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
        return _checked(*answer, resolution, name)

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


def _ask(process: subprocess.Popen[bytes], data: bytes) -> tuple[dict[str, Any], list[NDArray[np.int64]]] | None:
    """Send a file; the header and the tables of the answer, or None if there is no answer of that form."""
    assert process.stdin is not None
    assert process.stdout is not None
    tables = []
    try:
        process.stdin.write(len(data).to_bytes(4, "big") + data)
        process.stdin.flush()
        line = process.stdout.readline(LONGEST_HEADER)
        header = json.loads(line)
        for title, columns in TABLES.items():
            count = header.get(title, 0)
            if not (line.endswith(b"\n") and type(count) is int and 0 <= count <= MOST_NOTES):
                return None
            rows = process.stdout.read(4 * columns * count)
            tables.append(np.frombuffer(rows, np.int32).reshape(count, columns).astype(np.int64))
    except (OSError, ValueError, RecursionError, AttributeError):
        return None
    return header, tables


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


@dataclass(frozen=True)
class _Answer:
    """What the process found in a file, once it can be believed.

    notes: int64 [notes, 5], start, end, pitch, velocity and voice; times are ticks. pedals: int64 [changes, 3], tick,
    whether down, and voice. tempos: int64 [changes, 2], tick and microseconds of a quarter note.
    """

    name: str
    resolution: int
    voices: tuple[str, ...]
    drums: int
    notes: NDArray[np.int64]
    pedals: NDArray[np.int64]
    tempos: NDArray[np.int64]


def _checked(header: dict[str, Any], tables: list[NDArray[np.int64]], resolution: int, name: str) -> _Answer:
    """Check an answer, which is believed in nothing. Raises UserError."""
    if isinstance(reason := header.get("error"), str):
        raise _damaged(name, printable(reason, 200))
    if header.get("large") is True:
        raise UserError(
            f"expected at most {MOST_NOTES:,} notes in {MOST_VOICES} voices, and as many changes of pedal and tempo, "
            f"got {name!r} with more; cut it"
        )
    voices, drums = header.get("voices"), header.get("drums", 0)
    if not isinstance(voices, list) or not all(isinstance(voice, str) for voice in voices) or type(drums) is not int:
        raise _damaged(name, "it breaks the parser")
    notes, pedals, tempos = tables
    notes[:, 1] += notes[:, 0]
    last = len(voices) - 1
    if not _within(tempos, (0, 1), (LAST_TICK, 0xFFFFFF)):
        raise _damaged(name, "its tempo is out of range")
    if not _within(notes, (0, 0, 0, 1, 0), (LAST_TICK, LAST_TICK, 127, 127, last)) or (notes[:, 1] < notes[:, 0]).any():
        raise _damaged(name, "its notes are out of range")
    if not _within(pedals, (0, 0, 0), (LAST_TICK, 1, last)):
        raise _damaged(name, "its pedal is out of range")
    lines = (printable(voice, NAME_LENGTH) or f"voice {place}" for place, voice in enumerate(voices, start=1))
    return _Answer(name, resolution, tuple(lines), drums, notes, pedals, tempos)


def _within(table: NDArray[np.int64], lowest: tuple[int, ...], highest: tuple[int, ...]) -> bool:
    return bool(((table >= lowest) & (table <= highest)).all())


def _piece(answer: _Answer) -> Piece:
    """Make the piece of an answer, without voices and notes that have no duration."""
    notes = answer.notes[answer.notes[:, 1] > answer.notes[:, 0]]
    if not len(notes):
        raise _silent(answer.name)
    heard = np.unique(notes[:, 4])
    notes[:, 4] = np.searchsorted(heard, notes[:, 4])
    return Piece(
        notes=tuple(Note(*row) for row in notes.tolist()),
        resolution=answer.resolution,
        tempo=MICROSECONDS_PER_MINUTE / (int(answer.tempos[0, 1]) if len(answer.tempos) else TEMPO),
        voices=tuple(answer.voices[voice] for voice in heard),
    )


def _parts(answer: _Answer, pedal: bool) -> tuple[list[tuple[str, Performance]], list[str]]:
    """Make the performances of an answer: a voice after the other, and a word about what was left out."""
    words = [f"{answer.drums} notes of drums left out"] if answer.drums else []
    notes = answer.notes[(answer.notes[:, 2] >= LOWEST) & (answer.notes[:, 2] <= HIGHEST)]
    if outside := len(answer.notes) - len(notes):
        words.append(f"{outside} of {len(answer.notes)} notes left out, which are off the 88 keys of a piano")
    parts = []
    for voice, title in enumerate(answer.voices):
        start, end, pitch, velocity = notes[notes[:, 4] == voice, :4].T
        if pedal:
            end = sustained(end, answer.pedals[answer.pedals[:, 2] == voice, :2])
        sounding = end > start
        if sounding.any():
            start, end = _seconds(answer, start[sounding]), _seconds(answer, end[sounding])
            try:
                parts.append((title, Performance.of(start, end, pitch[sounding], velocity[sounding])))
            except UserError as error:
                raise UserError(f"{answer.name!r}: {error}") from None
    if not parts:
        raise _silent(answer.name)
    return parts, words


def _seconds(answer: _Answer, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Seconds from the beginning at some ticks, by all tempos."""
    changes = np.concatenate([[[0, TEMPO]], answer.tempos[answer.tempos[:, 0].argsort(kind="stable")]])
    begins = np.concatenate([[0], np.cumsum(np.diff(changes[:, 0]) * changes[:-1, 1])])  # microseconds x resolution
    valid = np.searchsorted(changes[:, 0], ticks, side="right") - 1
    since = (ticks - changes[valid, 0]) * changes[valid, 1]
    return (begins[valid] + since) / (1e6 * answer.resolution)  # type: ignore[no-any-return]


def _silent(name: str) -> UserError:
    return UserError(f"expected a MIDI file with music, got {name!r}, which has no notes; choose another file")


def _damaged(name: str, reason: str) -> UserError:
    return UserError(f"expected a valid MIDI file, got {name!r}: {reason}; export it again")
