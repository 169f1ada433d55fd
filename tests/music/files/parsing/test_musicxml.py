"""Scores in MusicXML, read."""

import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.music.files.midi import midi_bytes
from triptych.music.files.notation import musicxml
from triptych.music.files.reading import MusicReader
from triptych.music.piece.metre import Metre
from triptych.music.piece.piece import KeySignature, Note, Piece, Tempo

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
DOCTYPE = (
    '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" '
    '"http://www.musicxml.org/dtds/partwise.dtd">\n'
)


def score(*parts: str, names: tuple[str, ...] = ("Melody", "Bass", "Third"), head: str = HEAD) -> bytes:
    """A partwise score; each part is its measures."""
    listed = "".join(
        f'<score-part id="P{place}"><part-name>{name}</part-name></score-part>'
        for place, name in enumerate(names[: len(parts)], 1)
    )
    bodies = "".join(f'<part id="P{place}">{part}</part>' for place, part in enumerate(parts, 1))
    return f"{head}<score-partwise><part-list>{listed}</part-list>{bodies}</score-partwise>".encode()


def measure(content: str, number: int = 1, more: str = "") -> str:
    return f'<measure number="{number}" {more}>{content}</measure>'


def attributes(beats: str = "4", unit: str = "4", *, divisions: int = 2, more: str = "") -> str:
    time = f"<time><beats>{beats}</beats><beat-type>{unit}</beat-type></time>" if beats else ""
    return f"<attributes><divisions>{divisions}</divisions>{more}{time}</attributes>"


def note(pitch: str, duration: int = 2, more: str = "", voice: int = 1, before: str = "") -> str:
    """`pitch`: step, # or b for the accidental, octave; or r for a rest."""
    alter = {"#": 1, "b": -1}.get(pitch[1:2], 0)
    sound = "<rest/>" if pitch == "r" else (
        f"<pitch><step>{pitch[0]}</step><alter>{alter}</alter><octave>{pitch[-1]}</octave></pitch>"
    )  # fmt: skip
    return f"<note>{before}{sound}<duration>{duration}</duration>{more}<voice>{voice}</voice></note>"


def rows(piece: Piece) -> list[tuple[float, float, int, int]]:
    return [(n.start / piece.resolution, n.end / piece.resolution, n.pitch, n.voice) for n in piece.notes]


def test_notes_chords_voices_and_rests(reader: MusicReader) -> None:
    first = attributes() + note("C5", 4) + note("E5", 4, before="<chord/>") + note("r") + note("F#5")
    first += "<backup><duration>8</duration></backup><forward><duration>2</duration></forward>" + note(
        "Bb3", 6, voice=2
    )
    piece, words = reader.read_piece(score(measure(first) + measure(note("C4", 8), 2)))
    assert rows(piece) == [(0, 2, 72, 0), (0, 2, 76, 0), (1, 4, 58, 1), (3, 4, 78, 0), (4, 8, 60, 0)]
    assert (piece.voices, piece.metres, piece.pickup) == (("Melody", "Melody 2"), (Metre(0, 4, 4),), 0)
    assert (piece.tempo, piece.keys, piece.programs, words) == (120, (), (), [])


def test_ties_are_one_note(reader: MusicReader) -> None:
    start, stop, both = '<tie type="start"/>', '<tie type="stop"/>', '<tie type="stop"/><tie type="start"/>'
    tied = '<notations><tied type="start"/></notations>'
    body = measure(attributes() + note("C5", 8, start)) + measure(note("C5", 8, both), 2)
    body += measure(note("C5", 4, stop) + note("C5", 4, tied), 3) + measure(note("C5", 4) + note("C5", 4), 4)
    assert rows(reader.read_piece(score(body))[0]) == [(0, 10, 72, 0), (10, 14, 72, 0), (14, 16, 72, 0)]
    across = attributes() + note("C5", 4, start) + note("D5", 4) + "<backup><duration>8</duration></backup>"
    across += note("r", 4, voice=2) + note("C5", 4, stop, voice=2)
    assert rows(reader.read_piece(score(measure(across)))[0]) == [(0, 4, 72, 0), (2, 4, 74, 0)]


