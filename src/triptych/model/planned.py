"""A plan in the place of a Transformer where likelihoods are measured, to hold the one against the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from triptych.decode.interpreter import PlanDecoder
from triptych.decode.maps import AttentionMaps
from triptych.model.batch import Batch
from triptych.model.transformer import Transformer


class PlannedTransformer(Transformer):
    """Predicts step by step, without torch."""

    def __init__(self, decoder: PlanDecoder) -> None:
        nn.Module.__init__(self)  # it has no parameter of its own
        self.config, self._plan = decoder.plan.config, decoder

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def predict(self, batch: Batch, maps: AttentionMaps | None = None) -> Stepped:
        """The distribution of every target token of a batch."""
        given: dict[str, Any] = {
            name: _array(getattr(batch, name)) for name in ("source", "source_lengths", "label", "metre")
        }
        ids = batch.target.numpy()
        cache = self._plan.start(length=ids.shape[1], rows=len(ids), **given)
        steps = [self._plan.step(ids[:, at - 1] if at else None, cache) for at in range(ids.shape[1])]
        return Stepped(torch.from_numpy(np.stack(steps, 1)), batch)


class Stepped:
    """Log-probabilities [B, L, V] of the targets of a batch."""

    def __init__(self, log_probs: Tensor, batch: Batch) -> None:
        self._log_probs, self._batch = log_probs, batch

    def logits(self) -> Tensor:
        """[B, L, V]."""
        return self._log_probs

    def nll(self) -> Tensor:
        """Float32 [B, L]."""
        return -self._log_probs.gather(2, self._batch.target[..., None])[..., 0].float()

    def loss(self, smoothing: float) -> tuple[Tensor, Tensor]:
        """The sum of the tokens that count, twice: nothing is smoothed where nothing is trained."""
        total = (self.nll() * self._batch.counted()).sum()
        return total, total


def _array(ids: Tensor | None) -> NDArray[np.int64] | None:
    return None if ids is None else ids.numpy()
