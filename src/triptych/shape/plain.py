"""Plain values from JSON and TOML that somebody else wrote: bounded in size, in depth and in their integers.

What passes here can be walked, compared and shown in a message without care: nothing in it is deep or endless.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from triptych.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_BYTES = 2**18  # of a card, a configuration or a recipe; the largest that ship have 3,000
MAX_DEPTH = 16  # tables and lists inside of each other; a card has four
MAX_INTEGER = 2**63  # integers stay below it, as in every other language that reads JSON


Value = TypeVar("Value")


def read_bounded(path: Path, most: int = MAX_BYTES) -> bytes:
    """The bytes of a file. UserError where it has more than `most`, before any is read."""
    size = path.stat().st_size
    if size > most:
        raise UserError(f"expected at most {most:,} bytes in {path}, got {size:,}; this is no file of that kind")
    return path.read_bytes()


def from_json(data: bytes, path: Path | str) -> dict[str, Any]:
    """The object in the JSON text of the file `path`. UserError where it is none, or not bounded."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UserError(f"expected a JSON object in {path}; the file is damaged, take it anew")
    return bounded(value, path)


def from_toml(data: bytes, path: Path | str) -> dict[str, Any]:
    """The tables of the TOML text of the file `path`. UserError where it is none, or not bounded."""
    try:
        tables = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # ValueError: of TOML, of UTF-8, of an integer too long to be read
        raise UserError(f"expected TOML in {path}, got an error: {str(error)[:200]}") from None
    return bounded(tables, path)


def bounded(value: Value, path: Path | str) -> Value:
    """The value itself. UserError where it is nested deeper than `MAX_DEPTH` or an integer reaches `MAX_INTEGER`."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif isinstance(item, int) and abs(item) >= MAX_INTEGER:
                raise UserError(f"expected integers below 2**63 in {path}, got a larger one; correct it")
        level = inner
        if not level:
            return value
    raise UserError(f"expected values at most {MAX_DEPTH} levels deep in {path}, got deeper ones; correct it")


def packed(values: NDArray[Any], kind: str = "u1") -> str:
    """Numbers of an array in base64, in C order: bytes, or little-endian words of 32 bits (`<u4`)."""
    import numpy as np

    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()


def unpacked(text: str, shape: tuple[int, ...], what: str) -> NDArray[np.uint8]:
    """The bytes of an array of that shape in base64. UserError where it is another text, or they are not so many."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UserError(f"expected {what} in base64, got other characters; encode the bytes") from None
    if len(data) != math.prod(shape):
        size = " x ".join(map(str, shape))
        raise UserError(f"expected {math.prod(shape):,} bytes ({size}) of {what}, got {len(data):,}; correct them")
    import numpy as np

    return np.frombuffer(data, np.uint8).reshape(shape).copy()
