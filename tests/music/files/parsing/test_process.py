import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from triptych.errors import UserError
from triptych.music.files import reading
from triptych.music.files.midi import midi_bytes
from triptych.music.files.parsing.process import READY
from triptych.music.files.reading import MusicReader, read_many, read_piece, worker_command
from triptych.music.files.save import save_music
from triptych.music.piece.piece import Note, Piece

CHORD = Piece(
    (Note(0, 4, 72), Note(4, 8, 72, voice=0), Note(0, 6, 64, 50, voice=1), Note(0, 8, 48, voice=2)),
    voices=("soprano", "alto", "bass"),
    tempo=72,
)


def test_many_files_are_read_by_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []

    def counted() -> list[str]:
        starts.append(worker_command())
        return starts[-1]

    monkeypatch.setattr(reading, "worker_command", counted)
    for place in range(6):
        (tmp_path / f"{place}.mid").write_bytes(midi_bytes(CHORD) if place % 2 else b"broken")
    paths = [tmp_path / f"{place}.mid" for place in range(7)]
    found = list(read_many(paths, MusicReader.read_piece))
    assert [path for path, _ in found] == paths
    assert [type(result) for _, result in found] == [UserError, tuple, UserError, tuple, UserError, tuple, UserError]
    assert found[1][1] == read_piece(paths[1])
    assert str(paths[6]) in str(found[6][1])
    assert len(starts) == 2  # read_midi's own is the second


def test_reading_can_stop_halfway(tmp_path: Path) -> None:
    save_music(CHORD, tmp_path / "a.mid")
    walk = read_many([tmp_path / "a.mid"] * 9, MusicReader.read_piece)
    assert isinstance(next(walk)[1], tuple)
    assert isinstance(walk, Generator)
    walk.close()
    assert list(walk) == []
    assert list(read_many([], MusicReader.read_piece)) == []


def test_several_processes_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []
    monkeypatch.setattr(reading, "worker_command", lambda: starts.append(worker_command()) or starts[-1])
    paths = [tmp_path / f"{place}.mid" for place in range(12)]
    for place, path in enumerate(paths):
        path.write_bytes(b"broken" if place % 5 == 3 else midi_bytes(Piece((Note(0, 1, 60 + place),))))
    found = list(read_many(paths, MusicReader.read_piece, workers=3))
    assert [path for path, _ in found] == paths
    for place, (_, result) in enumerate(found):
        if place % 5 == 3:
            assert isinstance(result, UserError) and result.__traceback__ is None
        else:
            assert isinstance(result, tuple) and result[0].notes[0].pitch == 60 + place
    assert 1 <= len(starts) <= 3


def test_another_error_is_not_hidden(tmp_path: Path) -> None:
    def fail(reader: MusicReader, path: Path) -> Piece:
        raise ZeroDivisionError(path)

    with pytest.raises(ZeroDivisionError, match="a"):
        list(read_many([tmp_path / "a"], fail))


def fake(monkeypatch: pytest.MonkeyPatch, program: str, *, greets: bool = True) -> None:
    """Let the parsing process be a program of ours, that has `out` to write to."""
    greeting = (
        f"import os, sys, time\nout = sys.stdout.buffer\nout.write({READY!r} if {greets} else b'')\nout.flush()\n"
    )
    monkeypatch.setattr(reading, "worker_command", lambda: [sys.executable, "-I", "-S", "-c", greeting + program])