def test_grace_notes_cues_repeats_and_drums_are_passed_over_with_a_word(reader: MusicReader) -> None:
    grace = "<note><grace/><pitch><step>C</step><octave>5</octave></pitch></note>"
    body = attributes() + grace + note("D5", 4, before="<cue/>") + note("E5", 4)
    body += '<barline><repeat direction="backward"/></barline>'
    drum = "<note><unpitched/><duration>8</duration></note>"
    piece, words = reader.read_piece(score(measure(body), measure(attributes() + drum)))
    assert rows(piece) == [(2, 4, 76, 0)]
    assert words == [
        "1 note of drums left out",
        "2 grace or cue notes left out",
        "1 repeat passed over: the score is read once",
    ]


@pytest.mark.parametrize("implicit", ["", 'implicit="yes"'])
def test_upbeats_and_bars_that_are_cut(reader: MusicReader, implicit: str) -> None:
    body = measure(attributes("3") + note("D5"), 0, implicit) + measure(note("G5", 6)) + measure(note("G5", 4), 2)
    body += measure(note("A5", 2), 3, implicit) + measure(note("B5", 6), 4) + measure(note("G5", 4), 5)
    piece, _ = reader.read_piece(score(body))
    assert (piece.pickup, piece.metres) == (piece.resolution, (Metre(0, 3, 4),))
    assert [(start, end) for start, end, _, _ in rows(piece)] == [(0, 1), (1, 4), (4, 6), (6, 7), (7, 10), (10, 12)]


def test_a_measure_that_begins_within_a_bar_repeats_its_metre(reader: MusicReader) -> None:
    body = measure(attributes("3") + note("D5", 6)) + measure(note("G5", 2), 2) + measure(note("G5", 6), 3)
    piece, _ = reader.read_piece(score(body + measure(note("A5", 6), 4)))
    assert piece.metres == (Metre(0, 3, 4), Metre(4 * piece.resolution, 3, 4))
    assert [bar.start / piece.resolution for bar in piece.bars] == [0, 3, 4, 7]


@pytest.mark.parametrize(
    ("beats", "unit", "metre"),
    [("6", "8", (6, 8)), ("3+2", "8", (5, 8)), ("2", "2", (2, 2)), ("", "", None), ("0", "4", None), ("3", "5", None)],
)
def test_time_signatures(reader: MusicReader, beats: str, unit: str, metre: tuple[int, int] | None) -> None:
    piece, words = reader.read_piece(score(measure(attributes(beats, unit) + note("C5", 8))))
    assert piece.metres == ((Metre(0, *metre),) if metre else ())
    assert words == (["1 impossible time or key signature left out"] if beats and metre is None else [])


def test_keys_tempos_dynamics_and_instruments(reader: MusicReader) -> None:
    key = "<key><fifths>-2</fifths><mode>minor</mode></key>"
    soft = '<direction><direction-type/><sound dynamics="50" tempo="96"/></direction>'
    mark = "<direction><direction-type><metronome><beat-unit>quarter</beat-unit><beat-unit-dot/>"
    mark += "<per-minute>ca. 60</per-minute></metronome></direction-type></direction>"
    loud = note("D5", 4).replace("<note>", '<note dynamics="100">')
    body = measure(attributes(more=key) + soft + note("C5", 4) + loud)
    body += measure("<attributes><key><fifths>1</fifths></key></attributes>" + mark + note("G5", 8), 2)
    clarinet = "<key><fifths>0</fifths></key><transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose>"
    data = score(body, measure(attributes(more=clarinet) + note("D5", 8)) + measure(note("D5", 8), 2))
    flute = b"<midi-instrument><midi-program>74</midi-program></midi-instrument>"
    data = data.replace(b"Melody</part-name>", b"Melody</part-name>" + flute)
    piece, _ = reader.read_piece(data)
    four = 4 * piece.resolution
    assert piece.keys == (KeySignature(0, -2, minor=True), KeySignature(four, 1))
    assert (piece.tempo, piece.tempos) == (96, (Tempo(four, 90),))
    assert [(n.pitch, n.velocity) for n in piece.notes] == [(72, 45), (72, 80), (74, 90), (72, 80), (79, 45)]
    assert piece.programs == (73, 0)
    performance, _ = reader.read_performance(data)
    assert performance.seconds == pytest.approx(4 * 60 / 96 + 4 * 60 / 90)
    alone = score(measure(attributes(more=clarinet) + note("D5", 8)))
    assert reader.read_piece(alone)[0].keys == (KeySignature(0, -2),)


