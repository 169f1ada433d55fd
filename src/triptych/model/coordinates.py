"""Where queries and keys stand in pitch and time: for relations by coordinate (Huang et al. 2018, section 4.1).

The decoder's input is shifted by one: at position i it reads token i - 1 and predicts token i.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from triptych.attention.relation import ByCoordinate
from triptych.decode.history import History
from triptych.shape.config import Relative

# Of what is no pitch, as query and as key: no table reaches from there to a pitch, or from one to the other.
NO_PITCH = (2**20, -(2**20))


class Coordinates:
    """The coordinates of a relation; `unit`: positions of one step of time."""

    def __init__(self, relation: Relative, unit: int) -> None:
        self.pitches, self.unit, self.far = relation.intervals, unit, relation.far

    def whole(self, ids: Tensor, intervals: Tensor | None, steps: Tensor | None) -> list[ByCoordinate]:
        """Relations of all positions of ids [B, L], by tables of intervals and of steps: the pitch of the token that is
        read at each, and the time, for queries of the token that is predicted, for keys of the one that is read.
        """
        read = torch.cat((torch.full_like(ids[:, :1], self.pitches), ids[:, :-1]), 1)
        positions = torch.arange(ids.size(1), device=ids.device).expand_as(ids)
        return self._relations(read, read, positions, positions, intervals, steps)

    def step(
        self, history: History, slots: int, intervals: Tensor | None, steps: Tensor | None, device: torch.device
    ) -> list[ByCoordinate]:
        """Relations of the next position to all slots of a ring, in which position p lies in slot p % slots."""
        now = history.position
        held = now - (now - np.arange(slots)) % slots  # the latest position of each slot
        before = np.maximum(held - 1, 0)
        read = np.where(held >= 1, history.ids[:, before, 0], self.pitches)  # [rows, slots]
        key, query = torch.from_numpy(read).to(device), torch.from_numpy(read[:, now % slots, None]).to(device)
        positions = torch.from_numpy(held).to(device).expand_as(key)
        here = torch.full_like(query, now)
        return self._relations(query, key, here, positions, intervals, steps)

    def _relations(
        self, query: Tensor, key: Tensor, at: Tensor, positions: Tensor, intervals: Tensor | None, steps: Tensor | None
    ) -> list[ByCoordinate]:
        """Of ids that queries and keys have read, and of their positions."""
        found = []
        if intervals is not None:
            query, key = (
                ids.masked_fill(ids >= self.pitches, far) for ids, far in zip((query, key), NO_PITCH, strict=True)
            )
            found.append(ByCoordinate(intervals, query, key, far="zero"))
        if steps is not None:
            found.append(ByCoordinate(steps, at // self.unit, (positions - 1) // self.unit, far=self.far))
        return found
