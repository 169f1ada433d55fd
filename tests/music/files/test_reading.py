import os
import random
import struct
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music.files.midi import midi_bytes
from triptych.music.files.parsing.found import MAX_NOTES, NAME_LENGTH
from triptych.music.files.reading import MusicReader, read_performance, read_piece
from triptych.music.files.save import save_music
from triptych.music.piece.metre import Metre
from triptych.music.piece.performance import MAX_SECONDS, Performance
from triptych.music.piece.piece import KeySignature, Note, Piece, Tempo

CHORD = Piece(
    (Note(0, 4, 72), Note(4, 8, 72, voice=0), Note(0, 6, 64, 50, voice=1), Note(0, 8, 48, voice=2)),
    voices=("soprano", "alto", "bass"),
    tempo=72,
)


def chunk(body: bytes) -> bytes:
    return b"MTrk" + struct.pack(">I", len(body)) + body


def file(*bodies: bytes, division: int = 96, kind: int = 1) -> bytes:
    return b"MThd" + struct.pack(">IHHH", 6, kind, len(bodies), division) + b"".join(map(chunk, bodies))


END = b"\0\xff\x2f\0"
NOTE = b"\0\x90\x3c\x50\x60\x80\x3c\0"


def test_voices_are_channels_and_programs_within_tracks(reader: MusicReader) -> None:
    two = b"\0\xff\x03\x01x" + b"\0\x91\x40\x50\x60\x81\x40\0" + NOTE + END
    found = reader.read_piece(file(two, b"\0\xff\x2f\0", NOTE + b"\0\xc0\x05" + NOTE + END))[0]
    assert found.voices == ("x", "x", "voice 3", "voice 4")
    assert [(note.start, note.end, note.pitch, note.voice) for note in found.notes] == [
        (0, 96, 60, 2), (0, 96, 64, 1), (96, 192, 60, 0), (96, 192, 60, 3),
    ]  # fmt: skip
    assert (found.resolution, found.tempo, found.pickup) == (96, 120, None)


def test_tempos_are_those_of_all_tracks(reader: MusicReader) -> None:
    late = b"\x60\xff\x51\x03\x0f\x42\x40" + END
    early = b"\x01\xff\x51\x03\x09\x27\xc0" + NOTE + END
    found, _ = reader.read_piece(file(late, early))
    assert (found.tempo, found.tempos) == (120, (Tempo(1, 100), Tempo(96, 60)))


def test_names_are_made_fit_for_a_line(reader: MusicReader) -> None:
    for name, expected in [
        (b" a\n\x1b[2Jb\0 ", "a[2Jb"),
        (b"Fl\xf6te", "Flöte"),
        (b"\x07", "voice 1"),
        (b"", "voice 1"),
    ]:
        assert reader.read_piece(file(b"\0\xff\x03" + bytes([len(name)]) + name + NOTE))[0].voices == (expected,)
    assert reader.read_piece(file(b"\0\xff\x03\x87\x68" + b"z" * 1000 + NOTE))[0].voices == ("z" * NAME_LENGTH,)


def test_notes_without_duration_are_left_out(reader: MusicReader) -> None:
    still = b"\0\x90\x30\x50\0\x80\x30\0"
    found = reader.read_piece(file(b"\0\xff\x03\x01x" + still + END, b"\0\xff\x03\x01y" + still + NOTE + END))[0]
    assert found.notes == (Note(0, 96, 60),)
    assert found.voices == ("y",)


# -- when a note ends -------------------------------------------------------------------------------------------------


def on(delta: int, pitch: int = 60, velocity: int = 80, channel: int = 0) -> bytes:
    return bytes([delta, 0x90 | channel, pitch, velocity])


def off(delta: int, pitch: int = 60, channel: int = 0) -> bytes:
    return bytes([delta, 0x80 | channel, pitch, 0])


def control(delta: int, controller: int, value: int = 0, channel: int = 0) -> bytes:
    return bytes([delta, 0xB0 | channel, controller, value])


def ends(reader: MusicReader, *bodies: bytes, kind: int = 1) -> tuple[list[tuple[int, int, int]], list[str]]:
    piece, words = reader.read_piece(file(*bodies, kind=kind))
    return [(note.start, note.end, note.pitch) for note in piece.notes], words


