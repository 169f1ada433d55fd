import sys
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import music21
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music.files import notation
from triptych.music.files.notation import ENGRAVING, musicxml, svg
from triptych.music.files.save import save_music
from triptych.music.piece.bars import in_sixteenths
from triptych.music.piece.metre import Metre
from triptych.music.piece.piece import KeySignature, Note, Piece, Tempo
from triptych.shape.marks import marked

CHOIR = ("soprano", "alto", "tenor", "bass")
KEYS = st.integers(-7, 7)
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ALTERS = {"flat-flat": -2, "flat": -1, "natural": 0, "sharp": 1, "double-sharp": 2}
SHARPS = "FCGDAEB"


METRES = st.lists(
    st.builds(
        Metre,
        st.one_of(st.just(0), st.integers(0, 60)),
        st.one_of(st.sampled_from([2, 3, 4, 6]), st.integers(1, 13)),
        st.sampled_from([2, 4, 8, 16]),
    ),
    max_size=3,
)


@st.composite
def chorales(draw: st.DrawFn) -> Piece:
    """Four voices of notes and rests one after another; repeated notes are frequent."""
    notes = []
    for voice in range(4):
        end = 0
        for length, pitch in draw(
            st.lists(st.tuples(st.integers(1, 24), st.sampled_from([None, 12, 60, 61, 127])), max_size=8)
        ):
            if pitch is not None:
                notes.append(Note(end, end + length, pitch, voice=voice))
            end += length
    pickup, rest = draw(st.integers(0, 15)), draw(st.integers(0, 40))
    return Piece(tuple(notes), tempo=80, voices=CHOIR, length=rest, pickup=pickup, metres=tuple(draw(METRES)))


