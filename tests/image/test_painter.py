from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.attention.causality import causality_violations
from triptych.errors import UserError
from triptych.generation.sampling import Sampling
from triptych.image.data import shrunk
from triptych.image.files.pictures import Pictures
from triptych.image.painter import MAX_COUNT, Painter
from triptych.model.weights import save_transformer
from triptych.train.recipe import Recipe

PATTERNS: Mapping[str, Mapping[str, Any]] = {
    "full": {"kind": "full", "causal": True},
    "1-D": {"kind": "local_1d", "query": 12, "memory": 20},
    "2-D": {"kind": "local_2d", "query_rows": 3, "query_columns": 4, "memory_rows": 2, "memory_columns": 3},
}
HEADS: Mapping[str, Mapping[str, Any]] = {
    "categorical": {"cell": [1, 1]},
    "mixture": {"cell": "pixel", "head": {"kind": "mixture", "components": 3}},
    "cells": {"cell": [2, 2]},
}
EVERY = [(pattern, head) for pattern in PATTERNS for head in HEADS]


def make(pictures: Pictures, task: str = "paint", **changes: Any) -> Painter:
    return Painter.new(pictures, task=task, preset="tiny", device="cpu", **changes)  # type: ignore[arg-type]


# -- the sampler is the model -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "head"), [(name, head) for name in PATTERNS for head in ("categorical", "mixture")]
)
def test_cached_steps_equal_the_whole_pass_over_3072_subpixels(pattern: str, head: str) -> None:
    sizes = {"query": 256, "memory": 256} if pattern == "1-D" else {}
    blocks = {"query_rows": 8, "query_columns": 16, "memory_rows": 8, "memory_columns": 16} if pattern == "2-D" else {}
    picture = Pictures(np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8), None, ())
    painter = make(picture, pattern={**PATTERNS[pattern], **sizes, **blocks}, **HEADS[head])
    model, ids = painter.module().eval(), torch.from_numpy(painter.codec.encode(picture.pictures))
    assert ids.size(1) == 3072
    with torch.no_grad():
        whole, cache, last = model(ids)[0].log_softmax(-1), model.start(length=3072), None
        for position in range(3072):
            step = model.step(last, cache)[0]
            assert torch.allclose(step, whole[position], atol=1e-4, rtol=0), f"position {position}"
            last = ids[:, position]


@pytest.mark.parametrize(("pattern", "head"), EVERY)
@pytest.mark.parametrize("task", ["paint", "complete"])
def test_no_subpixel_sees_itself_or_later_ones_and_each_but_the_last_is_seen(
    pictures: Pictures, task: str, pattern: str, head: str
) -> None:
    painter = make(pictures, task, pattern=PATTERNS[pattern], **HEADS[head])
    model, length = painter.module().eval().double(), painter.codec.tokens
    source = torch.full((1, length), 256) if task == "complete" else None

    def scores(ids: torch.Tensor) -> torch.Tensor:
        return model(ids, source=source)  # type: ignore[no-any-return]

    assert causality_violations(scores, length, vocabulary=256, strict=True, tolerance=1e-12) == []
    ids = torch.randint(256, (1, length))
    with torch.no_grad():
        before = scores(ids)
        for position in range(length - 1):
            probe = ids.clone()
            probe[0, position] = (probe[0, position] + 128) % 256
            assert (scores(probe) - before)[0, position + 1 :].abs().max() > 1e-9, position


# -- painting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pattern", "head"), EVERY)
def test_pictures(pictures: Pictures, pattern: str, head: str) -> None:
    painter = make(pictures, pattern=PATTERNS[pattern], **HEADS[head])
    painted = painter.paint(3, label="dog", seed=7)
    assert painted.shape == (3, 8, 8, 3) and painted.dtype == np.uint8
    assert np.array_equal(painted, painter.paint(3, label="1", seed=7)), "one seed, one result"
    assert not np.array_equal(painted, painter.paint(3, label="dog", seed=8))
    assert len({picture.tobytes() for picture in painted}) == 3
    assert np.array_equal(painter.paint(2, label="dog", seed=7), painted[:2]), "a row draws for itself"


def test_a_label_for_each(pictures: Pictures) -> None:
    painter = make(pictures)
    with torch.no_grad():  # an untrained label has next to no effect
        painter.module().condition.label.weight.mul_(20)
    mixed = painter.paint(3, label=["dog", "cat", "dog"], seed=2)
    dogs, cats = painter.paint(3, label="dog", seed=2), painter.paint(3, label="cat", seed=2)
    assert np.array_equal(mixed, np.stack([dogs[0], cats[1], dogs[2]])) and not np.array_equal(dogs[1], cats[1])
    with pytest.raises(UserError, match="one for each of 3"):
        painter.paint(3, label=["dog", "cat"])


