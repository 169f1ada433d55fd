"""Generation with a plan equals that with the Transformer in torch, for every setting of a configuration."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from triptych.decode.interpreter import PlanDecoder
from triptych.decode.plan import plan_of
from triptych.errors import UserError
from triptych.generation.beam import beam_search
from triptych.generation.sample import generate
from triptych.generation.sampling import Sampling
from triptych.model.decoder import TorchDecoder
from triptych.model.transformer import Transformer
from triptych.shape.config import Config

SMALL = {"width": 16, "heads": 2, "feed_forward": 24, "decoder_layers": 2, "encoder_layers": 0, "dropout": 0.0}
WITH_SOURCE = {"encoder_layers": 2, "source_vocabulary": 11}
PICTURE = {"input": {"kind": "pixels", "channels": 3}, "head": {"kind": "mixture", "components": 4}, "vocabulary": 256}
PATCHES = {
    "input": {"kind": "patches", "size": 3, "repeat_features": 4},
    "head": {"kind": "patch", "layers": 2, "feed_forward": 20},
}
IN_2D = {"kind": "local_2d", "height": 6, "width": 8, "query_rows": 2, "query_columns": 4} | {
    "memory_rows": 2,
    "memory_columns": 2,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "pre": {"norm": "pre"},
    "post": {"norm": "post"},
    "gelu": {"norm": "pre", "activation": "gelu"},
    "swiglu": {"norm": "post", "activation": "swiglu"},
    "concatenated": {"positions": "concatenated"},
    "learned": {"positions": {"kind": "learned", "length": 64}},
    "grid": {"positions": {"kind": "none", "grid": [3, 5]}},
    "classes": {"classes": 3, "norm": "pre"},
    "local": {"pattern": {"kind": "local_1d", "query": 5, "memory": 7}},
    "local, other blocks": {"pattern": {"kind": "local_1d", "query": 2, "memory": 9}, "norm": "pre"},
    "local without memory": {"pattern": {"kind": "local_1d", "query": 6, "memory": 0}},
    "distance": {"relations": {"distance": {"size": 8, "far": "clip"}}, "positions": "none"},
    "distance, zero": {"relations": {"distance": {"size": 8, "far": "zero"}}, "positions": "none"},
    "distance, local": {
        "relations": {"distance": {"size": 6, "far": "clip"}},
        "pattern": {"kind": "local_1d", "query": 5, "memory": 7},
    },
    "distance, in two dimensions": {"relations": {"distance": {"size": 9, "far": "zero"}}, "pattern": IN_2D},
    "pitch and time": {
        "relations": {"pitch": {"size": 7}, "time": {"size": 4, "far": "clip", "unit": 4}, "distance": {"size": 40}},
        "positions": {"kind": "none", "grid": [4, 4]},
    },
    "time, zero": {"relations": {"time": {"size": 3, "far": "zero", "unit": 2}}},
    "keyboard": {"vocabulary": 20, "input": {"kind": "tokens", "keyboard": [5, 4, 3]}, "norm": "pre"},
    "metre": {"positions": {"kind": "sinusoidal", "metre": 6}},
    "patches": {**PATCHES, "norm": "pre", "activation": "gelu"},
    "patches, post": {**PATCHES, "norm": "post"},
    "patches without features": {**PATCHES, "input": {"kind": "patches", "size": 2}, "norm": "pre"},
    "two dimensions": {"pattern": IN_2D, "norm": "pre"},
    "picture": {**PICTURE, "norm": "pre", "positions": {"kind": "sinusoidal_2d", "length": 4}},
    "picture in two dimensions": {**PICTURE, "pattern": IN_2D, "positions": {"kind": "sinusoidal_2d", "length": 8}},
    "picture of unknown width": PICTURE,
    "source": {**WITH_SOURCE, "norm": "pre"},
    "source, post": {**WITH_SOURCE, "norm": "post"},
    "shared vocabulary": {"encoder_layers": 1, "norm": "pre"},
    "source and distance": {**WITH_SOURCE, "relations": {"distance": {"size": 8}}, "norm": "pre"},
    "positions of the source": {**WITH_SOURCE, "positions": {"kind": "none", "source": {"kind": "sinusoidal"}}},
    "aligned": {**WITH_SOURCE, "aligned": True, "norm": "pre", "classes": 2},
    "aligned patches": {**WITH_SOURCE, **PATCHES, "aligned": True, "norm": "pre"},
    "aligned and metre": {**WITH_SOURCE, "aligned": True, "positions": {"kind": "sinusoidal", "metre": 6}},
    "aligned picture": {**PICTURE, "encoder_layers": 1, "source_vocabulary": 257, "aligned": True},
    "patches with a source": {**WITH_SOURCE, **PATCHES, "norm": "pre"},
    "picture with a source of its kind": {**PICTURE, "encoder_layers": 1},
}
LENGTH = 24


def config_of(settings: dict[str, Any]) -> Config:
    return Config.from_dict({"vocabulary": 13, **SMALL, **settings})


def models(config: Config) -> tuple[PlanDecoder, Transformer]:
    """A plan, and the same model in float64."""
    torch.manual_seed(1)
    model = Transformer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # no bias stays zero, no gain one
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    return PlanDecoder(plan_of(config, weights)), copy.deepcopy(model).double()


def given(config: Config, rows: int, beams: int = 1) -> dict[str, Any]:
    """Arguments of `start` for so many rows, drawn at random."""
    random, groups = np.random.default_rng(2), rows // beams
    found: dict[str, Any] = {"length": LENGTH, "rows": rows, "beams": beams}
    if config.encoder_layers:
        length = LENGTH if config.aligned else 10
        found["source"] = random.integers(0, config.source_vocabulary or config.vocabulary, (groups, length))
        if not config.aligned:
            found["source_lengths"] = random.integers(4, length + 1, groups)
    if config.classes:
        found["label"] = random.integers(-1, config.classes, groups)
    if config.positions.metre:
        found["metre"] = np.stack((np.arange(LENGTH) % 4 + 1, np.full(LENGTH, 4)), 1)[None]
    return found


@pytest.mark.parametrize("prefilled", [0, 14])
@pytest.mark.parametrize(("rows", "beams"), [(1, 1), (6, 3)])
@pytest.mark.parametrize("name", SETTINGS)
def test_steps_equal_those_of_the_transformer(name: str, rows: int, beams: int, prefilled: int) -> None:
    config = config_of(SETTINGS[name])
    plan, model = models(config)
    torch_decoder = TorchDecoder(model)
    asked = given(config, rows, beams)
    mine, theirs = plan.start(**asked), torch_decoder.start(**asked)
    random = np.random.default_rng(3)
    ids = random.integers(0, config.vocabulary, (rows, LENGTH))
    taken = 0
    if prefilled:
        got = plan.prefill(ids[:, :prefilled], mine)
        np.testing.assert_array_equal(got, torch_decoder.prefill(ids[:, :prefilled], theirs))
        taken = got.shape[1]
    for at in range(taken, LENGTH):
        last = ids[:, at - 1] if at else None
        found, expected = plan.step(last, mine), torch_decoder.step(last, theirs)
        likely = expected > np.log(1e-6)
        np.testing.assert_allclose(found[likely], expected[likely], atol=3e-4 if "picture" in name else 2e-5)
        assert mine.position == theirs.position == at + 1
        if at % 5 == 4:  # beams change places, and one source goes
            order = np.arange(rows) // beams * beams + random.integers(0, beams, rows)
            if at == 19 and rows > beams:
                order = order[beams:]
            mine.select(order)
            theirs.select(order)
            ids = ids[order]
            rows = len(order)


@pytest.mark.parametrize("name", SETTINGS)
def test_attention_equals_that_of_the_transformer(name: str) -> None:
    config = config_of(SETTINGS[name])
    plan, model = models(config)
    ids = np.random.default_rng(4).integers(0, config.vocabulary, (2, LENGTH))
    source = given(config, 2).get("source")
    found, expected = (decoder.attention(ids, source=source) for decoder in (plan, TorchDecoder(model)))
    for kind in ("encoder", "decoder", "cross"):
        pairs = list(zip(getattr(found, kind), getattr(expected, kind), strict=True))
        assert len(pairs) == (0 if kind == "cross" and (config.aligned or source is None) else 2) or kind == "encoder"
        for mine, theirs in pairs:
            np.testing.assert_allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_draws_of_a_picture_are_those_of_its_distributions(rows: int) -> None:
    config = config_of(SETTINGS["picture"])
    plan, _ = models(config)
    drawn = np.stack(list(generate(plan, plan.start(length=48, rows=rows), steps=48, seed=5)))
    warm = Sampling(temperature=1.0, top_p=1.0, min_p=1e-12)  # what is left out is never drawn, but `step` is asked
    stepped = np.stack(list(generate(plan, plan.start(length=48, rows=rows), steps=48, seed=5, sampling=warm)))
    np.testing.assert_array_equal(drawn, stepped)


def test_one_row_is_the_first_of_many() -> None:
    config = config_of(SETTINGS["patches"])
    plan, _ = models(config)
    alone, many = (
        np.stack(list(generate(plan, plan.start(length=24, rows=rows), steps=24, seed=[7, *range(rows - 1)])))
        for rows in (1, 4)
    )
    np.testing.assert_array_equal(alone[:, 0], many[:, 0])


def test_rows_change_places_before_a_step() -> None:
    plan, model = models(config_of(SETTINGS["classes"]))
    ids = np.random.default_rng(3).integers(0, 13, (3, 6))
    order = np.array([2, 0, 0])
    found = []
    for decoder in (plan, TorchDecoder(model)):
        cache = decoder.start(length=LENGTH, rows=3, label=np.array([0, 1, 2]))
        decoder.prefill(ids, cache)
        cache.select(order)
        found.append(decoder.step(ids[order, -1], cache))
    np.testing.assert_allclose(found[0], found[1], atol=2e-5)


def test_beams_equal_those_of_the_transformer() -> None:
    config = config_of(SETTINGS["source"])
    plan, model = models(config)
    asked = {**given(config, 6, 3), "length": 12}
    found, expected = (
        beam_search(decoder, decoder.start(**asked), end=1, max_length=12, beam=3, nbest=3)
        for decoder in (plan, TorchDecoder(model))
    )
    assert [[each.ids for each in choices] for choices in found] == [[each.ids for each in ch] for ch in expected]


@pytest.mark.parametrize("odd", ["head.parameters_of.bias", "decoder.0.attention.output.weight", "every"])
def test_a_broken_model_is_found_without_a_warning(odd: str) -> None:
    config = config_of(SETTINGS["picture"])
    torch.manual_seed(1)
    weights = {name: value.numpy() for name, value in Transformer(config).state_dict().items()}
    for name in weights if odd == "every" else [odd]:
        weights[name] = np.full_like(weights[name], 3e38)  # finite, but no product of it
    plan = PlanDecoder(plan_of(config, weights))
    with pytest.raises(UserError, match="NaN or infinite"):
        list(generate(plan, plan.start(length=6, rows=2), steps=6, seed=1))


def test_mistakes_are_one_line() -> None:
    plan, _ = models(config_of(SETTINGS["classes"]))
    with pytest.raises(UserError, match="no source for this model"):
        plan.start(length=4, source=np.zeros((1, 4), np.int64))
    with pytest.raises(UserError, match="1 labels below classes=3"):
        plan.start(length=4, label=np.array([3]))
    with pytest.raises(UserError, match="ids from 0 to 12, got 0 to 13"):
        plan.prefill(np.array([[0, 13]]), plan.start(length=4))
    plan, _ = models(config_of(SETTINGS["learned"]))
    cache = plan.start(length=70)
    with pytest.raises(UserError, match="at most 64 positions"):
        for _ in generate(plan, cache, steps=70, seed=1):
            pass


def test_every_field_is_in_a_setting() -> None:
    """Each field of a configuration differs from its default in one of the settings."""
    default = config_of({})
    changed = {
        field.name
        for settings in SETTINGS.values()
        for field in dataclasses.fields(Config)
        if getattr(config_of(settings), field.name) != getattr(default, field.name)
    }
    left = {field.name for field in dataclasses.fields(Config)} - changed - set(SMALL)
    assert not left, f"no setting changes {left}"
