"""The kinds of relations, on arrays of numpy: which row a query and a key have."""

from typing import Any

import numpy as np
import pytest
import torch

from triptych.decode.history import MISSING
from triptych.shape.relations import RELATIONS, ByDistance, ByPitch, ByTime, Difference, Layer, RelationSettings

DECODER, ENCODER = Layer(causal=True, first=True), Layer(causal=False, first=False)
POSITIONS = np.arange(5)[None]
READ = np.array([[[MISSING], [3], [0], [7], [2]]])  # 7 is no pitch


def rows(relation: RelationSettings, layer: Layer = DECODER) -> Any:
    query, key = relation.coordinates(POSITIONS, READ) if relation.reads else (POSITIONS, POSITIONS)
    return relation.row(layer)(query[:, :, None], key[:, None])[0]


def test_distance() -> None:
    assert rows(ByDistance(3))[4].tolist() == [4, 3, 2, 1, 0]
    assert rows(ByDistance(3), ENCODER)[1].tolist() == [3, 2, 1, 0, -1]


def test_pitch() -> None:
    found, inside = rows(ByPitch(5)), range(2 * 5 - 1)
    assert found[1, [1, 2, 4]].tolist() == [4, 7, 5]
    assert all(row not in inside for row in [*found[[0, 3]].ravel(), *found[:, [0, 3]].ravel()])


def test_time() -> None:
    assert rows(ByTime(3, unit=2))[4].tolist() == [2 + 2 + 1, 2 + 2, 2 + 2, 2 + 1, 2 + 1]


@pytest.mark.parametrize("relation", [ByDistance(3), ByPitch(5), ByTime(3, unit=2)])
def test_numpy_and_torch_agree(relation: RelationSettings) -> None:
    ours = relation.coordinates(POSITIONS, READ)
    theirs = relation.coordinates(torch.from_numpy(POSITIONS), torch.from_numpy(READ))
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == np.int64 and other.dtype == torch.int64 and one.tolist() == other.tolist()


def test_every_kind_is_tested_here() -> None:
    assert list(RELATIONS.values()) == [ByDistance, ByPitch, ByTime]
    assert Difference(2)(5, 3) == 4