@st.composite
def tangles(draw: st.DrawFn) -> Piece:
    """Notes that overlap as they like, on a fine grid."""
    note = st.builds(
        lambda start, length, pitch, voice: Note(start, start + length, pitch, voice=voice),
        st.integers(0, 1_500),
        st.integers(1, 600),
        st.integers(58, 63),
        st.integers(0, 1),
    )
    notes = draw(st.lists(note, max_size=14))
    resolution = draw(st.sampled_from([4, 48, 120, 480]))
    pickup = draw(st.integers(0, 15 * resolution // 4))
    if resolution == 4:
        notes = [replace(note, start=note.start // 16, end=note.start // 16 + note.end % 16 + 1) for note in notes]
    metres = tuple(replace(metre, start=metre.start * resolution // 4) for metre in draw(METRES))
    return Piece(tuple(notes), resolution, voices=("Piano", "left <hand> & \x00"), pickup=pickup, metres=metres)


def expected(piece: Piece, voice: int) -> list[tuple[int, int, int]]:
    return sorted((note.start, note.end, note.pitch) for note in in_sixteenths(piece).notes if note.voice == voice)


def parse(text: str) -> Any:
    return music21.converter.parseData(text, format="musicxml")


def ticks(quarters: Any) -> int:
    assert quarters * 4 == int(quarters * 4)
    return int(quarters * 4)


def positioned(measure: ET.Element) -> list[tuple[int, ET.Element]]:
    """The notes of a measure with their starts; checks that every layer fills the measure."""
    place, begin, found, ends = 0, 0, [], set()
    for element in measure:
        duration = int(element.findtext("duration", "0"))
        if element.tag == "backup":
            ends.add(place)
            place -= duration
            assert place == 0
        elif element.find("chord") is None:
            begin, place = place, place + duration
        if element.tag == "note":
            found.append((begin, element))
    assert len({place, *ends}) == 1
    return found


def length_of(measure: ET.Element) -> int:
    """Sixteenths of a measure by its first layer."""
    return max(begin + int(note.findtext("duration", "")) for begin, note in positioned(measure))


@settings(max_examples=40, deadline=None)
@given(chorales(), KEYS)
def test_music21_reads_the_same_chorale(piece: Piece, fifths: int) -> None:
    parts = parse(musicxml(replace(piece, keys=(KeySignature(0, fifths),)))).parts
    heard = sorted({note.voice for note in piece.notes}) or range(4)
    assert [part.partName for part in parts] == [piece.voices[voice].capitalize() for voice in heard]
    for voice, part in zip(heard, parts, strict=True):
        stripped = part.stripTies()
        found = [
            (ticks(note.getOffsetInHierarchy(stripped)), ticks(note.quarterLength), note.pitch.midi)
            for note in stripped.recurse().notes
        ]
        assert [(start, start + length, pitch) for start, length, pitch in found] == expected(piece, voice)
        signature = part.recurse().getElementsByClass("KeySignature").first()
        assert signature.sharps == fifths


def layered(part: Any) -> list[tuple[str, int, int, Any]]:
    """Layer, start, end and note of every note head that music21 has read, measure by measure."""
    return [
        (str(layer.id) if measure.voices else "1", start, start + ticks(chord.quarterLength), note)
        for measure in part.getElementsByClass("Measure")
        for layer in measure.voices or [measure]
        for chord in layer.notes
        for start in [ticks(chord.getOffsetInHierarchy(part))]
        for note in (chord.notes if chord.isChord else [chord])
    ]


@settings(max_examples=60, deadline=None)
@given(tangles(), KEYS)
def test_music21_reads_the_same_tangle(piece: Piece, fifths: int) -> None:
    heard: dict[str, list[list[int]]] = {"Piano": [], "Left <hand> &": []}
    for part in parse(musicxml(replace(piece, keys=(KeySignature(0, fifths),)))).parts:
        tied: dict[tuple[str, int], list[int]] = {}
        for layer, start, end, note in layered(part):
            tie = note.tie.type if note.tie else None
            if tie in {"stop", "continue"}:
                joined = tied.pop((layer, note.pitch.midi))
                assert joined[1] == start
                joined[1] = end
            else:
                joined = [start, end, note.pitch.midi]
                heard[part.partName].append(joined)
            if tie in {"start", "continue"}:
                assert (layer, note.pitch.midi) not in tied
                tied[layer, note.pitch.midi] = joined
        assert not tied
    for voice, notes in enumerate(heard.values()):
        assert sorted(map(tuple, notes)) == expected(piece, voice)


@settings(max_examples=60, deadline=None)
@given(st.one_of(chorales(), tangles()))
def test_measures_add_up(piece: Piece) -> None:
    grid = in_sixteenths(piece)
    for part in ET.fromstring(musicxml(piece)).iter("part"):
        measures, bars = list(part), list(grid.bars)
        assert [length_of(measure) for measure in measures] == [bar.end - bar.start for bar in bars]
        assert [measure.get("number") for measure in measures] == [str(bar.number) for bar in bars]
        assert [measure.get("implicit") for measure in measures] == ["yes" if bar.offset else None for bar in bars]
        shown = ""
        for measure, bar in zip(measures, bars, strict=True):
            if (time := measure.find("attributes/time")) is not None:
                assert shown != (shown := f"{time.findtext('beats')}/{time.findtext('beat-type')}")
            assert shown == str(bar.metre)
        assert len(part.findall(".//barline")) == 1 and measures[-1][-1].tag == "barline"


@settings(max_examples=60, deadline=None)
@given(st.one_of(chorales(), tangles()))
def test_signs_are_whole(piece: Piece) -> None:
    """What is written as a duration lasts as long, ties are written twice, beams begin and end in a measure."""
    types = {"breve": 32, "whole": 16, "half": 8, "quarter": 4, "eighth": 2, "16th": 1}
    for measure in ET.fromstring(musicxml(piece)).iter("measure"):
        beams: dict[tuple[str | None, str | None], list[str | None]] = {}
        for _, note in positioned(measure):
            written = types.get(note.findtext("type", ""), 0)
            if note.find("rest[@measure]") is None:
                assert int(note.findtext("duration", "")) == written * (1.5 if note.find("dot") is not None else 1)
            ties = [tie.get("type") for tie in note.findall("tie")]
            assert ties == [tied.get("type") for tied in note.findall("notations/tied")]
            assert ties in ([], ["start"], ["stop"], ["stop", "start"])
            for beam in note.findall("beam"):
                beams.setdefault((note.findtext("voice"), beam.get("number")), []).append(beam.text)
        for words in beams.values():
            joined = [word for word in words if word and "hook" not in word]
            for one, other in pairwise([None, *joined, None]):
                assert (other in {"continue", "end"}) == (one in {"begin", "continue"})


@settings(max_examples=60, deadline=None)
@given(st.one_of(chorales(), tangles()), KEYS)
def test_who_reads_the_accidentals_plays_the_pitches(piece: Piece, fifths: int) -> None:
    altered = dict.fromkeys(SHARPS[:fifths], 1) if fifths > 0 else dict.fromkeys(SHARPS[7 + fifths :], -1)
    for part in ET.fromstring(musicxml(replace(piece, keys=(KeySignature(0, fifths),)))).iter("part"):
        for measure in part:
            valid: dict[tuple[str, str], int] = {}
            for _, note in sorted(positioned(measure), key=lambda entry: entry[0]):
                if note.find("rest") is not None or note.find("tie[@type='stop']") is not None:
                    assert note.find("accidental") is None
                    continue
                step, octave = note.findtext("pitch/step", ""), note.findtext("pitch/octave", "")
                before = valid.get((step, octave), altered.get(step, 0))
                seen = note.findtext("accidental")
                alter = ALTERS[seen] if seen else before
                assert alter == int(note.findtext("pitch/alter", "0"))
                assert seen is None or alter != before
                valid[step, octave] = alter


def test_repeated_notes_are_not_tied() -> None:
    text = musicxml(Piece((Note(0, 8, 60), Note(8, 16, 60), Note(16, 32, 60))))
    assert "<tie" not in text
    assert musicxml(Piece((Note(0, 8, 60), Note(8, 32, 60)))).count("<tie ") == 2


def test_clefs_and_names() -> None:
    def clefs(piece: Piece) -> list[str]:
        return ["".join(clef.itertext()).split() for clef in ET.fromstring(musicxml(piece)).iter("clef")]

    assert clefs(Piece((), voices=CHOIR)) == [["G", "2"], ["G", "2"], ["G", "2", "-1"], ["F", "4"]]
    low, high = Note(0, 4, 40, voice=1), Note(0, 4, 70, voice=0)
    assert clefs(Piece((low, high), voices=("flute", "cello"))) == [["G", "2"], ["F", "4"]]
    assert "part-group" in musicxml(Piece((), voices=CHOIR)) and "part-group" not in musicxml(Piece(()))


def test_a_fifth_layer_gets_a_staff() -> None:
    piece = Piece(tuple(Note(start, 20, 60 + start) for start in range(6)))
    root = ET.fromstring(musicxml(piece))
    voices = [sorted({note.findtext("voice") for note in part.iter("note")}) for part in root.iter("part")]
    assert voices == [["1", "2", "3", "4"], ["1", "2"]]
    assert [name.text for name in root.iter("part-name")] == ["Piano", "Piano"]


def test_the_tempo() -> None:
    for tempo, text in ((72, "72"), (116.00009, "116"), (98.5, "98.5"), (1_000_000, "1000000")):
        root = ET.fromstring(musicxml(Piece((), tempo=tempo, voices=CHOIR)))
        assert [mark.text for mark in root.iter("per-minute")] == [text]
        assert [sound.get("tempo") for sound in root.iter("sound")] == [text]


def test_tempos_of_beats() -> None:
    piece = Piece((Note(0, 60, 60),), tempo=90, metres=(Metre(0, 6, 8), Metre(24, 3, 2)))
    piece = replace(piece, tempos=(Tempo(6, 91.0), Tempo(28, 45.0)))
    first, _, third = list(ET.fromstring(musicxml(piece)).iter("measure"))[:3]
    marks = [
        ([unit.tag for unit in mark.iter() if unit.tag.startswith("beat-unit")], mark.findtext("per-minute"))
        for mark in (*first.iter("metronome"), *third.iter("metronome"))
    ]
    assert marks == [(["beat-unit", "beat-unit-dot"], "60"), (["beat-unit"], "22.5")]
    assert [(sound.get("tempo"), sound.findtext("offset")) for sound in first.findall("sound")] == [("91", "6")]
    assert third.findtext("direction/offset") == "4" and third.find("direction/sound").attrib == {"tempo": "45"}


def test_a_new_key_within_a_piece() -> None:
    keys = (KeySignature(0, 2, minor=True), KeySignature(16, -1, minor=False))
    piece = Piece((Note(0, 16, 61), Note(16, 32, 70), Note(32, 48, 71)), keys=keys)
    measures = list(ET.fromstring(musicxml(piece)).iter("measure"))
    found = [[element.text for key in measure.iter("key") for element in key] for measure in measures]
    assert found == [["2", "minor"], ["-1", "major"], []]
    assert [measure.findtext(".//accidental") for measure in measures] == [None, None, "natural"]


def test_an_empty_piece_is_a_bar_of_rest() -> None:
    (measure,) = ET.fromstring(musicxml(Piece(()))).iter("measure")
    assert length_of(measure) == 16 and measure.find("note/rest[@measure='yes']") is not None


@pytest.mark.parametrize("fifths", [-8, 8])
def test_no_such_signature(fifths: int) -> None:
    with pytest.raises(UserError, match=f"expected a key signature .* got {fifths}"):
        KeySignature(0, fifths)


def test_too_long_to_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected at most 5,000 bars"):
        save_music(Piece((Note(0, 2**31, 60),), 480), tmp_path / "a.musicxml")
    assert not list(tmp_path.iterdir())


CHORD = Piece(tuple(Note(0, 20, 72 - 7 * voice, voice=voice) for voice in range(4)), voices=CHOIR, pickup=4)


def test_the_files(tmp_path: Path) -> None:
    for name in ("a.musicxml", "a.svg", "b.musicxml", "b.svg"):
        save_music(CHORD, tmp_path / name)
    for suffix, text in ((".musicxml", musicxml(CHORD)), (".svg", svg(CHORD))):
        first, second = (tmp_path / f"{name}{suffix}" for name in "ab")
        assert first.read_bytes() == second.read_bytes() == marked(text.encode(), suffix)
    save_music(replace(CHORD, keys=(KeySignature(0, 4),)), tmp_path / "c.svg")
    other = svg(replace(CHORD, keys=(KeySignature(0, 4),)))
    assert (tmp_path / "c.svg").read_bytes() == marked(other.encode(), ".svg") and other != svg(CHORD)


def signs(text: str) -> Counter[str]:
    """Count the elements of an SVG by class."""
    return Counter(element.get("class", "").split(" ")[0] for element in ET.fromstring(text).iter())


@settings(max_examples=15, deadline=None)
@given(chorales())
def test_every_note_is_engraved(piece: Piece) -> None:
    score = ET.fromstring(musicxml(replace(piece, keys=(KeySignature(0, -3),))))
    found = signs(svg(replace(piece, keys=(KeySignature(0, -3),))))
    assert found["note"] == len(score.findall(".//note/pitch"))
    assert found["measure"] == len(score.findall("part[1]/measure"))
    assert found["tie"] >= len(score.findall(".//tie[@type='start']"))  # a tie across systems is drawn in two parts
    assert found["accid"] >= len(score.findall(".//accidental"))


def test_the_svg_stands_alone() -> None:
    text = svg(CHORD)
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and "<script" not in text and "@import" not in text
    assert all(element.get("{http://www.w3.org/1999/xlink}href", "#").startswith("#") for element in root.iter())
    assert text == svg(CHORD)


def test_a_score_of_several_pages_is_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    piece = Piece(tuple(Note(start, start + 2, 60 + start % 7) for start in range(0, 40 * 16, 2)))
    one = signs(svg(piece))
    monkeypatch.setattr(notation, "ENGRAVING", {**ENGRAVING, "pageHeight": 1_000})
    text = svg(piece)
    root = ET.fromstring(text)
    pages = list(root)
    assert len(pages) > 1 and signs(text)["note"] == one["note"] == 320
    tops = [int(page.get("y", "")) for page in pages]
    heights = [int(page.get("height", "").removesuffix("px")) for page in pages]
    assert tops == [sum(heights[:number]) for number in range(len(pages))]
    assert root.get("height") == f"{sum(heights)}px" and {page.get("width") for page in pages} == {root.get("width")}


def test_without_verovio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "verovio", None)
    with pytest.raises(UserError, match=r'pip install "triptych\[score\]"'):
        save_music(CHORD, tmp_path / "a.svg")
    assert not list(tmp_path.iterdir())
