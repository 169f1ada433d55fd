"""The process that parses files of music, so that a file which wants too much time or memory breaks nothing else.

`triptych.music.files.reading` runs this file as a script, with the folder of the package as its argument; of ours it
imports the parsers alone, which need nothing beyond Python's own library. Asked with 4 bytes of length (big-endian) and
a file, it answers with a line of JSON: {"unknown": true} for a file of another kind, {"large": true}, {"error": text},
or what `found.Found` has besides its tables, with the number of rows of each under its name. Then follow the tables,
as int32.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import Any

READY = b"ready\n"  # the first line of output
TABLES = {"notes": 5, "pedals": 4, "tempos": 2, "metres": 3, "keys": 3}  # of an answer, and their columns
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how XML begins that is not written in bytes
MEMORY_BYTES = 256 << 20
CPU_SECONDS = 1.5  # for one file, whoever waits for it


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    _limit_memory()
    sys.path.append(sys.argv[1])
    import triptych.music.files.parsing.midi  # noqa: F401 - before the first file, which shall not wait for it

    answers.write(READY)
    answers.flush()
    while size := sys.stdin.buffer.read(4):
        data = sys.stdin.buffer.read(int.from_bytes(size, "big"))
        _limit_time(CPU_SECONDS)
        header, tables = answer(data)
        _limit_time(0)
        answers.write(json.dumps(header).encode() + b"\n" + tables)
        answers.flush()


def answer(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Parse one file: the answer's header and its tables.

    A MemoryError is not caught: it ends the process, whose next file shall not find a memory in pieces.
    """
    from triptych.music.files.parsing import midi
    from triptych.music.files.parsing.found import DamagedError, TooLargeError

    data = _unwrapped(data)
    try:
        if data[:4] == b"MThd":
            found = midi.parse(data)
        elif data[:4] == b"PK\3\4" or data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" or data[:2] in UTF_16:
            from triptych.music.files.parsing import musicxml

            found = musicxml.parse(data)
        else:
            return {"unknown": True}, b""
    except DamagedError as error:
        return {"error": str(error)}, b""
    except TooLargeError:
        return {"large": True}, b""
    tables = {name: getattr(found, name) for name in TABLES}
    header: dict[str, Any] = {name: len(table) // TABLES[name] for name, table in tables.items()}
    for name in ("resolution", "voices", "rate", "pickup", "notices"):
        header[name] = getattr(found, name)
    return header, b"".join(table.tobytes() for table in tables.values())


def _unwrapped(data: bytes) -> bytes:
    """The MIDI file within a RIFF file (.rmi), or behind the 128 bytes with which old Macintosh programs begin."""
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        at = 12
        while at + 8 <= len(data):
            if data[at : at + 4] == b"data":
                return data[at + 8 :]
            length = int.from_bytes(data[at + 4 : at + 8], "little")
            at += 8 + length + length % 2
    return data[128:] if data[:1] == b"\0" and data[128:132] == b"MThd" else data


def _limit_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    with suppress(ValueError, OSError):  # macOS may refuse; the time is limited all the same
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Not RLIMIT_AS: the address space also counts what is mapped and never read, such as 200 MB of locales.
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


def _limit_time(seconds: float) -> None:
    """Let a signal end this process after so many seconds more (if 0, never), even where no process waits for it.

    The time of the processor and not of a clock: a machine that is busy with other things refuses no file.
    """
    if sys.platform != "win32":
        import signal

        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()
