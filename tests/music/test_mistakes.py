"""Mistakes of a person who calls `Composer` and `Pianist`: one clear error, or what was meant."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from triptych.errors import UserError
from triptych.music.chorales.codec import to_piece
from triptych.music.chorales.composer import Composer
from triptych.music.performances.pianist import Pianist

SHAPE: dict[str, Any] = {"preset": "tiny", "width": 16, "heads": 2, "feed_forward": 16}
GRID = np.tile(np.array([[60, 55, 50, 40]]), (16, 1))

PIECE = to_piece(GRID)


@pytest.fixture(scope="module")
def players() -> dict[str, Any]:
    return {
        "compose": Composer.new(**SHAPE),
        "infill": Composer.new(task="infill", **SHAPE),
        "piano": Pianist.new(["Bach", "Chopin"], **SHAPE),
        "accompany": Pianist.new([], task="accompany", **SHAPE),
    }


@pytest.mark.parametrize("voices", ["alto", ["Alto"], iter(["alto"])])
def test_a_voice_alone_or_in_any_iterable(players: dict[str, Any], voices: Any) -> None:
    found = players["infill"].infill(PIECE, voices)
    assert found == players["infill"].infill(PIECE, ("alto",)) and len(found.notes) > 3


def test_any_iterable_of_pieces(players: dict[str, Any]) -> None:
    found = players["compose"].evaluate([GRID, GRID])
    assert players["compose"].evaluate(grid for grid in (GRID, GRID)) == found
    assert players["compose"].evaluate(np.stack([GRID, GRID])) == found


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda p: p["compose"].compose(steps=4, sampling=1.0), "expected a Sampling, got 1.0"),
        (lambda p: p["compose"].compose(steps=4, seed=None), "expected a seed to be a whole number"),
        (lambda p: p["compose"].compose(steps=4, tempo="fast"), "expected a tempo to be a number, got 'fast'"),
        (lambda p: p["compose"].compose(label=3, steps=4), "expected a label as text, got 3"),
        (lambda p: p["compose"].compose(label=["major"], steps=4), "expected a label as text"),
        (lambda p: p["compose"].compose(steps="4"), "sixteenths to be a whole number, got '4'"),
        (lambda p: p["compose"].compose(steps=4.5), "sixteenths to be a whole number, got 4.5"),
        (lambda p: p["compose"].compose_many("2", steps=4), "pieces to be a whole number from 1, got '2'"),
        (lambda p: p["compose"].composed(None), "pieces to be a whole number, got None"),
        (lambda p: p["compose"].attention(None), "expected a grid"),
        (lambda p: p["compose"].fit(GRID, recipe=None, out="x"), "expected a Recipe"),
        (lambda p: p["infill"].infill(PIECE, None), "expected voices of soprano, .* got None"),
        (lambda p: p["infill"].infill(PIECE, []), "expected a voice of soprano, .* got none"),
        (lambda p: p["infill"].infill(PIECE, [1]), "expected a voice of soprano, .* got 1"),
        (lambda p: p["infill"].infill(PIECE, "treble"), "expected a voice of soprano, .* got 'treble'"),
        (lambda p: p["infill"].infill(PIECE, "alto", first="1"), "first bar to be a whole number, got '1'"),
        (lambda p: p["compose"].continue_(None), "expected a Piece, the path of a file of music .* got None"),
        (lambda p: p["compose"].continue_([60, 62]), r"expected a Piece, .* got \[60, 62\] \(list\)"),
        (lambda p: p["infill"].harmonize(None), "expected a Piece"),
        (lambda p: p["compose"].evaluate(GRID), "expected pieces as a list of grids, got array"),
        (lambda p: p["compose"].evaluate("jsb.json"), "expected pieces as a list of grids, got 'jsb.json'"),
        (lambda p: p["compose"].evaluate(None), "expected pieces as a list of grids, got None"),
        (lambda p: Pianist.new("Chopin"), "expected labels as a list of names, got 'Chopin'; put them in a list"),
        (lambda p: p["piano"].new(None), "expected labels as a list of names, got None"),
        (lambda p: p["piano"].new([1, 2]), "expected labels that are text, got 1"),
        (lambda p: p["piano"].compose(label=1, tokens=4), "expected a label as text, got 1"),
        (lambda p: p["piano"].compose(seconds="3"), "expected seconds to be a number, got '3'"),
        (lambda p: p["piano"].compose(tokens="4"), "tokens to be a whole number, got '4'"),
        (lambda p: p["piano"].compose(tokens=4.5), "tokens to be a whole number, got 4.5"),
        (lambda p: p["piano"].compose(tokens=4, sampling=0.5), "expected a Sampling"),
        (lambda p: p["piano"].continue_(None, tokens=4), "expected the path of a file of music, a Piece or"),
        (lambda p: p["piano"].continue_([60], tokens=4), "expected the path of a file of music, a Piece or"),
        (lambda p: p["accompany"].accompany([60]), "expected the path of a file of music, a Piece or"),
        (lambda p: p["piano"].attention([1, 2]), "expected ids as an array"),
        (lambda p: p["piano"].evaluate("folder"), "expected prepared music .* got 'folder'"),
        (lambda p: p["piano"].fit("folder", recipe=None, out="x"), "expected prepared music"),
    ],
)
def test_arguments_that_mean_nothing(players: dict[str, Any], use: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        use(players)