def test_parts_begin_their_measures_together(reader: MusicReader) -> None:
    full = measure(attributes() + note("C5", 8)) + measure(note("D5", 8), 2)
    short = measure(attributes() + note("C4", 2)) + measure(note("D4", 8), 2)
    assert rows(reader.read_piece(score(full, short))[0])[1:] == [(0, 4, 72, 0), (4, 8, 62, 1), (4, 8, 74, 0)]
    rest = measure(attributes() + '<note><rest measure="yes"/><duration>8</duration></note>')
    upbeat = measure(attributes() + note("C5", 2)) + measure(note("D5", 8), 2)
    assert reader.read_piece(score(upbeat, rest + measure(note("C3", 8), 2)))[0].pickup == 16
    long = measure(attributes() + note("C5", 16)) + measure(note("D5", 8), 2)  # bars of their own, as in old music
    other = measure(attributes() + note("C4", 8)) + measure(note("D4", 16), 2)
    assert [row[:2] for row in rows(reader.read_piece(score(long, other))[0])] == [(0, 4), (0, 8), (4, 12), (8, 12)]


def test_other_forms_of_the_file(reader: MusicReader, tmp_path: Path) -> None:
    data = score(measure(attributes() + note("C5", 8)) + measure(note("D5", 8), 2), names=("Flöte",))
    expected = reader.read_piece(data)
    assert expected[0].voices == ("Flöte",)
    text = data.decode()
    timewise = text.replace("<part id", "<x id")
    start, end = text.index('<part id="P1">'), text.index("</score-partwise>")
    measures = text[start + len('<part id="P1">') : end - len("</part>")]
    measures = measures.replace("<measure number", "<measure n").replace("<measure n", "<measure number")
    timewise = text[:start] + measures.replace(" >", ' ><part id="P1">').replace("</measure>", "</part></measure>")
    timewise = (timewise + text[end:]).replace("score-partwise", "score-timewise")
    forms = [
        data.replace(HEAD.encode(), (HEAD + DOCTYPE).encode()),
        b"\xef\xbb\xbf" + data,
        text.replace("UTF-8", "UTF-16").encode("utf-16"),
        text.replace("UTF-8", "ISO-8859-1").encode("latin-1"),
        b"  \n" + text.removeprefix(HEAD).encode(),
        text.replace("<score-partwise>", '<score-partwise xmlns="http://www.musicxml.org/xsd/MusicXML">').encode(),
        timewise.encode(),
    ]
    for container in (True, False):
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            if container:
                archive.writestr("other.xml", "<other/>")
                files = '<rootfiles><rootfile full-path="a/b.musicxml"/></rootfiles>'
                archive.writestr("META-INF/container.xml", f"<container>{files}</container>")
            archive.writestr("a/b.musicxml", data)
        forms.append(packed.getvalue())
    for form in forms:
        assert reader.read_piece(form) == expected
    (tmp_path / "a.mxl").write_bytes(forms[-1])
    assert reader.read_piece(tmp_path / "a.mxl") == expected


