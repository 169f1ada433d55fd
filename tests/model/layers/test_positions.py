import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from triptych.attention.tables import order
from triptych.errors import UserError
from triptych.model.layers.positions import PositionEncoding, sinusoids
from triptych.shape.config import Positions
from triptych.shape.pattern import Full, Local2D

WIDTH = 8
KINDS = ["sinusoidal", "concatenated", "learned", "sinusoidal_2d", "none"]


def make(kind: str, *, length: int = 40, grid: tuple[int, ...] = ()) -> PositionEncoding:
    torch.manual_seed(0)
    positions = Positions(kind, length if kind in ("learned", "sinusoidal_2d") else None, grid)  # type: ignore[arg-type]
    return PositionEncoding(positions, WIDTH, Full(causal=True)).double()


def hidden_of(length: int) -> Tensor:
    return torch.randn(2, length, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(KINDS), st.sampled_from([(), (4,), (3, 2), (4, 4, 4)]), st.integers(0, 20), st.integers(1, 20))
def test_each_position_alone(kind: str, grid: tuple[int, ...], first: int, length: int) -> None:
    encode, hidden = make(kind, grid=grid), hidden_of(first + length)
    whole = encode(hidden, 0)
    torch.testing.assert_close(encode(hidden[:, first:], first), whole[:, first:])
    torch.testing.assert_close(encode(hidden[:1, -1:], first + length - 1), whole[:1, -1:])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 100), st.integers(1, 30))
def test_digits_of_the_grid_are_added(grid: list[int], first: int, length: int) -> None:
    encode, hidden = make("none", grid=tuple(grid)), hidden_of(length)
    found = encode(hidden, first) - hidden
    for row, position in enumerate(range(first, first + length)):
        total = torch.zeros(WIDTH, dtype=torch.float64)
        rest = position
        for size, digit in zip(grid, encode.digits, strict=True):
            total += digit.weight[rest % size].detach()  # type: ignore[index]
            rest //= size
        torch.testing.assert_close(found[:, row], (total * math.sqrt(WIDTH)).expand(2, -1))


def test_the_digits_of_a_chorale() -> None:
    encode = make("none", grid=(4, 4, 4))
    vectors = encode(torch.zeros(1, 192, WIDTH, dtype=torch.float64), 0)[0]
    assert torch.equal(vectors[:64], vectors[64:128]), "bars are alike"
    assert len(vectors[:64].unique(dim=0)) == 64, "each place in a bar is its own"
    assert sum(part.numel() for part in encode.parameters()) == 12 * WIDTH


def test_sinusoids_are_added_or_projected_with_the_token() -> None:
    hidden = hidden_of(5)
    waves = sinusoids(7, 12, WIDTH, hidden)
    torch.testing.assert_close(make("sinusoidal")(hidden, 7), hidden + waves)
    encode = make("concatenated")
    joined = torch.cat((hidden, waves.expand(2, -1, -1)), -1)
    torch.testing.assert_close(encode(hidden, 7), joined @ encode.projection.weight.T + encode.projection.bias)
    assert torch.equal(make("none")(hidden, 7), hidden)


def test_learned_positions_reach_their_length_and_no_further() -> None:
    encode, hidden = make("learned", length=6), hidden_of(4)
    torch.testing.assert_close(encode(hidden, 2), hidden + encode.learned.weight[2:6])
    for first in (3, 6, 1000):
        with pytest.raises(UserError, match=f"at most 6 positions .learned., got {first + 4}") as caught:
            encode(hidden, first)
        assert "\n" not in str(caught.value)


def test_all_positions_learn() -> None:
    for kind in KINDS:
        encode = make(kind, length=9, grid=(3, 3))
        encode(hidden_of(9), 0).square().sum().backward()
        for name, parameter in encode.named_parameters():
            assert parameter.grad is not None and bool(parameter.grad.flatten(1 if parameter.dim() > 1 else 0).any()), (
                name
            )


def test_two_dimensional_sinusoids_are_those_of_row_and_column() -> None:
    """Half of the width each; in block order, a position's row and column are those of its place in the picture."""
    positions = Positions("sinusoidal_2d", 6)
    nothing = torch.zeros(1, 24, WIDTH, dtype=torch.float64)
    waves = sinusoids(0, 6, WIDTH // 2, nothing)
    want = torch.stack([torch.cat((waves[place // 6], waves[place % 6])) for place in range(24)])
    torch.testing.assert_close(PositionEncoding(positions, WIDTH, Full(causal=True))(nothing, 0)[0], want)
    pattern = Local2D(4, 6, 2, 3, 2, 3)
    torch.testing.assert_close(PositionEncoding(positions, WIDTH, pattern)(nothing, 0)[0], want[order(pattern)])
