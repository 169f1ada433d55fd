import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music import midi
from triptych.music.midi import (
    MidiReader,
    midi_bytes,
    read_many,
    read_midi,
    read_performance,
    worker_command,
    write_midi,
)
from triptych.music.midi_process import CPU_SECONDS, MOST_NOTES, NAME_LENGTH, READY
from triptych.music.performance import LONGEST, Performance
from triptych.music.piece import Note, Piece

CHORD = Piece(
    (Note(0, 4, 72), Note(4, 8, 72, voice=0), Note(0, 6, 64, 50, voice=1), Note(0, 8, 48, voice=2)),
    voices=("soprano", "alto", "bass"),
    tempo=72,
)

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=NAME_LENGTH)


@pytest.fixture(scope="module")
def reader() -> Iterator[MidiReader]:
    with MidiReader() as reader:
        yield reader


def chunk(body: bytes) -> bytes:
    return b"MTrk" + struct.pack(">I", len(body)) + body


def file(*bodies: bytes, division: int = 96, kind: int = 1) -> bytes:
    return b"MThd" + struct.pack(">IHHH", 6, kind, len(bodies), division) + b"".join(map(chunk, bodies))


END = b"\0\xff\x2f\0"
NOTE = b"\0\x90\x3c\x50\x60\x80\x3c\0"


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    """Pieces with notes that overlap and are struck again, but lie within no other of their pitch and voice."""
    voices = tuple(draw(st.lists(NAMES, min_size=1, max_size=20)))
    last: dict[tuple[int, int], int] = {}
    notes = []
    for start in sorted(draw(st.lists(st.integers(0, 3000), min_size=1, max_size=30))):
        place = draw(st.sampled_from([0, 60, 61, 127])), draw(st.integers(0, len(voices) - 1))
        end = max(start, last.get(place, 0)) + draw(st.sampled_from([1, 2, 500, 100_000]))
        last[place] = end
        notes.append(Note(start, end, place[0], draw(st.integers(1, 127)), place[1]))
    resolution = draw(st.sampled_from([1, 4, 7, 24, 95, 96, 480, 0x7FFF]))
    return Piece(tuple(notes), resolution, draw(st.floats(4, 300)), voices, draw(st.integers(0, 1000)))


@given(pieces())
@settings(max_examples=60, deadline=None)
def test_a_file_gives_the_notes_back(reader: MidiReader, piece: Piece) -> None:
    found = reader.read(midi_bytes(piece))
    factor = found.resolution // piece.resolution
    heard = sorted({note.voice for note in piece.notes})
    assert found.resolution == piece.resolution * factor >= 96
    assert found.tempo == pytest.approx(piece.tempo, abs=1e-3)
    assert found.voices == tuple(piece.voices[voice] for voice in heard)
    assert found.notes == tuple(
        Note(note.start * factor, note.end * factor, note.pitch, note.velocity, heard.index(note.voice))
        for note in piece.notes
    )


def test_a_note_within_another_swaps_ends_with_it(reader: MidiReader) -> None:
    found = reader.read(midi_bytes(Piece((Note(0, 30, 60, 1), Note(10, 20, 60, 2)), resolution=96)))
    assert found.notes == (Note(0, 20, 60, 1), Note(10, 30, 60, 2))


def test_the_bytes_of_a_file() -> None:
    piece = Piece((Note(0, 1, 60), Note(1, 2, 60, 90)), resolution=4, tempo=120, voices=("a", "é"), length=200)
    first = (
        b"\0\xff\x03\x01a" + b"\0\xff\x51\x03\x07\xa1\x20" + b"\0\xff\x58\x04\x04\x02\x18\x08"
        b"\0\x90\x3c\x50" + b"\x78\x80\x3c\0" + b"\0\x90\x3c\x5a" + b"\x78\x80\x3c\0" + b"\x81\xb9\x50\xff\x2f\0"
    )
    second = b"\0\xff\x03\x02\xc3\xa9" + b"\x81\xbb\x40\xff\x2f\0"
    assert midi_bytes(piece) == file(first, second, division=480)