def test_frames_grow_into_the_picture(pictures: Pictures) -> None:
    painter = make(pictures)
    frames = list(painter.stream(2, seed=5, frames=4))
    assert len(frames) == 4 and np.array_equal(frames[-1], painter.paint(2, seed=5))
    for part, frame in enumerate(frames, 1):
        done = painter.codec.decode(painter.codec.encode(frames[-1]) * (np.arange(192) < part * 48))
        assert np.array_equal(frame, done)
    with pytest.raises(UserError, match="frames"):
        next(painter.stream(frames=0))


def test_the_coldest_picture_is_the_likeliest_and_needs_no_seed(pictures: Pictures) -> None:
    cold = Sampling(temperature=0)
    painter = make(pictures)
    assert np.array_equal(painter.paint(sampling=cold, seed=1), painter.paint(sampling=cold, seed=2))


def test_a_painter_without_classes(pictures: Pictures) -> None:
    painter = make(Pictures(pictures.pictures, None, ()))
    assert painter.paint().shape == (1, 8, 8, 3)
    with pytest.raises(UserError, match="has no classes"):
        painter.paint(label="dog")


# -- completing -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.sampled_from(EVERY), st.booleans())
def test_known_pixels_come_back(seed: int, share: float, kind: tuple[str, str], aligned: bool) -> None:
    random = np.random.default_rng(seed)
    picture = random.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    hidden = random.random((5, 6)) < share
    painter = make(
        Pictures(picture[None], None, ()), "complete", pattern=PATTERNS[kind[0]], aligned=aligned, **HEADS[kind[1]]
    )
    made = painter.complete(picture, hidden, count=2, seed=seed)
    assert made.shape == (2, 5, 6, 3) and np.array_equal(made[:, ~hidden], picture[None, ~hidden].repeat(2, 0))
    assert hidden.sum() < 8 or not np.array_equal(made[0], made[1])  # a few pixels may be drawn alike


def test_pixels_known_later_speak(pictures: Pictures) -> None:
    """What the first pixel is likely to be depends on the last one, which a decoder alone could not know of."""
    hidden = np.zeros((12, 8, 8), bool)
    hidden[:, 0, 0] = True
    changed = pictures.pictures.copy()
    changed[:, -1, -1] ^= 128
    for task, equal in (("paint", True), ("complete", False)):
        painter = make(pictures, task)
        first, second = (
            painter.evaluate(Pictures(some, pictures.labels, pictures.names), hidden=hidden).nats
            for some in (pictures.pictures, changed)
        )
        assert np.array_equal(first, second) == equal, task


# -- upscaling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("aligned", [True, False])
def test_small_pictures_become_large(pictures: Pictures, head: str, aligned: bool) -> None:
    painter = make(pictures, "upscale", factor=4, aligned=aligned, **HEADS[head])
    painter.module().double()  # alone, a picture is made with matrices in half precision, but not of this model
    small = shrunk(pictures.pictures, 4)
    many = painter.upscale_many(small, seed=3)
    assert many.shape == (12, 8, 8, 3)
    assert np.array_equal(painter.upscale_many(small, seed=3), many)
    assert painter.upscale(small[0], count=2, seed=3).shape == (2, 8, 8, 3)
    assert np.array_equal(painter.upscale(small[0], seed=3)[0], many[0])
    with pytest.raises(UserError, match="to upscale"):
        painter.upscale(pictures.pictures[0])


def test_pictures_are_drawn_as_the_card_has_it(pictures: Pictures) -> None:
    painter = make(pictures, "upscale", factor=4)
    small = np.zeros((2, 2, 2, 3), np.uint8)
    wild = painter.upscale_many(small)
    painter.card["sampling"] = {"temperature": 0}
    tame = painter.upscale_many(small)
    assert np.array_equal(tame, painter.upscale_many(small, sampling=Sampling(0), seed=7)), "the likeliest, at any seed"
    assert np.array_equal(painter.upscale_many(small, sampling=Sampling()), wild)