def test_a_missing_note_off_costs_one_note_its_length(reader: MusicReader) -> None:
    chain = b"".join(on(86) + off(10) for _ in range(5))
    notes, words = ends(reader, on(0) + chain + END)
    assert notes == [(0, 86, 60)] + [(86 + 96 * n, 96 + 96 * n, 60) for n in range(5)]
    assert words == []


def test_ons_and_offs_at_one_tick_in_either_order(reader: MusicReader) -> None:
    expected = [(0, 96, 60), (96, 192, 60)]
    assert ends(reader, on(0) + off(96) + on(0) + off(96) + END)[0] == expected
    assert ends(reader, on(0) + on(96) + off(0) + off(96) + END)[0] == expected
    assert ends(reader, on(0) + on(96, velocity=0) + on(0) + on(96, velocity=0) + END)[0] == expected


def test_a_note_off_ends_what_sounds_in_its_channel_alone(reader: MusicReader) -> None:
    notes, _ = ends(reader, on(0) + on(0, channel=1) + off(10, channel=1) + off(0) + off(5) + on(5) + off(96) + END)
    assert notes == [(0, 10, 60), (0, 10, 60), (20, 116, 60)]
    notes, _ = ends(reader, on(0) + off(96) + END, on(10) + off(10) + END)  # and in its track, which has its own notes
    assert notes == [(0, 96, 60), (10, 20, 60)]


def test_unisons_end_together(reader: MusicReader) -> None:
    assert ends(reader, on(0) + on(0) + off(10) + off(10) + END)[0] == [(0, 10, 60), (0, 10, 60)]


def test_what_sounds_at_the_end_of_a_part_ends_there_and_is_reported(reader: MusicReader) -> None:
    late = bytes([90]) + END[1:]
    notes, words = ends(reader, on(0) + on(48, 64) + late, on(0, 72) + off(10, 72) + END)
    assert notes == [(0, 10, 72), (0, 138, 60), (48, 138, 64)]
    assert words == ["2 notes without an end, which end with their part"]
    notes, words = ends(reader, on(0) + on(48, 64) + END)  # a part that ends where its last note begins
    assert notes == [(0, 144, 60), (48, 144, 64)]
    performance, more = reader.read_performance(file(on(0) + on(48, 64)))  # without an end of the track, too
    assert len(performance) == 2 and more == words


@pytest.mark.parametrize("controller", [120, 123])
def test_all_notes_off(reader: MusicReader, controller: int) -> None:
    body = on(0) + on(0, 64) + on(0, 67, channel=1) + control(50, controller) + off(50) + off(0, 67, channel=1) + END
    assert ends(reader, body) == ([(0, 50, 60), (0, 50, 64), (0, 100, 67)], [])


def test_sound_off_and_reset_end_what_the_pedal_holds(reader: MusicReader) -> None:
    held = control(0, 64, 127) + on(0) + off(10)
    quarter = 0.5 / 96
    for controller, last in [(120, 50), (121, 50), (123, 110)]:
        again = on(50, 64) + off(10, 64) + control(0, 64, 0)
        found = reader.read_performance(file(held + control(40, controller) + again + END))[0].notes.tolist()
        assert [note[1] / quarter for note in found] == pytest.approx([last, 110])
    again = on(10, 64) + off(10, 64) + control(30, 64, 0)  # sound off does not lift the pedal
    found = reader.read_performance(file(held + control(40, 120) + again + END))[0].notes.tolist()
    assert [note[1] / quarter for note in found] == pytest.approx([50, 100])


def test_the_sostenuto_pedal_holds_the_keys_that_are_down(reader: MusicReader) -> None:
    body = control(0, 66, 127) + control(0, 67, 127) + on(0) + off(50)  # before any key: it holds none
    body += control(0, 66, 0) + on(10, 64) + control(5, 66, 127) + on(5, 65) + off(10, 64) + off(0, 65)
    body += control(90, 66, 0) + END  # at 170
    quarter = 0.5 / 96
    found = reader.read_performance(file(body))[0].notes.tolist()
    assert [(note[2], note[1] / quarter) for note in found] == [
        (60, pytest.approx(50)),
        (64, pytest.approx(170)),
        (65, pytest.approx(80)),
    ]
    assert [end for _, end, _ in ends(reader, body)[0]] == [50, 80, 80]


