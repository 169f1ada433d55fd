"""Uniform numbers that depend on (seed, row, step) alone: no state, the same on every machine and in every batch."""

from collections.abc import Sequence

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from triptych.errors import UserError, shown

Words = NDArray[numpy.uint64]

# Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014: the constants of SplitMix64
_GOLDEN = numpy.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = numpy.uint64(0xBF58476D1CE4E5B9), numpy.uint64(0x94D049BB133111EB)
_SEEDS = 1 << 64


def row_keys(seed: int | Sequence[int], rows: int) -> Words:
    """Return one 64-bit key a row.

    One `seed` gives row r the key of (seed, r); a sequence of `rows` seeds gives row r the key of (seed[r], 0), which
    is what this row has when it is generated alone.
    """
    seeds = [seed] if isinstance(seed, int) or not isinstance(seed, Sequence) else list(seed)
    if any(isinstance(one, bool) or not isinstance(one, int | numpy.integer) for one in seeds):
        raise UserError(f"seed must be a whole number, or one for each row; got {shown(seed)}.")
    if any(not 0 <= one < _SEEDS for one in seeds):
        raise UserError(f"seed must lie between 0 and 2**64 - 1; got {next(s for s in seeds if not 0 <= s < _SEEDS)}.")
    if isinstance(seed, int):
        base = numpy.full(rows, seed, dtype=numpy.uint64)
        index = numpy.arange(rows, dtype=numpy.uint64)
    else:
        if len(seeds) != rows:
            raise UserError(f"expected one seed, or one for each of {rows} rows; got {len(seeds)}.")
        base = numpy.array(seeds, dtype=numpy.uint64)
        index = numpy.zeros(rows, dtype=numpy.uint64)
    return _mix(_mix(base + _GOLDEN) + (index + numpy.uint64(1)) * _GOLDEN)


def uniforms(keys: Words, steps: range) -> Tensor:
    """Return float64 [steps, rows] in [0, 1), a multiple of 2**-53 each."""
    words = _mix(keys + (numpy.array(steps, dtype=numpy.uint64)[:, None] + numpy.uint64(1)) * _GOLDEN)
    return torch.from_numpy((words >> numpy.uint64(11)).astype(numpy.float64) * 2.0**-53)


def _mix(words: Words) -> Words:
    """SplitMix64's finalizer: a bijection of 64-bit words in which every input bit moves half the output bits."""
    words = (words ^ (words >> numpy.uint64(30))) * _FIRST
    words = (words ^ (words >> numpy.uint64(27))) * _SECOND
    return words ^ (words >> numpy.uint64(31))
