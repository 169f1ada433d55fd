"""Shapes of composers of chorales, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.music.chorales.codec import ChoraleCodec
from triptych.music.chorales.labels import LABELS
from triptych.shape.bounds import encoder_fits, left_out, one_of
from triptych.shape.config import Config

# A decoder alone whose positions are sixteenths, four voices each; relative attention over all of them.
SMALL: dict[str, Any] = {
    "width": 256,
    "heads": 4,
    "feed_forward": 1024,
    "encoder_layers": 0,
    "decoder_layers": 6,
    "dropout": 0.1,
    "norm": "pre",
    "activation": "gelu",
    "positions": {"kind": "none", "grid": (4, 4)},  # the sixteenth in the quarter, the quarter in the bar
    "relations": {"distance": {"size": 256}},
    "input": {"kind": "patches", "size": 4, "repeat_features": 16},
    "head": {"kind": "patch", "layers": 3, "feed_forward": 512},
}
# A position a note, as in Huang et al. 2018, with relations and without.
RELATIVE: dict[str, Any] = {
    **SMALL,
    "heads": 8,
    "decoder_layers": 5,
    "positions": {"kind": "none", "grid": (4, 4, 4)},
    "relations": {"distance": {"size": 512}},
    "input": "tokens",
    "head": "tied",
}


def _absolute(preset: dict[str, Any]) -> dict[str, Any]:
    """The same without relations, and with sinusoids instead."""
    return {**preset, "relations": {}, "positions": {**preset["positions"], "kind": "sinusoidal"}}


PRESETS: dict[str, dict[str, Any]] = {
    "small": SMALL,
    "small-absolute": _absolute(SMALL),
    "relative": RELATIVE,
    "absolute": _absolute(RELATIVE),
    "tiny": {
        **SMALL,
        "width": 64,
        "feed_forward": 128,
        "decoder_layers": 2,
        "relations": {"distance": {"size": 64}},
        "head": {"kind": "patch", "layers": 1, "feed_forward": 128},
    },
}


def shaped(preset: str, task: str, changes: Mapping[str, Any]) -> Config:
    """The configuration of a preset for the task. changes: fields of `Config`, by name; for infilling, an encoder as
    deep as the decoder unless they say otherwise.
    """
    one_of("preset", preset, PRESETS)
    left_out(changes, ("vocabulary", "source_vocabulary"), "chorales")
    shape = {"vocabulary": ChoraleCodec.vocabulary, "classes": LABELS, **PRESETS[preset]}
    if task == "infill":
        shape["source_vocabulary"] = ChoraleCodec.source_vocabulary
        shape["encoder_layers"] = changes.get("decoder_layers", shape["decoder_layers"])
        shape["aligned"] = True
    shape |= changes
    encoder_fits(task, shape["encoder_layers"], task == "infill")
    return Config.from_dict(shape)
