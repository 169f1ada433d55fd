"""The pixels of one picture alone: what `MixtureWriter`, `Logistics` and the vectors of pixels compute, in numpy.

A pixel is described by a hundred numbers, for which a call of torch costs more than the arithmetic. Probabilities are
differences of the distribution function, in float64, where these cancel only for what nobody ever draws; what is forced
is weighed by logarithms, which do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from triptych.model.cache import Recent
from triptych.model.mixture import HALF, KNOWN, LEAST_LOG_SCALE, LEVELS, MixtureWriter
from triptych.model.surroundings import NOTHING
from triptych.model.transformer import Transformer

Numbers = NDArray[np.float64]

LARGEST = 700.0  # its exponential is still a number
BOUNDS = np.arange(1, LEVELS) * (2 * HALF) - (1 + HALF)  # between one intensity and the next
VALUES = np.arange(LEVELS, dtype=np.float32) * np.float32(2 * HALF) - 1  # as `scaled`, rounded alike


@dataclass
class Picture:
    """The pixels of a picture, in the order of the attention.

    Attributes:
        written: int64 [columns, C], `NOTHING` where there is none yet.
        places: [columns, 2], the columns of the left and the upper neighbour, -1 where there is none.
        shown: int64 [columns, C], an aligned source.
        runs: [C], how often the last intensity of each channel had stood there before, as in `Recent`.
        logistics: of the pixel that is being drawn.
    """

    written: NDArray[np.int64]
    places: list[list[int]]
    shown: NDArray[np.int64] | None
    runs: list[int]
    logistics: SinglePixel | None = None

    def put(self, intensity: int, position: int) -> None:
        """Write the token at a position."""
        column, channel = divmod(position, self.written.shape[1])
        again = column > 0 and self.written[column - 1, channel] == intensity
        self.runs[channel] = self.runs[channel] + 1 if again else 0
        self.written[column, channel] = intensity

    def follow(self, recent: Recent) -> None:
        """Go on after pixels that were taken at once."""
        assert recent.written is not None
        self.written[:] = recent.written[0].cpu().numpy()
        self.runs = recent.runs[0].tolist()

    def known(self, column: int) -> Numbers:
        """What the components of the pixel at a column begin from, as `MixtureWriter.beside` says: [KNOWN, C]."""
        nothing = np.full(self.written.shape[1], NOTHING)
        left, above = (self.written[place] if place >= 0 else None for place in self.places[column])
        left = above if left is None else left
        shown = nothing if self.shown is None else self.shown[column]
        left = np.where(shown < LEVELS, shown, NOTHING) if left is None else left
        above = left if above is None else above
        source = left if self.shown is None else np.where(shown < LEVELS, shown, left)
        ids = np.stack((source, left, above))
        return np.where(ids == NOTHING, 0.0, VALUES[ids].astype(np.float64))


class SinglePixel:
    """What `Logistics` gives for one pixel, channel by channel.

    From its parameters [numbers, K], as `MixtureWriter` computes them, and base [C, K].
    """

    def __init__(self, parameters: Numbers, base: Numbers) -> None:
        channels = len(base)
        self.base, self.slopes = base, np.tanh(parameters[1 + 2 * channels :])
        log_scales = np.maximum(parameters[1 + channels : 1 + 2 * channels], LEAST_LOG_SCALE)
        scales = np.exp(log_scales)
        self.means, self.inverse = base + parameters[1 : 1 + channels] * scales, 1 / scales
        self.log_weights = parameters[0] - np.logaddexp.reduce(parameters[0])
        self.values: list[float] = []
        self._below = np.empty((len(self.log_weights), LEVELS + 1))
        self._below[:, 0], self._below[:, -1] = 0, 1

    def next(self) -> Numbers:
        """Log-probabilities [LEVELS] of the channel after those that were taken."""
        mean, inverse = self._mean(), self.inverse[len(self.values)]
        place = (mean * inverse)[:, None] - BOUNDS * inverse[:, None]
        np.minimum(place, LARGEST, out=place)
        np.exp(place, out=place)
        place += 1
        np.divide(1, place, out=self._below[:, 1:-1])
        mass = np.diff(np.exp(self.log_weights) @ self._below)
        with np.errstate(divide="ignore"):  # of nothing the logarithm is -inf
            found: Numbers = np.log(np.maximum(mass, 0))
        return found

    def take(self, intensity: int) -> None:
        """The channel is that intensity: what this leaves of the mixture counts for the next."""
        mean, inverse = self._mean(), self.inverse[len(self.values)]
        left = self.log_weights  # and the mass of the intensity, by the factors of `log_mass`
        if intensity > 0:
            left = left - np.logaddexp(0, (BOUNDS[intensity - 1] - mean) * inverse)
        if intensity < LEVELS - 1:
            left = left - np.logaddexp(0, (mean - BOUNDS[intensity]) * inverse)
        if 0 < intensity < LEVELS - 1:
            left = left + np.log(-np.expm1(-2 * HALF * inverse))
        self.log_weights = left - np.logaddexp.reduce(left)
        self.values.append(float(VALUES[intensity]))

    def _mean(self) -> Numbers:
        """The means [K] of the channel after those that were taken."""
        channel = len(self.values)
        first = channel * (channel - 1) // 2
        mean: Numbers = self.means[channel]
        for value, base, slope in zip(self.values, self.base, self.slopes[first:], strict=False):
            mean = mean + (value - base) * slope
        return mean


class PixelSteps:
    """Reads and writes the pixels of a `Picture` as a model with a mixture does."""

    def __init__(self, model: Transformer) -> None:
        writer, reader = model.writer, model.reader
        assert isinstance(writer, MixtureWriter) and reader is not None and model.surroundings is not None
        self.channels, self.components, self.recall = writer.channels, writer.components, reader.longest
        self.surroundings = model.surroundings
        tables = [reader.tokens.weight * reader.scale]
        tables += [] if reader.runs is None else [reader.runs.weight * reader.scale]
        # In the table the vectors of the intensities by channel, then those of the runs, then of the pixel above: here
        # the first row of each channel.
        channels = np.arange(self.channels)
        self.token_rows, self.run_rows = LEVELS * channels, LEVELS * self.channels + self.recall * channels
        self.above_rows = None if model.above is None else (LEVELS + self.recall) * self.channels + LEVELS * channels
        tables += [] if model.above is None else [model.above.tokens.weight * model.above.scale]
        self.table = torch.cat(tables).detach()
        self.of_hidden = writer.parameters_of.weight.detach()[:, : model.config.width].contiguous()
        self.bias = writer.parameters_of.bias.detach()
        of_known = writer.parameters_of.weight.detach()[:, model.config.width :].cpu().double().numpy()
        self.of_known = np.ascontiguousarray(of_known)

    def start(self, columns: int, shown: Tensor | None) -> Picture:
        """An empty picture of so many pixels; shown [1, columns, C]: of an aligned source."""
        written = np.full((columns, self.channels), NOTHING)
        source = None if shown is None else shown[0].cpu().numpy()
        return Picture(written, self.surroundings.places(columns), source, [0] * self.channels)

    def read(self, picture: Picture, column: int) -> Tensor:
        """What a column reads of the pixel before it and of the one above it: [1, W]."""
        rows = [self.token_rows + picture.written[column - 1]]
        if self.recall:
            rows.append(self.run_rows + np.minimum(picture.runs, self.recall - 1))
        place = picture.places[column][1]
        if self.above_rows is not None and place >= 0:
            rows.append(self.above_rows + picture.written[place])
        return self.table[torch.from_numpy(np.concatenate(rows))].sum(0, keepdim=True)

    def begin(self, picture: Picture, hidden: Tensor, column: int) -> SinglePixel:
        """The distribution of the pixel at a column, from the decoder's output [1, W]."""
        known = picture.known(column)
        parameters = functional.linear(hidden, self.of_hidden, self.bias)[0].cpu().double().numpy()
        parameters = parameters + self.of_known @ (known[1:] - known[0]).reshape(-1)
        base = known[np.arange(self.components) % KNOWN].T
        return SinglePixel(parameters.reshape(-1, self.components), base)
