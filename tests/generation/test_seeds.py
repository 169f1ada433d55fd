"""Uniform numbers: the definition in plain integers, independence of rows, and that they are uniform."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triptych.errors import UserError
from triptych.generation.seeds import derive, row_keys, uniforms

WORD = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(word: int) -> int:
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & WORD
    return word ^ (word >> 31)


def in_integers(seed: int, row: int, step: int) -> float:
    key = mix(mix((seed + GOLDEN) & WORD) + (row + 1) * GOLDEN & WORD)
    return (mix(key + (step + 1) * GOLDEN & WORD) >> 11) / 2**53


@pytest.mark.parametrize("seed", [0, 1, 12345, WORD])
def test_the_numbers_are_the_documented_ones(seed: int) -> None:
    keys = row_keys(seed, 3)
    for step in (0, 1, 5000):
        both = [[in_integers(seed, row, at) for row in range(3)] for at in (step, step + 1)]
        assert uniforms(keys, range(step, step + 2)).tolist() == both


def test_mix_is_splitmix64() -> None:
    """SplitMix64 seeded with 0 gives these first outputs (the generator's published test vector)."""
    assert [mix(GOLDEN * n & WORD) for n in (1, 2, 3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_a_row_does_not_depend_on_the_number_of_rows() -> None:
    assert np.array_equal(uniforms(row_keys(7, 10), range(3))[:, :4], uniforms(row_keys(7, 4), range(3)))


@given(st.integers(0, WORD), st.lists(st.integers(0, WORD), max_size=3), st.integers(0, 2**40))
def test_derived_seeds_are_the_documented_ones(seed: int, indices: list[int], last: int) -> None:
    expected = seed
    for index in indices:
        expected = mix(mix((expected + GOLDEN) & WORD) + (index + 1) * GOLDEN & WORD)
    assert derive(seed, *indices) == expected
    assert derive(seed, *indices, last) == derive(derive(seed, *indices), last)


def test_a_row_draws_from_the_seed_that_is_derived_for_it() -> None:
    assert row_keys(5, 3).tolist() == [derive(5, row) for row in range(3)]
    together = uniforms(row_keys([derive(5, 2), derive(9, 0)], 2), range(2, 3))[0]
    assert together.tolist() == [
        uniforms(row_keys(5, 3), range(2, 3))[0, 2],
        uniforms(row_keys(9, 1), range(2, 3))[0, 0],
    ]


def test_they_are_uniform_and_uncorrelated_over_rows_steps_and_seeds() -> None:
    drawn = np.stack([uniforms(row_keys(seed, 40), range(40)) for seed in range(20)])
    assert drawn.min() >= 0 and drawn.max() < 1
    counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
    expected = drawn.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 45  # chi-squared, 19 degrees of freedom: p < 0.001
    middle = drawn - 0.5
    for dim in range(3):
        along = np.moveaxis(middle, dim, 0)
        neighbours = (along[1:] * along[:-1]).mean()
        assert abs(neighbours) < 4 / 12 / drawn.size**0.5


@pytest.mark.parametrize("seed", [-1, 1 << 64, [1, 2], [1, 2, -3]])
def test_bad_seeds(seed: int | list[int]) -> None:
    with pytest.raises(UserError, match="seed"):
        row_keys(seed, 3)


def test_a_bad_seed_is_not_derived_from() -> None:
    for bad in ((-1, 3), (3, -1), (3, 1 << 64)):
        with pytest.raises(UserError, match="seed"):
            derive(*bad)
