"""Mistakes of a person who calls `Painter`: one clear error, or what was meant."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from triptych.errors import UserError
from triptych.generation.sample import Sampling
from triptych.image.files.pictures import Pictures
from triptych.image.painter import Painter

SHAPE: dict[str, Any] = {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 1}
ENCODER: dict[str, Any] = {**SHAPE, "encoder_layers": 1}
PICTURES = np.zeros((2, 8, 8, 1), np.uint8)
SET = Pictures(PICTURES, np.array([0, 1]), ("a", "b"))
SMALL = PICTURES[0, :2, :2]


@pytest.fixture(scope="module")
def painters() -> dict[str, Painter]:
    return {
        "paint": Painter.new(SET, **SHAPE),
        "complete": Painter.new(SET, task="complete", **ENCODER),
        "upscale": Painter.new(SET, task="upscale", **ENCODER),
    }


@pytest.mark.parametrize("label", [1, np.int64(1), "1", "B", ["b"], iter(["b"]), (1,)])
def test_a_class_by_its_name_or_number(painters: dict[str, Painter], label: Any) -> None:
    assert np.array_equal(painters["paint"].paint(label=label), painters["paint"].paint(label="b"))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda p: p["paint"].paint("3"), "pictures at once to be a whole number from 1 to 512, got '3'"),
        (lambda p: p["paint"].paint(2.5), r"got 2.5 \(float\)"),
        (lambda p: p["paint"].paint(None), "got None"),
        (lambda p: p["paint"].paint(label=b"a"), "expected a label"),
        (lambda p: p["paint"].paint(label=2), "expected a label of a, b, got '2'"),
        (lambda p: p["paint"].paint(label=-1), "expected a label"),
        (lambda p: p["paint"].paint(sampling="plain"), "expected a Sampling, got 'plain'"),
        (lambda p: p["paint"].paint(sampling=0.5), "expected a Sampling, got 0.5"),
        (lambda p: p["paint"].paint(seed="1"), "expected a seed to be a whole number"),
        (lambda p: p["paint"].paint(seed=None), "expected a seed to be a whole number"),
        (lambda p: list(p["paint"].stream(frames="2")), "expected frames"),
        (lambda p: p["complete"].complete("x.png", np.ones((8, 8))), "expected a picture as an array, .* got 'x.png'"),
        (lambda p: p["complete"].complete(None, None), "expected a picture as an array, .* got None"),
        (lambda p: p["complete"].complete(PICTURES[0], "left"), "expected a mask"),
        (lambda p: p["upscale"].upscale("x.png"), "expected a picture as an array, .* got 'x.png'"),
        (lambda p: p["upscale"].upscale_many(None), "expected a picture as an array"),
        (lambda p: p["upscale"].tries(SMALL[None], "2"), "expected samples"),
        (lambda p: p["upscale"].evaluate_enlargement(SET, samples=0), "expected samples .* got 0"),
        (lambda p: p["paint"].evaluate("folder"), "expected Pictures, got 'folder'; read_pictures reads a folder"),
        (lambda p: p["paint"].evaluate(PICTURES), "expected Pictures, got array"),
        (lambda p: p["paint"].attention("x.png"), "expected a picture as an array"),
        (lambda p: p["paint"].fit(SET, held_out=SET, recipe={}, out="x"), "expected a Recipe"),
        (lambda p: p["paint"].new("folder"), "expected Pictures, got 'folder'"),
    ],
)
def test_arguments_that_mean_nothing(painters: dict[str, Painter], use: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        use(painters)


def test_sampling_of_numbers_alone() -> None:
    assert Sampling(temperature=np.float64(0.5)).temperature == 0.5
