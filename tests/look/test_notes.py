from typing import Any

import numpy as np
import pytest

from triptych.errors import UserError
from triptych.look.arcs import COLOURS
from triptych.look.notes import arcs_of, arcs_of_performance
from triptych.music.chorales.codec import RANGES, VOICES, to_piece
from triptych.music.chorales.composer import Composer
from triptych.music.performances.pianist import Pianist
from triptych.music.piece.performance import Performance


@pytest.fixture(scope="module")
def composer() -> Composer:
    shape: dict[str, Any] = {"width": 36, "heads": 9, "feed_forward": 16, "decoder_layers": 2}
    return Composer.new(preset="tiny", device="cpu", **shape)


def test_the_note_of_a_voice_and_a_head_by_number(composer: Composer) -> None:
    grid = np.stack([np.arange(low, low + 8) for low, _ in RANGES], 1)
    for voice in VOICES:
        arcs = arcs_of(composer, to_piece(grid), step=6, voice=voice, layer=1, head=9, warn=print)
        assert arcs.pitches[arcs.chosen] == grid[5, VOICES.index(voice)]
        assert (arcs.layer, arcs.heads, len(arcs.weights)) == ("layer 1", ("head 9",), 1)
    with pytest.raises(UserError, match="expected --step from 1 to 8, got 9"):
        arcs_of(composer, to_piece(grid), step=9, warn=print)
    with pytest.raises(UserError, match="expected a layer from 1 to 2, got 3"):
        arcs_of(composer, to_piece(grid), layer=3, warn=print)


def test_no_more_heads_than_colours(composer: Composer) -> None:
    words: list[str] = []
    arcs = arcs_of(composer, to_piece(np.full((4, 4), 60)), warn=words.append)
    assert len(arcs.heads) == len(arcs.weights) == len(COLOURS) == 8
    assert words == ["of 9 heads the first 8 are drawn; choose another with --head"]


def test_a_note_of_a_performance_looks_at_what_is_before_it() -> None:
    rows = np.array([(at / 4, at / 4 + 0.5, 40 + 3 * at, 60 + at) for at in range(12)])
    pianist = Pianist.new((), preset="tiny", width=32, device="cpu")
    arcs = arcs_of_performance(pianist, Performance.of(*rows.T), note=5, warn=print)
    assert arcs.pitches[arcs.chosen] == 40 + 3 * 4 and arcs.ticks[arcs.chosen] == 1000, "milliseconds"
    assert arcs.weights.shape[1] == arcs.chosen == len(arcs.ticks) - 1
    assert arcs.weights.sum(1) + arcs.start() == pytest.approx(np.ones(len(arcs.heads)), abs=1e-4)
    with pytest.raises(UserError, match="expected --note from 1 to 12, got 13"):
        arcs_of_performance(pianist, Performance.of(*rows.T), note=13, warn=print)
