"""Sums of the rows that inputs read equal the inputs in torch."""

import numpy as np
import pytest
import torch

from triptych.decode.steps.inputs import STEPS, Rows, steps_of
from triptych.decode.steps.tables import InputTables, source_config
from triptych.model.inputs import input_of, source_input_of
from triptych.shape.config import Config, Positions
from triptych.shape.parts import Mixture, Patches, PatchNetwork, Pixels, Tied, Tokens

CONFIGS = {
    "tokens": Config(20, width=8, heads=2),
    "keyboard": Config(20, width=8, heads=2, input=Tokens((4, 5, 3))),
    "patches": Config(20, width=8, heads=2, input=Patches(3, 4), head=PatchNetwork()),
    "pixels": Config(
        256, width=8, heads=2, input=Pixels(3), head=Mixture(2), positions=Positions("sinusoidal_2d", length=4)
    ),
}


def tables_of(config: Config, weights: dict[str, torch.Tensor]) -> InputTables:
    tables = STEPS[type(config.input)].tables(config)
    scaled = {name: weights[each.parameter].numpy() * np.float32(each.scale) for name, each in tables.items()}
    return InputTables(scaled, config.width)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_position_reads_what_the_module_reads(name: str) -> None:
    torch.manual_seed(0)
    config = CONFIGS[name]
    module, size = input_of(config), config.input.size
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    ids = np.random.default_rng(1).integers(0, config.vocabulary, (2, 8 * size))
    tables = tables_of(config, module.state_dict())
    with torch.no_grad():
        expected = module.whole(torch.from_numpy(ids)).numpy()
    found = tables.every(steps_of(config, 2), ids, size)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not found[:, 0].any(), "the first position reads nothing"


@pytest.mark.parametrize("name", ["tokens", "patches"])
@pytest.mark.parametrize("length", [9, 7])
def test_a_source_is_read_as_the_module_reads_it(name: str, length: int) -> None:
    torch.manual_seed(0)
    config = Config.from_dict({**CONFIGS[name].to_dict(), "source_vocabulary": 11, "encoder_layers": 1})
    module, its = source_input_of(config), source_config(config)
    assert module is not None
    ids = np.random.default_rng(1).integers(0, 11, (2, length))
    tables, size = tables_of(its, module.state_dict()), its.input.size
    with torch.no_grad():
        expected = module.read(torch.from_numpy(ids)).numpy()
    np.testing.assert_allclose(tables.every(steps_of(its, 2), ids, size, first=1), expected, atol=1e-5)
    assert its.vocabulary == 11 and its.encoder_layers == CONFIGS[name].encoder_layers


def test_a_source_of_the_same_vocabulary_is_read_as_the_target() -> None:
    config = Config(20, width=8, heads=2, encoder_layers=1)
    assert source_config(config).vocabulary == 20 and isinstance(source_config(config).head, Tied)


def test_a_grey_picture_may_have_a_source_of_other_ids() -> None:
    grey = {"input": {"kind": "pixels", "channels": 1}, "head": "mixture", "source_vocabulary": 257, "aligned": True}
    assert source_config(Config.from_dict({"vocabulary": 256, **grey})).vocabulary == 257


def test_sums_are_weighed() -> None:
    tables = InputTables({"a": np.arange(12, dtype=np.float32).reshape(6, 2), "b": np.ones((2, 2), np.float32)}, 2)
    rows = [Rows("a", np.array([[0, 5], [1, 2]]), np.array([[2.0, 0.5], [0.0, 1.0]])), Rows("b", np.array([[1], [0]]))]
    assert tables.sum(rows, 2).tolist() == [[0 * 2 + 5 + 1, 2 + 5.5 + 1], [4 + 1, 5 + 1]]
    assert tables.sum((), 3).tolist() == [[0, 0]] * 3
