"""What of a picture is to be found: white of a mask, or what is transparent."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from triptych.errors import UserError
from triptych.image.files.masks import brought, read_mask, read_transparent
from triptych.image.files.pictures import write_picture
from triptych.image.files.resizing import covering, resized


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("masks")


def save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_a_mask_is_what_is_white(tmp_path: Path) -> None:
    grey = np.array([[0, 127, 128], [129, 255, 3]], np.uint8)
    write_picture(tmp_path / "grey.png", grey[..., None])
    found = read_mask(tmp_path / "grey.png", (2, 3))
    assert found.dtype == np.bool_
    assert np.array_equal(found, grey >= 128)
    write_picture(tmp_path / "rgb.png", np.dstack([grey] * 3))
    assert np.array_equal(read_mask(tmp_path / "rgb.png", (2, 3)), grey >= 128)
    with pytest.raises(UserError, match=r"a mask of 3 x 2 pixels, as the picture has, got '.*' of 2 x 3; resize it"):
        read_mask(tmp_path / "grey.png", (3, 2))
    with pytest.raises(UserError, match="which is no file"):
        read_mask(tmp_path / "none.png", (3, 2))


@pytest.mark.parametrize("colour", [(0, 0, 0), (127, 127, 127), (255, 0, 0), (0, 0, 255)])
def test_a_mask_without_white_is_refused(folder: Path, colour: tuple[int, ...]) -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[1:3, 2:] = colour
    with pytest.raises(UserError, match=r"expected a mask with something white in it, got .* of 255; paint white"):
        read_mask(save(folder / "dark.png", pixels), (4, 5))


def test_what_is_transparent_in_a_mask_is_not_white(folder: Path) -> None:
    layer = np.zeros((4, 5, 4), np.uint8)
    layer[1, 2] = 255
    mask = read_mask(save(folder / "scribble.png", layer), (4, 5))
    assert np.argwhere(mask).tolist() == [[1, 2]]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 4]))
def test_what_is_transparent_can_be_seen(folder: Path, seed: int, channels: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (5, 6, channels), np.uint8)
    pixels[..., -1] = random.choice([0, 1, 128, 254, 255, 255], (5, 6))
    pixels[0, 0, -1] = 255
    found, clear = read_transparent(save(folder / "layer.png", pixels), (5, 6)), pixels[..., -1] < 255
    assert found is None if not clear.any() else (found is not None and np.array_equal(found, clear))


def test_a_picture_that_is_all_transparent_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"of which something is opaque, got .*; give a mask, or what to keep"):
        read_transparent(save(folder / "glass.png", np.full((4, 5, 4), 100, np.uint8)), (4, 5))
    assert read_transparent(save(folder / "whole.png", np.full((4, 5, 3), 100, np.uint8)), (4, 5)) is None


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_a_mask_covers_what_was_damaged(height: int, width: int, high: int, wide: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.1
    found = covering(mask, (high, wide))
    picture = np.where(mask, 255, 0).astype(np.uint8)[..., None]
    small = resized(picture, (high, wide))[..., 0]
    assert found.shape == (high, wide)
    if (height, width) == (high, wide):
        assert np.array_equal(found, mask)
    if min(height / high, width / wide) > 1:
        assert found[small > 127].all()
    assert not covering(np.zeros((height, width), bool), (high, wide)).any()
    assert covering(np.ones((height, width), bool), (high, wide)).all()


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_what_is_cut_off_is_reported_or_refused(height: int, width: int, high: int, wide: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.15
    try:
        found, words = brought(mask, (high, wide), "it")
    except UserError as error:
        assert not covering(mask, (high, wide)).any() and "in the edges that are cut off; cut the picture" in str(error)
        return
    assert found.any()
    scale = min(height / high, width / wide)
    if max(height - round(scale * high), width - round(scale * wide)) <= 0:
        assert not [word for word in words if "cut off" in word]
    else:
        lost = [int(word.split(" ")[0]) for word in words if "are in the edges that are cut off" in word]
        assert sum(lost) <= mask.sum()
    assert ("all is to be found: nothing of the picture is kept" in words) == bool(found.all())
