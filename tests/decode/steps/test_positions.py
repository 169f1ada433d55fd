"""Vectors of positions equal those of the module in torch."""

import numpy as np
import pytest
import torch

from triptych.decode.steps.positions import BLOCK, PositionVectors
from triptych.errors import UserError
from triptych.model.layers.positions import PositionEncoding
from triptych.shape.config import Positions
from triptych.shape.pattern import Full, Local2D, Pattern

WIDTH = 12
PICTURE = Local2D(6, 8, 2, 4, 1, 2)
KINDS: dict[str, tuple[Positions, Pattern]] = {
    "sinusoidal": (Positions(), Full()),
    "concatenated": (Positions("concatenated"), Full()),
    "learned": (Positions("learned", 2100), Full()),
    "none": (Positions("none"), Full()),
    "digits": (Positions("none", grid=(3, 5)), Full()),
    "sinusoids and digits": (Positions(grid=(4,)), Full()),
    "picture": (Positions("sinusoidal_2d", 8), Full()),
    "picture in blocks": (Positions("sinusoidal_2d", 8), PICTURE),
}


def both(name: str) -> tuple[PositionVectors, PositionEncoding]:
    torch.manual_seed(0)
    settings, pattern = KINDS[name]
    module = PositionEncoding(settings, WIDTH, pattern)
    weights = {key: value.numpy() for key, value in module.state_dict().items()}
    return PositionVectors(settings, WIDTH, pattern, weights), module


@pytest.mark.parametrize("name", KINDS)
def test_positions_with_what_they_read(name: str) -> None:
    vectors, module = both(name)
    end = 48 if name == "picture in blocks" else BLOCK + 40
    read = torch.randn(2, end, WIDTH)
    with torch.no_grad():
        expected = module(read, 0).numpy()
    found = vectors.read(read.numpy()) + vectors.of(0, end)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    first = end - 30
    np.testing.assert_array_equal(vectors.of(first, end), vectors.of(0, end)[first:])
    np.testing.assert_array_equal(vectors.of(first, first + 1)[0], vectors.of(0, end)[first])
    assert vectors.of(3, 3).shape == (0, WIDTH)


def test_learned_positions_have_an_end() -> None:
    vectors, _ = both("learned")
    assert vectors.of(2099, 2100).shape == (1, WIDTH)
    with pytest.raises(UserError, match="at most 2100 positions"):
        vectors.of(2100, 2101)