def test_no_voice_plays_the_drums(reader: MidiReader) -> None:
    notes = tuple(Note(0, 1, 60, voice=voice) for voice in range(40))
    assert len(reader.read(midi_bytes(Piece(notes, voices=("horn",) * 40))).notes) == 40


def test_writing_a_file(tmp_path: Path) -> None:
    write_midi(CHORD, tmp_path / "deep" / "chord.mid")
    assert (tmp_path / "deep" / "chord.mid").read_bytes() == midi_bytes(CHORD)
    CHORD.save(tmp_path / "chord.midi")
    assert read_midi(tmp_path / "chord.midi") == read_midi(str(tmp_path / "chord.midi")) == read_midi(midi_bytes(CHORD))


@pytest.mark.parametrize(
    ("piece", "got"),
    [
        (Piece((), tempo=3.5), "got 3.5; change the tempo"),
        (Piece((), tempo=1e-320), "change the tempo"),
        (Piece((), resolution=40_000), "40000 a quarter note in 1 voices; choose a coarser"),
        (Piece((), length=2**28), "got 268435456 ticks at 4"),
        (Piece((), voices=("",) * 0x10000), "in 65536 voices"),
    ],
)
def test_what_midi_cannot_say_is_not_written(piece: Piece, got: str) -> None:
    with pytest.raises(UserError, match=got):
        midi_bytes(piece)


def test_voices_are_channels_and_programs_within_tracks(reader: MidiReader) -> None:
    two = b"\0\xff\x03\x01x" + b"\0\x91\x40\x50\x60\x81\x40\0" + NOTE + END
    found = reader.read(file(two, b"\0\xff\x2f\0", NOTE + b"\0\xc0\x05" + NOTE + END))
    assert found.voices == ("x", "x", "voice 3", "voice 4")
    assert [(note.start, note.end, note.pitch, note.voice) for note in found.notes] == [
        (0, 96, 60, 2), (0, 96, 64, 1), (96, 192, 60, 0), (96, 192, 60, 3),
    ]  # fmt: skip
    assert (found.resolution, found.tempo, found.pickup) == (96, 120, None)


def test_the_first_tempo_counts(reader: MidiReader) -> None:
    late = b"\x60\xff\x51\x03\x0f\x42\x40" + END
    early = b"\x01\xff\x51\x03\x09\x27\xc0" + NOTE + END
    assert reader.read(file(late, early)).tempo == 100


def test_names_are_made_fit_for_a_line(reader: MidiReader) -> None:
    for name, expected in [
        (b" a\n\x1b[2Jb\0 ", "a[2Jb"),
        (b"Fl\xf6te", "Fl�te"),
        (b"\x07", "voice 1"),
        (b"", "voice 1"),
    ]:
        assert reader.read(file(b"\0\xff\x03" + bytes([len(name)]) + name + NOTE)).voices == (expected,)
    assert reader.read(file(b"\0\xff\x03\x87\x68" + b"z" * 1000 + NOTE)).voices == ("z" * NAME_LENGTH,)


