import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from triptych.errors import UserError
from triptych.image.augmentation import Augmentation
from triptych.image.codec import HOLE, PictureCodec
from triptych.image.data import (
    PictureData,
    PictureModel,
    Task,
    draw_mask,
    fitted,
    half,
    held_out_batches,
    hiding,
    joined,
    matched,
    shrunk,
)
from triptych.image.files.pictures import Pictures


def model_of(pictures: Pictures, task: Task = "paint", *, aligned: bool = True) -> PictureModel:
    codec = PictureCodec(
        *pictures.pictures.shape[1:], (2, 2), labels=pictures.names, factor=2 if task == "upscale" else 1
    )
    return PictureModel(codec, task, aligned)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_shrinking_is_the_box_filter(seed: int, factor: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (4 * factor, 3 * factor, 3), dtype=np.uint8)
    found = shrunk(picture[None], factor)[0]
    for row, column, channel in np.ndindex(4, 3, 3):
        square = picture[row * factor :, column * factor :, channel][:factor, :factor]
        assert found[row, column, channel] == int(square.mean() + 0.5)
    # Pillow rounds twice, after the rows and after the columns.
    boxed = np.array(Image.fromarray(picture).resize((3, 4), Image.Resampling.BOX))
    assert np.abs(found.astype(int) - boxed).max() <= 1


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 20))
def test_masks_of_all_shapes(seed: int, height: int, width: int) -> None:
    mask = draw_mask(height, width, np.random.default_rng(seed))
    assert mask.shape == (height, width) and mask.dtype == bool


def test_masks_hide_little_and_much() -> None:
    random = np.random.default_rng(1)
    masks = np.stack([draw_mask(12, 10, random) for _ in range(3000)])
    assert np.array_equal(np.unique(masks.mean((1, 2)).round(1)), np.arange(11) / 10)
    assert 0.35 < masks.mean() < 0.65
    halves = masks[:, :6].all((1, 2)) & ~masks[:, 6:].any((1, 2))
    assert halves.any(), "the upper half alone"


@pytest.mark.parametrize("mirror", [False, True])
def test_an_epoch_has_every_picture_once(pictures: Pictures, mirror: bool) -> None:
    model = model_of(pictures)
    data = PictureData(
        pictures, model, tokens_per_batch=5 * model.codec.tokens, augmentation=Augmentation(mirror), seed=3
    )
    batches = list(data.epoch(0))
    assert [len(batch) for batch in batches] == [5, 5, 2]
    found = model.codec.decode(np.concatenate([batch.target.numpy() for batch in batches]))
    labels = np.concatenate([batch.label.numpy() for batch in batches if batch.label is not None])
    assert pictures.labels is not None
    for picture, label in zip(pictures.pictures, pictures.labels, strict=True):
        same = (found == picture).all((1, 2, 3))
        turned = (found == picture[:, ::-1]).all((1, 2, 3))
        assert (same | turned).sum() == 1 and labels[same | turned] == label
        assert mirror or same.any()
    again, other = (
        PictureData(
            pictures, model, tokens_per_batch=5 * model.codec.tokens, augmentation=Augmentation(mirror), seed=3
        ),
        data,
    )
    assert np.array_equal(again.epoch(0)[1].target, batches[1].target)
    assert not np.array_equal(other.epoch(1)[1].target, batches[1].target)
    if mirror:
        assert any((found == picture[:, ::-1]).all((1, 2, 3)).any() for picture in pictures.pictures)


def test_a_part_of_an_epoch_is_the_same_batches(pictures: Pictures) -> None:
    model = model_of(pictures, "complete")
    data = PictureData(pictures, model, tokens_per_batch=2 * model.codec.tokens)
    whole = data.epoch(4)
    rest = whole[2:][1:]
    assert (len(data), len(whole), len(rest)) == (12, 6, 3)
    for first, second in zip(rest, list(whole)[3:], strict=True):
        assert first.source is not None and second.source is not None
        assert np.array_equal(first.source, second.source) and np.array_equal(first.target, second.target)


def test_the_source_of_completion_has_holes_and_the_picture(pictures: Pictures) -> None:
    model = model_of(pictures, "complete")
    for batch in [*PictureData(pictures, model).epoch(0), *held_out_batches(pictures, model)]:
        assert batch.source is not None
        known = batch.source != HOLE
        assert bool((batch.source == batch.target)[known].all()) and 0 < int(known.sum()) < known.numel()
    first, second = held_out_batches(pictures, model), held_out_batches(pictures, model)
    assert first[0].source is not None and np.array_equal(first[0].source, second[0].source)


@pytest.mark.parametrize("aligned", [True, False])
def test_the_source_of_upscaling_is_the_small_picture(pictures: Pictures, aligned: bool) -> None:
    model = model_of(pictures, "upscale", aligned=aligned)
    (batch,) = held_out_batches(pictures, model)
    small = shrunk(pictures.pictures, 2)
    assert batch.source is not None and batch.source_lengths is not None
    if aligned:
        shown = model.codec.decode(batch.source.numpy())
        assert np.array_equal(shown, small.repeat(2, 1).repeat(2, 2))
    else:
        assert np.array_equal(model.codec.small.decode(batch.source.numpy()), small)
    assert batch.source_lengths.tolist() == [batch.source.size(1)] * 12


def test_without_classes_there_are_no_labels(pictures: Pictures) -> None:
    plain = Pictures(pictures.pictures, None, ())
    assert held_out_batches(plain, model_of(plain))[0].label is None
    assert PictureData(plain, model_of(plain)).epoch(0)[0].label is None


