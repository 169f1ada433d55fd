"""What stood here one period ago, and how long it had been so: the last note of the same voice, the same channel of the
pixel before. Attention can find it, but a sum at the input gives it to every layer from the first update on.

The run length is after Peracha 2019, "Improving Polyphonic Music Models with Feature-Rich Encoding"; the period is
`positions.grid[0]`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from triptych.model.config import Config


@dataclass
class Recent:
    """The tokens of the last period and how often each had stood in its place before: int64 [rows, period] each."""

    ids: Tensor
    runs: Tensor

    @classmethod
    def nothing(cls, rows: int, period: int, device: torch.device) -> Recent:
        """What a step before the first remembers."""
        return cls(*(torch.full((rows, period), fill, device=device) for fill in (-1, 0)))

    def append(self, ids: Tensor, position: int) -> None:
        """Remember ids [rows], the tokens at `position`."""
        place = position % self.ids.size(1)
        self.runs[:, place] = torch.where(ids == self.ids[:, place], self.runs[:, place] + 1, 0)
        self.ids[:, place] = ids

    def select(self, rows: Tensor) -> None:
        """Row r continues the old row `rows[r]`."""
        self.ids, self.runs = self.ids[rows], self.runs[rows]


class Recall(nn.Module):
    """Vectors of the token one period back and of its run; in the first period there is none, and they are zero."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.period, self.longest = config.positions.grid[0], config.recall
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.runs = nn.Embedding(config.recall, config.width)

    def forward(self, target: Tensor) -> Tensor:
        """[B, L, W] for target [B, L]; position i is told of token i - period."""
        before = target[:, : -self.period] if target.size(1) > self.period else target[:, :0]
        told = self._vectors(before, run_lengths(before, self.period))
        first = told.new_zeros(len(target), min(self.period, target.size(1)), told.size(-1))
        return torch.cat((first, told), 1)

    def step(self, recent: Recent, ids: Tensor | None, position: int) -> Tensor:
        """[rows, 1, W] for `position`; `ids` [rows], just read (None at the first step), join `recent`."""
        if ids is not None:
            recent.append(ids, position - 1)
        place = slice(position % self.period, position % self.period + 1)
        if position < self.period:
            return self.tokens.weight.new_zeros(len(recent.ids), 1, self.tokens.weight.size(1))
        return self._vectors(recent.ids[:, place], recent.runs[:, place])

    def _vectors(self, ids: Tensor, runs: Tensor) -> Tensor:
        # As large as token embeddings, which are scaled the same way.
        scale: float = self.tokens.weight.size(1) ** 0.5
        return (self.tokens(ids) + self.runs(runs.clamp(max=self.longest - 1))) * scale  # type: ignore[no-any-return]


def run_lengths(ids: Tensor, period: int) -> Tensor:
    """How many periods in succession the same id had stood in the same place before: int64 [B, L] for ids [B, L]."""
    batch, length = ids.shape
    padded = torch.nn.functional.pad(ids, (0, -length % period), value=-1).view(batch, -1, period)
    again = torch.zeros_like(padded, dtype=torch.bool)
    again[:, 1:] = padded[:, 1:] == padded[:, :-1]
    count = torch.arange(padded.size(1), device=ids.device)[:, None].expand_as(padded)
    since = count.masked_fill(again, 0).cummax(1).values  # the period in which the run began
    return (count - since).reshape(batch, -1)[:, :length]
