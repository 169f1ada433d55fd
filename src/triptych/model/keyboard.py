"""What a player feels without looking back: which keys are down, for how long already, and how loud the last one was.

All this follows from the events before, but attention has to find the one event of hundreds that pressed a key, and to
know that none since has released it. A sum at the input tells it to every layer (as Peracha 2019 does for the run
lengths of chorales).

Shapes in comments: B rows, L positions, K keys, V velocities, F = 2 K + V features, W width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

UNHEARD = -1
AGE_SCALE = 4  # a held key is told by the logarithm of its shifts through this: in 10 ms, half a second is then about 1


@dataclass
class Keys:
    """The keyboard after the events so far: when each key that is down was struck, int64 [rows, K], else -1; the time
    [rows], both in the unit of a shift; the last velocity [rows], -1 before there is one.
    """

    struck: Tensor
    now: Tensor
    velocity: Tensor

    @classmethod
    def silent(cls, rows: int, keys: int, device: torch.device) -> Keys:
        """A keyboard on which nothing was played."""
        struck, now, velocity = (torch.full(size, UNHEARD, device=device) for size in ((rows, keys), (rows,), (rows,)))
        return cls(struck, now + 1, velocity)

    def select(self, rows: Tensor) -> None:
        """Row r continues the old row `rows[r]`."""
        self.struck, self.now, self.velocity = self.struck[rows], self.now[rows], self.velocity[rows]


class Keyboard(nn.Module):
    """Tells each position of events the keyboard as it is after the event that is read there.

    layout (`Positions.keyboard`): numbers of keys K, of time shifts and of velocities V. Ids are, in this order: K that
    press a key, K that release it, shifts of time by 1, 2, ..., velocities; others change nothing.
    """

    def __init__(self, layout: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.keys, self.shifts, self.velocities = layout
        # A vector for each key that is down, one to be multiplied by how long, and one for each velocity.
        self.vectors = nn.Embedding(2 * self.keys + self.velocities, width)

    def initialize(self) -> None:
        """Nothing is told at first, so that a trained model that is given a keyboard stays what it is."""
        nn.init.zeros_(self.vectors.weight)

    def forward(self, ids: Tensor) -> Tensor:
        """What is told after each of ids [B, L]: [B, L, W]."""
        return self._told(self._through(ids))

    def _through(self, ids: Tensor) -> Keys:
        """The keyboard after each of ids [B, L], all at once."""
        index = torch.arange(ids.size(1), device=ids.device)[:, None]
        key, now = torch.arange(self.keys, device=ids.device), self._shift(ids).cumsum(1)
        pressed, released = (ids[..., None] == key + first for first in (0, self.keys))  # [B, L, K]
        last, up = (index.where(event, UNHEARD).cummax(1).values for event in (pressed, released))
        struck = now[..., None].where(pressed, UNHEARD).cummax(1).values
        velocity = self._velocity(ids)
        latest = index[:, 0].where(velocity >= 0, UNHEARD).cummax(1).values
        velocity = velocity.gather(1, latest.clamp(min=0))  # at 0 before the first, which is then no velocity
        return Keys(struck.where(last > up, UNHEARD), now, velocity)

    def after(self, ids: Tensor) -> Keys:
        """The keyboard after ids [rows, L], L from 1."""
        keys = self._through(ids)
        return Keys(keys.struck[:, -1], keys.now[:, -1], keys.velocity[:, -1])

    def _hear(self, ids: Tensor, keys: Keys) -> None:
        """One more event in each row: ids [rows]."""
        keys.now = keys.now + self._shift(ids)
        of_a_key = ids < 2 * self.keys
        at = ids.where(of_a_key, 0)[:, None] % self.keys
        after = keys.now.where(ids < self.keys, UNHEARD)[:, None]
        keys.struck = keys.struck.scatter(1, at, after.where(of_a_key[:, None], keys.struck.gather(1, at)))
        velocity = self._velocity(ids)
        keys.velocity = velocity.where(velocity >= 0, keys.velocity)

    def step(self, ids: Tensor, keys: Keys) -> Tensor:
        """What is told after ids [rows], which join the keys: [rows, W]."""
        self._hear(ids, keys)
        return self._told(keys)

    def _told(self, keys: Keys) -> Tensor:
        """[..., W] of keys struck [..., K], now [...] and velocity [...]."""
        weight = self.vectors.weight
        down = keys.struck >= 0
        # Held notes differ by their ratio, not by their difference.
        age = (keys.now[..., None] - keys.struck).where(down, 0).double().log1p().to(weight.dtype) / AGE_SCALE
        loud = keys.velocity[..., None] == torch.arange(self.velocities, device=weight.device)
        features = torch.cat((down.to(weight.dtype), age, loud.to(weight.dtype)), -1)  # [..., F]
        return features @ weight * math.sqrt(weight.size(1))

    def _shift(self, ids: Tensor) -> Tensor:
        """By how much each id moves the clock."""
        shift = ids - 2 * self.keys + 1
        return shift.where((shift > 0) & (shift <= self.shifts), 0)

    def _velocity(self, ids: Tensor) -> Tensor:
        """The velocity that each id sets, or -1."""
        velocity = ids - 2 * self.keys - self.shifts
        return velocity.where((velocity >= 0) & (velocity < self.velocities), UNHEARD)


@dataclass
class SingleKeys:
    """`Keys` of one sequence alone, in the same units: struck int64 [K], -1 for keys that are up."""

    struck: NDArray[np.int64]
    now: int = 0
    velocity: int = UNHEARD

    def follow(self, keys: Keys) -> None:
        """Go on after events that were taken at once."""
        self.struck[:] = keys.struck[0].cpu().numpy()
        self.now, self.velocity = int(keys.now), int(keys.velocity)


class SingleKeyboard:
    """The steps of a `Keyboard` for one sequence, in numpy: of two hundred features few are not 0, and a call of torch
    costs more than their sum.
    """

    def __init__(self, keyboard: Keyboard) -> None:
        weight = keyboard.vectors.weight.detach()
        self.keys, self.shifts, self.like = keyboard.keys, keyboard.shifts, weight
        self.table = (weight.double() * math.sqrt(weight.size(1))).cpu().numpy()

    def start(self) -> SingleKeys:
        """A keyboard on which nothing was played."""
        return SingleKeys(np.full(self.keys, UNHEARD))

    def step(self, event: int, keys: SingleKeys) -> Tensor:
        """What is told after an event, which joins the keys: [1, W]."""
        shift, velocity = event - 2 * self.keys + 1, event - 2 * self.keys - self.shifts
        if event < 2 * self.keys:
            keys.struck[event % self.keys] = keys.now if event < self.keys else UNHEARD
        elif shift <= self.shifts:
            keys.now += shift
        elif velocity < len(self.table) - 2 * self.keys:
            keys.velocity = velocity
        down = np.flatnonzero(keys.struck >= 0)
        age = np.log1p(keys.now - keys.struck[down]) / AGE_SCALE
        told = self.table[down].sum(0) + age @ self.table[self.keys + down]
        if keys.velocity >= 0:
            told += self.table[2 * self.keys + keys.velocity]
        return torch.from_numpy(told)[None].to(self.like)