def test_notes_without_duration_or_end_are_left_out(reader: MidiReader) -> None:
    still = b"\0\x90\x30\x50\0\x80\x30\0"
    found = reader.read(
        file(b"\0\xff\x03\x01x" + still + END, b"\0\xff\x03\x01y" + still + NOTE + b"\0\x90\x32\x50" + END)
    )
    assert found.notes == (Note(0, 96, 60),)
    assert found.voices == ("y",)


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (b"", "no MIDI header"),
        (b"MThd\0\0\0\6\0\1\0\1\0", "no MIDI header"),
        (b"RIFF" + file(NOTE), "no MIDI header"),
        (b"This is a letter, not a song.", "no MIDI header"),
        (file(NOTE, division=0), "0 ticks per quarter note"),
        (file(NOTE, division=0xE728), "in SMPTE frames; export it with ticks"),
        (file(), "its header tells of 0 tracks"),
        (b"MThd" + struct.pack(">IHHH", 6, 1, 60_000, 96) + chunk(NOTE), "60000 tracks"),
        (b"MThd" + struct.pack(">IHHH", 7, 1, 1, 96) + b"\0" + chunk(NOTE), "export it again"),
        (midi_bytes(CHORD)[:-9], "Invalid chunk length"),
        (file(b"\0\x90\xc8\x50\x60\x80\xc8\0" + END), "pitch=200"),
        (file(b"\0\x90\x3c\xc8\x60\x80\x3c\0" + END), "velocity=200"),
        (file(b"\0\xff\x51\x03\0\0\0" + NOTE + END), "tempo is out of range"),
        (file(b"\xff\xff\xff\x7f\x90\x3c\0" * 9 + NOTE + END), "notes are out of range"),
        (
            file(b"\xff\xff\xff\x7f\x90\x3c\0" * 7 + b"\xff\xff\xff\x7f\x90\x3c\x50" + b"\x10\x80\x3c\0" + END),
            "notes are out of range",
        ),
        (file(END), "has no notes"),
        (file(b""), "has no notes"),
        (file(b"\0\x99\x3c\x50\x60\x89\x3c\0" + END), "has no notes"),
        (file(b"\0\x90\x3c\x50\0\x80\x3c\0" + END), "has no notes"),
    ],
)
def test_a_bad_file_is_told_in_one_line(reader: MidiReader, data: bytes, got: str) -> None:
    with pytest.raises(UserError, match=r"^expected .*; [a-z][^\n]*$") as told:
        reader.read(data, name="song\n.mid")
    assert got in str(told.value)
    assert r"'song\n.mid'" in str(told.value)


# -- performances -----------------------------------------------------------------------------------------------------

TEMPO = {seconds: b"\0\xff\x51\x03" + round(1e6 * seconds).to_bytes(3, "big") for seconds in (0.25, 0.5, 1.0, 2.0)}


def performed(reader: MidiReader, *bodies: bytes, kind: int = 1) -> list[tuple[float, float, int, int]]:
    """A quarter note is 96 ticks, and half a second where nothing is said."""
    performance, _ = reader.read_performance(file(*bodies, kind=kind))
    return performance.notes.tolist()  # type: ignore[no-any-return]


def test_seconds_by_all_tempos(reader: MidiReader) -> None:
    # Tempos in any track hold for all; before the first one a quarter note takes half a second.
    changes = b"\x60" + TEMPO[1.0][1:] + b"\x60" + TEMPO[0.25][1:] + TEMPO[2.0] + END
    notes = b"\x30\x90\x3c\x50\x30\x80\x3c\0" + b"\x30\x90\x3e\x50\x81\x10\x80\x3e\0" + END
    assert performed(reader, notes, changes) == [(0.25, 0.5, 60, 80), (1.0, 3.5, 62, 80)]
    assert performed(reader, changes, notes) == performed(reader, notes, changes)


def test_the_pedal_holds_until_it_is_up_or_the_key_is_struck_again(reader: MidiReader) -> None:
    body = (
        b"\0\xb0\x40\x40" + NOTE  # 0 to 96, held
        + b"\0\x90\x40\x30\x30\x80\x40\0"  # 96 to 144, held
        + b"\x30\x90\x3c\x20\x30\x80\x3c\0"  # struck again at 192, released at 240
        + b"\x60\xb0\x40\x3f" + NOTE + END  # up at 336; a last note without it
    )  # fmt: skip
    quarter = 0.5 / 96
    expected = [(0, 192, 60, 80), (96, 336, 64, 48), (192, 336, 60, 32), (336, 432, 60, 80)]
    assert performed(reader, body) == [(start * quarter, end * quarter, *rest) for start, end, *rest in expected]
    dry, _ = reader.read_parts(file(body), pedal=False)
    assert [(note[0] / quarter, note[1] / quarter) for note in dry[0][1].notes.tolist()] == [
        (0, 96), (96, 144), (192, 240), (336, 432),
    ]  # fmt: skip


def test_a_pedal_that_stays_down_is_up_with_the_last_key(reader: MidiReader) -> None:
    assert performed(reader, b"\0\xb0\x40\x7f" + NOTE + b"\0\x90\x40\x30\x60\x80\x40\0" + END) == [
        (0.0, 1.0, 60, 80),
        (0.5, 1.0, 64, 48),
    ]


