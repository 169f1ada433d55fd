"""Plans are made of the weights that a configuration asks for, and of nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from triptych.decode import plan as module
from triptych.decode.plan import check_known, plan_of
from triptych.decode.shapes import shapes
from triptych.decode.steps import heads, inputs
from triptych.errors import UserError
from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.shape.parts import Tokens
from triptych.shape.store import read_model, shipped

TINY = {"vocabulary": 9, "width": 8, "heads": 2, "feed_forward": 8, "encoder_layers": 1, "decoder_layers": 1}


def weights_of(config: Config) -> dict[str, Any]:
    return {name: value.numpy() for name, value in Transformer(config).state_dict().items()}


@pytest.mark.parametrize("name", [card["name"] for card in shipped()])
def test_shapes_are_those_of_a_shipped_model(name: str) -> None:
    stored = read_model(name)
    assert shapes(stored.config) == {key: array.shape for key, array in stored.weights.items()}


def test_shapes_are_those_of_the_transformer() -> None:
    config = Config.from_dict(
        {**TINY, "relations": {"distance": {"size": 4}}, "positions": {"kind": "sinusoidal", "metre": 3}}
    )
    assert shapes(config) == {key: array.shape for key, array in weights_of(config).items()}


def test_number_formats_are_read_as_they_are_stored() -> None:
    """Float16 and bfloat16 are rounded when they are written, and not again when they are read."""
    config = Config.from_dict(TINY)
    weights = weights_of(config)
    name = "decoder.0.feed_forward.inner.weight"
    half = plan_of(config, {key: array.astype(np.float16) for key, array in weights.items()})
    np.testing.assert_array_equal(half.array(name), weights[name].astype(np.float16).astype(np.float32))
    brain = {key: torch.from_numpy(array).bfloat16() for key, array in weights.items()}
    bits = {key: array.view(torch.uint16).numpy() for key, array in brain.items()}
    np.testing.assert_array_equal(plan_of(config, bits).array(name), brain[name].float().numpy())


@pytest.mark.parametrize("change", ["missing", "more", "shape"])
def test_other_weights_are_refused(change: str) -> None:
    config = Config.from_dict(TINY)
    weights, name = weights_of(config), "decoder.0.attention.output.weight"
    if change == "missing":
        del weights[name]
    elif change == "more":
        weights["odd.weight"] = np.zeros(3, np.float32)
    else:
        weights[name] = weights[name][:, 1:]
    with pytest.raises(ValueError, match="odd.weight" if change == "more" else name):
        plan_of(config, weights)


@pytest.mark.parametrize("name", ["norm", "activation", "pattern", "positions", "relations", "input", "head"])
def test_what_is_new_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind that the plan does not know is never computed as another one."""
    relations = {"distance": {"size": 4, "far": "zero"}}
    config = Config.from_dict(
        {**TINY, "relations": relations, "positions": {"kind": "none", "source": {"kind": "none"}}}
    )
    check_known(config)
    if name == "input":
        monkeypatch.delitem(inputs.STEPS, Tokens)
    elif name == "head":
        monkeypatch.delitem(heads.HEADS, type(config.head))
    else:
        monkeypatch.setitem(module.KNOWN, "far" if name == "relations" else name, ())
    with pytest.raises(UserError, match=f"a setting {name} that generation without torch computes"):
        check_known(config)