# -- training, files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["paint", "complete", "upscale"])
def test_training_helps_and_resumes(pictures: Pictures, task: str, tmp_path: Path) -> None:
    painter = make(pictures, task, width=16)
    before = painter.evaluate(pictures).bits_per_dim
    recipe = Recipe(epochs=3, tokens_per_batch=400, label_smoothing=0.0, learning_rate=1e-2, warmup=2, dtype="float32")
    outcome = painter.fit(pictures, held_out=pictures, recipe=recipe, out=tmp_path / "run", quiet=True)
    assert outcome.updates == 18
    assert painter.evaluate(pictures).bits_per_dim < before - 0.3
    loaded = Painter.load(tmp_path / "run", device="cpu")
    assert (loaded.task, loaded.codec, loaded.card["pictures"]) == (task, painter.codec, 12)
    assert loaded.evaluate(pictures).bits_per_dim == pytest.approx(painter.evaluate(pictures).bits_per_dim)
    loaded.save(tmp_path / "half", dtype="bfloat16", domain="slopes")
    half = Painter.load(tmp_path / "half", device="cpu", dtype="float32")
    assert half.card["domain"] == "slopes"
    assert half.evaluate(pictures).bits_per_dim == pytest.approx(loaded.evaluate(pictures).bits_per_dim, abs=0.05)
    more = half.with_dropout(0.2)
    assert more.config.dropout == 0.2 and more.codec == half.codec


def test_every_tenth_picture_is_held_out_unless_others_are_given(pictures: Pictures, tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, tokens_per_batch=10**6, learning_rate=1e-9, dtype="float32")
    painter = make(pictures)
    nats = painter.evaluate(pictures.only(np.array([9]))).to_dict()["nats"] / 192
    outcome = painter.fit(pictures, recipe=recipe, out=tmp_path / "run", quiet=True)
    assert painter.card["pictures"] == 11 and outcome.score == pytest.approx(-nats, rel=1e-4)


def test_a_mixture_trains_for_so_many_hours_in_the_faster_number_format(pictures: Pictures, tmp_path: Path) -> None:
    """What is measured at the start is not smoothed, which a mixture has no labels for."""
    painter = Painter.new(pictures, preset="small-pixels", device="cpu", width=16, heads=2, feed_forward=16,
                          decoder_layers=1)  # fmt: skip
    recipe = Recipe(hours=1e-6, tokens_per_batch=400, label_smoothing=0.0)
    assert painter.fit(pictures, held_out=pictures, recipe=recipe, out=tmp_path, quiet=True).updates == 1


def test_what_is_no_painter(pictures: Pictures, tmp_path: Path) -> None:
    painter = make(pictures)
    save_transformer(tmp_path / "text", painter.module(), {"text.model": b""}, {})
    with pytest.raises(UserError, match=r"expected a model of pictures, got .*another kind"):
        Painter.load(tmp_path / "text")


def test_tasks_of_other_painters(pictures: Pictures) -> None:
    painter, filler, upscaler = (make(pictures, task) for task in ("paint", "complete", "upscale"))
    hidden = np.ones((8, 8), bool)
    with pytest.raises(UserError, match="--model fashion-complete"):
        painter.complete(pictures.pictures[0], hidden)
    with pytest.raises(UserError, match="--model emoji-upscale"):
        filler.upscale(pictures.pictures[0])
    with pytest.raises(UserError, match="--model fashion"):
        upscaler.paint()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "huge"}, "expected preset to be one of"),
        ({"preset": []}, "expected preset to be one of"),
        ({"task": "draw"}, "expected task to be one of"),
        ({"task": "upscale", "factor": 3}, "factor=3 divides"),
        ({"task": "upscale", "factor": 1}, "expected factor to be a whole number from 2 to 64, got 1"),
        ({"width": 7}, "divisible"),
    ],
)
def test_mistakes_in_a_new_one(pictures: Pictures, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Painter.new(pictures, device="cpu", **{"preset": "tiny", **changes})


def test_mistakes_in_generation(pictures: Pictures) -> None:
    painter, filler = make(pictures), make(pictures, "complete")
    for count in (0, MAX_COUNT + 1):
        with pytest.raises(UserError, match="pictures at once"):
            painter.paint(count)
    with pytest.raises(UserError, match="expected a label of cat, dog"):
        painter.paint(label="horse")
    with pytest.raises(UserError, match="expected pictures uint8"):
        filler.complete(pictures.pictures[0, :4], np.ones((4, 8), bool))
    with pytest.raises(UserError, match="expected a mask"):
        filler.complete(pictures.pictures[0], np.ones((4, 8), bool))
    with pytest.raises(UserError, match="expected pictures of"):
        painter.evaluate(Pictures(pictures.pictures[:, :4], pictures.labels, pictures.names))