def test_a_note_without_a_duration_is_heard_where_the_pedal_holds_it(reader: MidiReader) -> None:
    still = b"\0\x90\x30\x50\0\x80\x30\0"
    assert performed(reader, still + NOTE + END) == [(0.0, 0.5, 60, 80)]
    held = b"\0\xb0\x40\x7f" + still + NOTE + b"\0\xb0\x40\0" + END
    assert performed(reader, held) == [(0.0, 0.5, 48, 80), (0.0, 0.5, 60, 80)]
    with pytest.raises(UserError, match="which has no notes; choose"):
        performed(reader, still + END)


@pytest.mark.parametrize("kind", [0, 1])
def test_parts_have_pedals_of_their_own(reader: MidiReader, kind: int) -> None:
    left = b"\0\xff\x03\x04left\0\xb0\x40\x7f" + NOTE + b"\x60\xb0\x40\0"
    right = b"\0\x91\x43\x30\x60\x81\x43\0"
    data = file(left + right + END, kind=0) if kind == 0 else file(left + END, b"\0\xff\x03\x05right" + right + END)
    parts, words = reader.read_parts(data)
    assert words == []
    found = [(title, part.notes.tolist()) for title, part in parts]
    if kind == 0:  # one track: both are named after it
        assert found == [("left", [(0.0, 1.0, 60, 80)]), ("left", [(1.0, 1.5, 67, 48)])]
    else:
        assert found == [("left", [(0.0, 1.0, 60, 80)]), ("right", [(0.0, 0.5, 67, 48)])]
    together, _ = reader.read_performance(data)
    assert sorted(together.notes.tolist()) == sorted(note for _, notes in found for note in notes)


def test_drums_and_what_no_piano_has_are_left_out_with_a_word(reader: MidiReader) -> None:
    drums = b"\0\x99\x3c\x50\x60\x89\x3c\0" * 3
    outside = b"\0\x90\x14\x50\x60\x80\x14\0" + b"\0\x90\x6d\x50\x60\x80\x6d\0"
    performance, words = reader.read_performance(file(drums + NOTE + END, outside + END))
    assert len(performance) == 1
    assert words == ["3 notes of drums left out", "2 of 3 notes left out, which are off the 88 keys of a piano"]
    with pytest.raises(UserError, match="which has no notes"):
        reader.read_performance(file(outside + END))


def test_one_key_in_two_parts_sounds_once(reader: MidiReader) -> None:
    again = b"\x30\x91\x3c\x20\x60\x81\x3c\0" + END
    assert performed(reader, NOTE + END, again) == [(0.0, 0.25, 60, 80), (0.25, 0.75, 60, 32)]


def test_hours_of_silence_are_refused(reader: MidiReader) -> None:
    late = TEMPO[2.0] + b"\xff\xff\xff\x7f\x90\x3c\x50\x60\x80\x3c\0" + END
    with pytest.raises(UserError, match=r"^'a.mid': expected notes with 0 <= start < end <= 21,600 seconds.*; cut"):
        reader.read_performance(file(late), name="a.mid")


SECONDS = st.integers(0, 30_000).map(lambda milliseconds: milliseconds / 1_000)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(SECONDS, SECONDS, st.sampled_from([21, 60, 61, 108]), st.integers(1, 127)), min_size=1, max_size=20
    )
)
def test_a_performance_written_and_read_is_the_same(
    reader: MidiReader, rows: list[tuple[float, float, int, int]]
) -> None:
    start, more, pitch, velocity = map(list, zip(*rows, strict=True))
    end = [begin + longer + 0.001 for begin, longer in zip(start, more, strict=True)]
    performance = Performance.of(start, end, pitch, velocity)
    found, words = reader.read_performance(midi_bytes(performance.to_piece()))
    assert words == [] and len(found) == len(performance)
    for name in ("start", "end"):
        assert abs(found.notes[name] - performance.notes[name]).max() < 1e-9
    for name in ("pitch", "velocity"):
        assert (found.notes[name] == performance.notes[name]).all()


