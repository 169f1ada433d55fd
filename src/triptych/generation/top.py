"""The largest few of very many scores, exactly and in a fixed order, without sorting them all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.generation.protocol import Ids

BLOCK = 256  # ids whose maximum is compared first
Numbers = NDArray[np.float64]


def largest(scores: NDArray[np.floating[Any]], offset: Numbers, count: int) -> tuple[Numbers, Ids, Ids]:
    """Find the `count` largest of `scores + offset` in each group.

    Ties go to the lower beam, then to the lower id, so a result never depends on how the search was done.

    Only the maximum of every block of ids is compared first: the `count` largest scores lie in the `count` blocks
    with the largest maxima, so all the rest is never looked at again. Ties do not break this: when several blocks
    share the last maximum, the first of them are taken, and they hold the lowest ids that have it.

    Args:
        scores: [groups, beams, V], any floating type; not changed.
        offset: float64 [groups, beams], added to every score of its beam; -inf switches a beam off.
        count: how many, at most beams * V.

    Returns:
        values float64, beams int64, ids int64, each [groups, count], best first.

    Raises:
        FloatingPointError: a score of a beam that is not switched off is NaN; its argument is the group.
    """
    groups, beams, vocabulary = scores.shape
    whole = vocabulary // BLOCK
    tops = scores[:, :, : whole * BLOCK].reshape(groups, beams, whole, BLOCK).max(3)
    if whole * BLOCK < vocabulary:
        tops = np.concatenate([tops, scores[:, :, whole * BLOCK :].max(2, keepdims=True)], 2)
    broken = np.isnan(tops).any(2)
    if broken.any():
        if (broken & (offset > -np.inf)).any():
            raise FloatingPointError(int((broken & (offset > -np.inf)).any(1).argmax()))
        scores, tops = (np.where(broken[:, :, None], -np.inf, each) for each in (scores, tops))
    blocks = tops.shape[2]
    tops = (tops.astype(np.float64) + offset[:, :, None]).reshape(groups, -1)
    chosen = np.sort(_first_largest(tops, min(count, beams * blocks)), 1)  # in order of beam and id again
    beam = chosen // blocks
    ids = ((chosen - beam * blocks) * BLOCK)[:, :, None] + np.arange(BLOCK)  # [groups, blocks, BLOCK]
    places = (beam * vocabulary)[:, :, None] + np.minimum(ids, vocabulary - 1)
    values = np.take_along_axis(scores.reshape(groups, -1), places.reshape(groups, -1), 1).astype(np.float64)
    values += np.repeat(np.take_along_axis(offset, beam, 1), BLOCK, 1)
    ids = ids.reshape(groups, -1)
    values[ids >= vocabulary] = -np.inf
    found = _first_largest(values, count)
    # An id past the vocabulary is -inf, and found only where fewer ids are left than were asked for.
    best = np.minimum(np.take_along_axis(ids, found, 1), vocabulary - 1)
    return np.take_along_axis(values, found, 1), np.take_along_axis(beam, found // BLOCK, 1), best


def _first_largest(values: Numbers, count: int) -> Ids:
    """The places [groups, count] of the largest of `values` [groups, N], best first, ties to the lower place."""
    if count >= values.shape[1]:
        return (-values).argsort(1, kind="stable")[:, :count]
    falling = -values
    places = np.sort(falling.argpartition(count, 1)[:, : count + 1], 1)
    top = np.take_along_axis(falling, places, 1)
    order = top.argsort(1, kind="stable")
    top, places = np.take_along_axis(top, order, 1), np.take_along_axis(places, order, 1)
    # A tie across the edge, rare in float32, is settled by a full sort of the groups concerned.
    tied = (top[:, count - 1] == top[:, count]) & (top[:, count] < np.inf)
    places = places[:, :count]
    if tied.any():
        places[tied] = falling[tied].argsort(1, kind="stable")[:, :count]
    return places
