import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from triptych.model.cache import Cache
from triptych.model.config import Config, Positions, Relative
from triptych.model.coordinates import of_step, of_targets

PITCHES = 9  # ids below it are pitches; 9 to 12 are not


def config_of(intervals: int, steps: int, voices: int = 4) -> Config:
    relation = Relative(5, intervals=intervals, steps=steps)
    return Config(13, width=8, heads=2, positions=Positions("none", grid=(voices,)), relation=relation)


def ids(rows: int, length: int, seed: int) -> Tensor:
    return torch.randint(13, (rows, length), generator=torch.Generator().manual_seed(seed))


def differences(pair: tuple[Tensor, Tensor] | None) -> Tensor:
    """Query minus key: [B, queries, keys]."""
    assert pair is not None
    query, key = pair
    assert query.dtype == key.dtype == torch.int64
    return query[:, :, None] - key[:, None]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(1, 14), st.sampled_from([1, 3, 4]), st.integers(0, 2**31))
def test_a_position_stands_where_the_token_it_reads_stands(rows: int, length: int, voices: int, seed: int) -> None:
    target = ids(rows, length, seed)
    found = of_targets(config_of(PITCHES, 6, voices), target)
    assert found is not None
    intervals, steps = differences(found.intervals), differences(found.steps)
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
    config, target = config_of(PITCHES, 6), ids(rows, length, seed)
    whole = of_targets(config, target)
    assert whole is not None
    like = torch.zeros(1)
    cache = Cache.allocate(layers=1, rows=rows, beams=1, slots=slots, heads=2, head_width=4, like=like)
    cache.pitches = torch.zeros(rows, slots, dtype=torch.int64)
    for position in range(length):
        cache.position = position
        step = of_step(config, None if position == 0 else target[:, position - 1], cache)
        assert step is not None
        held = torch.arange(max(0, position + 1 - slots), position + 1)
        for now, then in ((step.intervals, whole.intervals), (step.steps, whole.steps)):
            assert then is not None
            alone = differences(now)[:, 0, held % slots]
            torch.testing.assert_close(alone, differences(then)[:, position, held])


@pytest.mark.parametrize(("intervals", "steps"), [(PITCHES, 0), (0, 3), (0, 0)])
def test_what_the_relation_does_not_ask_for_is_not_made(intervals: int, steps: int) -> None:
    config, target = config_of(intervals, steps), ids(1, 4, 0)
    cache = Cache.allocate(layers=1, rows=1, beams=1, slots=4, heads=2, head_width=4, like=torch.zeros(1))
    cache.pitches = torch.zeros(1, 4, dtype=torch.int64)
    for found in (of_targets(config, target), of_step(config, None, cache)):
        assert (found is None) == (not intervals and not steps)
        assert found is None or (found.intervals is None) == (not intervals)
        assert found is None or (found.steps is None) == (not steps)
    assert of_targets(Config(13, width=8, heads=2), target) is None
    assert of_step(Config(13, width=8, heads=2), None, cache) is None