def test_a_performance_from_a_path(tmp_path: Path) -> None:
    performance = Performance.of([0.0], [LONGEST], [60], [1])
    performance.to_piece().save(tmp_path / "a.mid")
    assert read_performance(tmp_path / "a.mid") == (performance, [])


# -- files that are none ----------------------------------------------------------------------------------------------


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "huge.mid").open("wb") as huge:
        huge.truncate(10_000_001)
    for name, got in [("none.mid", "is no file"), ("", "is no file"), ("huge.mid", "got .* of 10,000,001; cut it")]:
        with pytest.raises(UserError, match=got):
            read_midi(tmp_path / name)
    with pytest.raises(UserError, match="at most 10,000,000 bytes, got 'MIDI bytes'"):
        read_midi(bytes(10_000_001))
    with pytest.raises(UserError, match="is no file"):
        read_midi("zero\0byte.mid")
    with pytest.raises(UserError, match="check the path"):
        read_midi("a" * 5000)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    write_midi(CHORD, tmp_path / "secret.mid")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match="Permission denied; check"):
        read_midi(tmp_path / "secret.mid")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_file_that_would_never_end_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mid")
    for path in (tmp_path / "pipe.mid", "/dev/zero"):
        with pytest.raises(UserError, match="is no file"):
            read_midi(path)


def test_too_many_notes_or_voices(reader: MidiReader) -> None:
    short = b"\x90\x3c\x50\1\x80\x3c\0\0"
    assert len(reader.read(file(b"\0" + short * 1000 + END[1:])).notes) == 1000
    programs = b"".join(b"\0\xc0" + bytes([program]) + NOTE for program in range(128)) + END
    for data in [file(b"\0" + short * (MOST_NOTES + 1) + END[1:]), file(*[programs] * 3)]:
        with pytest.raises(
            UserError, match=r"expected at most 200,000 notes in 256 voices.* got 'a' with more; cut it"
        ):
            reader.read(data, name="a")


