"""Metres and upbeats of pieces that say nothing of their bars: those of the JSB chorales, by the digest of a piece."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from triptych.music.piece.metre import Bars, Metre

TABLE = "jsb_metres.json"  # written by benchmarks/jsb_metres.py from music21's corpus


def digest(grid: NDArray[np.int64]) -> str:
    """A name of a grid [steps, voices], the same in all keys: of its first differences and its rests."""
    lowest = grid[grid >= 0].min(initial=127)
    moved = np.where(grid >= 0, grid - lowest, -1).astype("<i2")
    return hashlib.sha256(moved.tobytes()).hexdigest()[:16]


@cache
def _table() -> dict[str, tuple[str, int]]:
    return json.loads((files("triptych.music.piece") / TABLE).read_text("utf-8"))


def places_of(bars: Bars, start: int, stop: int, longest: int) -> NDArray[np.int64]:
    """Where ticks stand in their bars, for `Positions.metre`: [stop - start, 2], the place from 1 on and the length of
    the bar; 0 and 0 in bars that are longer than `longest`.
    """
    found = np.zeros((stop - start, 2), np.int64)
    at = start
    while at < stop:
        bar = bars.at(at)
        end, length = min(bar.end, stop), bar.metre.ticks(bars.resolution)
        if length <= longest:
            ticks = np.arange(at, end)
            found[at - start : end - start, 0] = ticks - bar.start + bar.offset + 1
            found[at - start : end - start, 1] = length
        at = end
    return found


def known_places(grid: NDArray[np.int64], longest: int) -> NDArray[np.int64]:
    """The places of the steps of a chorale by the table; withheld, 0, for one that is not there."""
    found = metres_of(grid)
    if found is None:
        return np.zeros((len(grid), 2), np.int64)
    bars = Bars(found[0], length=len(grid), resolution=4, pickup=found[1])
    return places_of(bars, 0, len(grid), longest)


def metres_of(grid: NDArray[np.int64]) -> tuple[tuple[Metre, ...], int] | None:
    """The metres of a chorale and the steps before its first bar line, or None if it is not in the table."""
    found = _table().get(digest(grid))
    if found is None:
        return None
    changes = (change.rpartition(":") for change in found[0].split())
    return tuple(replace(Metre.parse(metre), start=int(start or 0)) for start, _, metre in changes), found[1]
