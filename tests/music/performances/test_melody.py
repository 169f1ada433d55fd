import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.music.files.reading import MusicReader
from triptych.music.performances import melody as module
from triptych.music.performances.melody import HOLD, REST, MelodyCodec, melody_of, melody_of_parts
from triptych.music.piece.performance import LOWEST, Performance

CODEC = MelodyCodec()
NOTES = st.tuples(st.integers(0, 300), st.integers(1, 200), st.integers(21, 108))


def played(*rows: tuple[float, float, int]) -> Performance:
    """Notes of start, end and pitch."""
    start, end, pitch = zip(*rows, strict=True) if rows else ((), (), ())
    return Performance.of(start, end, pitch, [80] * len(rows))


def heard(performance: Performance) -> list[tuple[float, float, int]]:
    return [(start, end, pitch) for start, end, pitch, _ in performance.notes.tolist()]


def test_the_vocabulary() -> None:
    assert (CODEC.vocabulary, HOLD, REST) == (90, 88, 89)


def test_the_ids_of_a_melody() -> None:
    melody = played((0.2, 0.51, 60), (0.49, 0.7, 60), (0.9, 0.91, 108), (0.96, 1.2, 21))
    assert CODEC.encode(melody).tolist() == [REST, REST, 39, HOLD, HOLD, 39, HOLD, REST, REST, 87, 0, HOLD]
    assert not len(CODEC.encode(played()))


def test_of_one_step_the_last_note_is_kept_or_the_highest() -> None:
    assert CODEC.encode(played((0.0, 0.5, 60), (0.0, 0.2, 72))).tolist() == [51, HOLD, REST, REST, REST]
    assert CODEC.encode(played((0.0, 0.1, 72), (0.02, 0.3, 60))).tolist() == [39, HOLD, HOLD]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(21, 108)), max_size=20))
def test_the_ids_of_melodies(steps: list[tuple[int, int, int]]) -> None:
    rows, expected = [], []
    for rest, hold, pitch in steps:
        expected += [REST] * rest + [pitch - LOWEST] + [HOLD] * (hold - 1)
        rows.append(((len(expected) - hold) / 10, len(expected) / 10, pitch))
    melody = played(*rows)
    assert CODEC.encode(melody).tolist() == expected


def skyline(performance: Performance) -> Performance:
    columns = (performance.notes[name].tolist() for name in ("start", "end", "pitch"))
    return Performance(performance.notes[module.skyline(list(zip(*columns, strict=True)))])


@settings(deadline=None, max_examples=100)
@given(st.lists(NOTES, min_size=1, max_size=20))
def test_the_skyline(rows: list[tuple[int, int, int]]) -> None:
    performance = played(*((start / 100, (start + more) / 100, pitch) for start, more, pitch in rows))
    found = heard(skyline(performance))
    for start, end, pitch in heard(performance):
        higher = [other for other in heard(performance) if other[2] > pitch]
        covered = any(other[0] <= start and other[1] > start + 0.1 for other in higher)
        covered |= any(start - 0.03 <= other[0] and other[0] - 0.03 <= start for other in higher)
        assert ((start, end, pitch) in found) == (not covered), (start, end, pitch)


def test_a_melody_of_one_voice_is_kept_whole() -> None:
    # the second note is lower, and begins while the first still sounds: legato
    melody = played((0.0, 0.55, 64), (0.5, 1.0, 60), (1.0, 1.5, 67))
    assert melody_of(melody) == (melody, [])
    assert skyline(melody) == melody


def test_a_melody_over_chords_is_their_skyline() -> None:
    chords = [(beat / 2, beat / 2 + 0.5, pitch) for beat in range(4) for pitch in (48, 52, 55)]
    tune = [(0.0, 1.0, 72), (1.0, 1.5, 74), (1.5, 2.0, 71)]
    found, words = melody_of(played(*chords, *tune))
    assert heard(found) == tune
    assert words == ["the melody is the highest notes: 3 of 15"]
    # where the melody rests, the highest of the chord does not take its place
    assert heard(melody_of(played(*chords, *tune[:1]))[0]) == tune[:1]


