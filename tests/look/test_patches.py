import numpy as np
import pytest

from triptych.errors import UserError
from triptych.look.patches import FLAT, draw, repetition, similarity


def noise(height: int, width: int, channels: int = 1) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_surroundings_are_compared_pixel_by_pixel(channels: int) -> None:
    picture = noise(7, 9, channels)
    matrix = similarity(picture)
    assert np.allclose(matrix, matrix.T) and np.array_equal(np.diag(matrix), np.ones(63))
    padded = np.pad(picture.astype(float), ((2, 2), (2, 2), (0, 0)), mode="symmetric")
    for first, second in ((0, 62), (20, 41)):
        (a, b), (c, d) = divmod(first, 9), divmod(second, 9)
        apart = padded[a : a + 5, b : b + 5] - padded[c : c + 5, d : d + 5]
        assert matrix[first, second] == pytest.approx(np.exp(-np.sqrt((apart**2).mean()) / FLAT))


def test_what_comes_back() -> None:
    once, twice = noise(16, 12), np.tile(noise(16, 12), (1, 2, 1))
    assert repetition(similarity(once), 12) == 0
    assert repetition(similarity(twice), 24) > 0.6
    assert repetition(similarity(np.full((16, 16, 1), 9, np.uint8)), 16) == 1


def test_the_picture_and_the_likes_of_one_pixel() -> None:
    picture = noise(8, 10, 3)
    matrix = similarity(picture)
    figure = draw(picture, matrix, (3, 4))
    alike = np.asarray(figure.axes[1].images[0].get_array())
    assert np.array_equal(alike, matrix[34].reshape(8, 10)) and alike[3, 4] == 1
    assert len(draw(noise(8, 10), similarity(noise(8, 10)), (0, 0)).axes) == 3


def test_a_picture_that_is_too_large() -> None:
    with pytest.raises(UserError, match="at most 4,096 pixels"):
        similarity(noise(65, 64))
