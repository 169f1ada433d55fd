"""What a draw is: log-probabilities after temperature, top-k, top-p and min-p, and where a uniform number falls."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, shown
from triptych.generation.protocol import Ids, LogProbs
from triptych.generation.top import largest

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn; each restriction works on what the one before it left, in the order of the fields.

    Attributes:
        temperature: log-probabilities are divided by it; 0 takes the most probable token, of equals the lowest id.
        top_k: keep the k most probable tokens (ties: lower ids first); 0 keeps all.
        top_p: keep the smallest set of most probable tokens that holds at least this share of what top-k left
            (Holtzman et al. 2020); 1 keeps all.
        min_p: keep tokens at least this fraction as probable as the best one (Nguyen et al. 2024); 0 keeps all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("temperature", "top_k", "top_p", "min_p"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UserError(f"expected {name} to be a number, got {shown(value)}; give one")
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"expected a temperature from 0, got {self.temperature}; 0 is greedy, 1 plain")
        if self.top_k < 0 or self.top_k != int(self.top_k):
            raise UserError(f"expected top_k to be a whole number from 0, got {self.top_k}; 0 is no limit")
        if not 0 < self.top_p <= 1:
            raise UserError(f"expected top_p above 0 and at most 1, got {self.top_p}; 1 is no limit")
        if not 0 <= self.min_p <= 1:
            raise UserError(f"expected min_p from 0 to 1, got {self.min_p}; 0 is no limit")


PLAIN = Sampling()


def probabilities(log_probs: LogProbs, sampling: Sampling = PLAIN, allowed: Mask | None = None) -> Numbers:
    """The distribution that `draw` draws from: float64 [rows, V], every row sums to 1.

    log_probs: [rows, V], any floating type; anything that differs from them by a constant a row gives the same.
    allowed: bool [rows, V], or None for everything.

    Raises UserError for rows whose largest is NaN or infinite, or with nothing allowed.
    """
    weights = _weights(masked(log_probs, allowed), sampling)
    weights /= weights.sum(1, keepdims=True)
    return weights


def draw(scores: Numbers, sampling: Sampling, uniforms: Numbers) -> Ids:
    """One id a row, int64 [rows], of scores [rows, V] as `masked` gives them: where `uniforms` [rows] fall in the
    cumulative distribution, in the order of the vocabulary.
    """
    if sampling.temperature == 0:
        greedy: Ids = scores.argmax(1)
        return greedy
    cumulative = _weights(scores, sampling).cumsum(1)
    # A uniform number is at most 1 - 2**-53, so the mark stays below the total after rounding too: it cannot reach past
    # the last token that has any probability.
    marks = uniforms * cumulative[:, -1]
    alone = len(marks) == 1
    found: Ids = cumulative[0].searchsorted(marks, "right") if alone else (cumulative <= marks[:, None]).sum(1)
    return found


def masked(log_probs: LogProbs, allowed: Mask | None, free: Mask | None = None, position: int = 0) -> Numbers:
    """Float64 scores [rows, V] with -inf where a row that is `free` [rows] may not go; each has a finite maximum.

    Raises UserError, which names `position` and the row, where it has not.
    """
    scores = log_probs.astype(np.float64)
    highest = scores.max(1)
    if not math.isfinite(highest.sum()):
        raise not_finite(position, int((~np.isfinite(highest)).argmax()))
    if allowed is None:
        return scores
    scores[~allowed if free is None else ~allowed & free[:, None]] = -np.inf
    if (highest := scores.max(1)).min() == -np.inf:
        raise UserError(
            f"expected allow to permit a token that the model gives any probability, got none at position {position}, "
            f"row {int(highest.argmin())}; leave at least one"
        )
    return scores


def not_finite(position: int, row: int | None = None, source: int | None = None) -> UserError:
    """The mistake of a model whose log-probabilities are NaN or infinite."""
    where = f"position {position}" + ("" if row is None else f", row {row}")
    where += "" if source is None else f", source {source}"
    return UserError(
        f"expected finite log-probabilities of the model, got some that are NaN or infinite at {where}; "
        "check its weights, or compute in float32"
    )


def _weights(scores: Numbers, sampling: Sampling) -> Numbers:
    """Probabilities, but for their sum, of scores [rows, V] after all restrictions."""
    if sampling.temperature == 0:
        best: Numbers = np.zeros_like(scores)
        np.put_along_axis(best, scores.argmax(1)[:, None], 1.0, 1)
        return best
    with np.errstate(over="ignore"):  # far apart, or through a tiny temperature, they give exp(-inf) = 0
        scores = scores - scores.max(1, keepdims=True)  # before dividing, so that there is never inf - inf
        if sampling.temperature != 1:
            scores /= sampling.temperature
    weights: Numbers = np.exp(scores, out=scores)  # sums of equal ones are exact, as top-p needs them
    rows, vocabulary = weights.shape
    count = min(sampling.top_k or vocabulary, vocabulary)
    if count < vocabulary or sampling.top_p < 1:
        if count < vocabulary:
            kept, _, ids = largest(weights[:, None], np.zeros((rows, 1)), count)
        else:
            ids = (-weights).argsort(1, kind="stable")
            kept = np.take_along_axis(weights, ids, 1)
        if sampling.top_p < 1:
            before = kept.cumsum(1) - kept
            kept[before >= sampling.top_p * kept.sum(1, keepdims=True)] = 0
        weights = np.zeros_like(weights)
        np.put_along_axis(weights, ids, kept, 1)
    if sampling.min_p > 0:
        weights[weights < sampling.min_p * weights.max(1, keepdims=True)] = 0
    return weights