def answer(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    """Let the parsing process hear a request to its end and give this answer."""
    fake(monkeypatch, f"ears = sys.stdin.buffer\nears.read(int.from_bytes(ears.read(4), 'big'))\nout.write({answer!r})")


BROKEN_ANSWERS = {
    "dies": "sys.stdin.buffer.read(4); os._exit(1)",
    "is killed": "os.kill(os.getpid(), 9)",
    "crashes": "os.kill(os.getpid(), 11)",
    "closes its ears": "os.close(0); time.sleep(0.2)",
    "floods": "\nwhile True: out.write(bytes(1 << 20))",
    "floods with lines": "\nwhile True: out.write(b'{\\n' * 1000)",
    "answers in binary": "out.write(b'\\xff\\xfe\\n')",
    "nests": "out.write(b'[' * 500_000 + b'\\n')",
    "promises too much": "out.write(b'{\"notes\": 200001}\\n' + bytes(5_000_000))",
    "breaks off": "out.write(b'{\"notes\": 2}\\n' + bytes(39))",
    "leaves the line open": "out.write(b'{\"notes\": 0}')",
}


@pytest.mark.skipif(sys.platform == "win32", reason="the signals are those of POSIX")
@pytest.mark.parametrize("program", BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS)
def test_a_process_that_breaks_is_an_error_and_is_replaced(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    with MusicReader() as reader:
        with monkeypatch.context() as patch:
            fake(patch, program)
            for _ in range(2):
                with pytest.raises(UserError, match="got 'a': it breaks the parser; export it again"):
                    reader.read_piece(midi_bytes(CHORD), name="a")
        assert len(reader.read_piece(midi_bytes(CHORD))[0].notes) == 4
        assert reader.starts == 3


def test_an_error_of_the_parser_stays_one_short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, json.dumps({"error": "a\n\x1b" * 1000}).encode() + b"\n")
    with pytest.raises(UserError) as caught:
        read_piece(midi_bytes(CHORD))
    assert (
        str(caught.value)
        == f"expected a valid MIDI or MusicXML file, got 'bytes of music': {'a' * 200}; export it again"
    )


@pytest.mark.parametrize(
    "program",
    ["time.sleep(60)", "\nwhile True: pass", "sys.stdin.buffer.read(4); out.write(b'{'); out.flush(); time.sleep(60)"],
)
def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    fake(monkeypatch, program)
    monkeypatch.setattr(reading, "READ_SECONDS", 0.2)
    with MusicReader() as reader:
        for data in (midi_bytes(CHORD), midi_bytes(CHORD) + bytes(5_000_000)):  # more than a pipe holds
            with pytest.raises(UserError, match=r"got 'a': it takes more than 1\.5 s; cut it"):
                reader.read_piece(data, name="a")
        assert reader.starts == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups of this kind")
def test_what_a_process_has_started_is_ended_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # The grandchild holds the pipe open: without its end the reader would wait a minute.
    fake(monkeypatch, "\nif os.fork(): os.wait()\ntime.sleep(60)")
    monkeypatch.setattr(reading, "READ_SECONDS", 0.2)
    with pytest.raises(UserError, match="it takes more than"):
        read_piece(midi_bytes(CHORD))


def test_a_process_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "START_SECONDS", 0.2)
    for program in ("", "os._exit(3)", "out.write(b'rea')", "out.write(b'hello\\n' * 9)", "time.sleep(60)"):
        fake(monkeypatch, program, greets=False)
        with pytest.raises(UserError, match="expected a second process of Python to read 'a', got none; check that"):
            read_piece(midi_bytes(CHORD), name="a")
    monkeypatch.setattr(reading, "worker_command", lambda: ["/no/such/program"])
    with pytest.raises(UserError, match="expected a second process of Python"):
        read_piece(midi_bytes(CHORD))


def test_a_process_that_died_between_two_files_is_replaced() -> None:
    with MusicReader() as reader:
        reader.read_piece(midi_bytes(CHORD))
        assert reader._process is not None
        reader._process.kill()
        reader._process.wait()
        assert len(reader.read_piece(midi_bytes(CHORD))[0].notes) == 4
        assert reader.starts == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such timer")
def test_a_file_that_takes_too_long_ends_its_process_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    python, *isolated, script, folder = worker_command()
    shorter = f"import runpy, sys; sys.argv = [{script!r}, {folder!r}]; sys.path.append({folder!r});"
    shorter += "from triptych.music.files.parsing import process as p; p.CPU_SECONDS = 0.3;"
    shorter += "import time; usual = p.answer; p.answer = lambda data: usual(data) if len(data) < 999 else slow();"
    shorter += "exec('def slow():\\n while True: pass'); p.main()"
    monkeypatch.setattr(reading, "worker_command", lambda: [python, *isolated, "-c", shorter])
    with MusicReader() as reader:
        for _ in range(9):  # the time of a file is its own
            assert len(reader.read_piece(midi_bytes(CHORD))[0].notes) == 4
        with pytest.raises(UserError, match=r"got 'a': it takes more than 1\.5 s; cut it"):
            reader.read_piece(midi_bytes(CHORD) + bytes(999), name="a")
        assert len(reader.read_piece(midi_bytes(CHORD))[0].notes) == 4
        assert reader.starts == 2


def test_the_parser_is_alone_with_pythons_own_library() -> None:
    data = midi_bytes(CHORD)
    check = (
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__');"
        "print(sorted({name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)), file=sys.stderr)"
    )
    python, *isolated, script, folder = worker_command()
    command = [python, *isolated, "-c", check, script, folder]
    done = subprocess.run(command, input=len(data).to_bytes(4, "big") + data, capture_output=True, check=True)
    assert b'"notes": 4' in done.stdout
    assert done.stderr.decode().strip() == "['__main__', 'triptych']"
