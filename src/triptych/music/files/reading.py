"""Files of music -> pieces and performances, read without trust.

Standard MIDI Files, alone (.mid, .midi, .kar) or within RIFF (.rmi). Files are parsed in a process of its own
(`triptych.music.files.parsing.process`): whatever a file does to the parser, the reader's process lives on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

import triptych
from triptych.errors import UserError, expect
from triptych.music.files.parsing import process
from triptych.music.files.parsing.answer import Answer, checked, damaged, parts_of, piece_of
from triptych.music.files.parsing.found import MAX_NOTES
from triptych.music.files.parsing.process import CPU_SECONDS, READY, TABLES
from triptych.music.piece.performance import Performance, together
from triptych.music.piece.piece import Piece
from triptych.shape.files import read_file

MAX_BYTES = 10_000_000  # of a file
START_SECONDS = 10.0  # the first start after an installation reads Python from a cold disk
READ_SECONDS = 10.0  # for one file, of which the process may work `CPU_SECONDS`
MAX_HEADER_BYTES = 1 << 20  # bytes of an answer's first line

File = TypeVar("File")
Found = TypeVar("Found")


def read_piece(source: str | Path | bytes, *, name: str | None = None) -> tuple[Piece, list[str]]:
    """Read a file of music, or its bytes, with the time in beats, and a word about what was left out or changed.

    Resolution: the file's ticks a quarter note. A voice is a track, or what one channel and program plays within a
    track; its name is the track's, else "voice" and a number. Tempos, time signatures, key signatures and instruments
    are the file's. The pickup is a first bar that is shorter than the metre after it. A note ends by the
    rules of `triptych.music.files.parsing.midi`. Left out: drums, notes without a duration, voices without notes, and
    the silence after the last note. Time in SMPTE frames is read as beats of half a second.
    name: of the file in errors. Raises UserError for anything that is not a file of music with notes, and for
    more than 10 MB, 200,000 notes or 256 voices.
    """
    with MusicReader() as reader:
        return reader.read_piece(source, name=name)


def read_performance(source: str | Path | bytes, *, name: str | None = None) -> tuple[Performance, list[str]]:
    """Read a file of music as a performance on one piano, with a word about what was left out or changed.

    All parts of `MusicReader.read_parts` together, with their pedals: see there.
    """
    with MusicReader() as reader:
        return reader.read_performance(source, name=name)


def read_many(
    files: Iterable[File], read: Callable[[MusicReader, File], Found], *, workers: int = 1
) -> Iterator[tuple[File, Found | UserError]]:
    """Read many files, `workers` at a time with a process each: every file, in order, with what `read` makes of it.

    A file that `read` refuses comes with its UserError.
    """
    with ExitStack() as stack:
        idle: SimpleQueue[MusicReader] = SimpleQueue()
        for _ in range(workers):
            idle.put(stack.enter_context(MusicReader()))

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


class MusicReader:
    """Reads files of music in a process that is started at the first one and again whenever a file has broken it.

    Use it in a `with` statement. starts: how often a process was started.
    """

    def __init__(self) -> None:
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def read_piece(self, source: str | Path | bytes, *, name: str | None = None) -> tuple[Piece, list[str]]:
        """Read one file: see the function `read_piece`."""
        return piece_of(self._parse(source, name))

    def read_performance(self, source: str | Path | bytes, *, name: str | None = None) -> tuple[Performance, list[str]]:
        """Read one file: see the function `read_performance`."""
        parts, words = self.read_parts(source, name=name)
        return together(part for _, part in parts), words

    def read_parts(
        self, source: str | Path | bytes, *, name: str | None = None, pedal: bool = True
    ) -> tuple[list[tuple[str, Performance]], list[str]]:
        """Read each voice of a file as a performance with its name, and a word about what was left out or changed.

        Voices are those of `read_piece`. Times are seconds by all tempos of the file. The pedals of a voice's channel
        are applied, unless `pedal` is False: see `sustained` and `held_by_sostenuto`. Left out: drums, notes off the 88
        keys, and notes without a duration where no pedal holds them.
        Raises UserError where `read_piece` does, and for music of more than `performance.MAX_SECONDS` seconds.
        """
        return parts_of(self._parse(source, name), pedal=pedal)

    def _parse(self, source: str | Path | bytes, name: str | None) -> Answer:
        """Send a file to the process; its answer, checked."""
        expect(source, str | Path | bytes, "a Piece, the path of a file of music or its bytes", "give one of these")
        name = name or ("bytes of music" if isinstance(source, bytes) else str(source))
        data = _load(source, name)
        process = self._running(name)
        late = threading.Event()
        answer = None
        try:
            with _deadline(process, READ_SECONDS, late):
                answer = _ask(process, data)
        finally:
            slow = answer is None and (late.is_set() or _ended_by_its_timer(process))
            if answer is None or late.is_set():
                self._stop()
        if answer is None:
            if slow:
                raise damaged(name, f"it takes more than {CPU_SECONDS} s", remedy="cut it")
            raise damaged(name, "it breaks the parser")
        return checked(*answer, name)

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
                f"expected a second process of Python to read {name!r}, got none; check that {sys.executable} starts"
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
    """Command that starts the parsing process."""
    # -I and -S: no environment variables, no user's packages, no start-up files.
    folder = Path(triptych.__file__).parents[1]
    return [sys.executable, "-I", "-S", process.__file__, str(folder)]


def _ended_by_its_timer(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process is dead because a file took too long."""
    with suppress(subprocess.TimeoutExpired):
        return sys.platform != "win32" and process.wait(0.2) == -signal.SIGPROF
    return False


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


def _ask(process: subprocess.Popen[bytes], data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[np.int64]]] | None:
    """Send a file; the header and the tables of the answer, or None if there is no answer of that form."""
    assert process.stdin is not None
    assert process.stdout is not None
    tables = {}
    try:
        process.stdin.write(len(data).to_bytes(4, "big") + data)
        process.stdin.flush()
        line = process.stdout.readline(MAX_HEADER_BYTES)
        header = json.loads(line)
        for title, columns in TABLES.items():
            count = header.get(title, 0)
            if not (line.endswith(b"\n") and type(count) is int and 0 <= count <= MAX_NOTES):
                return None
            rows = process.stdout.read(4 * columns * count)
            tables[title] = np.frombuffer(rows, np.int32).reshape(count, columns).astype(np.int64)
    except (OSError, ValueError, RecursionError, AttributeError):
        return None
    return header, tables


def _load(source: str | Path | bytes, name: str) -> bytes:
    """Content of the file. Raises UserError if it cannot be read or is too large."""
    what = "a MIDI or MusicXML file"
    if not isinstance(source, bytes):
        return read_file(Path(source), name, what, MAX_BYTES, "cut it")
    if len(source) > MAX_BYTES:
        raise UserError(f"expected {what} of at most {MAX_BYTES:,} bytes, got {name!r} of {len(source):,}; cut it")
    return source
