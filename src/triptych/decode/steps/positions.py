"""Absolute positions as vectors, without torch: what `model.positions` adds to what a position reads."""

from __future__ import annotations

import math

import numpy as np

from triptych.decode.arithmetic import Floats
from triptych.decode.history import Ids
from triptych.errors import UserError
from triptych.shape.config import Positions
from triptych.shape.pattern import Local2D, Pattern, order

BLOCK = 1024  # positions that are computed together


def sinusoids(places: Ids, width: int) -> Floats:
    """Sines at even, cosines at odd columns: [places, width] (Vaswani et al. 2017, section 3.5), in float64 and then
    rounded.
    """
    rate = np.exp(np.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle = places[:, None] * rate
    return np.stack((np.sin(angle), np.cos(angle)), -1).reshape(len(places), -1).astype(np.float32)


class PositionVectors:
    """The vectors of positions, computed in blocks when they are asked for."""

    def __init__(self, positions: Positions, width: int, pattern: Pattern, weights: dict[str, Floats]) -> None:
        """weights: those of `PositionEncoding` by their names there."""
        self.settings, self.width, self.pattern, self.weights = positions, width, pattern, weights
        self.projection: Floats | None = None  # [width, width], of what is read, where positions are concatenated
        if positions.kind == "concatenated":
            self.projection = np.ascontiguousarray(weights["projection.weight"][:, :width])
        self._order: Ids | None = None
        self._known: dict[int, Floats] = {}

    def of(self, first: int, last: int) -> Floats:
        """Vectors of positions first .. last - 1: [last - first, width]."""
        if self.settings.kind == "learned" and last > (self.settings.length or 0):
            raise UserError(
                f"expected at most {self.settings.length} positions (learned), got {last}; "
                "shorten the input or use a model with sinusoidal or relative positions"
            )
        if last - first == 1:  # a step
            number, place = divmod(first, BLOCK)
            return self._block(number)[place : place + 1]
        blocks = [self._block(number) for number in range(first // BLOCK, -(-last // BLOCK))]
        if not blocks:
            return np.zeros((0, self.width), np.float32)
        start = first // BLOCK * BLOCK
        return np.concatenate(blocks)[first - start : last - start]

    def read(self, read: Floats) -> Floats:
        """What a vector [..., W] that is read itself adds; the rest are the vectors of its position."""
        return read if self.projection is None else read @ self.projection.T

    def _block(self, number: int) -> Floats:
        if number not in self._known:
            self._known[number] = self._computed(np.arange(number * BLOCK, (number + 1) * BLOCK))
        return self._known[number]

    def _computed(self, places: Ids) -> Floats:
        kind, width = self.settings.kind, self.width
        found = np.zeros((len(places), width), np.float32)
        if kind == "learned":
            table = self.weights["learned.weight"][places[0] : places[-1] + 1]
            found[: len(table)] = table
        elif kind == "sinusoidal_2d":
            rows, columns = self._in_picture(places)
            found = np.concatenate((sinusoids(rows, width // 2), sinusoids(columns, width // 2)), 1)
        elif kind == "sinusoidal":
            found = sinusoids(places, width)
        elif kind == "concatenated":
            waves = sinusoids(places, width)
            found = waves @ self.weights["projection.weight"][:, width:].T + self.weights["projection.bias"]
        digits = np.zeros_like(found)
        for number, size in enumerate(self.settings.grid):
            digits += self.weights[f"digits.{number}.weight"][places % size]
            places = places // size
        found += digits * np.float32(math.sqrt(width))  # as large as token embeddings, which are scaled the same way
        return found

    def _in_picture(self, places: Ids) -> tuple[Ids, Ids]:
        """Rows and columns of a picture in the order of its generation; past its end they go on in raster order."""
        columns = self.settings.length or 1
        if isinstance(self.pattern, Local2D):
            columns = self.pattern.width
            if self._order is None:
                self._order = order(self.pattern)
            places = np.where(places < len(self._order), self._order[np.minimum(places, len(self._order) - 1)], places)
        return places // columns, places % columns
