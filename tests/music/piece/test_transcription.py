import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music.files.hands import hands, needs_two, shortened
from triptych.music.files.notation import musicxml
from triptych.music.piece.metre import Metre
from triptych.music.piece.performance import Performance
from triptych.music.piece.piece import KeySignature, Note, Piece, Tempo
from triptych.music.piece.transcription import in_time_of, on_grid, transcribed

# A melody of quarters and eighths over broken chords, 16 bars.
MELODY = [(0, 4, 72), (4, 2, 74), (6, 2, 76), (8, 4, 77), (12, 4, 76)]
CHORDS = [(place, 4, pitch) for place, pitch in zip((0, 4, 8, 12), (48, 52, 55, 52), strict=True)]
SCORE = [(16 * bar + start, length, pitch) for bar in range(16) for start, length, pitch in MELODY + CHORDS]


def played(beat: float, drift: float, seed: int = 0) -> Piece:
    """The score as a pianist plays it: with a tempo that drifts, and notes up to 15 milliseconds away."""
    random = np.random.default_rng(seed)
    sixteenths = np.arange(16 * 16 + 20)
    clock = 0.3 + np.cumsum(beat / 4 * (1 + drift * np.sin(sixteenths / 40)))
    start, length, pitch = np.array(SCORE).T
    early = random.uniform(-0.015, 0.015, len(SCORE))
    velocity = np.where(start % 16 == 0, 90, 70)
    return Performance.of(clock[start] + early, clock[start + length] + early, pitch, velocity).to_piece()


@pytest.mark.parametrize("beat", [0.45, 0.6, 0.75])
@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_the_beat_of_a_performance_is_found(beat: float, drift: float) -> None:
    found = transcribed(played(beat, drift))
    assert found.resolution == 4 and found.metrical and abs(found.tempo - 60 / beat) < 0.1 * 60 / beat
    got = sorted((note.start, note.pitch) for note in found.notes)
    first = got[0][0]
    assert [(start - first, pitch) for start, pitch in got] == sorted((start, pitch) for start, _, pitch in SCORE)


def test_a_score_of_a_performance_has_two_staves() -> None:
    piece = replace(played(0.6, 0.05), metres=(Metre(0, 4, 4),))
    score = ET.fromstring(musicxml(piece))
    (part,) = score.iter("part")
    assert [(clef.get("number"), clef.findtext("sign")) for clef in part.iter("clef")] == [("1", "G"), ("2", "F")]
    assert part.findtext(".//staves") == "2"
    high = {note.findtext("staff") for note in part.iter("note") if int(note.findtext("pitch/octave", "4")) >= 5}
    low = {note.findtext("staff") for note in part.iter("note") if int(note.findtext("pitch/octave", "4")) <= 3}
    assert high == {"1"} and low == {"2"}
    assert {note.findtext("voice") for note in part.iter("note")} == {"1", "5"}, "a layer a hand"


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0.02, 3), st.integers(21, 108)), max_size=40))
def test_anything_played_is_a_score_or_is_refused(rows: list[tuple[float, float, int]]) -> None:
    start, length, pitch = np.array(rows).reshape(-1, 3).T
    piece = Performance.of(start, start + length, pitch.astype(int), np.full(len(rows), 70)).to_piece()
    try:
        found = transcribed(piece)
    except UserError as error:
        assert "expected music with a beat for a score" in str(error) and "\n" not in str(error)
        return
    assert {note.pitch for note in found.notes} == {note.pitch for note in piece.notes}
    ET.fromstring(musicxml(piece))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20), st.integers(21, 108)), max_size=30))
def test_hands_share_all_notes(rows: list[tuple[int, int, int]]) -> None:
    notes = sorted({Note(start, start + length, pitch) for start, length, pitch in rows})
    right, left = hands(notes)
    assert sorted(right + left) == notes
    for hand in (right, left):
        kept = shortened(hand)
        assert [(note.start, note.pitch) for note in kept] == [(note.start, note.pitch) for note in hand]
        starts = sorted({note.start for note in kept})
        for note in kept:
            assert note.end > note.start and not any(note.start < start < note.end for start in starts)
        assert len({(note.start, note.end) for note in kept}) == len(starts), "one layer"


def test_who_needs_two_hands() -> None:
    assert not needs_two([Note(0, 4, 50), Note(4, 8, 70)]) and not needs_two([Note(0, 4, 60), Note(0, 4, 80)])
    assert needs_two([Note(0, 4, 50), Note(0, 4, 70)]) and not needs_two([])


def test_beats_of_a_file_are_kept_where_they_mean_anything() -> None:
    tempos = (Tempo(1920, 60.0),)
    notes = tuple(Note(480 * place, 480 * place + 400, 60 + place % 3) for place in range(8))
    given_ = Piece(notes, 480, 120.0, metres=(Metre(0, 3, 4),), keys=(KeySignature(0, 1),), tempos=tempos)
    assert on_grid(given_)
    start, end = [given_.seconds_at(note.start) for note in notes], [given_.seconds_at(note.end) for note in notes]
    sounding = Performance.of(start, end, [note.pitch for note in notes], [70] * len(notes)).to_piece()
    found = in_time_of(sounding, given_)
    assert found.metrical and [str(metre) for metre in found.metres] == ["3/4"] and found.keys == given_.keys
    assert [round(note.start / found.resolution, 2) for note in found.notes] == list(range(8))
    rest = in_time_of(sounding, given_, begin=given_.seconds_at(4 * 480))
    assert rest.tempo == 60.0 and rest.keys == given_.keys and not rest.tempos
    assert (rest.pickup, [str(metre) for metre in rest.metres]) == (2 * rest.resolution, ["3/4"]), "beat 2 of its bar"
    free = replace(given_, notes=tuple(Note(n.start + 61 * n.pitch % 173, n.end + 300, n.pitch) for n in notes))
    assert not on_grid(free) and in_time_of(sounding, free) is sounding
