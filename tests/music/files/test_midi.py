import struct
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music.files.midi import midi_bytes
from triptych.music.files.parsing.found import NAME_LENGTH
from triptych.music.files.reading import MusicReader, read_piece
from triptych.music.files.save import save_music
from triptych.music.piece.metre import Metre
from triptych.music.piece.piece import KeySignature, Note, Piece, Tempo
from triptych.shape.marks import marked

CHORD = Piece(
    (Note(0, 4, 72), Note(4, 8, 72, voice=0), Note(0, 6, 64, 50, voice=1), Note(0, 8, 48, voice=2)),
    voices=("soprano", "alto", "bass"),
    tempo=72,
)

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=NAME_LENGTH)


def chunk(body: bytes) -> bytes:
    return b"MTrk" + struct.pack(">I", len(body)) + body


def file(*bodies: bytes, division: int = 96, kind: int = 1) -> bytes:
    return b"MThd" + struct.pack(">IHHH", 6, kind, len(bodies), division) + b"".join(map(chunk, bodies))


END = b"\0\xff\x2f\0"
NOTE = b"\0\x90\x3c\x50\x60\x80\x3c\0"


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    """Pieces with notes that overlap and are struck again, but never while the same pitch sounds in their voice."""
    voices = tuple(draw(st.lists(NAMES, min_size=1, max_size=20)))
    last: dict[tuple[int, int], int] = {}
    notes = []
    for start in sorted(draw(st.lists(st.integers(0, 3000), min_size=1, max_size=30))):
        place = draw(st.sampled_from([0, 60, 61, 127])), draw(st.integers(0, len(voices) - 1))
        start = max(start, last.get(place, 0))  # noqa: PLW2901
        last[place] = end = start + draw(st.sampled_from([1, 2, 500, 100_000]))
        notes.append(Note(start, end, place[0], draw(st.integers(1, 127)), place[1]))
    resolution = draw(st.sampled_from([1, 4, 7, 24, 95, 96, 480, 0x7FFF]))
    return Piece(tuple(notes), resolution, draw(st.floats(4, 300)), voices, draw(st.integers(0, 1000)))


@given(pieces())
@settings(max_examples=60, deadline=None)
def test_a_file_gives_the_notes_back(reader: MusicReader, piece: Piece) -> None:
    found = reader.read_piece(midi_bytes(piece))[0]
    factor = found.resolution // piece.resolution
    heard = sorted({note.voice for note in piece.notes})
    assert found.resolution == piece.resolution * factor >= 96
    assert found.tempo == pytest.approx(piece.tempo, abs=1e-3)
    assert found.voices == tuple(piece.voices[voice] for voice in heard)
    assert found.notes == tuple(
        Note(note.start * factor, note.end * factor, note.pitch, note.velocity, heard.index(note.voice))
        for note in piece.notes
    )


@st.composite
def signs(draw: st.DrawFn) -> Piece:
    """A note under tempos, keys and metres that change at bar lines, after an upbeat shorter than a bar."""
    sizes = st.tuples(st.sampled_from([2, 3, 4, 5, 6, 9, 12]), st.sampled_from([2, 4, 8]))
    chosen = [pair for pair, _ in groupby(draw(st.lists(sizes, min_size=1, max_size=4)))]
    pickup = draw(st.integers(0, Metre(0, *chosen[0]).ticks(4) - 1))
    metres, place = [Metre(0, *chosen[0])], pickup
    for before, size in pairwise(chosen):
        place += Metre(0, *before).ticks(4) * draw(st.integers(2, 3))
        metres.append(Metre(place, *size))
    starts = draw(st.lists(st.integers(1, 500), unique=True, max_size=3))
    fifths = draw(st.lists(st.integers(-7, 7), min_size=3, max_size=3, unique=True))
    keys = [KeySignature(0, 2, minor=True)]
    keys += [KeySignature(start, sharps, minor=False) for start, sharps in zip(sorted(starts), fifths, strict=False)]
    tempos = tuple(Tempo(start, 60.0 + start) for start in starts)
    return Piece(
        (Note(0, 700, 60),),
        tempo=draw(st.sampled_from([60.0, 120.0])),
        pickup=pickup or None,
        metres=tuple(metres),
        keys=tuple(keys),
        tempos=tempos,
        programs=(draw(st.integers(0, 127)),),
    )


