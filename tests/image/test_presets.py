from dataclasses import replace
from typing import Any

import pytest

from triptych.errors import UserError
from triptych.image.codec import HOLE, LEVELS, PictureCodec
from triptych.image.presets import check_fit, shaped
from triptych.shape.config import Config, Positions
from triptych.shape.parts import Mixture, Patches, PatchNetwork, Pixels, Tied, Tokens
from triptych.shape.pattern import Full, Local1D, Local2D
from triptych.shape.settings import presets

CODEC = PictureCodec(32, 32, 3)
SMALL = replace(CODEC, factor=4)
LOCAL_2D = {"kind": "local_2d", "query_rows": 5, "query_columns": 7, "memory_rows": 2, "memory_columns": 4}


def test_the_papers_settings() -> None:
    """Parmar et al. 2018, sections 5.1 and 5.3, as far as paper and code agree."""
    config, codec = shaped("cifar10", "paint", CODEC, {})
    assert (config.decoder_layers, config.width, config.feed_forward, config.dropout) == (12, 512, 2048, 0.3)
    assert config.pattern == Local1D(256, 256) and config.norm == "post" and config.input == Tokens()
    assert (codec.positions, config.positions) == (3072, Positions("sinusoidal_2d", 96))
    mixture, codec = shaped("cifar10-mixture", "paint", CODEC, {})
    assert (mixture.input, mixture.head) == (Pixels(3), Mixture(10))
    assert (codec.positions, mixture.width, mixture.feed_forward) == (1024, 256, 512)
    config, codec = shaped("upscaling", "upscale", SMALL, {})
    assert (config.encoder_layers, config.decoder_layers, config.heads, config.aligned) == (4, 8, 8, False)
    assert config.pattern == Local1D(128, 128) and config.positions.source == Positions("sinusoidal_2d", 24)
    blocks, codec = shaped("cifar10-2d", "paint", CODEC, {})
    assert blocks.pattern == Local2D(32, 96, 8, 16, 8, 32) and codec.block == (8, 16)


@pytest.mark.parametrize("preset", [name for name in presets("triptych.image")])
@pytest.mark.parametrize("task", ["paint", "complete", "upscale"])
def test_every_preset_does_every_task(preset: str, task: Any) -> None:
    config, codec = shaped(preset, task, SMALL if task == "upscale" else CODEC, {})
    check_fit(config, codec)
    assert (config.encoder_layers > 0) == (task != "paint")
    assert config.source_vocabulary == {"paint": None, "complete": HOLE + 1, "upscale": LEVELS}[task]
    assert Config.from_dict(config.to_dict()) == config


def test_the_picture_completes_the_pattern_and_the_patch() -> None:
    odd = PictureCodec(11, 9, 3, labels=("a", "b"))
    config, codec = shaped("small", "paint", odd, {"cell": [1, 3], "pattern": LOCAL_2D})
    assert config.pattern == Local2D(15, 14, 5, 7, 2, 4) and (codec.rows, codec.columns) == (15, 14)
    assert (config.input, config.head, config.classes) == (Patches(3), PatchNetwork(3, 512), 2)
    config, codec = shaped("small", "paint", odd, {"cell": [1, 1], "pattern": Full(causal=True)})
    assert (config.input, config.head) == (Tokens(), Tied()) and codec.block is None
    config, _ = shaped("small", "paint", odd, {"cell": "pixel", "head": {"kind": "mixture", "components": 4}})
    assert (config.input, config.head) == (Pixels(3), Mixture(4))
    grey, _ = shaped("small-pixels", "paint", PictureCodec(8, 8, 1), {})
    assert (grey.input, grey.head) == (Pixels(1), Mixture(10))
    config, _ = shaped("small", "paint", odd, {"cell": [1, 3], "head": {"layers": 2}, "input": {"word_dropout": 0.1}})
    assert (config.input, config.head) == (Patches(3, word_dropout=0.1), PatchNetwork(2, 512))


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("paint", {"cell": [2]}, "cell of rows and columns"),
        ("paint", {"cell": "square"}, "cell of rows and columns"),
        ("paint", {"cell": [2, 2], "head": "mixture"}, "cell='pixel'"),
        ("paint", {"head": 7}, "expected head to be a table"),
        ("paint", {"input": {"size": 7}}, "expected of input only word_dropout and repeat_features"),
        ("paint", {"vocabulary": 7}, "expected no vocabulary"),
        ("paint", {"classes": 7}, "expected no classes"),
        ("complete", {"encoder_layers": 0}, "encoder_layers from 1"),
        ("paint", {"widht": 7}, "did you mean 'width'"),
        ("paint", {"pattern": {"kind": "local_3d"}}, "expected pattern.kind to be one that is registered"),
    ],
)
def test_mistakes(task: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        shaped("tiny", task, CODEC, changes)


def test_a_model_of_other_pictures() -> None:
    config, codec = shaped("tiny", "paint", PictureCodec(4, 4, 1, labels=("a", "b")), {})
    for other in (
        replace(codec, cell=(1, 1)),
        replace(codec, labels=("a",)),
        replace(codec, factor=2),
        replace(codec, block=(2, 1)),
    ):
        with pytest.raises(UserError):
            check_fit(config, other)
    for changed in ({"vocabulary": 300}, {"encoder_layers": 1, "source_vocabulary": 300}, {"classes": 3}):
        with pytest.raises(UserError):
            check_fit(replace(config, **changed), codec)
    config, codec = shaped("tiny", "paint", CODEC, {"pattern": LOCAL_2D})
    check_fit(config, codec)
    with pytest.raises(UserError, match="local 2-D pattern of"):
        check_fit(config, replace(codec, block=(1, 7)))
    with pytest.raises(UserError, match="positions of 63 columns"):
        check_fit(replace(config, positions=Positions("sinusoidal_2d", 64)), codec)
