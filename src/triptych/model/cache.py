"""What the decoder remembers between two steps. An argument of the model, never state of a module."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from triptych.model.keyboard import Keys


def run_lengths(ids: Tensor) -> Tensor:
    """For how many patches in succession the same id had stood in its place before: int64 [B, P, S] as ids."""
    again = torch.zeros_like(ids, dtype=torch.bool)
    again[:, 1:] = ids[:, 1:] == ids[:, :-1]
    count = torch.arange(ids.size(1), device=ids.device)[:, None].expand_as(ids)
    since = count.masked_fill(again, 0).cummax(1).values  # the patch in which the run began
    return count - since


@dataclass
class Recent:
    """The last `S` tokens, each in its place, and how often each had stood there before: int64 [rows, S] each.

    written: [rows, columns, S], all tokens of a picture, whose pixels are told their neighbours; -1 is none yet.
    """

    ids: Tensor
    runs: Tensor
    written: Tensor | None = None

    @classmethod
    def nothing(cls, rows: int, size: int, device: torch.device, columns: int = 0) -> Recent:
        """What a step before the first remembers; of a picture, that there are no pixels yet in so many columns."""
        ids, runs = (torch.full((rows, size), fill, device=device) for fill in (-1, 0))
        return cls(ids, runs, torch.full((rows, columns, size), -1, device=device) if columns else None)

    def append(self, ids: Tensor, position: int) -> None:
        """Remember ids [rows], the tokens at `position`."""
        column, place = divmod(position, self.ids.size(1))
        self.runs[:, place] = torch.where(ids == self.ids[:, place], self.runs[:, place] + 1, 0)
        self.ids[:, place] = ids
        if self.written is not None:
            self.written[:, column, place] = ids

    def follow(self, patches: Tensor) -> None:
        """Remember patches [rows, P, S] but for their very last token, which the next step is given."""
        ids, runs = (functional.pad(kind, (0, 0, 1, 0), value=-1) for kind in (patches, run_lengths(patches)))
        self.ids, self.runs = ids[:, -1].clone(), runs[:, -1].clone()
        self.ids[:, -1], self.runs[:, -1] = ids[:, -2, -1], runs[:, -2, -1].clamp(min=0)
        if self.written is not None:
            self.written[:, : patches.size(1)] = patches

    def select(self, rows: Tensor) -> None:
        """Row r continues the old row `rows[r]`."""
        self.ids, self.runs = self.ids[rows], self.runs[rows]
        self.written = None if self.written is None else self.written[rows]


@dataclass
class Cache:
    """Keys and values of the positions so far, and of the source.

    `rows` sequences advance together; row r belongs to source r // beams. Self-attention keeps `slots` positions: all
    of them for full attention, the window (a ring, constant in length) for local attention.

    Attributes:
        position: how many steps were taken; the next token is number `position`.
        patch: tokens that share a place in the attention, the one of number `column`.
        keys, values: per decoder layer [rows, heads, slots, width / heads]; column c lies in slot c % slots. Laid out
            with the slots outermost in memory, so that the slots in use are one contiguous stretch.
        source_keys, source_values: per decoder layer [sources, heads, source length, width / heads]; empty lists for a
            decoder-only model.
        source_lengths: [sources] int64.
        aligned: [sources, source length, width], what is added to the columns, for `Config.aligned`.
        shown: [sources, columns, patch] int64, the pixels of an aligned source, for a mixture.
        metre: [rows or 1, columns, width], what `Positions.metre` adds to the columns.
        label: [rows, width], the class vector of each row.
        recent: the tokens of the last patch, with `Config.patch`.
        hidden: [rows, 1, width], the decoder's output at the present column, with `Config.patch`; for a mixture with
            known pixels beside it.
        down: the keys of a piano that are down, with `Positions.keyboard`.
        pitches: [rows, slots] int64, the pitch read at each position, for relations by interval.
        spare: storage of one layer's keys or values, into which the next reordering goes.
    """

    rows: int
    beams: int
    slots: int
    position: int = 0
    patch: int = 1
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    source_keys: list[Tensor] = field(default_factory=list)
    source_values: list[Tensor] = field(default_factory=list)
    source_lengths: Tensor | None = None
    aligned: Tensor | None = None
    shown: Tensor | None = None
    metre: Tensor | None = None
    label: Tensor | None = None
    recent: Recent | None = None
    hidden: Tensor | None = None
    down: Keys | None = None
    pitches: Tensor | None = None
    spare: Tensor | None = None

    @classmethod
    def allocate(
        cls, *, layers: int, rows: int, beams: int, slots: int, heads: int, head_width: int, like: Tensor
    ) -> Cache:
        """An empty cache with the dtype and device of `like`."""
        store = [like.new_zeros(slots, rows, heads, head_width).permute(1, 2, 0, 3) for _ in range(2 * layers)]
        return cls(rows=rows, beams=beams, slots=slots, keys=store[:layers], values=store[layers:])

    @property
    def column(self) -> int:
        """The place in the attention where the next token is found."""
        return self.position // self.patch

    def append(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Write keys and values [rows, heads, L, head width] of the present column and those after it."""
        count = key.size(2)
        if count == 1:
            slot = self.column % self.slots
            self.keys[layer][:, :, slot] = key[:, :, 0]
            self.values[layer][:, :, slot] = value[:, :, 0]
            return
        kept = min(count, self.slots)  # of more than the ring holds, the last
        slots = (self.column + torch.arange(count - kept, count, device=key.device)) % self.slots
        self.keys[layer][:, :, slots] = key[:, :, count - kept :]
        self.values[layer][:, :, slots] = value[:, :, count - kept :]

    def select(self, rows: Tensor) -> None:
        """Row r continues the old row `rows[r]` (int64 [new rows]). Whole groups of `beams` rows may be dropped.

        Every new group must continue rows of one source only.
        """
        used = min(-(-self.position // self.patch), self.slots)
        for stored in (self.keys, self.values):
            for layer, old in enumerate(stored):
                stored[layer] = self._selected(old, rows, used)
        self.rows = len(rows)
        if self.label is not None:
            self.label = self.label[rows]
        if self.recent is not None:
            self.recent.select(rows)
        if self.hidden is not None:
            self.hidden = self.hidden[rows]
        if self.down is not None:
            self.down.select(rows)
        if self.pitches is not None:
            self.pitches = self.pitches[rows]
        if self.source_lengths is not None:
            sources = rows[:: self.beams] // self.beams
            if len(sources) == len(self.source_lengths) and bool(
                (sources == torch.arange(len(sources), device=rows.device)).all()
            ):
                return
            self.source_lengths = self.source_lengths[sources]
            self.source_keys = [keys[sources] for keys in self.source_keys]
            self.source_values = [values[sources] for values in self.source_values]
            self.aligned = None if self.aligned is None else self.aligned[sources]
            self.shown = None if self.shown is None else self.shown[sources]

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
