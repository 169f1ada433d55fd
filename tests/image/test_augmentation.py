"""Augmentation: mirrored, moved and turned pictures."""

import numpy as np
import pytest

from triptych.errors import UserError
from triptych.image.augmentation import Augmentation


def pictures(count: int = 64, size: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_nothing_changes_without_settings() -> None:
    some, random = pictures(), np.random.default_rng(1)
    before = random.bit_generator.state
    assert Augmentation()(some, random) is some
    assert random.bit_generator.state == before


def test_mirrored_is_the_picture_or_its_mirror() -> None:
    some = pictures()
    got = Augmentation(mirror=True)(some, np.random.default_rng(1))
    same = (got == some).all((1, 2, 3))
    assert 10 < same.sum() < 54
    np.testing.assert_array_equal(got[~same], some[~same][:, :, ::-1])


def test_moved_pictures_repeat_their_edge() -> None:
    some = pictures()
    got = Augmentation(shift=2)(some, np.random.default_rng(1))
    by = np.random.default_rng(1).integers(-2, 3, (len(some), 2))
    assert {tuple(move) for move in by} == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}, "every move is drawn"
    for before, after, (down, right) in zip(some, got, by, strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)), mode="edge")
        np.testing.assert_array_equal(after, padded[2 - down : 10 - down, 2 - right : 10 - right])


def test_a_turn_of_hue_leaves_greys_and_permutes_channels_at_120_degrees() -> None:
    grey = np.repeat(pictures()[..., :1], 3, axis=-1)
    np.testing.assert_array_equal(Augmentation(hue=30)(grey, np.random.default_rng(1)), grey)

    class Third:
        def uniform(self, low: float, high: float, count: int) -> np.ndarray:
            assert (low, high) == (-120, 120)
            return np.full(count, 120.0)

    some = pictures()
    got = Augmentation(hue=120)(some, Third())  # type: ignore[arg-type]
    np.testing.assert_array_equal(got, some[..., [2, 0, 1]])


@pytest.mark.parametrize(
    ("wrong", "shape", "words"),
    [
        (Augmentation(shift=8), (8, 9, 3), "a shift from 0 to 7 pixels, got 8"),
        (Augmentation(shift=-1), (8, 8, 3), "a shift from 0 to 7 pixels, got -1"),
        (Augmentation(hue=181), (8, 8, 3), "a hue from 0 to 180 degrees, got 181"),
        (Augmentation(hue=10), (8, 8, 1), "pictures in RGB with a hue, got 1 channel"),
    ],
)
def test_what_does_not_suit_the_pictures_is_one_line(
    wrong: Augmentation, shape: tuple[int, int, int], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        wrong.check(*shape)
    Augmentation(mirror=True, shift=7, hue=180).check(8, 8, 3)


def test_a_hue_is_finite() -> None:
    with pytest.raises(UserError, match=r"expected a finite data\.hue, got nan"):
        Augmentation(hue=float("nan"))
