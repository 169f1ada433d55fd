import numpy as np
import pytest
import torch

from triptych.errors import UserError
from triptych.generation.sample import Sampling
from triptych.music.chorales.codec import ChoraleCodec
from triptych.music.chorales.composer import Composer
from triptych.music.chorales.data import ChoraleData, held_out_pieces
from triptych.music.piece.metre import Bars, Metre
from triptych.music.piece.metre_table import _table, digest, known_places, metres_of, places_of
from triptych.music.piece.piece import Note, Piece

SHAPE = {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 1, "classes": 26}
POSITIONS = {"kind": "none", "grid": (4, 4), "metre": 24}


def grid_of(seed: int, steps: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.repeat(random.integers((60, 55, 50, 40), (79, 70, 66, 60), (steps // 4, 4)), 4, 0)


def test_places_in_bars() -> None:
    bars = Bars([Metre(0, 3, 4), Metre(14, 6, 8), Metre(26, 3, 2)], length=80, resolution=4, pickup=2)
    found = places_of(bars, 0, 30, 12)
    assert found[:4].tolist() == [[11, 12], [12, 12], [1, 12], [2, 12]]
    assert found[12:16].tolist() == [[11, 12], [12, 12], [1, 12], [2, 12]] and found[26:].tolist() == [[0, 0]] * 4
    np.testing.assert_array_equal(places_of(bars, 5, 20, 12), found[5:20])


def test_a_digest_is_of_a_piece_in_any_key() -> None:
    grid = grid_of(1, 32)
    assert digest(grid) == digest(grid + 5) != digest(grid[:-4])
    assert metres_of(grid) is None and not known_places(grid, 24).any()


def test_the_table() -> None:
    """265 of the 305 pieces for training and validation of JSB; none of the test pieces was looked up."""
    table = _table()
    assert len(table) == 265
    for metres, upbeat in table.values():
        assert 0 <= upbeat < Metre.parse(metres.split()[0]).ticks(4)


def test_the_metre_is_given_or_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    grids = [grid_of(seed, 40) for seed in range(6)]
    monkeypatch.setitem(_table(), digest(grids[0]), ("3/4", 4))
    (batch,) = held_out_pieces(grids[:1], ChoraleCodec(), metre=24)
    assert batch.metre is not None and batch.metre[0, 3:5].tolist() == [[12, 12], [1, 12]]
    assert held_out_pieces(grids[:1], ChoraleCodec())[0].metre is None
    data = ChoraleData(grids[:1], ChoraleCodec(), metre=24)
    seen = [batch.metre for epoch in range(20) for batch in data.epoch(epoch)]
    given = [metre is not None and bool(metre[0, :40].any()) for metre in seen]
    assert 0 < sum(given) < len(given) == 20
    assert all(metre is not None and metre.shape == (1, 41, 2) and not metre[0, 40].any() for metre in seen)


@pytest.mark.parametrize("task", ["compose", "infill"])
def test_a_model_is_given_the_metre_and_answers_the_same_at_first(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = grid_of(3, 48)
    monkeypatch.setitem(_table(), digest(grid), ("3/4", 0))
    plain = Composer.new(task=task, preset="tiny", device="cpu", **SHAPE)  # type: ignore[arg-type]
    extended = plain.with_metre(24)
    before, after = plain.evaluate([grid]), extended.evaluate([grid])
    assert before.with_metre is None and after.with_metre is not None
    assert after.nll == pytest.approx(before.nll) == pytest.approx(after.with_metre.nll)
    assert extended.module().condition.metre is not None
    with torch.no_grad():
        extended.module().condition.metre.place.weight[1:].normal_()
    moved = extended.evaluate([grid])
    assert moved.nll == pytest.approx(before.nll) != pytest.approx(moved.with_metre.nll)


def test_steps_are_given_it_too() -> None:
    composer = Composer.new(preset="tiny", device="cpu", **{**SHAPE, "positions": POSITIONS})  # type: ignore[arg-type]
    model = composer.module().eval()
    assert model.condition.metre is not None
    with torch.no_grad():
        model.condition.metre.place.weight.normal_()
    grid = grid_of(4, 12)
    ids = torch.from_numpy(composer.codec.encode(grid))[None]
    metre = torch.from_numpy(places_of(Bars([Metre(0, 3, 4)], length=12, resolution=4), 0, 12, 24))[None]
    (batch,) = held_out_pieces([grid], composer.codec)
    whole = -model.nll(type(batch)(batch.target, batch.lengths, label=batch.label, metre=metre))[0].detach()
    cache, last, found = model.start(length=48, metre=metre), None, []
    for token in ids[0]:
        found.append(model.step(last, cache).log_softmax(-1)[0, token])
        last = token[None]
    torch.testing.assert_close(torch.stack(found), whole, atol=1e-4, rtol=1e-4)


def test_harmonies_follow_the_metre() -> None:
    filler = Composer.new(task="infill", preset="tiny", device="cpu", **{**SHAPE, "positions": POSITIONS})  # type: ignore[arg-type]
    assert filler.module().condition.metre is not None
    with torch.no_grad():
        filler.module().condition.metre.place.weight.normal_(std=2)
    tune = tuple(Note(4 * place, 4 * place + 4, 67 + place % 3) for place in range(12))
    found = [
        filler.harmonize(Piece(tune, metres=(Metre.parse(metre),), pickup=0), sampling=Sampling(temperature=0.0))
        for metre in ("3/4", "4/4")
    ]
    assert found[0].notes != found[1].notes


def test_a_position_is_a_moment() -> None:
    with pytest.raises(UserError, match=r"expected a position a moment .* with positions.metre"):
        shape = {**SHAPE, "input": "tokens", "head": "tied", "positions": POSITIONS}
        Composer.new(preset="tiny", device="cpu", **shape)  # type: ignore[arg-type]
