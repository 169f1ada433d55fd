"""The draw of one row alone, in numpy: what `sample` computes with torch, whose calls cost more than their work."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from triptych.generation.sample import Sampling

LARGEST = 1024  # of larger vocabularies the sorting costs more than the calls


def fits(logits: Tensor) -> bool:
    """Whether `draw` can stand for the draw from logits [rows, V]."""
    return logits.size(0) == 1 and logits.size(1) <= LARGEST and logits.device.type == "cpu"


def draw(logits: Tensor, sampling: Sampling, allowed: Tensor | None, uniform: float) -> NDArray[np.int64] | None:
    """One id [1] of logits [1, V], where allowed [1, V]; None if there is nothing to draw, or no finite maximum."""
    scores = logits.double().numpy()[0]
    highest = np.maximum.reduce(scores)
    if not math.isfinite(highest):
        return None
    if allowed is not None:
        scores = np.where(allowed.numpy()[0], scores, -np.inf)
        highest = np.maximum.reduce(scores)
        if highest == -np.inf:
            return None
    if sampling.temperature == 0:
        return np.array([scores.argmax()])
    cumulative = np.add.accumulate(_weights(scores, highest, sampling))
    # As in `sample`: the mark stays below the total, so it cannot reach past the last token of any probability.
    found: NDArray[np.int64] = cumulative.searchsorted([uniform * cumulative[-1]], side="right")
    return found


def _weights(scores: NDArray[np.float64], highest: float, sampling: Sampling) -> NDArray[np.float64]:
    """Probabilities, but for their sum, of scores [V] after all restrictions."""
    with np.errstate(over="ignore"):  # far apart, or through a tiny temperature, they give exp(-inf) = 0
        scores = scores - highest
        if sampling.temperature != 1:
            scores /= sampling.temperature
    weights: NDArray[np.float64] = np.exp(scores)
    if 0 < sampling.top_k < len(weights) or sampling.top_p < 1:
        order = (-weights).argsort(kind="stable")
        kept = weights[order]
        if sampling.top_k:
            kept[sampling.top_k :] = 0
        if sampling.top_p < 1:
            before = kept.cumsum() - kept
            kept[before >= sampling.top_p * kept.sum()] = 0
        weights[order] = kept
    if sampling.min_p > 0:
        weights[weights < sampling.min_p * weights.max()] = 0
    return weights
