"""A Transformer as generation sees it: steps on numpy arrays, on the device and in the number format of its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from triptych.decode.maps import AttentionMaps
from triptych.model.cache import Cache
from triptych.model.transformer import Transformer

Ids = NDArray[np.int64]


class TorchDecoder:
    """Steps and prefill of a Transformer for `generation` (see `generation.protocol`), which imports no torch."""

    def __init__(self, model: Transformer) -> None:
        self.model = model.eval()
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
    ) -> Cache:
        """Fresh rows for at most `length` steps; arguments as those of `Transformer.start`, in arrays.

        label [sources]: -1 is no label; ignored by a model without classes.
        """
        given, lengths, classes = (self._tensor(ids) for ids in (source, source_lengths, label))
        if not self.model.config.classes:
            classes = None
        return self.model.start(
            length=length,
            rows=rows,
            source=given,
            source_lengths=lengths,
            label=classes,
            metre=self._tensor(metre),
            beams=beams,
        )

    @torch.no_grad()
    def log_probs(self, ids: Ids, *, source: Ids | None = None) -> NDArray[np.float64]:
        """Log-probability [B, L] of each of ids [B, L]."""
        target = self._tensor(ids)
        assert target is not None
        logits = self.model(target, source=self._tensor(source))
        found = torch.log_softmax(logits.double(), -1).gather(2, target[..., None])
        array: NDArray[np.float64] = found[..., 0].cpu().numpy()
        return array

    def step(self, ids: Ids | None, cache: Cache) -> NDArray[np.floating[Any]]:
        """Log-probabilities [rows, V] of the next token after ids [rows]."""
        found: NDArray[np.floating[Any]] = self.model.step(self._tensor(ids), cache).cpu().numpy()
        return found

    def prefill(self, ids: Ids, cache: Cache) -> Ids:
        """Take the first steps, those that choose ids [rows, n], at once, as far as it can; returns these."""
        given = self._tensor(ids)
        assert given is not None
        found: Ids = self.model.prefill(given, cache).cpu().numpy()
        return found

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
