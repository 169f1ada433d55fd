from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.attention.pattern import Full, Local1D, Local2D, Pattern, order
from triptych.errors import UserError
from triptych.model.config import Config, Patch, Positions
from triptych.model.surroundings import NOTHING, Surroundings
from triptych.model.transformer import Transformer

SHAPE: dict[str, Any] = {
    "width": 16,
    "heads": 2,
    "feed_forward": 16,
    "encoder_layers": 0,
    "decoder_layers": 1,
    "dropout": 0.0,
}


def config_of(pattern: Pattern, columns: int | None) -> Config:
    positions = Positions("none") if columns is None else Positions("sinusoidal_2d", columns)
    return Config(256, **SHAPE, pattern=pattern, positions=positions, patch=Patch(3, logistics=4))


@settings(deadline=None, max_examples=30)
@given(rows=st.integers(1, 3), columns=st.integers(1, 3), block=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_neighbours_in_blocks_are_those_of_the_picture(rows: int, columns: int, block: tuple[int, int]) -> None:
    height, width = rows * block[0], columns * block[1]
    pattern = Local2D(height, width, *block, 1, 1)
    picture = torch.randint(256, (height, width, 3))
    written = picture.flatten(0, 1)[order(pattern)][None]
    near = Surroundings(config_of(pattern, None)).of(written)[0]
    for at, place in enumerate(order(pattern).tolist()):
        row, column = divmod(place, width)
        left = picture[row, column - 1] if column else torch.full((3,), NOTHING)
        above = picture[row - 1, column] if row else torch.full((3,), NOTHING)
        assert near[at].tolist() == torch.stack((left, above)).tolist()


def test_neighbours_line_by_line() -> None:
    pixels = torch.arange(8)[None, :, None]
    near = Surroundings(config_of(Full(causal=True), 3)).of(pixels)[0, :, :, 0]
    assert near[:, 0].tolist() == [-1, 0, 1, -1, 3, 4, -1, 6], "the last row is not whole"
    assert near[:, 1].tolist() == [-1, -1, -1, 0, 1, 2, 3, 4]


def test_what_is_no_picture_has_the_position_before() -> None:
    surroundings = Surroundings(config_of(Full(causal=True), None))
    near = surroundings.of(torch.arange(4)[None, :, None])[0, :, :, 0]
    assert not surroundings.columns
    assert near.tolist() == [[-1, -1], [0, -1], [1, -1], [2, -1]]


@pytest.mark.parametrize(
    ("pattern", "columns"),
    [(Local1D(4, 4), 4), (Full(causal=True), 3), (Local2D(4, 4, 2, 2, 1, 1), 4), (Local2D(4, 4, 2, 4, 2, 2), None)],
)
def test_neighbours_one_by_one_are_those_of_all(pattern: Pattern, columns: int | None) -> None:
    """Steps, and steps after a prefix in one pass, give what the forward pass gives; no pixel knows later ones."""
    torch.manual_seed(0)
    model = Transformer(config_of(pattern, columns)).eval().double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    ids = torch.randint(256, (2, 48))
    want = model(ids)
    for taken in (0, 24):
        cache = model.start(length=48, rows=2)
        assert model.prefill(ids[:, :taken], cache).size(1) == taken
        steps = [model.step(ids[:, at - 1] if at else None, cache) for at in range(taken, 48)]
        torch.testing.assert_close(torch.stack(steps, 1), want[:, taken:].detach(), atol=1e-6, rtol=0)
    changed = ids.clone()
    changed[:, 30:] = (changed[:, 30:] + 90) % 256
    torch.testing.assert_close(model(changed)[:, :31], want[:, :31])


def test_a_row_that_goes_on_from_another_has_its_neighbours() -> None:
    torch.manual_seed(0)
    model = Transformer(config_of(Local1D(4, 4), 4)).eval()
    ids = torch.randint(256, (2, 48))
    cache = model.start(length=48, rows=2)
    for at in range(24):
        model.step(ids[:, at - 1] if at else None, cache)
    cache.select(torch.tensor([1, 1]))
    swapped = ids[[1, 1]]
    steps = [model.step(swapped[:, at - 1], cache) for at in range(24, 48)]
    torch.testing.assert_close(torch.stack(steps, 1), model(swapped)[:, 24:].detach(), atol=1e-4, rtol=1e-4)


def test_more_pixels_than_the_picture_has() -> None:
    model = Transformer(config_of(Local2D(4, 4, 2, 2, 1, 1), 4))
    with pytest.raises(UserError, match="expected 0 to 16 positions"):
        model(torch.zeros(1, 51, dtype=torch.int64))
