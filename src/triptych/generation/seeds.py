"""Seeds and uniform numbers: pure functions of (seed, indices, step), the same on every machine and in every batch.

SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA): a counter through a
64-bit finalizer, so that any number of any stream is computed directly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, shown

Words = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SEEDS = 1 << 64


def derive(seed: int, *indices: int) -> int:
    """The seed of part `indices` of what `seed` draws: of row 3, or of piece 2 of batch 7.

    `derive(seed, a, b) == derive(derive(seed, a), b)`; different indices give different seeds for all practical
    purposes (64 bits). Raises UserError unless 0 <= seed < 2**64.
    """
    for index in indices:
        seed = int(_derived(_checked([seed]), _checked([index]))[0])
    return int(_checked([seed])[0])


def row_keys(seed: int | Sequence[int], rows: int) -> Words:
    """One 64-bit key a row: `derive(seed, row)` of one seed, or the seeds themselves if there is one for each row.

    Raises UserError for a seed outside 0 to 2**64 - 1, or another number of seeds than rows.
    """
    if not isinstance(seed, Sequence):
        return _derived(_checked([seed]), np.arange(rows, dtype=np.uint64))
    if len(seed) != rows:
        raise UserError(f"expected one seed, or one for each of {rows} rows, got {len(seed)}")
    return _checked(seed)


def uniforms(keys: Words, steps: range) -> NDArray[np.float64]:
    """Uniform numbers [steps, rows] in [0, 1), each a multiple of 2**-53, of the keys [rows]."""
    words = _mix(keys + (np.array(steps, np.uint64)[:, None] + np.uint64(1)) * _GOLDEN)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _checked(seeds: Sequence[int]) -> Words:
    odd = [seed for seed in seeds if isinstance(seed, bool) or not isinstance(seed, int | np.integer)]
    if odd:
        raise UserError(f"expected a seed to be a whole number, got {shown(odd[0])}; give one, or one for each row")
    wrong = [seed for seed in seeds if not 0 <= seed < _SEEDS]
    if wrong:
        raise UserError(f"expected a seed from 0 to 2**64 - 1, got {wrong[0]}; choose another")
    return np.array(seeds, np.uint64)


def _derived(seeds: Words, indices: Words) -> Words:
    """Word `index` of the stream of each seed; both broadcast."""
    return _mix(_mix(seeds + _GOLDEN) + (indices + np.uint64(1)) * _GOLDEN)


def _mix(words: Words) -> Words:
    """SplitMix64's finalizer: a bijection of 64-bit words in which every input bit moves half the output bits."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))