@given(signs())
@settings(max_examples=60, deadline=None)
def test_a_file_gives_the_signs_back(reader: MusicReader, piece: Piece) -> None:
    found = reader.read_piece(midi_bytes(piece))[0]
    assert (found.pickup or 0) == 120 * (piece.pickup or 0)
    assert found.metres == tuple(replace(metre, start=120 * metre.start) for metre in piece.metres)
    assert [(key.start, key.fifths, key.minor) for key in found.keys] == [
        (120 * key.start, key.fifths, key.minor) for key in piece.keys
    ]
    assert found.tempo == pytest.approx(piece.tempo)
    assert [(tempo.start, round(tempo.quarters, 2)) for tempo in found.tempos] == [
        (120 * tempo.start, tempo.quarters) for tempo in piece.tempos
    ]
    assert found.programs == piece.programs
    assert [(bar.start, bar.number) for bar in found.bars] == [(120 * bar.start, bar.number) for bar in piece.bars]


def test_where_nothing_is_said_the_key_is_that_in_which_it_sounds(reader: MusicReader) -> None:
    tune = Piece(tuple(Note(4 * place, 4 * place + 4, pitch) for place, pitch in enumerate((66, 69, 67, 66, 64, 62))))
    found = reader.read_piece(midi_bytes(tune))[0]
    assert (found.keys, found.metres) == ((KeySignature(0, 2, minor=False),), (Metre(0, 4, 4),))
    assert reader.read_piece(midi_bytes(replace(tune, metrical=False)))[0].keys == ()


def test_the_bytes_of_a_file() -> None:
    piece = Piece((Note(0, 1, 60), Note(1, 2, 60, 90)), resolution=4, tempo=120, voices=("a", "é"), length=200)
    first = (
        b"\0\xff\x03\x01a" + b"\0\xff\x51\x03\x07\xa1\x20" + b"\0\xff\x58\x04\x04\x02\x18\x08"
        b"\0\xff\x59\x02\0\0"
        + b"\0\x90\x3c\x50"
        + b"\x78\x80\x3c\0"
        + b"\0\x90\x3c\x5a"
        + b"\x78\x80\x3c\0"
        + b"\x81\xb9\x50\xff\x2f\0"
    )
    second = b"\0\xff\x03\x02\xc3\xa9" + b"\x81\xbb\x40\xff\x2f\0"
    assert midi_bytes(piece) == file(first, second, division=480)


def test_a_pitch_sounds_once_at_a_time_in_a_voice(reader: MusicReader) -> None:
    notes = (Note(0, 30, 60, 1), Note(10, 20, 60, 2), Note(20, 50, 62), Note(20, 40, 62), Note(25, 60, 60))
    found, words = reader.read_piece(midi_bytes(Piece(notes, resolution=96)))
    assert found.notes == (
        Note(0, 10, 60, 1),
        Note(10, 20, 60, 2),
        Note(20, 50, 62),
        Note(20, 50, 62),
        Note(25, 60, 60),
    )
    assert words == []


def test_no_voice_plays_the_drums(reader: MusicReader) -> None:
    notes = tuple(Note(0, 1, 60, voice=voice) for voice in range(40))
    assert len(reader.read_piece(midi_bytes(Piece(notes, voices=("horn",) * 40)))[0].notes) == 40


def test_writing_a_file(tmp_path: Path) -> None:
    save_music(CHORD, tmp_path / "deep" / "chord.mid")
    assert (tmp_path / "deep" / "chord.mid").read_bytes() == marked(midi_bytes(CHORD), ".mid")
    save_music(CHORD, tmp_path / "chord.midi")
    expected = read_piece(midi_bytes(CHORD))
    assert read_piece(tmp_path / "chord.midi") == read_piece(str(tmp_path / "chord.midi")) == expected


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