BODY = measure(attributes() + note("C5", 8))
BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'


def archived(name: str, content: bytes) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (score(BODY, head=HEAD + BOMB), "declares entities or elements, which no score needs"),
        (
            score(BODY, head='<?xml version="1.0" encoding="UTF-16"?>' + BOMB).decode().encode("utf-16"),
            "declares entit",
        ),
        (score(BODY)[:-9], "its XML is not well formed in line 2"),
        (b"<html><body/></html>", "it is XML, but no score in MusicXML"),
        (b"<" * 5, "not well formed in line 1"),
        (score(BODY).replace(b"UTF-8", b"UTF-7"), "its encoding is utf-7, and UTF-8 is expected"),
        (score(BODY).replace(b"Melody", b"M\xe9lodie"), "bytes that are not UTF-8"),
        (score(BODY.replace("<duration>8", "<duration>many")), "something else where a number should be"),
        (score(BODY.replace("<duration>8", "<duration>1e300")), "something else where a number should be"),
        (score(BODY.replace("<divisions>2", "<divisions>0")), "divisions of a quarter note are not above 0"),
        (score(BODY.replace("<octave>5", "<octave>50")), "it has a pitch that is none"),
        (score(BODY.replace("<step>C", "<step>H")), "it has a pitch that is none"),
        (score(BODY.replace("<duration>8", "<duration>900000000")), "longer than a piece can be"),
        (score(), "has no notes"),
        (b"PK\3\4" + bytes(50), "its archive is damaged or holds no score"),
        (archived("song.txt", score(BODY)), "its archive is damaged or holds no score"),
        (archived("song.xml", b"<a>" + bytes(10_000_001)), "its score has more than 10,000,000 bytes"),
    ],
)
def test_a_score_that_is_none_is_refused_in_one_line(reader: MusicReader, data: bytes, got: str) -> None:
    with pytest.raises(UserError, match=r"^expected .*; [a-z][^\n]*$") as caught:
        reader.read_piece(data, name="song.musicxml")
    assert got in str(caught.value) and "'song.musicxml'" in str(caught.value)


def test_what_asks_for_much_memory_or_time_is_refused() -> None:
    deep = b"<score-partwise>" + b"<a>" * 1_200_000 + b"</a>" * 1_200_000 + b"</score-partwise>"
    many = archived("a.xml", b"<score-partwise>" + b'<a b="c"/>' * 999_000 + b"</score-partwise>")
    with MusicReader() as reader:
        for data in (deep, many):
            with pytest.raises(UserError, match="expected"):
                reader.read_piece(data)
        assert len(reader.read_piece(score(BODY))[0].notes) == 1


STARTS = st.integers(0, 40)


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    """Pieces in sixteenths as `notation` writes them, one note at a time in a voice."""
    count = draw(st.integers(1, 4))
    notes = []
    for voice in range(count):
        now = 0
        for _ in range(draw(st.integers(1, 8))):
            start = now + draw(st.sampled_from([0, 0, 1, 4]))
            now = start + draw(st.integers(1, 20))
            notes.append(Note(start, now, draw(st.integers(40, 80)), voice=voice))
    return Piece(tuple(notes), voices=tuple(f"Part {voice}" for voice in range(count)), tempo=96)


@given(pieces())
@settings(max_examples=40, deadline=None)
def test_our_own_scores_are_read_as_our_own_midi_files(reader: MusicReader, piece: Piece) -> None:
    ours, _ = reader.read_piece(musicxml(piece).encode())
    midi, _ = reader.read_piece(midi_bytes(piece))
    sounding = sorted((start, end, pitch) for start, end, pitch, _ in rows(ours))
    assert sounding == sorted((start, end, pitch) for start, end, pitch, _ in rows(midi))
    assert ours.tempo == midi.tempo and ours.metres == midi.metres
