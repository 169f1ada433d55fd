"""What a layer computes besides matrix products, against Python's own functions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from triptych.decode.arithmetic import gelu, layer_norm, log_softmax, relu, softmax, swiglu

ROWS = arrays(np.float32, (3, 8), elements=st.floats(-30, 30, width=32))


def test_gelu_is_exact_to_rounding() -> None:
    x = np.concatenate((np.linspace(-40, 40, 20_001), [0.0, -1e30, 1e30])).astype(np.float32)
    expected = np.array([0.5 * float(v) * math.erfc(-float(v) / math.sqrt(2)) for v in x])
    found = gelu(x.copy())
    np.testing.assert_allclose(found, expected, rtol=3e-7, atol=6e-8)


@given(ROWS)
def test_activations(x: np.ndarray) -> None:
    np.testing.assert_array_equal(relu(x.copy()), np.maximum(x, 0))
    gate, rest = x[:, :4].astype(np.float64), x[:, 4:]
    np.testing.assert_allclose(swiglu(x), gate / (1 + np.exp(-gate)) * rest, rtol=1e-5, atol=1e-6)


@given(ROWS)
def test_softmax_sums_to_one(x: np.ndarray) -> None:
    expected = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(softmax(x.copy()), expected, rtol=2e-5, atol=1e-9)
    np.testing.assert_allclose(np.exp(log_softmax(x.copy())), expected, rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_layer_norm(scale: float) -> None:
    random = np.random.default_rng(0)
    x, gain, bias = (random.normal(size=size).astype(np.float32) for size in ((5, 16), 16, 16))
    x = x * np.float32(scale) + np.float32(3 * scale)
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(layer_norm(x, gain, bias), exact * gain + bias, atol=3e-5)
