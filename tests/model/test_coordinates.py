"""Coordinates of pitch and time: by definition, and step by step."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from triptych.attention.relation import ByCoordinate
from triptych.decode.history import History
from triptych.model.coordinates import Coordinates
from triptych.shape.config import Relative

PITCHES = 9  # ids below it are pitches; 9 to 12 are not
TABLE = torch.zeros(2, 17, 4)


def ids(rows: int, length: int, seed: int) -> Tensor:
    return torch.randint(13, (rows, length), generator=torch.Generator().manual_seed(seed))


def differences(relation: ByCoordinate) -> Tensor:
    """Query minus key: [B, queries, keys]."""
    assert relation.query.dtype == relation.key.dtype == torch.int64
    return relation.query[:, :, None] - relation.key[:, None]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(1, 14), st.sampled_from([1, 3, 4]), st.integers(0, 2**31))
def test_a_position_stands_where_the_token_it_reads_stands(rows: int, length: int, voices: int, seed: int) -> None:
    target = ids(rows, length, seed)
    found = Coordinates(Relative(5, intervals=PITCHES, steps=6), voices).whole(target, TABLE, TABLE)
    intervals, steps = map(differences, found)
    read = [[None, *row[:-1]] for row in target.tolist()]  # the first position reads nothing
    for row in range(rows):
        for query in range(length):
            for key in range(length):
                one, other = read[row][query], read[row][key]
                if one is None or other is None or max(one, other) >= PITCHES:
                    assert abs(int(intervals[row, query, key])) >= PITCHES, "no row of the table"
                else:
                    assert intervals[row, query, key] == one - other
                # The query predicts token `query`, and the key has read token key - 1.
                assert steps[row, query, key] == query // voices - (key - 1) // voices


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(1, 14), st.sampled_from([14, 6]), st.integers(0, 2**31))
def test_steps_equal_the_whole_pass(rows: int, length: int, slots: int, seed: int) -> None:
    coordinates, target = Coordinates(Relative(5, intervals=PITCHES, steps=6), 4), ids(rows, length, seed)
    whole = list(map(differences, coordinates.whole(target, TABLE, TABLE)))
    history = History(rows, length)
    for position in range(length):
        if position:
            history.append(target[:, position - 1].numpy())
        step = coordinates.step(history, slots, TABLE, TABLE, torch.device("cpu"))
        held = np.arange(max(0, position + 1 - slots), position + 1)
        for now, then in zip(step, whole, strict=True):
            assert torch.equal(differences(now)[:, 0, held % slots], then[:, position, held])


@pytest.mark.parametrize(("intervals", "steps"), [(PITCHES, 0), (0, 3), (0, 0)])
def test_what_the_relation_does_not_ask_for_is_not_made(intervals: int, steps: int) -> None:
    tables = TABLE if intervals else None, TABLE if steps else None
    coordinates = Coordinates(Relative(5, intervals=intervals, steps=steps), 4)
    history = History(1, 4)
    for found in (
        coordinates.whole(ids(1, 4, 0), *tables),
        coordinates.step(history, 4, *tables, torch.device("cpu")),
    ):
        assert len(found) == bool(intervals) + bool(steps)
