"""Configurations of the Transformer: one for every field, and combinations of all; with the log-probabilities of each.

Tests of `architecture` and `model` share this file.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from triptych.errors import UserError
from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.shape.config import Config, Positions
from triptych.shape.parts import Mixture, Patches, PatchNetwork, Pixels, Tied, Tokens
from triptych.shape.pattern import Full, Local1D, Local2D
from triptych.shape.relations import ByDistance, ByPitch, ByTime

Changes = Mapping[str, Any]

BASE = Config(20, width=24, heads=3, feed_forward=40, encoder_layers=0, decoder_layers=2, dropout=0.0, norm="pre")
LENGTH = 24

SOURCE: Changes = {"encoder_layers": 1}
PATCHES: Changes = {"input": Patches(4), "head": PatchNetwork(1, 12)}
PIXELS: Changes = {"vocabulary": 256, "input": Pixels(3), "head": Mixture(3), "pattern": Local2D(4, 2, 2, 2, 1, 1)}
LOCAL: Changes = {"pattern": Local1D(4, 6)}
PICTURE: Changes = {"pattern": Local2D(6, 4, 2, 2, 1, 1)}

# Of each class with settings, each field: the rest of a configuration, and what to replace in it. Both make a model.
FIELDS: dict[type[Any], dict[str, tuple[Changes, Changes]]] = {
    Config: {
        "vocabulary": ({}, {"vocabulary": 30}),
        "source_vocabulary": (SOURCE, {"source_vocabulary": 20}),
        "width": ({}, {"width": 36}),
        "heads": ({}, {"heads": 2}),
        "feed_forward": ({}, {"feed_forward": 41}),
        "encoder_layers": (SOURCE, {"encoder_layers": 2}),
        "decoder_layers": ({}, {"decoder_layers": 1}),
        "dropout": ({}, {"dropout": 0.5}),
        "norm": ({}, {"norm": "post"}),
        "activation": ({}, {"activation": "swiglu"}),
        "positions": ({}, {"positions": Positions("none")}),
        "classes": ({}, {"classes": 2}),
        "pattern": ({}, LOCAL),
        "relations": ({}, {"relations": (ByDistance(4),)}),
        "aligned": (SOURCE, {"aligned": True}),
        "input": (PATCHES, {"input": Patches(3)}),
        "head": (PATCHES, {"head": PatchNetwork(2, 12)}),
    },
    Positions: {
        "kind": ({}, {"positions": Positions("concatenated")}),
        "length": ({"positions": Positions("sinusoidal_2d", 4)}, {"positions": Positions("sinusoidal_2d", 6)}),
        "grid": ({}, {"positions": Positions(grid=(3,))}),
        "metre": ({}, {"positions": Positions(metre=8)}),
        "source": (SOURCE, {"positions": Positions(source=Positions("none"))}),
    },
    Full: {"causal": ({}, {})},  # a decoder's is causal, and a `UserError` otherwise
    Local1D: {
        "query": (LOCAL, {"pattern": Local1D(3, 6)}),
        "memory": (LOCAL, {"pattern": Local1D(4, 3)}),
    },
    Local2D: {
        "height": (PICTURE, {"pattern": Local2D(8, 4, 4, 2, 1, 1)}),
        "width": (PICTURE, {"pattern": Local2D(6, 8, 2, 2, 1, 1)}),
        "query_rows": (PICTURE, {"pattern": Local2D(6, 4, 3, 2, 1, 1)}),
        "query_columns": (PICTURE, {"pattern": Local2D(6, 4, 2, 1, 1, 1)}),
        "memory_rows": (PICTURE, {"pattern": Local2D(6, 4, 2, 2, 3, 1)}),
        "memory_columns": (PICTURE, {"pattern": Local2D(6, 4, 2, 2, 1, 0)}),
    },
    ByDistance: {
        "size": ({"relations": (ByDistance(4),)}, {"relations": (ByDistance(6),)}),
        "far": ({"relations": (ByDistance(4),)}, {"relations": (ByDistance(4, "zero"),)}),
    },
    ByPitch: {"size": ({"relations": (ByPitch(4),)}, {"relations": (ByPitch(9),)})},
    ByTime: {
        "size": ({"relations": (ByTime(2),)}, {"relations": (ByTime(3),)}),
        "far": ({"relations": (ByTime(2),)}, {"relations": (ByTime(2, "zero"),)}),
        "unit": ({"relations": (ByTime(2),)}, {"relations": (ByTime(2, unit=3),)}),
    },
    Tokens: {"keyboard": ({}, {"input": Tokens((3, 4, 5))})},
    Patches: {
        "size": (PATCHES, {"input": Patches(2)}),
        "repeat_features": (PATCHES, {"input": Patches(4, 3)}),
        "word_dropout": (PATCHES, {"input": Patches(4, word_dropout=0.5)}),
    },
    Pixels: {"channels": (PIXELS, {"input": Pixels(4)})},
    Tied: {},
    PatchNetwork: {
        "layers": (PATCHES, {"head": PatchNetwork(2, 12)}),
        "feed_forward": (PATCHES, {"head": PatchNetwork(1, 16)}),
    },
    Mixture: {"components": (PIXELS, {"head": Mixture(2)})},
}
PAIRS = [
    (f"{kind.__name__}.{name}", replace(BASE, **first), replace(BASE, **{**first, **then}))
    for kind, changes in FIELDS.items()
    for name, (first, then) in changes.items()
]

# Choices of which `combinations` makes configurations. Not all go together.
CHOICES: dict[str, list[Changes]] = {
    "pattern": [{}, LOCAL, {"pattern": Local1D(4, 4)}, PICTURE],
    "relations": [
        {},
        {"relations": (ByDistance(5),)},
        {"relations": (ByDistance(40, "zero"),)},
        {"relations": (ByDistance(3, "zero"), ByPitch(9), ByTime(4, unit=3))},
    ],
    "positions": [
        *({"positions": Positions(kind)} for kind in ("sinusoidal", "concatenated", "learned", "none")),  # type: ignore[arg-type]
        {"positions": Positions("sinusoidal_2d", 4)},
        {"positions": Positions("none", grid=(2, 3))},
        {"positions": Positions(metre=8)},
    ],
    "norm": [{}, {"norm": "post"}],
    "activation": [{"activation": name} for name in ("relu", "gelu", "swiglu")],
    "parts": [
        {},
        {"input": Tokens((3, 4, 5))},
        {"input": Patches(3, 4), "head": PatchNetwork(2, 12)},
        {"vocabulary": 256, "input": Pixels(3), "head": Mixture(2)},
    ],
    "source": [{}, SOURCE, {**SOURCE, "source_vocabulary": 17, "aligned": True}],
    "classes": [{}, {"classes": 2}],
}


@cache
def combinations() -> list[Config]:
    """Configurations in which every two choices that go together occur together."""
    possible = {
        frozenset(pair)
        for (one, first), (other, second) in itertools.combinations(CHOICES.items(), 2)
        for pair in itertools.product(((one, i) for i in range(len(first))), ((other, i) for i in range(len(second))))
        if _config(dict(pair)) is not None
    }
    found, draws = [], random.Random(0)
    for expected in range(20, 0, -1):  # the most pairs first
        for _ in range(1000):
            drawn = {name: draws.randrange(len(choices)) for name, choices in CHOICES.items()}
            new = {frozenset(pair) for pair in itertools.combinations(drawn.items(), 2)} & possible
            if len(new) >= expected and (config := _config(drawn)) is not None:
                found.append(config)
                possible -= new
    assert not possible, f"no configuration has {possible}"
    return found


def _config(chosen: Mapping[str, int]) -> Config | None:
    changes = {key: value for name, place in chosen.items() for key, value in CHOICES[name][place].items()}
    try:
        return replace(BASE, **changes)
    except UserError:
        return None


def model_of(config: Config) -> Transformer:
    """A model in evaluation and in float64, none of whose parameters is what it begins as."""
    torch.manual_seed(0)
    model = Transformer(config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.05, 0.2)
    return model


def batch_of(config: Config, rows: int = 2, length: int = LENGTH) -> Batch:
    """A batch with all that a model of the configuration reads."""
    draws = torch.Generator().manual_seed(1)
    size = min(config.vocabulary, config.source_vocabulary or config.vocabulary, 17)
    target, source = torch.randint(size, (2, rows, length), generator=draws)
    lengths = torch.full((rows,), length)
    condition = (source, lengths) if config.encoder_layers else (None, None)
    label = torch.arange(rows) % config.classes if config.classes else None
    bars = torch.arange(length)[None, :, None] % torch.tensor([6, 1]) + torch.tensor([1, 6])
    return Batch(target, lengths, *condition, label=label, metre=bars if config.positions.metre else None)


def log_probabilities(model: Transformer, batch: Batch) -> Tensor:
    """Of all targets of a batch, by the whole pass: [B, L, V]."""
    with torch.no_grad():
        return model.predict(batch).logits().log_softmax(-1)


def classes_with_settings() -> Iterator[tuple[type[Any], list[str]]]:
    """The classes that a configuration is made of, each with the names of its fields."""
    for kind in FIELDS:
        yield kind, [field.name for field in fields(kind)]
