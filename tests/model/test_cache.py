"""What the decoder remembers: a ring of keys and values, whose rows can be reordered."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from configurations import BASE, batch_of, model_of

from triptych.decode.history import History
from triptych.decode.steps.inputs import steps_of
from triptych.model.cache import Cache
from triptych.shape.pattern import Local1D


def cache(rows: int, slots: int, beams: int = 1) -> Cache:
    made = Cache(beams, slots, History(rows, 20), steps_of(BASE, rows))
    made.allocate(layers=2, heads=3, head_width=4, like=torch.zeros(1, dtype=torch.float64))
    return made


def entries(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 3, length, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_columns_go_around() -> None:
    made, keys = cache(2, slots=4), entries(2, 6)
    for column in range(6):
        made.append(0, keys[:, :, column : column + 1], -keys[:, :, column : column + 1])
        made.history.append(np.zeros(2, np.int64))
    for column in range(2, 6):  # of six columns the ring keeps four
        assert torch.equal(made.keys[0][:, :, column % 4], keys[:, :, column])
        assert torch.equal(made.values[0][:, :, column % 4], -keys[:, :, column])
    assert not made.keys[1].any(), "each layer has its own"


@pytest.mark.parametrize("length", [1, 3, 4, 6])
def test_many_at_once_are_kept_as_one_by_one(length: int) -> None:
    one, many, keys = cache(2, slots=4), cache(2, slots=4), entries(2, length)
    for column in range(length):
        one.append(1, keys[:, :, column : column + 1], keys[:, :, column : column + 1])
        one.history.append(np.zeros(2, np.int64))
    many.append(1, keys, keys)
    assert torch.equal(one.keys[1], many.keys[1]) and torch.equal(one.values[1], many.values[1])


def test_slots_lie_outermost_in_memory() -> None:
    made = cache(2, slots=4)
    assert made.keys[0].shape == (2, 3, 4, 4) and made.keys[0].permute(2, 0, 1, 3).is_contiguous()


def test_reordering_uses_the_storage_of_before() -> None:
    made = cache(3, slots=4)
    for layer in range(2):
        made.append(layer, entries(3, 1, layer), entries(3, 1, 2 + layer))
    made.taken = 1
    made.label = torch.arange(3.0)[:, None, None]
    places = {store.data_ptr() for store in (*made.keys, *made.values)}
    made.select(np.array([2, 0, 0]))
    first = {store.data_ptr() for store in (*made.keys, *made.values)}
    for layer in range(2):
        assert torch.equal(made.keys[layer][:, :, 0], entries(3, 1, layer)[[2, 0, 0], :, 0])
        assert torch.equal(made.values[layer][:, :, 0], entries(3, 1, 2 + layer)[[2, 0, 0], :, 0])
    assert made.label.flatten().tolist() == [2, 0, 0] and made.history.rows == 3
    assert len(first - places) == 1, "one store more serves all"
    made.select(np.array([1, 1, 2]))
    assert {store.data_ptr() for store in (*made.keys, *made.values)} <= first | places


def test_whole_groups_of_beams_are_dropped() -> None:
    config = replace(BASE, encoder_layers=1, pattern=Local1D(3, 4))
    model, batch = model_of(config), batch_of(config, rows=3)
    made = model.start(length=9, source=batch.source, beams=2)
    assert made.rows == 6 and made.source_lengths is not None and len(made.source_lengths) == 3
    made.select(np.array([4, 5, 0, 0]))
    assert made.rows == 4 and len(made.source_lengths) == 2
    alone = model.start(length=9, source=batch.source[[2, 0]], beams=2)  # type: ignore[index]
    torch.testing.assert_close(model.step(None, made), model.step(None, alone))
