import numpy as np
import pytest

from triptych.generation.sampling import Sampling
from triptych.music.chorales.codec import UNKNOWN, ChoraleCodec
from triptych.music.chorales.composer import Composer
from triptych.music.chorales.grammar import BACH
from triptych.music.chorales.sampler import ChoraleSampler
from triptych.music.piece.key import Key
from triptych.music.piece.metre import Bars, Metre


@pytest.mark.parametrize(("beats", "unit", "ending"), [(6, 8, 6), (2, 2, 8), (4, 4, 4), (3, 8, 4)])
def test_a_harmony_ends_with_a_beat_of_its_metre(beats: int, unit: int, ending: int) -> None:
    grid = np.full((24, 4), UNKNOWN)
    grid[:, 0] = 72
    bars = Bars([Metre(0, beats, unit)], length=24, resolution=4)
    composer = Composer.new(task="infill", preset="tiny", device="cpu", width=16, heads=2, decoder_layers=1)
    sampler = ChoraleSampler(composer.trained, ChoraleCodec(), BACH)
    found = [sampler.fill(grid, Sampling(), seed, key=Key(0, minor=False), bars=bars) for seed in range(8)]
    on_tonic = np.isin(np.array(found) % 12, [0, 4, 7]).all((0, 2))
    assert on_tonic[-ending:].all() and not on_tonic[-ending - 1]
