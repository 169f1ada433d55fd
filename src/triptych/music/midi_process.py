"""The process that parses MIDI files, so that a file which breaks the native parser breaks nothing else.

`triptych.music.midi` runs this file as a script, with the folder of symusic as its argument; it imports nothing of
ours. Asked with 4 bytes of length (big-endian) and a file, it answers with a line of JSON, {"error": text} or
{"large": true} or {"voices": names, "drums": notes that were left out, "notes": count, "pedals": count, "tempos":
count}, and then three tables of int32: notes (start and duration in ticks, pitch, velocity, voice), changes of the
sustain pedal (tick, 1 for down and 0 for up, voice) and tempos (tick, microseconds of a quarter note).
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
MOST_NOTES = 200_000  # and as many changes of the pedal, and of the tempo
MOST_VOICES = 256
SUSTAIN, DOWN = 64, 64  # the controller, and the least value that is a pedal held down
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
    """Parse one file with symusic's `core`: the answer's header and its tables.

    A MemoryError is not caught: it ends the process, whose next file shall not find a memory in pieces.
    """
    try:
        score = core.ScoreTick.from_midi(data)
    except (RuntimeError, ValueError) as error:
        return {"error": str(error)}, b""
    voices = [track for track in score.tracks if len(track.notes) and not track.is_drum]
    if max(sum(len(track.notes) for track in voices), len(score.tempos)) > MOST_NOTES or len(voices) > MOST_VOICES:
        return {"large": True}, b""
    notes, pedals, tempos = array("i"), array("i"), array("i")
    for voice, track in enumerate(voices):
        for note in track.notes:
            notes.extend((note.time, note.duration, note.pitch, note.velocity, voice))
        held = 0
        for change in track.controls:
            if change.number == SUSTAIN and (change.value >= DOWN) != held:
                held = 1 - held
                pedals.extend((change.time, held, voice))
    for tempo in score.tempos:
        tempos.extend((tempo.time, tempo.mspq))
    if len(pedals) > 3 * MOST_NOTES:
        return {"large": True}, b""
    return {
        "voices": [track.name[:NAME_LENGTH] for track in voices],
        "drums": sum(len(track.notes) for track in score.tracks if track.is_drum),
        "notes": len(notes) // 5,
        "pedals": len(pedals) // 3,
        "tempos": len(tempos) // 2,
    }, b"".join(table.tobytes() for table in (notes, pedals, tempos))


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
