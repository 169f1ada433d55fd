import numpy as np
import pytest

from triptych.music.piece.key import Key, key_of
from triptych.music.piece.tunes import tunes

TUNES = tunes()


@pytest.mark.parametrize("name", TUNES)
def test_a_tune_is_whole_bars_in_its_key(name: str) -> None:
    found = TUNES[name]
    piece = found.piece()
    bars = [sum(length for _, length in bar) for bar in found.bars()]
    whole = piece.metres[0].ticks(4)
    assert set(bars[1:-1]) == {whole} and bars[0] <= whole and (bars[0] % whole + bars[-1]) % whole == 0
    assert piece.length == sum(bars) and piece.pickup == bars[0] % whole
    grid = np.full((piece.length, 1), -1)
    for note in piece.notes:
        grid[note.start : note.end] = note.pitch
    assert key_of(grid) == Key.parse(found.key), "the key is found from the notes alone"
    for rests in (1, whole, 2 * whole - bars[0]):
        padded = found.piece(rests)
        assert [(note.start - rests, note.pitch) for note in padded.notes] == [
            (note.start, note.pitch) for note in piece.notes
        ]
        assert padded.pickup == (rests + bars[0]) % whole


def test_there_are_twelve_of_several_kinds() -> None:
    assert len(TUNES) == 12
    assert sum(found.metre in ("3/4", "6/8") for found in TUNES.values()) >= 4
    assert sum(Key.parse(found.key).minor for found in TUNES.values()) >= 4
    assert sum(bool(found.piece().pickup) for found in TUNES.values()) >= 4


@pytest.mark.parametrize("name", TUNES)
def test_a_tune_for_four_voices_has_the_tune_as_soprano_and_three_voices_below(name: str) -> None:
    alone, found = TUNES[name].piece(), TUNES[name].chorale()
    assert [note for note in found.notes if note.voice == 0] == list(alone.notes)
    assert {note.voice for note in found.notes} == {0, 1, 2, 3} and found.length == alone.length
