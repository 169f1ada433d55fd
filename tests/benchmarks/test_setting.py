import pytest
from setting import four_voices, written

from triptych.music.chorales.codec import HIGHEST, LOWEST
from triptych.music.piece.key import Key
from triptych.music.piece.piece import Note
from triptych.music.piece.tunes import VOICES, tunes

TUNES = tunes()


@pytest.mark.parametrize("name", TUNES)
def test_a_tune_in_four_voices(name: str) -> None:
    tune = TUNES[name]
    alone = tune.piece()
    key = Key.parse(tune.key)
    found = four_voices(alone, key)
    assert found == tune.chorale(), "what is kept is what the rule gives"
    assert found.voices == VOICES and (found.metres, found.pickup) == (alone.metres, alone.pickup)
    sung = [(note.start, note.end, note.pitch) for note in found.notes if note.voice == 0]
    assert sung == [(note.start, note.end, note.pitch) for note in alone.notes], "the melody stays as it is"
    for tick in range(found.length):
        chord = {note.voice: note.pitch for note in found.notes if note.start <= tick < note.end}
        if 0 in chord:
            assert sorted(chord) == [0, 1, 2, 3], "all voices sound with the melody"
            pitches = [chord[voice] for voice in range(4)]
            assert pitches == sorted(pitches, reverse=True) and pitches[-1] >= LOWEST and pitches[0] <= HIGHEST
    last = [note.pitch for note in found.notes if note.end == found.length]
    assert (min(last) - key.tonic) % 12 == 0, "it ends on its tonic"


def test_a_voice_is_written_with_its_rests() -> None:
    assert written([Note(2, 6, 61), Note(6, 14, 60)], -3, 16) == "r/2 Db4 C4/8 r/2"
