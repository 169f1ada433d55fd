import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.music.files.spelling import places, spell
from triptych.music.piece.piece import KeySignature, Note, Piece

STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
NAMES = {"b" * -alter or "#" * alter: alter for alter in range(-2, 3)}


def piece_of(names: str, *keys: KeySignature) -> Piece:
    """Notes by their names, as "F#5 Bb4", a sixteenth each."""
    notes = []
    for place, name in enumerate(names.split()):
        alter = name[1:-1].count("#") - name[1:-1].count("b")
        notes.append(Note(place, place + 1, 12 * (int(name[-1]) + 1) + STEPS[name[0]] + alter))
    return Piece(tuple(notes), keys=keys)


def spelled(piece: Piece) -> str:
    found = [spell(note.pitch, place) for note, place in zip(piece.notes, places(piece), strict=True)]
    return " ".join(f"{step}{'b' * -alter or '#' * alter}{octave}" for step, alter, octave in found)


@given(st.lists(st.integers(0, 127), max_size=60), st.lists(st.tuples(st.integers(0, 70), st.integers(-7, 7))))
def test_a_name_is_that_pitch(pitches: list[int], keys: list[tuple[int, int]]) -> None:
    notes = tuple(Note(start, start + 1, pitch) for start, pitch in enumerate(pitches))
    piece = Piece(notes, keys=tuple(KeySignature(*key) for key in keys))
    found = places(piece)
    assert len(found) == len(pitches)
    for note, place in zip(piece.notes, found, strict=True):
        step, alter, octave = spell(note.pitch, place)
        assert 12 * (octave + 1) + STEPS[step] + alter == note.pitch and -2 <= alter <= 2


@pytest.mark.parametrize("fifths", range(-7, 8))
@pytest.mark.parametrize("mode", ["major", "minor"])
def test_scales_are_spelled_by_their_steps(fifths: int, mode: str) -> None:
    """Seven steps, seven letters; in minor with raised sixths and sevenths upwards, and natural ones downwards."""
    tonic = 60 + 7 * fifths % 12 - 3 * (mode == "minor")
    steps = [0, 2, 3, 5, 7, 9, 11, 12, 10, 8, 7, 5, 3, 2, 0, 11, 12] if mode == "minor" else [0, 2, 4, 5, 7, 9, 11, 12]
    notes = tuple(Note(place, place + 1, tonic + step) for place, step in enumerate(steps))
    found = spelled(Piece(notes, keys=(KeySignature(0, fifths, mode == "minor"),))).split()
    letters = "".join(name[0] for name in found)
    start = "CDEFGAB".index(letters[0])
    degrees = [0, 1, 2, 3, 4, 5, 6, 7, 6, 5, 4, 3, 2, 1, 0, 6, 7] if mode == "minor" else range(8)
    assert letters == "".join("CDEFGAB"[(start + degree) % 7] for degree in degrees)


@pytest.mark.parametrize(
    ("names", "fifths"),
    [
        ("A4 C5 E5 A5 G#5 A5 F5 E5 D#5 E5 C5 A4", 0),  # the dominant's leading note in A minor
        ("C5 Eb5 G5 C6 B5 C6 Ab5 G5 F#5 G5 Eb5 C5", -3),  # and in C minor
        ("C5 E5 G5 C6 Bb5 A5 F5 G5 E5 C5", 0),
        ("E5 A5 C#6 A5 F#5 D5 E5 C5 F5 A5 C6 F5 E5 A4", 3),  # a C natural in A major
        ("C5 G5 Eb5 Bb5 Ab5 F5 Eb5 G5 Bb5 Ab5 Eb5", 0),  # E flat major within C major
        ("C5 F5 Ab5 C6 Db6 C6 Bb5 Ab5 G5 F5", -4),
        ("F#5 A#5 C#6 E#6 F#6 B5 A#5 G#5 F#5", 6),
    ],
)
def test_known_names(names: str, fifths: int) -> None:
    assert spelled(piece_of(names, KeySignature(0, fifths))) == names


def test_a_new_key_has_other_names() -> None:
    piece = piece_of("Db5 Gb5 " * 30 + "C#5 F#5 " * 30, KeySignature(0, -5), KeySignature(60, 7))
    assert spelled(piece).split() == ["Db5", "Gb5"] * 30 + ["C#5", "F#5"] * 30


def test_octaves_follow_the_names() -> None:
    assert spell(60, 12) == ("B", 1, 3) and spell(71, -7) == ("C", -1, 5) and spell(60, 0) == ("C", 0, 4)


def test_the_leading_note_of_a_minor_key_stays_one_among_a_few_flat_chords() -> None:
    names = "A4 C5 E5 A5 G#5 A5 F5 C5 F4 C5 F5 A5 G#5 A5 D5 F5 A4 F4 C5 F5 A4 C5 G#5 A5"
    assert spelled(piece_of(names, KeySignature(0, 0, minor=True))) == names
    assert spelled(piece_of(names, KeySignature(0, 0))).count("Ab5") > 0, "which the mode alone tells"