@given(st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_read_or_refused(reader: MidiReader, draw: random.Random) -> None:
    data = bytearray(midi_bytes(CHORD))
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(14, len(data))
        damage = draw.randrange(4)
        if damage == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif damage == 1:
            data[at] = draw.randrange(256)
        elif damage == 2:
            del data[at : at + draw.choice([1, 2, 40])]
        else:
            data[at:at] = bytes([draw.randrange(256)]) * draw.choice([1, 2, 1000])
    try:
        assert isinstance(reader.read(bytes(data)), Piece)
    except UserError as error:
        assert "\n" not in str(error)


def test_many_files_are_read_by_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []

    def counted() -> list[str]:
        starts.append(worker_command())
        return starts[-1]

    monkeypatch.setattr(midi, "worker_command", counted)
    for place in range(6):
        (tmp_path / f"{place}.mid").write_bytes(midi_bytes(CHORD) if place % 2 else b"broken")
    paths = [tmp_path / f"{place}.mid" for place in range(7)]
    found = list(read_many(paths, MidiReader.read))
    assert [path for path, _ in found] == paths
    assert [type(result) for _, result in found] == [UserError, Piece, UserError, Piece, UserError, Piece, UserError]
    assert found[1][1] == read_midi(paths[1])
    assert str(paths[6]) in str(found[6][1])
    assert len(starts) == 2  # read_midi's own is the second


def test_reading_can_stop_halfway(tmp_path: Path) -> None:
    write_midi(CHORD, tmp_path / "a.mid")
    walk = read_many([tmp_path / "a.mid"] * 9, MidiReader.read)
    assert isinstance(next(walk)[1], Piece)
    assert isinstance(walk, Generator)
    walk.close()
    assert list(walk) == []
    assert list(read_many([], MidiReader.read)) == []


def test_several_processes_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []
    monkeypatch.setattr(midi, "worker_command", lambda: starts.append(worker_command()) or starts[-1])
    paths = [tmp_path / f"{place}.mid" for place in range(12)]
    for place, path in enumerate(paths):
        path.write_bytes(b"broken" if place % 5 == 3 else midi_bytes(Piece((Note(0, 1, 60 + place),))))
    found = list(read_many(paths, MidiReader.read, workers=3))
    assert [path for path, _ in found] == paths
    for place, (_, result) in enumerate(found):
        if place % 5 == 3:
            assert isinstance(result, UserError) and result.__traceback__ is None
        else:
            assert isinstance(result, Piece) and result.notes[0].pitch == 60 + place
    assert 1 <= len(starts) <= 3


def test_another_error_is_not_hidden(tmp_path: Path) -> None:
    def fail(reader: MidiReader, path: Path) -> Piece:
        raise ZeroDivisionError(path)

    with pytest.raises(ZeroDivisionError, match="a"):
        list(read_many([tmp_path / "a"], fail))


def fake(monkeypatch: pytest.MonkeyPatch, program: str, *, greets: bool = True) -> None:
    """Let the parsing process be a program of ours, that has `out` to write to."""
    greeting = (
        f"import os, sys, time\nout = sys.stdout.buffer\nout.write({READY!r} if {greets} else b'')\nout.flush()\n"
    )
    monkeypatch.setattr(midi, "worker_command", lambda: [sys.executable, "-I", "-S", "-c", greeting + program])


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
BROKEN_HEADERS = [
    "[]", "7", "null", "{}", '{"notes": -1}', '{"notes": true}', '{"notes": 1e3}', '{"notes": "1"}', '{"error": 5}',
    '{"notes": 0, "voices": []}', '{"notes": 0, "voices": "ab"}', '{"notes": 0, "voices": [1]}',
    '{"voices": ["a"], "drums": 0.5}', '{"voices": ["a"], "pedals": -1}', '{"voices": ["a"], "tempos": 200001}',
    '{"voices": ["a"], "tempos": "0"}',
]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="the signals are those of POSIX")
@pytest.mark.parametrize("program", BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS)
def test_a_process_that_breaks_is_an_error_and_is_replaced(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    with MidiReader() as reader:
        with monkeypatch.context() as patch:
            fake(patch, program)
            for _ in range(2):
                with pytest.raises(UserError, match="got 'a': it breaks the parser; export it again"):
                    reader.read(midi_bytes(CHORD), name="a")
        assert len(reader.read(midi_bytes(CHORD)).notes) == 4
        assert reader.starts == 3


@pytest.mark.parametrize("header", BROKEN_HEADERS)
def test_a_senseless_answer_is_an_error(monkeypatch: pytest.MonkeyPatch, header: str) -> None:
    answer(monkeypatch, header.encode() + b"\n")
    with pytest.raises(UserError, match="expected a "):
        read_midi(midi_bytes(CHORD))


@pytest.mark.parametrize(
    "row",
    [(-1, 2, 60, 80, 0), (0, -1, 60, 80, 0), (2**31 - 1, 1, 60, 80, 0), (0, 1, 128, 80, 0),
     (0, 1, -1, 80, 0), (0, 1, 60, 0, 0), (0, 1, 60, 128, 0), (0, 1, 60, 80, 1), (0, 1, 60, 80, -1),
     (5, -2, 60, 80, 0)],
)  # fmt: skip
def test_a_senseless_note_is_an_error(monkeypatch: pytest.MonkeyPatch, row: tuple[int, ...]) -> None:
    header = b'{"notes": 2, "voices": ["a"]}\n'
    answer(monkeypatch, header + struct.pack("=10i", 0, 9, 60, 80, 0, *row))
    with pytest.raises(UserError, match="its notes are out of range"):
        read_midi(midi_bytes(CHORD))


@pytest.mark.parametrize(
    ("what", "row"),
    [("pedal", (-1, 1, 0)), ("pedal", (0, 2, 0)), ("pedal", (0, 1, 1)), ("tempo", (-1, 9)), ("tempo", (0, 0)),
     ("tempo", (0, 2**24))],
)  # fmt: skip
def test_a_senseless_change_is_an_error(monkeypatch: pytest.MonkeyPatch, what: str, row: tuple[int, ...]) -> None:
    header = f'{{"notes": 1, "voices": ["a"], "{what}s": 1}}\n'.encode()
    answer(monkeypatch, header + struct.pack(f"={5 + len(row)}i", 0, 9, 60, 80, 0, *row))
    with pytest.raises(UserError, match=f"its {what} is out of range"):
        read_midi(midi_bytes(CHORD))


def test_an_error_of_the_parser_stays_one_short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, json.dumps({"error": "a\n\x1b" * 1000}).encode() + b"\n")
    with pytest.raises(UserError) as told:
        read_midi(midi_bytes(CHORD))
    assert str(told.value) == f"expected a valid MIDI file, got 'MIDI bytes': {'a' * 200}; export it again"