def test_sets_are_joined(pictures: Pictures) -> None:
    two = joined([pictures, pictures])
    assert len(two) == 24 and two.names == pictures.names and two.labels is not None
    assert np.array_equal(two.pictures[12:], pictures.pictures)
    assert joined([pictures]) is pictures
    other = Pictures(pictures.pictures, pictures.labels, ("cat", "horse"))
    with pytest.raises(UserError, match="same classes"):
        joined([pictures, other])
    with pytest.raises(UserError, match="same size"):
        joined([pictures, Pictures(pictures.pictures[:, :4], pictures.labels, pictures.names)])


def test_pictures_of_another_model(pictures: Pictures) -> None:
    codec = model_of(pictures).codec
    assert matched(pictures, codec) is pictures
    with pytest.raises(UserError, match="expected pictures of"):
        matched(Pictures(pictures.pictures[:, :4], pictures.labels, pictures.names), codec)
    assert pictures.labels is not None
    for names in (("cat", "dog", "horse"), ("0", "1", "2"), ("horse", "dog"), ("0", "dog")):
        with pytest.raises(UserError, match="expected the classes of the model, cat, dog, got"):
            matched(Pictures(pictures.pictures, pictures.labels, names), codec)
    plain = Pictures(pictures.pictures, None, ())
    assert matched(plain, codec) is plain
    turned = matched(Pictures(pictures.pictures, pictures.labels, ("dog", "cat")), codec)
    assert turned.names == ("cat", "dog") and np.array_equal(turned.labels, 1 - pictures.labels)
    numbered = matched(Pictures(pictures.pictures, pictures.labels, ("0", "1")), codec)
    assert numbered.names == ("cat", "dog") and np.array_equal(numbered.labels, pictures.labels)
    backwards = matched(Pictures(pictures.pictures, pictures.labels, ("1", "0")), codec)
    assert np.array_equal(backwards.labels, 1 - pictures.labels), "a number is a number, wherever it stands"
    digits = PictureCodec(8, 8, 3, (2, 2), labels=tuple("0123456789"))
    threes = matched(Pictures(pictures.pictures, pictures.labels, ("3", "7")), digits)
    assert np.array_equal(threes.labels, np.array([3, 7])[pictures.labels]), "two of the ten digits"
    partly = matched(Pictures(pictures.pictures, pictures.labels, ("dog", "horse")), codec, strict=False)
    assert np.array_equal(partly.labels, np.where(pictures.labels == 0, 1, -1))
    dogs = matched(Pictures(pictures.pictures, np.zeros(12, np.int64), ("dog",)), codec)
    assert dogs.labels is not None and dogs.labels.tolist() == [1] * 12


@given(st.integers(1, 9), st.integers(1, 9))
def test_halves(height: int, width: int) -> None:
    top, bottom, left, right = (half(height, width, side) for side in ("top", "bottom", "left", "right"))
    assert top.sum() == bottom.sum() == -(-height // 2) * width and (top | bottom).all() and (left | right).all()
    assert top[0].all() and bottom[-1].all() and left[:, 0].all() and right[:, -1].all()
    assert np.array_equal(left.T, half(width, height, "top"))


def test_what_is_hidden_to_measure() -> None:
    assert np.array_equal(hiding("left", 3, 4, 6)[1], half(4, 6, "left"))
    pixels = hiding("random", 40, 20, 20)
    assert pixels.mean() == pytest.approx(0.6, abs=0.02) and not np.array_equal(pixels[0], pixels[1])
    assert np.array_equal(pixels, hiding("random", 40, 20, 20))


EXTREMES = st.sampled_from([(0, 256), (0, 4), (250, 256), (0, 1), (255, 256), (60, 196)])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 3), EXTREMES, EXTREMES)
def test_fitted_pictures_become_the_small_ones_again(
    seed: int, factor: int, channels: int, given: tuple[int, int], drawn: tuple[int, int]
) -> None:
    random = np.random.default_rng(seed)
    small = random.integers(*given, (2, 3, 2, channels), dtype=np.uint8)
    rough = random.integers(*drawn, (2, 3 * factor, 2 * factor, channels), dtype=np.uint8)
    found = fitted(rough, small)
    assert found.dtype == np.uint8 and found.shape == rough.shape
    squares = found.reshape(2, 3, factor, 2, factor, channels)
    assert (squares.mean((2, 4)) == small).all(), "the means are exact, not only when they are rounded"
    assert np.array_equal(shrunk(found, factor), small)
    assert np.array_equal(fitted(found, small), found), "what fits already is left alone"
    flat = small.repeat(factor, 1).repeat(factor, 2)
    assert np.array_equal(fitted(flat, small), flat)
    assert (fitted(rough, np.zeros_like(small)) == 0).all() and (fitted(rough, np.full_like(small, 255)) == 255).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_fitting_changes_as_little_as_can_be(seed: int, factor: int) -> None:
    """No step of one intensity from one pixel of a square to another brings it nearer to what was drawn."""
    random = np.random.default_rng(seed)
    rough = random.integers(0, 256, (1, factor, factor, 1), np.uint8)
    small = random.integers(0, 256, (1, 1, 1, 1), np.uint8)
    drawn, found = rough.reshape(-1).astype(int), fitted(rough, small).reshape(-1).astype(int)
    assert found.sum() == int(small[0, 0, 0, 0]) * factor**2
    assert (np.diff(found[np.argsort(drawn)]) >= -1).all(), "in the same order, but for equal ones"
    for up in np.flatnonzero(found < 255):
        for down in np.flatnonzero(found > 0):
            moved = found.copy()
            moved[up] += 1
            moved[down] -= 1
            assert ((moved - drawn) ** 2).sum() >= ((found - drawn) ** 2).sum()
