"""The process that parses MIDI files, so that a file which breaks the native parser breaks nothing else.

`triptych.music.midi` runs this file as a script, with the folder of symusic as its argument; it imports nothing of
ours. Asked with 4 bytes of length (big-endian) and a file, it answers with a line of JSON, {"error": text} or
{"large": true} or {"microseconds": of a quarter note, "voices": names, "notes": count}, and then int32 [notes, 5]:
start and duration in ticks, pitch, velocity, voice.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import types
from array import array
from contextlib import suppress
from typing import Any

READY = b"ready\n"  # the first line of output
MOST_NOTES = 200_000
MOST_VOICES = 256
NAME_LENGTH = 80  # characters of a voice's name
MEMORY_BYTES = 256 << 20
CPU_SECONDS = 3  # for one file; the asking process is less patient, but it may be gone


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native code prints is no answer
    _limit_memory()
    core = _load_core(sys.argv[1])
    answers.write(READY)
    answers.flush()
    while size := sys.stdin.buffer.read(4):
        data = sys.stdin.buffer.read(int.from_bytes(size, "big"))
        _limit_time()
        header, notes = parse(core, data)
        answers.write(json.dumps(header).encode() + b"\n" + notes)
        answers.flush()


def parse(core: Any, data: bytes) -> tuple[dict[str, Any], bytes]:
    """Parse one file with symusic's `core`: the answer's header and its notes.

    A MemoryError is not caught: it ends the process, whose next file shall not find a memory in pieces.
    """
    try:
        score = core.ScoreTick.from_midi(data)
    except (RuntimeError, ValueError) as error:
        return {"error": str(error)}, b""
    voices = [track for track in score.tracks if len(track.notes) and not track.is_drum]
    count = sum(len(track.notes) for track in voices)
    if count > MOST_NOTES or len(voices) > MOST_VOICES:
        return {"large": True}, b""
    notes = array("i")
    names: list[str] = []
    for track in voices:
        sounding = [note for note in track.notes if note.duration > 0]
        for note in sounding:
            notes.extend((note.time, note.duration, note.pitch, note.velocity, len(names)))
        if sounding:
            names.append(track.name[:NAME_LENGTH])
    microseconds = score.tempos[0].mspq if len(score.tempos) else 500_000
    return {"microseconds": microseconds, "voices": names, "notes": len(notes) // 5}, notes.tobytes()


def _load_core(folder: str) -> types.ModuleType:
    """Import the native part of symusic alone: the rest loads an HTTP client and sets environment variables."""
    package = types.ModuleType("symusic")
    package.__path__ = [folder]
    sys.modules["symusic"] = package
    return importlib.import_module("symusic.core")


def _limit_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    with suppress(ValueError, OSError):  # macOS may refuse; the time is limited all the same
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Not RLIMIT_AS: the address space also counts what is mapped and never read, such as 200 MB of locales.
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


def _limit_time() -> None:
    """Allow this process `CPU_SECONDS` more, which end it even when nobody waits for it any longer."""
    if sys.platform == "win32":
        return
    import resource

    with suppress(ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + CPU_SECONDS, hard))


if __name__ == "__main__":
    main()