@pytest.mark.parametrize(
    "program",
    ["time.sleep(60)", "\nwhile True: pass", "sys.stdin.buffer.read(4); out.write(b'{'); out.flush(); time.sleep(60)"],
)
def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    fake(monkeypatch, program)
    monkeypatch.setattr(midi, "READ_SECONDS", 0.2)
    with MidiReader() as reader:
        for data in (midi_bytes(CHORD), midi_bytes(CHORD) + bytes(5_000_000)):  # more than a pipe holds
            with pytest.raises(UserError, match=r"got 'a': it takes more than 0\.2 s; export it again"):
                reader.read(data, name="a")
        assert reader.starts == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups of this kind")
def test_what_a_process_has_started_is_ended_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # The grandchild holds the pipe open: without its end the reader would wait a minute.
    fake(monkeypatch, "\nif os.fork(): os.wait()\ntime.sleep(60)")
    monkeypatch.setattr(midi, "READ_SECONDS", 0.2)
    with pytest.raises(UserError, match="it takes more than"):
        read_midi(midi_bytes(CHORD))


def test_a_process_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midi, "START_SECONDS", 0.2)
    for program in ("", "os._exit(3)", "out.write(b'rea')", "out.write(b'hello\\n' * 9)", "time.sleep(60)"):
        fake(monkeypatch, program, greets=False)
        with pytest.raises(UserError, match="expected a parser that starts to read 'a', got none; install it again"):
            read_midi(midi_bytes(CHORD), name="a")
    monkeypatch.setattr(midi, "worker_command", lambda: ["/no/such/program"])
    with pytest.raises(UserError, match="expected a parser that starts"):
        read_midi(midi_bytes(CHORD))
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match="pip install symusic"):
        read_midi(midi_bytes(CHORD))


def test_a_process_that_died_between_two_files_is_replaced() -> None:
    with MidiReader() as reader:
        reader.read(midi_bytes(CHORD))
        assert reader._process is not None
        reader._process.kill()
        reader._process.wait()
        assert len(reader.read(midi_bytes(CHORD)).notes) == 4
        assert reader.starts == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_a_file_that_wants_much_memory_is_refused() -> None:
    # One name of 5 MB, kept for each of 2,048 programs of 16 channels.
    name = b"\0\xff\x03\x82\xb1\x96\x40" + bytes(5_000_000)
    programs = b"".join(
        bytes([0, 0xC0 | channel, program, 0, 0x90 | channel, 60, 3, 1, 60, 0])
        for channel in range(16)
        for program in range(128)
    )
    with MidiReader() as reader:
        with pytest.raises(UserError, match="it breaks the parser"):
            reader.read(file(name + programs + END))
        assert len(reader.read(midi_bytes(CHORD)).notes) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are read from /proc")
def test_a_process_nobody_waits_for_ends_by_itself() -> None:
    data = midi_bytes(CHORD)
    with subprocess.Popen(worker_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == READY
        process.stdin.write(len(data).to_bytes(4, "big") + data)
        process.stdin.flush()
        assert b'"notes": 4' in process.stdout.readline()
        limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
        seconds = next(line for line in limits if line.startswith("Max cpu time")).split()[3]
        assert int(seconds) == CPU_SECONDS
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_the_parser_is_loaded_by_its_own_process_alone() -> None:
    check = "import sys, triptych.music.midi; print([name for name in ('torch', 'symusic') if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
