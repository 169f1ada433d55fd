"""A Transformer as generation sees it: steps on numpy arrays, on the device and in the number format of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from triptych.decode.maps import AttentionMaps
from triptych.model.cache import Cache
from triptych.model.single.row import Row, SingleRow, fits
from triptych.model.transformer import Transformer

Ids = NDArray[np.int64]


@dataclass
class Rows:
    """The rows that one call of `TorchDecoder.start` began, what steps them, and its cache."""

    stepper: Transformer | SingleRow
    cache: Any  # Cache of a Transformer, Row of a SingleRow

    @property
    def rows(self) -> int:
        """Number of sequences that grow side by side."""
        return int(self.cache.rows)

    @property
    def position(self) -> int:
        """Number of steps already made."""
        return int(self.cache.position)

    def select(self, rows: Ids) -> None:
        """Let new row r continue old row `rows[r]`; see `Cache.select`."""
        if isinstance(self.cache, Row):  # one row can only go on with itself
            assert rows.tolist() == [0]
        else:
            self.cache.select(rows)


class TorchDecoder:
    """Steps, prefill and draws of a Transformer for `generation` (see `generation.protocol`), which knows no torch.

    One row alone is stepped by the flattened form (`SingleRow`) where that fits the model, in half precision unless
    `exact`.
    """

    def __init__(self, model: Transformer, *, exact: bool = False) -> None:
        self.model, self._exact = model.eval(), exact
        self._device = model.device

    @torch.no_grad()
    def start(
        self,
        *,
        length: int,
        rows: int | None = None,
        source: Ids | None = None,
        source_lengths: Ids | None = None,
        label: Ids | None = None,
        metre: Ids | None = None,
        beams: int = 1,
    ) -> Rows:
        """Fresh rows for at most `length` steps; arguments as those of `Transformer.start`, in arrays.

        label [sources]: -1 is no label; ignored by a model without classes.
        """
        given, lengths, classes = (self._tensor(ids) for ids in (source, source_lengths, label))
        if not self.model.config.classes:
            classes = None
        if beams == 1 and source_lengths is None and fits(self.model.config):
            count = rows if rows is not None else 1 if source is None else len(source)
            if count == 1:
                alone = SingleRow(self.model, self.model.dtype if self._exact else None)
                return Rows(alone, alone.start(length=length, source=given, label=classes))
        cache: Cache = self.model.start(
            length=length,
            rows=rows,
            source=given,
            source_lengths=lengths,
            label=classes,
            metre=self._tensor(metre),
            beams=beams,
        )
        return Rows(self.model, cache)

    @torch.no_grad()
    def log_probs(self, ids: Ids, *, source: Ids | None = None) -> NDArray[np.float64]:
        """Log-probability [B, L] of each of ids [B, L]."""
        target = self._tensor(ids)
        assert target is not None
        logits = self.model(target, source=self._tensor(source))
        found = torch.log_softmax(logits.double(), -1).gather(2, target[..., None])
        array: NDArray[np.float64] = found[..., 0].cpu().numpy()
        return array

    def step(self, ids: Ids | None, rows: Rows) -> NDArray[np.floating[Any]]:
        """Log-probabilities [rows, V] of the next token after ids [rows]."""
        found: NDArray[np.floating[Any]] = rows.stepper.step(self._tensor(ids), rows.cache).cpu().numpy()
        return found

    def prefill(self, ids: Ids, rows: Rows) -> Ids:
        """Take the first steps, those that choose ids [rows, n], at once, as far as it can; returns these."""
        given = self._tensor(ids)
        assert given is not None
        found: Ids = rows.stepper.prefill(given, rows.cache).cpu().numpy()
        return found

    def draw(self, ids: Ids | None, rows: Rows, uniforms: NDArray[np.float64]) -> Ids | None:
        """The next ids themselves, where one row alone can find them without its whole distribution; else None."""
        if not isinstance(rows.stepper, SingleRow):
            return None
        return rows.stepper.draw(self._tensor(ids), rows.cache, float(uniforms[0]))

    @torch.no_grad()
    def attention(
        self, ids: Ids, *, source: Ids | None = None, label: Ids | None = None, maps: AttentionMaps | None = None
    ) -> AttentionMaps:
        """The attention probabilities while ids [B, L] are written, appended to `maps` or new ones."""
        found = AttentionMaps() if maps is None else maps
        self.model(self._tensor(ids), source=self._tensor(source), label=self._tensor(label), maps=found)
        return found

    def _tensor(self, ids: Ids | None) -> Tensor | None:
        return None if ids is None else torch.from_numpy(ids).to(self._device)
