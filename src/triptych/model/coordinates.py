"""Where queries and keys stand in pitch and time: for relations by coordinate (Huang et al. 2018, section 4.1).

The decoder's input is shifted by one: at position i it reads token i - 1 and predicts token i.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.model.cache import Cache
from triptych.model.config import Config

# Of what is no pitch, as query and as key: no table reaches from there to a pitch, or from one to the other.
NO_PITCH = (2**20, -(2**20))


@dataclass(frozen=True)
class Coordinates:
    """Coordinates of queries and keys, int64 [B, queries] and [B, keys], as far as the relation asks for them."""

    intervals: tuple[Tensor, Tensor] | None = None
    steps: tuple[Tensor, Tensor] | None = None


def of_targets(config: Config, target: Tensor) -> Coordinates | None:
    """Coordinates of all positions of target [B, L]: the pitch of the token that is read there, and the time, for
    queries of the token that is predicted, for keys of the one that is read.
    """
    relation = config.relation
    if relation is None or not (relation.intervals or relation.steps):
        return None
    intervals = steps = None
    if relation.intervals:
        query, key = (_pitch(target[:, :-1], relation.intervals, far) for far in NO_PITCH)
        first = [torch.full_like(target[:, :1], far) for far in NO_PITCH]
        intervals = torch.cat((first[0], query), 1), torch.cat((first[1], key), 1)
    if relation.steps:
        positions = torch.arange(target.size(1), device=target.device).expand_as(target)
        steps = positions // config.positions.grid[0], (positions - 1) // config.positions.grid[0]
    return Coordinates(intervals, steps)


def of_step(config: Config, ids: Tensor | None, cache: Cache) -> Coordinates | None:
    """Coordinates of one query against all slots of the cache; the pitch of `ids` [rows], just read, joins it."""
    relation = config.relation
    if relation is None or not (relation.intervals or relation.steps):
        return None
    intervals = steps = None
    position, slots = cache.position, cache.slots
    if relation.intervals:
        assert cache.pitches is not None
        read = cache.pitches.new_full((cache.rows,), 2**24) if ids is None else ids
        query, key = (_pitch(read, relation.intervals, far) for far in NO_PITCH)
        cache.pitches[:, position % slots] = key
        intervals = query[:, None], cache.pitches
    if relation.steps:
        device = cache.keys[0].device
        held = position - (position - torch.arange(slots, device=device)) % slots
        now = torch.full((cache.rows, 1), position // config.positions.grid[0], device=device)
        steps = now, ((held - 1) // config.positions.grid[0]).expand(cache.rows, slots)
    return Coordinates(intervals, steps)


def _pitch(ids: Tensor, pitches: int, far: int) -> Tensor:
    return ids.masked_fill(ids >= pitches, far)