def test_a_pedal_is_its_channels_in_every_track(reader: MusicReader) -> None:
    pedal = control(0, 64, 127) + control(120, 64, 0) + END
    data = file(pedal, NOTE + END, b"\0\x91\x40\x50\x60\x81\x40\0" + END)
    found = reader.read_performance(data)[0].notes.tolist()
    assert [(note[2], note[1]) for note in found] == [(60, 0.625), (64, 0.5)]


KEY_EVENTS = st.tuples(st.integers(0, 30), st.sampled_from([60, 61]), st.sampled_from([0, 0, 50, 90]))


@settings(max_examples=60, deadline=None)
@given(st.lists(KEY_EVENTS, min_size=1, max_size=40))
def test_every_onset_is_a_note_that_ends_by_the_next(reader: MusicReader, events: list[tuple[int, int, int]]) -> None:
    """Against the rule, note by note: an end is the first off after the onset, the next onset, or the end."""
    body = b"".join(on(*event) for event in events) + bytes([100]) + END[1:]
    times = [sum(delta for delta, *_ in events[: place + 1]) for place in range(len(events))]
    rows = [(time, pitch, velocity) for time, (_, pitch, velocity) in zip(times, events, strict=True)]
    expected = []
    for place, (start, pitch, velocity) in enumerate(rows):
        later = [(time, loud) for time, key, loud in rows[place + 1 :] if key == pitch]
        alone = all((start, pitch) != (time, key) for time, key, _ in rows[:place] + rows[place + 1 :])
        if velocity and alone:
            end = later[0][0] if later else max(times[-1] + 100, start)
            expected.append((start, end, pitch))
    try:
        notes, _ = ends(reader, body)
    except UserError:
        notes = []
    assert set(expected) <= set(notes)
    assert all(start < end <= times[-1] + 100 for start, end, _ in notes)
    for key in (60, 61):
        mine = [(start, end) for start, end, pitch in notes if pitch == key]
        assert all(first[1] <= second[0] or first == second for first, second in pairwise(mine))


# -- the other kinds of files -----------------------------------------------------------------------------------------


def test_patterns_of_format_2_follow_one_another(reader: MusicReader) -> None:
    slow, fast = (b"\0\xff\x51\x03" + tempo.to_bytes(3, "big") for tempo in (1_000_000, 250_000))
    last = b"\x60\xff\x2f\0"
    found, words = reader.read_piece(file(slow + NOTE + last, fast + NOTE + END, kind=2))
    assert found.notes == (Note(0, 96, 60), Note(192, 288, 60))
    assert (found.voices, found.tempo, found.tempos, words) == (("voice 1",), 60, (Tempo(192, 240),), [])
    performance, _ = reader.read_performance(file(slow + NOTE + last, fast + NOTE + END, kind=2))
    assert performance.notes.tolist() == [(0, 1.0, 60, 80), (2.0, 2.25, 60, 80)]


@pytest.mark.parametrize(
    ("division", "ticks", "resolution"),
    [
        (0xE728, 1_000, 500),
        (0xE804, 96, 48),
        (0xE250, 2_400, 1_200),
        (0xE350, 80 * 30 / 1.001, 1_199),
        (0xE701, 25, 12),
    ],
)
def test_time_in_frames_is_seconds(reader: MusicReader, division: int, ticks: float, resolution: int) -> None:
    data = file(b"\0\xff\x51\x03\x01\0\0" + on(0) + off(100) + END, division=division)
    performance, _ = reader.read_performance(data)
    assert performance.notes["end"][0] == pytest.approx(100 / ticks)
    piece, words = reader.read_piece(data)
    assert (piece.resolution, piece.tempos) == (resolution, ())
    assert piece.seconds == pytest.approx(100 / ticks)
    assert words == [f"its time is in seconds: read as {piece.tempo:.4g} quarter notes a minute"]
    assert 110 < piece.tempo < 130


def test_a_file_within_another(reader: MusicReader) -> None:
    data = file(NOTE + END)
    riff = b"RIFF" + struct.pack("<I", 100) + b"RMID" + b"LIST" + struct.pack("<I", 3) + b"abc\0"
    riff += b"data" + struct.pack("<I", len(data)) + data
    macintosh = bytes([0, 4]) + b"song" + bytes(122) + data
    assert reader.read_piece(riff) == reader.read_piece(macintosh) == reader.read_piece(data)


