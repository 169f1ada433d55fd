import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from triptych.generation import single
from triptych.generation.sample import Sampling, probabilities


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    vocabulary=st.integers(1, 300),
    temperature=st.sampled_from([0.0, 1e-300, 0.5, 1.0, 1.7]),
    top_k=st.sampled_from([0, 1, 5, 1000]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.01]),
    min_p=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    masked=st.booleans(),
    alike=st.booleans(),
    uniform=st.floats(0, 1 - 2.0**-53),
)
def test_draws_what_the_distribution_says(
    seed: int,
    vocabulary: int,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    masked: bool,
    alike: bool,
    uniform: float,
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, vocabulary) if alike else rng.normal(size=vocabulary) * 2  # many of the same, or none
    logits = torch.from_numpy(scores.astype(np.float32))[None]
    mask = rng.random(vocabulary) < 0.5
    mask[rng.integers(vocabulary)] = True
    allowed = torch.from_numpy(mask)[None] if masked else None
    sampling = Sampling(temperature, top_k, top_p, min_p)
    cumulative = probabilities(logits, sampling, allowed)[0].cumsum(0).numpy()
    mark = uniform * cumulative[-1]
    assume(mark == 0 or np.abs(cumulative - mark).min() > 1e-12)  # nearer, either side would be right
    drawn = single.draw(logits, sampling, allowed, uniform)
    assert drawn is not None and drawn.shape == (1,) and drawn.dtype == np.int64
    assert drawn == cumulative.searchsorted(mark, side="right")


@pytest.mark.parametrize("count", range(2, 80))
def test_of_equal_ones_the_smallest_set_that_holds_the_share(count: int) -> None:
    logits, half = torch.full((1, count), 0.7), Sampling(top_p=0.5)
    kept = (probabilities(logits, half)[0] > 0).tolist()
    assert kept == [place < (count + 1) // 2 for place in range(count)]
    assert single.draw(logits, half, None, 1 - 2.0**-53) == kept.count(True) - 1


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_gives_nothing_of_broken_logits(value: float) -> None:
    assert single.draw(torch.tensor([[0.0, value, 1.0]]), Sampling(), None, 0.5) is None


def test_logits_may_be_as_far_apart_as_numbers_are() -> None:
    assert single.draw(torch.tensor([[-1e308, 1e308, 0.0]], dtype=torch.float64), Sampling(), None, 0.9) == 1


def test_gives_nothing_where_nothing_is_allowed() -> None:
    assert single.draw(torch.zeros(1, 3), Sampling(), torch.zeros(1, 3, dtype=torch.bool), 0.5) is None


def test_the_logits_stay_what_they_are() -> None:
    logits = torch.tensor([[0.5, 0.0, 2.0]], dtype=torch.float64)
    before = logits.clone()
    single.draw(logits, Sampling(0.5, 2, 0.9, 0.1), torch.tensor([[True, False, True]]), 0.5)
    assert torch.equal(logits, before)


@pytest.mark.parametrize(("rows", "vocabulary", "fitting"), [(1, 1024, True), (2, 8, False), (1, 1025, False)])
def test_is_for_one_row_of_a_small_vocabulary(rows: int, vocabulary: int, fitting: bool) -> None:
    assert single.fits(torch.zeros(rows, vocabulary)) == fitting
