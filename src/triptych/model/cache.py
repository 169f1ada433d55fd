"""What the decoder remembers between two steps. An argument of the model, never state of a module."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from triptych.attention.step import fill
from triptych.decode.history import History, Ids
from triptych.decode.steps.inputs import InputSteps


@dataclass
class Cache:
    """The ids so far, keys and values of the positions so far, and what the target is conditioned on.

    `rows` sequences advance together; row r belongs to source r // beams. Self-attention keeps `slots` positions: all
    of them for full attention, the window (a ring, constant in length) for local attention.

    Attributes:
        history: the ids of the target, and of an aligned source.
        reading: the steps of the input.
        taken: how many steps were taken.
        begun: what the steps of the present position share, as the head began them.
        keys, values: per decoder layer [rows, heads, slots, width / heads]; column c lies in slot c % slots. Laid out
            with the slots outermost in memory, so that the slots in use are one contiguous stretch.
        source_keys, source_values: per decoder layer [sources, heads, source length, width / heads]; empty lists where
            no source is attended to.
        source_lengths: [sources] int64.
        added: [rows or 1, positions, width], what the metre and an aligned source add to the positions.
        label: [rows, 1, width], the class vector of each row.
        spare: storage of one layer's keys or values, into which the next reordering goes.
    """

    beams: int
    slots: int
    history: History
    reading: InputSteps
    taken: int = 0
    begun: Tensor | None = None
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    source_keys: list[Tensor] = field(default_factory=list)
    source_values: list[Tensor] = field(default_factory=list)
    source_lengths: Tensor | None = None
    added: Tensor | None = None
    label: Tensor | None = None
    spare: Tensor | None = None

    def allocate(self, *, layers: int, heads: int, head_width: int, like: Tensor) -> None:
        """Make empty keys and values with the dtype and device of `like`."""
        shape = self.slots, self.rows, heads, head_width
        store = [like.new_zeros(shape).permute(1, 2, 0, 3) for _ in range(2 * layers)]
        self.keys, self.values = store[:layers], store[layers:]

    @property
    def rows(self) -> int:
        """Number of sequences that grow side by side."""
        return self.history.rows

    @property
    def position(self) -> int:
        """How many steps were taken; the next token is number `position`."""
        return self.taken

    @property
    def column(self) -> int:
        """The place in the attention where the next token is found."""
        return self.history.position

    def join(self, hidden: Tensor) -> Tensor:
        """Hidden [rows, L, W] of the present column and those after it, with what is added there."""
        if self.added is not None:
            hidden = hidden + self.added[:, self.column : self.column + hidden.size(1)]
        return hidden if self.label is None else hidden + self.label

    def append(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Write keys and values [rows, heads, L, head width] of the present column and those after it."""
        fill(self.keys[layer], key, start=self.column)
        fill(self.values[layer], value, start=self.column)

    def select(self, rows: Ids) -> None:
        """Let new row r continue old row `rows[r]` (int64 [new rows]). Whole groups of `beams` rows may be dropped.

        Every new group must continue rows of one source only.
        """
        before = self.rows
        sources = len(self.source_lengths) if self.source_lengths is not None else 0
        used = min(-(-self.taken // self.history.size), self.slots)
        self.history.select(rows)
        self.reading.select(rows)
        chosen = torch.from_numpy(rows).to(self.keys[0].device)
        for stored in (self.keys, self.values):
            for layer, old in enumerate(stored):
                stored[layer] = self._selected(old, chosen, used)
        for name in ("begun", "added", "label"):
            kept = getattr(self, name)
            if kept is not None and len(kept) == before:
                setattr(self, name, kept[chosen])
        groups = rows[:: self.beams] // self.beams
        if self.source_lengths is not None and not np.array_equal(groups, np.arange(sources)):
            those = chosen[:: self.beams] // self.beams
            self.source_lengths = self.source_lengths[those]
            self.source_keys = [keys[those] for keys in self.source_keys]
            self.source_values = [values[those] for values in self.source_values]

    @torch.no_grad()
    def _selected(self, old: Tensor, rows: Tensor, used: int) -> Tensor:
        """The stored rows in their new order. The old storage becomes the next one's: a step allocates nothing."""
        fresh = self.spare
        if fresh is None or fresh.size(0) != len(rows):
            fresh = old.new_zeros(self.slots, len(rows), old.size(1), old.size(3)).permute(1, 2, 0, 3)
        by_slot, source = fresh.permute(2, 0, 1, 3), old.permute(2, 0, 1, 3)
        torch.index_select(source[:used], 1, rows, out=by_slot[:used])
        self.spare = old
        return fresh
