"""What a layer computes besides matrix products, on float32 arrays: normalisation, activations, softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
LAYER_NORM_EPSILON = 1e-5

# exp(y * y / 2) (1 - Phi(y)) for y >= 0, where Phi is the distribution function of the normal distribution, as a
# quotient of polynomials in y, lowest power first: fitted so that y (1 - Phi(y)) is within 5e-10 everywhere.
NUMERATOR = (0.4999999662, 0.3154887593, 0.09479549783, 0.01159822664)
DENOMINATOR = (1.0, 1.428860551, 0.8296684434, 0.2366633161, 0.02911563495)
TOGETHER = 1 << 16  # numbers of a softmax
LAST = np.float32(20)  # from where on 1 - Phi is 0 in float32


def layer_norm(hidden: Floats, gain: Floats, bias: Floats) -> Floats:
    """Layer normalisation of hidden [..., W] (Ba et al. 2016) in two passes: mean, then variance."""
    width = hidden.shape[-1]
    mean = np.add.reduce(hidden, -1, keepdims=True) * np.float32(1 / width)
    centred: Floats = np.subtract(hidden, mean, dtype=np.float32)
    square = np.add.reduce(centred * centred, -1, keepdims=True) * np.float32(1 / width)
    centred *= 1 / np.sqrt(square + np.float32(LAYER_NORM_EPSILON))
    centred *= gain
    centred += bias
    return centred


def relu(inner: Floats) -> Floats:
    """The larger of each number and 0, in place."""
    return np.maximum(inner, 0, out=inner)


def gelu(inner: Floats) -> Floats:
    """Multiply each x by Phi(x) (Hendrycks and Gimpel 2016), exact to the rounding of float32: the larger of x and 0
    less y (1 - Phi(y)) of y = |x|.
    """
    y = np.abs(inner)
    np.minimum(y, LAST, out=y)
    tail = _polynomial(y, NUMERATOR)
    tail /= _polynomial(y, DENOMINATOR)
    tail *= y
    y *= y
    y *= np.float32(-0.5)
    tail *= np.exp(y, out=y)
    np.maximum(inner, 0, out=y)
    y -= tail
    return y


def swiglu(inner: Floats) -> Floats:
    """SiLU(gate) x of inner [..., 2 F], the gate first (Shazeer 2020): [..., F]."""
    gate, rest = np.split(inner, 2, axis=-1)
    with np.errstate(over="ignore"):  # of a gate far below 0, whose share is then 0
        found: Floats = gate / (1 + np.exp(-gate)) * rest
    return found


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {"relu": relu, "gelu": gelu, "swiglu": swiglu}


def softmax(scores: Floats) -> Floats:
    """Probabilities over the last axis, in place."""
    scores -= np.maximum.reduce(scores, -1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= np.add.reduce(scores, -1, keepdims=True)
    return scores


def log_softmax(scores: NDArray[Any]) -> NDArray[Any]:
    """Logarithms of the softmax over the last axis, in place."""
    if scores.ndim == 2 and scores.size > TOGETHER:  # a few rows at a time stay in the cache of the processor
        rows = max(1, TOGETHER // scores.shape[1])
        for first in range(0, len(scores), rows):
            log_softmax(scores[first : first + rows])
        return scores
    scores -= np.maximum.reduce(scores, -1, keepdims=True)
    scores -= np.log(np.add.reduce(np.exp(scores), -1, keepdims=True))
    return scores


def _polynomial(x: Floats, coefficients: tuple[float, ...]) -> Floats:
    """A polynomial by Horner's rule, lowest power first."""
    *rest, last = coefficients
    total: Floats = x * np.float32(last)
    for coefficient in reversed(rest[1:]):
        total += np.float32(coefficient)
        total *= x
    total += np.float32(rest[0])
    return total