def test_a_melody_whose_note_offs_are_missing_is_whole() -> None:
    pitches = [67, 69, 71, 72, 71, 69, 67, 66, 64, 62, 60, 62, 64, 67]
    track = b"".join(bytes([0 if place == 0 else 48, 0x90, pitch, 80]) for place, pitch in enumerate(pitches))
    track += bytes([48, 0xB0, 123, 0, 0, 0xFF, 0x2F, 0])
    head = b"MThd" + (6).to_bytes(4, "big") + bytes([0, 0, 0, 1, 0, 96]) + b"MTrk" + len(track).to_bytes(4, "big")
    with MusicReader() as reader:
        parts, _ = reader.read_parts(head + track)
    found, words = melody_of_parts(parts)
    assert found.notes["pitch"].tolist() == pitches and words == []
    # A chord that is built up and held is none of this: what lies below it is no melody.
    chord = [(0.1 * place, 2.0, 60 + 4 * place) for place in range(4)]
    below = [(0.5 + 0.2 * place, 0.7 + 0.2 * place, 50) for place in range(6)]
    assert heard(melody_of(played(*chord, *below))[0]) == chord


@pytest.mark.parametrize("count", [1, 500])
def test_many_notes_at_once(count: int) -> None:
    chord = played(*((float(beat), beat + 3.0, pitch) for beat in range(count) for pitch in range(21, 109, 8)))
    assert len(skyline(chord)) == count
    assert CODEC.encode(skyline(chord)).tolist().count(80) == count


def test_no_notes() -> None:
    assert melody_of(played()) == (played(), [])


def test_the_melody_of_parts() -> None:
    tune = Performance.of([0, 1], [1, 2], [60, 62], [80, 80])
    chords = Performance.of([0, 0, 1, 1], [1, 1, 2, 2], [70, 74, 71, 75], [80] * 4)
    for name in (" Melody", "VOICE", "Lead", "Vocals", "Soprano 1", "lead vocal", "melody_2"):
        word = f"the melody is the part {name!r}"
        assert melody_of_parts([("PIANO", chords), (name, tune)]) == (tune, [word]), "the part of that name"
    for name in ("voice 2", "backing vocals", "bass voice", "leader", ""):
        found, words = melody_of_parts([("PIANO", chords), (name, tune)])
        assert found.notes["pitch"].tolist() == [74, 75] and words == ["the melody is the highest notes: 2 of 6"]
    assert melody_of_parts([("Melody", tune)]) == (tune, [])


def test_a_part_that_lies_far_below_is_no_melody_where_that_rests() -> None:
    tune = played((0.0, 1.0, 67), (2.0, 3.0, 69), (4.0, 5.0, 71))
    bass = played((1.0, 2.0, 40), (3.0, 4.0, 45), (4.0, 6.0, 43))
    found, words = melody_of_parts([("voice 1", bass), ("voice 2", tune)])
    assert found == tune and words == ["the melody is the highest notes: 3 of 6"]
    nearer = played((1.0, 2.0, 64), (3.0, 4.0, 65), (4.0, 6.0, 62))
    assert len(melody_of_parts([("violin", nearer), ("flute", tune)])[0]) == 6, "a melody may pass on to another"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(60, 81), st.booleans()), min_size=4, max_size=24), st.sampled_from([1, 2, 4]))
def test_a_tune_that_rests_is_found_over_a_left_hand(tune: list[tuple[int, bool]], often: int) -> None:
    beats = [(beat / 2, beat / 2 + 0.5, pitch) for beat, (pitch, sung) in enumerate(tune) if sung or beat % 4 < 2]
    left = [(at / often / 2, (at + 1) / often / 2, 36 + at % 5) for at in range(often * len(tune))]
    found, _ = melody_of(played(*beats, *left))
    assert heard(found) == beats


def test_nothing_has_no_melody() -> None:
    assert melody_of_parts([]) == (played(), [])
