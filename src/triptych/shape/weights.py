"""Weights as arrays by name, in their stored number format, and the safetensors file that holds them.

A bfloat16 array is the uint16 of its bits: the upper half of a float32.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

Array = NDArray[Any]
Weights = Mapping[str, Array]
FORMATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # of safetensors; in numpy
_deserialize: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = deserialize  # which names no types
NAMES = {np.dtype(kind): name for name, kind in FORMATS.items()}


def read_weights(data: bytes) -> dict[str, Array]:
    """The arrays of a safetensors file. Raises ValueError where it is none, or holds other than floating point."""
    try:
        found = dict(_deserialize(data))
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    for name, tensor in found.items():
        if tensor["dtype"] not in FORMATS:
            raise ValueError(f"{name} is not in floating point of 16, 32 or 64 bits")
    return {
        name: np.frombuffer(tensor["data"], FORMATS[tensor["dtype"]]).reshape(tensor["shape"])
        for name, tensor in found.items()
    }


def not_finite(weights: Weights) -> str | None:
    """The name of an array that holds NaN or an infinite number, or None."""
    return next((name for name, array in weights.items() if not _finite(array)), None)


def _finite(array: Array) -> bool:
    if array.dtype == np.uint16:  # bfloat16, whose exponent is all ones
        return int((array & 0x7F80).max(initial=0)) < 0x7F80
    return bool(np.isfinite(array).all())


def write_weights(weights: Weights) -> bytes:
    """The safetensors file of arrays of one number format."""
    header, data = {}, [np.ascontiguousarray(weights[name]) for name in sorted(weights)]
    at = 0
    for name, array in zip(sorted(weights), data, strict=True):
        span = [at, at := at + array.nbytes]
        header[name] = {"dtype": NAMES[array.dtype], "shape": weights[name].shape, "data_offsets": span}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *(array.tobytes() for array in data)])


def as_float32(array: Array) -> NDArray[np.float32]:
    """Stored weights in float32."""
    if array.dtype == np.uint16:  # bfloat16
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32, copy=False)
