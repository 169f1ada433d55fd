"""Shapes of pianists, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.music.performances.codec import PerformanceCodec
from triptych.music.performances.melody import MelodyCodec
from triptych.shape.bounds import encoder_fits, left_out, one_of
from triptych.shape.config import Config

# A decoder alone with relative attention over all of a crop, and no absolute positions.
RELATIVE: dict[str, Any] = {
    "width": 256,
    "heads": 4,
    "feed_forward": 1024,
    "encoder_layers": 0,
    "decoder_layers": 5,
    "dropout": 0.1,
    "norm": "pre",
    "activation": "gelu",
    "positions": {"kind": "none"},
    "relations": {"distance": {"size": 2048}},
}
PRESETS: dict[str, dict[str, Any]] = {
    "relative": RELATIVE,
    # Blocks of 512 that see the block before, as in the paper: no distance is beyond the table.
    "relative-local": {
        **RELATIVE,
        "pattern": {"kind": "local_1d", "query": 512, "memory": 512},
        "relations": {"distance": {"size": 1024}},
    },
    "absolute": {**RELATIVE, "positions": {"kind": "sinusoidal"}, "relations": {}},
    "tiny": {
        **RELATIVE,
        "width": 64,
        "feed_forward": 128,
        "decoder_layers": 2,
        "relations": {"distance": {"size": 64}},
    },
}


def shaped(preset: str, task: str, codec: PerformanceCodec, changes: Mapping[str, Any]) -> Config:
    """The configuration of a preset for the task and the labels of the codec. changes: fields of `Config`."""
    one_of("preset", preset, PRESETS)
    left_out(changes, ("vocabulary", "source_vocabulary", "classes"), "performances")
    shape = {"vocabulary": codec.vocabulary, "classes": len(codec.labels), **PRESETS[preset]}
    if task == "accompany":
        shape["source_vocabulary"] = MelodyCodec.vocabulary
        shape["encoder_layers"] = changes.get("decoder_layers", shape["decoder_layers"])
        shape["positions"] = "sinusoidal"
        shape["relations"] = {kind: {"size": each["size"] // 2} for kind, each in shape["relations"].items()}
    shape |= changes
    encoder_fits(task, shape["encoder_layers"], task == "accompany")
    return Config.from_dict(shape)
