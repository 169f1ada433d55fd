"""Shapes of pianists, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.music.performances.codec import PerformanceCodec
from triptych.music.performances.melody import MelodyCodec
from triptych.shape.bounds import encoder_fits, left_out
from triptych.shape.config import Config
from triptych.shape.settings import preset_of


def shaped(preset: str, task: str, codec: PerformanceCodec, changes: Mapping[str, Any]) -> Config:
    """The configuration of a preset for the task and the labels of the codec. changes: fields of `Config`."""
    usual = preset_of("triptych.music.performances", preset)
    left_out(changes, ("vocabulary", "source_vocabulary", "classes"), "performances")
    shape = {"vocabulary": codec.vocabulary, "classes": len(codec.labels), **usual}
    if task == "accompany":
        shape["source_vocabulary"] = MelodyCodec.vocabulary
        shape["encoder_layers"] = changes.get("decoder_layers", shape["decoder_layers"])
        shape["positions"] = "sinusoidal"
        shape["relations"] = {kind: {"size": each["size"] // 2} for kind, each in shape["relations"].items()}
    shape |= changes
    encoder_fits(task, shape["encoder_layers"], task == "accompany")
    return Config.from_dict(shape)
