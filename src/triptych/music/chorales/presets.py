"""Shapes of composers of chorales, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.music.chorales.codec import ChoraleCodec
from triptych.music.chorales.labels import LABELS
from triptych.shape.bounds import encoder_fits, left_out
from triptych.shape.config import Config
from triptych.shape.settings import preset_of


def shaped(preset: str, task: str, changes: Mapping[str, Any]) -> Config:
    """The configuration of a preset for the task. changes: fields of `Config`, by name; for infilling, an encoder as
    deep as the decoder unless they say otherwise.
    """
    usual = preset_of("triptych.music.chorales", preset)
    left_out(changes, ("vocabulary", "source_vocabulary"), "chorales")
    shape = {"vocabulary": ChoraleCodec.vocabulary, "classes": LABELS, **usual}
    if task == "infill":
        shape["source_vocabulary"] = ChoraleCodec.source_vocabulary
        shape["encoder_layers"] = changes.get("decoder_layers", shape["decoder_layers"])
        shape["aligned"] = True
    shape |= changes
    encoder_fits(task, shape["encoder_layers"], task == "infill")
    return Config.from_dict(shape)
