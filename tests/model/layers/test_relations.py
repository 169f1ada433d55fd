"""The relations of a layer: their coordinates by definition, step by step, and their tables."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from triptych.attention.relation import Relation
from triptych.decode.history import History
from triptych.model.layers.relations import Relations
from triptych.shape.config import Config
from triptych.shape.relations import ByDistance, ByPitch, ByTime, Layer, RelationSettings

PITCHES = 9  # ids below it are pitches; 9 to 12 are not
CPU = torch.device("cpu")


def relations(*kinds: RelationSettings, causal: bool = True, first: bool = True) -> Relations:
    return Relations(Config(13, width=8, heads=2, relations=kinds), Layer(causal, first))


def ids(rows: int, length: int, seed: int) -> Tensor:
    return torch.randint(13, (rows, length), generator=torch.Generator().manual_seed(seed))


def rows_of(relation: Relation, length: int) -> Tensor:
    """The rows of the table, not limited: [B, queries, keys]."""
    return relation.rows(torch.arange(length), torch.arange(length))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(1, 14), st.sampled_from([1, 3, 4]), st.integers(0, 2**31))
def test_coordinates_are_those_of_the_token_that_a_position_reads(rows: int, length: int, unit: int, seed: int) -> None:
    target = ids(rows, length, seed)
    of_distance, of_pitch, of_time = relations(ByDistance(5), ByPitch(PITCHES), ByTime(6, unit=unit)).whole(target)
    assert of_pitch.far == "zero" and of_distance.offset == 0 and of_pitch.offset is of_time.offset is None
    distances, pitches, times = (rows_of(each, length) for each in (of_distance, of_pitch, of_time))
    read = [[None, *row[:-1]] for row in target.tolist()]  # the first position reads nothing
    for row in range(rows):
        for query in range(length):
            for key in range(length):
                assert distances[0, query, key] == query - key
                one, other = read[row][query], read[row][key]
                if one is None or other is None or max(one, other) >= PITCHES:
                    assert not 0 <= int(pitches[row, query, key]) < 2 * PITCHES - 1, "no row of the table"
                else:
                    assert pitches[row, query, key] == PITCHES - 1 + one - other
                # The query predicts token `query`, and the key has read token key - 1.
                assert times[row, query, key] == 5 + query // unit - (key - 1) // unit


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(1, 14), st.sampled_from([14, 6]), st.integers(0, 2**31))
def test_steps_equal_the_whole_pass(rows: int, length: int, slots: int, seed: int) -> None:
    made, target = relations(ByPitch(PITCHES), ByTime(6, unit=4)), ids(rows, length, seed)
    whole = [rows_of(each, length) for each in made.whole(target)]
    history = History(rows, length)
    for position in range(length):
        if position:
            history.append(target[:, position - 1].numpy())
        held = np.arange(max(0, position + 1 - slots), position + 1)
        for now, then in zip(made.step(history, slots, CPU), whole, strict=True):
            got = now.rows(torch.tensor([0]), torch.arange(slots))[:, 0, held % slots]
            assert torch.equal(got, then[:, position, held])


@pytest.mark.parametrize(
    ("layer", "rows"),
    [
        (Layer(causal=True, first=True), {"distance": 5, "pitch": 17, "time": 11}),
        (Layer(causal=True, first=False), {"distance": 5}),
        (Layer(causal=False, first=False), {"distance": 9}),
    ],
)
def test_each_layer_has_its_tables(layer: Layer, rows: dict[str, int]) -> None:
    made = relations(ByDistance(5), ByPitch(PITCHES), ByTime(6), causal=layer.causal, first=layer.first)
    assert {kind: table.shape for kind, table in made.items()} == {kind: (2, size, 4) for kind, size in rows.items()}
    assert len(made.whole(ids(1, 4, 0))) == len(made.step(History(1, 4), 4, CPU)) == len(rows)
    assert made.whole(ids(1, 4, 0))[0].offset == (0 if layer.causal else 4)
