"""One piece, several files: music21 and our own reader find the same bars, metres, keys, upbeat and notes in each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import music21
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.generation.sample import Sampling
from triptych.music.chorales.composer import Composer
from triptych.music.files.midi import midi_bytes
from triptych.music.files.notation import musicxml
from triptych.music.files.reading import MusicReader
from triptych.music.files.save import save_music
from triptych.music.piece.metre import Metre
from triptych.music.piece.piece import KeySignature, Note, Piece
from triptych.music.piece.upbeat import with_bars

METRES = ["2/4", "3/4", "4/4", "6/8", "9/8", "12/8", "3/2", "2/2", "5/4", "7/8", "3/8"]


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    """Four voices in a metre that may change, in a key, after an upbeat or none, and rests or none before the tune."""
    chosen = draw(st.lists(st.sampled_from(METRES), min_size=1, max_size=2, unique=True))
    metres = [Metre.parse(chosen[0])]
    bar = metres[0].ticks(4)
    pickup = draw(st.one_of(st.just(0), st.integers(1, bar - 1)))
    change = pickup + 2 * bar
    metres += [replace(Metre.parse(text), start=change) for text in chosen[1:]]
    rests = draw(st.sampled_from([0, 0, 1, bar, pickup + bar]))
    notes = []
    for voice, middle in enumerate((70, 63, 55, 48)):
        end = rests
        for length, step in draw(
            st.lists(st.tuples(st.integers(1, 2 * bar), st.integers(-6, 6)), min_size=2, max_size=6)
        ):
            notes.append(Note(end, end + length, middle + step, voice=voice))
            end += length
    last = max(note.end for note in notes)
    # A voice that ends early in a MIDI file rests to the end; all end together here, so that bars can be compared.
    notes += [Note(last, last + 4, 60 + voice, voice=voice) for voice in range(4)]
    key = KeySignature(0, draw(st.integers(-6, 6)), draw(st.booleans()))
    return Piece(
        tuple(notes), 4, 96.0, ("soprano", "alto", "tenor", "bass"), last + 4, pickup, metres=tuple(metres), keys=(key,)
    )


def heard(part: Any) -> list[tuple[int, int, int]]:
    """Start, end and pitch of the notes of a part, ties joined, in sixteenths."""
    stripped = part.stripTies()
    return sorted(
        (
            int(4 * note.getOffsetInHierarchy(stripped)),
            int(4 * note.getOffsetInHierarchy(stripped)) + int(4 * note.quarterLength),
            pitch.midi,
        )
        for note in stripped.recurse().notes
        for pitch in note.pitches
    )


def bars(part: Any) -> list[tuple[int, str]]:
    """Where each bar begins, in sixteenths, and its metre."""
    return [
        (
            int(4 * measure.getOffsetInHierarchy(part)),
            (measure.timeSignature or measure.getContextByClass("TimeSignature")).ratioString,
        )
        for measure in part.getElementsByClass("Measure")
    ]


@settings(max_examples=8, deadline=None)
@given(pieces())
def test_music21_reads_the_same_from_score_and_midi(reader: MusicReader, piece: Piece) -> None:
    score = music21.converter.parseData(musicxml(piece), format="musicxml")
    played = music21.converter.parseData(midi_bytes(piece), format="midi")
    expected = [(bar.start, str(bar.metre)) for bar in piece.bars]
    for voice, (written, sounding) in enumerate(zip(score.parts, played.parts, strict=True)):
        notes = sorted((note.start, note.end, note.pitch) for note in piece.notes if note.voice == voice)
        assert heard(written) == notes
        found = sorted(
            (round(4 * note.offset), round(4 * (note.offset + note.quarterLength)), pitch.midi)
            for note in sounding.stripTies().flatten().notes
            for pitch in note.pitches
        )
        assert found == notes
        assert bars(written) == expected
    signs = played.parts[0].flatten().getElementsByClass("TimeSignature")
    whole = [(round(4 * sign.offset), sign.ratioString) for sign in signs]
    reference = [(metre.start, str(metre)) for metre in piece.bars.metres() if metre.start < piece.length]
    assert whole[-len(reference) :] == reference and len(whole) == len(reference) + (piece.bars.pickup > 0)
    (key, *_) = score.parts[0].flatten().getElementsByClass("KeySignature")
    (same, *_) = played.flatten().getElementsByClass("KeySignature")
    assert key.sharps == same.sharps == piece.keys[0].fifths
    again, words = reader.read_piece(midi_bytes(piece))
    assert not words
    assert [(bar.start, bar.end, bar.number) for bar in again.bars] == [
        (120 * bar.start, 120 * bar.end, bar.number) for bar in piece.bars
    ]
    assert again.keys == piece.keys


@pytest.mark.parametrize("suffix", [".mid", ".musicxml"])
def test_our_reader_finds_the_bars_of_our_files(reader: MusicReader, tmp_path: Path, suffix: str) -> None:
    notes = tuple(Note(start, start + 2, 67 + start % 5) for start in range(0, 40, 2))
    piece = Piece(notes, pickup=2, metres=(Metre(0, 6, 8), Metre(26, 3, 4)), keys=(KeySignature(0, -3, minor=True),))
    save_music(piece, tmp_path / f"a{suffix}")
    found = reader.read_piece(tmp_path / f"a{suffix}")[0]
    factor = found.resolution // 4
    assert found.pickup == 2 * factor
    assert [(metre.start, str(metre)) for metre in found.metres] == [(0, "6/8"), (26 * factor, "3/4")]
    assert (found.keys[0].fifths, found.keys[0].minor) == (-3, True)
    assert [(note.start, note.end, note.pitch) for note in found.notes] == [
        (factor * note.start, factor * note.end, note.pitch) for note in piece.notes
    ]


@pytest.fixture(scope="module")
def filler() -> Composer:
    return Composer.new(
        task="infill", preset="tiny", device="cpu", width=16, heads=2, feed_forward=16, decoder_layers=1
    )


@settings(max_examples=8, deadline=None)
@given(pieces(), st.integers(0, 3))
def test_harmonies_are_in_the_bars_and_the_key_of_the_tune(
    reader: MusicReader, filler: Composer, piece: Piece, seed: int
) -> None:
    """Metre x upbeat x key x leading rests, through a MIDI file and back."""
    tune = replace(piece, notes=tuple(note for note in piece.notes if note.voice == 0), voices=("melody",))
    tune = replace(tune, notes=tuple(replace(note, voice=0) for note in tune.notes))
    given_ = reader.read_piece(midi_bytes(tune))[0]
    given_ = with_bars(given_, None, None if given_.pickup else "0")  # else one may be found in random notes
    found = filler.harmonize(given_, sampling=Sampling(top_k=3), seed=seed)
    assert [(bar.start, bar.number, str(bar.metre)) for bar in found.bars] == [
        (bar.start, bar.number, str(bar.metre)) for bar in piece.bars
    ]
    assert found.keys == piece.keys
    soprano = [(note.start, note.end, note.pitch) for note in found.notes if note.voice == 0]
    assert soprano == sorted((note.start, note.end, note.pitch) for note in tune.notes)
    again = reader.read_piece(midi_bytes(found))[0]
    assert [(bar.start // 120, bar.number) for bar in again.bars] == [(bar.start, bar.number) for bar in found.bars]
    assert {note.voice for note in found.notes} == {0, 1, 2, 3}, "no empty part"