def test_what_other_programs_write_is_read(reader: MusicReader) -> None:
    expected = reader.read_piece(file(NOTE + END))
    strange = b"XFIH\0\0\0\2ab"  # a chunk of another kind
    for body in [
        b"\0\xf0\x03\x7e\x09\xf7" + NOTE + END,  # messages of the system
        b"\0\xf8\0\xf2\1\2\0\xf3\1\0\xf6" + NOTE + END,
        b"\0\x90\x3c\x50\0\xff\x01\1x\x60\x3c\0" + END,  # running status behind a text
        b"\0\xe0\0\x40\0\xd0\1\0\xa0\1\1" + NOTE + END + b"what stands behind the end",
    ]:
        data = file(body)
        assert reader.read_piece(data) == expected
        assert reader.read_piece(data[:14] + strange + data[14:]) == expected
    longer = b"MThd" + struct.pack(">IHHH", 8, 1, 1, 96) + b"xx" + chunk(NOTE + END)
    endless = file(NOTE + END).replace(b"MTrk\0\0\0", b"MTrk\0\0\1")  # its end is in it
    assert reader.read_piece(longer) == reader.read_piece(endless) == expected
    missing = file(NOTE + END).replace(b"\0\1\0\1", b"\0\1\0\3")
    assert reader.read_piece(missing) == (expected[0], ["2 tracks missing that the header counts"])


# -- metre, key, upbeat, instruments ----------------------------------------------------------------------------------


def metre(beats: int, power: int, delta: bytes = b"\0") -> bytes:
    return delta + b"\xff\x58\4" + bytes([beats, power, 24, 8])


def key(fifths: int, mode: int, delta: bytes = b"\0") -> bytes:
    return delta + b"\xff\x59\2" + bytes([fifths % 256, mode])


@pytest.mark.parametrize(
    ("events", "metres", "pickup"),
    [
        (b"", (), None),
        (metre(3, 2), (Metre(0, 3, 4),), None),
        (metre(1, 2) + metre(3, 2, b"\x60"), (Metre(0, 3, 4),), 96),
        (metre(6, 3) + metre(6, 3, b"\x30"), (Metre(0, 6, 8),), 48),  # said again where the first bar line stands
        (metre(1, 3) + metre(6, 3, b"\x30") + metre(9, 3, b"\x84\x40"), (Metre(0, 6, 8), Metre(624, 9, 8)), 48),
        (metre(3, 2, b"\x60"), (Metre(0, 3, 4),), 96),
        (metre(3, 2, b"\1"), (Metre(0, 3, 4),), None),
        (metre(4, 2) + metre(3, 2, b"\x83\0"), (Metre(0, 4, 4), Metre(384, 3, 4)), None),
        (metre(4, 2) + metre(4, 2, b"\x83\0"), (Metre(0, 4, 4),), None),
        (metre(4, 2) + metre(4, 2, b"\x84\0"), (Metre(0, 4, 4), Metre(512, 4, 4)), None),
        (metre(2, 2) + metre(3, 1), (Metre(0, 3, 2),), None),
    ],
)
def test_time_signatures_and_the_upbeat(
    reader: MusicReader, events: bytes, metres: tuple[Metre, ...], pickup: int | None
) -> None:
    piece, words = reader.read_piece(file(events + END, NOTE + END))
    assert (piece.metres, piece.pickup, words) == (metres, pickup, [])


def test_key_signatures(reader: MusicReader) -> None:
    body = key(-3, 1) + key(-3, 1, b"\x60") + key(2, 0, b"\x60") + NOTE + END
    transposing = key(4, 0) + NOTE + END
    piece, words = reader.read_piece(file(body, transposing))
    assert piece.keys == (KeySignature(0, -3, minor=True), KeySignature(192, 2, minor=False))
    assert words == []
    piece, words = reader.read_piece(file(key(8, 0) + key(0, 2) + metre(0, 2) + metre(4, 7) + NOTE + END))
    assert (piece.keys, piece.metres) == ((), ())
    assert words == ["4 impossible time or key signatures left out"]


