"""The keyboard event by event: against its definition."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.decode.steps.keyboard import AGE_SCALE, Keyboard

LAYOUT = (4, 5, 3)
OFF, SHIFT, VELOCITY, OTHER = 4, 8, 13, 16  # the first id of each kind, and one that changes nothing


def by_definition(ids: list[int]) -> tuple[dict[int, int], int, int]:
    """Key: for how long it is down; the time; the velocity."""
    struck: dict[int, int] = {}
    now, velocity = 0, -1
    for token in ids:
        if token < OFF:
            struck[token] = now
        elif token < SHIFT:
            struck.pop(token - OFF, None)
        elif token < VELOCITY:
            now += token - SHIFT + 1
        elif token < OTHER:
            velocity = token - VELOCITY
    return {key: now - at for key, at in struck.items()}, now, velocity


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, OTHER), min_size=12, max_size=12), min_size=1, max_size=3))
def test_features_are_the_keys_that_are_down_their_age_and_the_velocity(rows: list[list[int]]) -> None:
    board, ids = Keyboard(LAYOUT, len(rows)), np.array(rows)
    for place in range(ids.shape[1]):
        board.hear(ids[:, place])
        index, weights = board.features()
        for row, tokens in enumerate(rows):
            down, now, velocity = by_definition(tokens[: place + 1])
            want = np.zeros(2 * 4 + 3)
            for key, age in down.items():
                want[key], want[4 + key] = 1, np.log(age + 1) / AGE_SCALE
            if velocity >= 0:
                want[8 + velocity] = 1
            found = np.bincount(index[row], weights[row], minlength=11)
            np.testing.assert_allclose(found, want, atol=1e-12)
            assert board.now[row] == now


def test_rows_change_places() -> None:
    board = Keyboard(LAYOUT, 2)
    for ids in ([0, 1], [SHIFT, SHIFT + 2], [VELOCITY, VELOCITY + 1]):
        board.hear(np.array(ids))
    board.select(np.array([1, 1, 0]))
    assert board.struck.tolist() == [[-1, 0, -1, -1]] * 2 + [[0, -1, -1, -1]]
    assert board.now.tolist() == [3, 3, 1] and board.velocity.tolist() == [1, 1, 0]


def test_a_note_that_is_held_for_an_hour() -> None:
    board = Keyboard(LAYOUT, 1)
    board.hear(np.array([0]))
    for _ in range(80_000):
        board.hear(np.array([VELOCITY - 1]))
    assert board.now.tolist() == [400_000] and np.isfinite(board.features()[1]).all()
