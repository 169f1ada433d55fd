import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.generation.sampling import Sampling, draw, masked, probabilities


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    vocabulary=st.integers(1, 300),
    temperature=st.sampled_from([0.0, 1e-300, 0.5, 1.0, 1.7]),
    top_k=st.sampled_from([0, 1, 5, 1000]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.01]),
    min_p=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    restricted=st.booleans(),
    alike=st.booleans(),
    uniform=st.floats(0, 1 - 2.0**-53),
)
def test_draws_follow_the_distribution(
    seed: int,
    vocabulary: int,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    restricted: bool,
    alike: bool,
    uniform: float,
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, vocabulary) if alike else rng.normal(size=vocabulary) * 2  # many of the same, or none
    logits = scores.astype(np.float32)[None]
    mask = rng.random(vocabulary) < 0.5
    mask[rng.integers(vocabulary)] = True
    allowed = mask[None] if restricted else None
    sampling = Sampling(temperature, top_k, top_p, min_p)
    cumulative = probabilities(logits, sampling, allowed)[0].cumsum()
    mark = uniform * cumulative[-1]
    assume(mark == 0 or np.abs(cumulative - mark).min() > 1e-12)  # nearer, either side would be right
    drawn = draw(masked(logits, allowed), sampling, np.array([uniform]))
    assert drawn.shape == (1,) and drawn.dtype == np.int64
    assert drawn == cumulative.searchsorted(mark, side="right")
    beside = np.concatenate([logits[:, ::-1], logits])
    both = None if allowed is None else np.concatenate([allowed[:, ::-1], allowed])
    assert draw(masked(beside, both), sampling, np.array([0.5, uniform]))[1] == drawn  # among others as alone


@pytest.mark.parametrize("count", range(2, 80))
def test_of_equal_ones_the_smallest_set_that_holds_the_share(count: int) -> None:
    logits, half = np.full((1, count), 0.7), Sampling(top_p=0.5)
    kept = (probabilities(logits, half)[0] > 0).tolist()
    assert kept == [place < (count + 1) // 2 for place in range(count)]
    assert draw(logits, half, np.array([1 - 2.0**-53])) == kept.count(True) - 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_rows_are_named(value: float) -> None:
    logits = np.zeros((2, 3))
    logits[1] = value
    with pytest.raises(UserError, match="NaN or infinite at position 4, row 1"):
        masked(logits, None, position=4)


def test_log_probabilities_may_be_as_far_apart_as_numbers_are() -> None:
    assert draw(masked(np.array([[-1e308, 1e308, 0.0]]), None), Sampling(), np.array([0.9])) == 1


def test_where_nothing_is_allowed_the_row_is_named() -> None:
    with pytest.raises(UserError, match=r"expected allow to permit a token .* row 1"):
        masked(np.zeros((2, 3)), np.array([[True] * 3, [False] * 3]))


def test_what_is_given_stays_what_it_is() -> None:
    logits = np.array([[0.5, 0.0, 2.0]])
    before = logits.copy()
    scores = masked(logits, np.array([[True, False, True]]))
    kept = scores.copy()
    draw(scores, Sampling(0.5, 2, 0.9, 0.1), np.array([0.5]))
    assert np.array_equal(logits, before) and np.array_equal(scores, kept)