def test_instruments(reader: MusicReader) -> None:
    flute = b"\0\xc0\x49" + NOTE + END
    assert reader.read_piece(file(flute, NOTE + END))[0].programs == (73, 73)  # a channel is one instrument
    assert reader.read_piece(file(flute, b"\0\x91\x40\x50\x60\x81\x40\0" + END))[0].programs == (73, 0)
    assert reader.read_piece(file(b"\0\xc0\x49" + END, NOTE + END))[0].programs == (73,)
    assert reader.read_piece(file(NOTE + END))[0].programs == ()


# -- files that are none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (b"", "no MIDI header"),
        (b"MThd\0\0\0\6\0\1\0\1\0", "its header is cut short"),
        (b"RIFF" + file(NOTE), "no MIDI header"),
        (b"This is a letter, not a song.", "no MIDI header"),
        (file(NOTE, division=0), "0 ticks a quarter note"),
        (file(NOTE, division=0xE700), "0 ticks in each of 25 frames"),
        (file(NOTE, division=0xF010), "16 frames a second"),
        (file(NOTE, kind=3), "its header gives format 3"),
        (file(), "1, 0 tracks"),
        (b"MThd" + struct.pack(">IHHH", 6, 1, 60_000, 96) + chunk(NOTE), "60000 tracks"),
        (b"MThd" + struct.pack(">IHHH", 5, 1, 1, 96) + chunk(NOTE), "export it again"),
        (midi_bytes(CHORD)[:-9], "its track 3 ends in the middle; export it again"),
        (file(b"\0\x90\x3c"), "its track 1 ends in the middle; export it again"),
        (file(b"\0\x90\xc8\x50\x60\x80\xc8\0" + END), "a note of pitch 200 and velocity 80"),
        (file(b"\0\x90\x3c\xc8\x60\x80\x3c\0" + END), "a note of pitch 60 and velocity 200"),
        (file(b"\0\x3c\x50" + END), "data where an event should begin"),
        (file(b"\0\xff\x51\x03\0\0\0" + NOTE + END), "tempo is out of range"),
        (file(b"\xff\xff\xff\x7f\x90\x3c\0" * 9 + NOTE + END), "longer than a MIDI file can be"),
        (
            file(b"\xff\xff\xff\x7f\x90\x3c\0" * 7 + b"\xff\xff\xff\x7f\x90\x3c\x50" + b"\x10\x80\x3c\0" + END),
            "longer than a MIDI file can be",
        ),
        (file(END), "has no notes"),
        (file(b""), "has no notes"),
        (file(b"\0\x99\x3c\x50\x60\x89\x3c\0" + END), "which has notes of drums alone; choose another file"),
        (file(b"\0\x90\x3c\x50\0\x80\x3c\0" + END), "has no notes"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(reader: MusicReader, data: bytes, got: str) -> None:
    with pytest.raises(UserError, match=r"^expected .*; [a-z][^\n]*$") as caught:
        reader.read_piece(data, name="song\n.mid")
    assert got in str(caught.value)
    assert r"'song\n.mid'" in str(caught.value)


# -- performances -----------------------------------------------------------------------------------------------------

TEMPO = {seconds: b"\0\xff\x51\x03" + round(1e6 * seconds).to_bytes(3, "big") for seconds in (0.25, 0.5, 1.0, 2.0)}


def performed(reader: MusicReader, *bodies: bytes, kind: int = 1) -> list[tuple[float, float, int, int]]:
    """A quarter note is 96 ticks, and half a second where nothing is said."""
    performance, _ = reader.read_performance(file(*bodies, kind=kind))
    return performance.notes.tolist()  # type: ignore[no-any-return]


def test_seconds_by_all_tempos(reader: MusicReader) -> None:
    # Tempos in any track hold for all; before the first one a quarter note takes half a second.
    changes = b"\x60" + TEMPO[1.0][1:] + b"\x60" + TEMPO[0.25][1:] + TEMPO[2.0] + END
    notes = b"\x30\x90\x3c\x50\x30\x80\x3c\0" + b"\x30\x90\x3e\x50\x81\x10\x80\x3e\0" + END
    assert performed(reader, notes, changes) == [(0.25, 0.5, 60, 80), (1.0, 3.5, 62, 80)]
    assert performed(reader, changes, notes) == performed(reader, notes, changes)


def test_the_pedal_holds_until_it_is_up_or_the_key_is_struck_again(reader: MusicReader) -> None:
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


def test_a_pedal_that_stays_down_is_up_with_the_last_key(reader: MusicReader) -> None:
    assert performed(reader, b"\0\xb0\x40\x7f" + NOTE + b"\0\x90\x40\x30\x60\x80\x40\0" + END) == [
        (0.0, 1.0, 60, 80),
        (0.5, 1.0, 64, 48),
    ]


def test_a_note_without_a_duration_is_heard_where_the_pedal_holds_it(reader: MusicReader) -> None:
    still = b"\0\x90\x30\x50\0\x80\x30\0"
    assert performed(reader, still + NOTE + END) == [(0.0, 0.5, 60, 80)]
    held = b"\0\xb0\x40\x7f" + still + NOTE + b"\0\xb0\x40\0" + END
    assert performed(reader, held) == [(0.0, 0.5, 48, 80), (0.0, 0.5, 60, 80)]
    with pytest.raises(UserError, match="which has no notes; choose"):
        performed(reader, still + END)


@pytest.mark.parametrize("kind", [0, 1])
def test_parts_have_pedals_of_their_own(reader: MusicReader, kind: int) -> None:
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


def test_drums_and_what_no_piano_has_are_left_out_with_a_word(reader: MusicReader) -> None:
    drums = b"\0\x99\x3c\x50\x60\x89\x3c\0" * 3
    outside = b"\0\x90\x14\x50\x60\x80\x14\0" + b"\0\x90\x6d\x50\x60\x80\x6d\0"
    performance, words = reader.read_performance(file(drums + NOTE + END, outside + END))
    assert len(performance) == 1
    assert words == ["3 notes of drums left out", "2 of 3 notes left out, which are off the 88 keys of a piano"]
    with pytest.raises(UserError, match="which has no notes"):
        reader.read_performance(file(outside + END))


def test_one_key_in_two_parts_sounds_once(reader: MusicReader) -> None:
    again = b"\x30\x91\x3c\x20\x60\x81\x3c\0" + END
    assert performed(reader, NOTE + END, again) == [(0.0, 0.25, 60, 80), (0.25, 0.75, 60, 32)]


def test_hours_of_silence_are_refused(reader: MusicReader) -> None:
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
    reader: MusicReader, rows: list[tuple[float, float, int, int]]
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
    performance = Performance.of([0.0], [MAX_SECONDS], [60], [1])
    save_music(performance, tmp_path / "a.mid")
    assert read_performance(tmp_path / "a.mid") == (performance, [])


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "huge.mid").open("wb") as huge:
        huge.truncate(10_000_001)
    for name, got in [("none.mid", "is no file"), ("", "is no file"), ("huge.mid", "got .* of 10,000,001; cut it")]:
        with pytest.raises(UserError, match=got):
            read_piece(tmp_path / name)
    with pytest.raises(UserError, match="at most 10,000,000 bytes, got 'bytes of music'"):
        read_piece(bytes(10_000_001))
    with pytest.raises(UserError, match="is no file"):
        read_piece("zero\0byte.mid")
    with pytest.raises(UserError, match="check the path"):
        read_piece("a" * 5000)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    save_music(CHORD, tmp_path / "secret.mid")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match="Permission denied; check"):
        read_piece(tmp_path / "secret.mid")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_file_that_would_never_end_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mid")
    for path in (tmp_path / "pipe.mid", "/dev/zero"):
        with pytest.raises(UserError, match="is no file"):
            read_piece(path)


def test_too_many_notes_or_voices(reader: MusicReader) -> None:
    short = b"\x90\x3c\x50\1\x80\x3c\0\0"
    assert len(reader.read_piece(file(b"\0" + short * 1000 + END[1:]))[0].notes) == 1000
    programs = b"".join(b"\0\xc0" + bytes([program]) + NOTE for program in range(128)) + END
    for data in [file(b"\0" + short * (MAX_NOTES + 1) + END[1:]), file(*[programs] * 3)]:
        with pytest.raises(
            UserError, match=r"expected at most 200,000 notes in 256 voices.* got 'a' with more; cut it"
        ):
            reader.read_piece(data, name="a")


@given(st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_read_or_refused(reader: MusicReader, draw: random.Random) -> None:
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
        assert isinstance(reader.read_piece(bytes(data))[0], Piece)
    except UserError as error:
        assert "\n" not in str(error)
