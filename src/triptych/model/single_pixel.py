"""The pixels of one picture alone: what `MixtureWriter`, `Logistics` and the vectors of pixels compute, in numpy.

A pixel is described by a hundred numbers, for which a call of torch costs more than the arithmetic. Probabilities are
differences of the distribution function, in float64: below 1e-16 they cancel, which shows from a temperature of 5 on,
where up to a thousandth of what is drawn is noise. What is forced is weighed by logarithms, which do not cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from triptych.model.cache import Recent
from triptych.model.mixture import HALF, KNOWN, LEAST_LOG_SCALE, LEVELS, MixtureWriter, stand_ins
from triptych.model.surroundings import NOTHING
from triptych.model.transformer import Transformer

Numbers = NDArray[np.float64]

BOUNDS = np.arange(1, LEVELS) * (2 * HALF) - (1 + HALF)  # between one intensity and the next
VALUES = np.arange(LEVELS, dtype=np.float32) * np.float32(2 * HALF) - 1  # as `scaled`, rounded alike
LEAST = 1e-300  # of a probability, of which there are logarithms then


@dataclass
class Picture:
    """The pixels of a picture, in the order of the attention.

    Attributes:
        written: int64 [columns, C], `NOTHING` where there is none yet.
        values: the same as numbers from -1 to 1, then an aligned source, then a zero: [(columns or twice as many) * C
            + 1].
        known_at: where in `values` the components of each pixel find what they begin from, as `MixtureWriter.beside`
            says: int64 [columns, KNOWN * C].
        above: the column of the upper neighbour, -1 where there is none.
        runs: [C], how often the last intensity of each channel had stood there before, as in `Recent`.
        logistics: of the pixel that is being drawn.
    """

    written: NDArray[np.int64]
    values: Numbers
    known_at: NDArray[np.int64]
    above: list[int]
    runs: NDArray[np.int64]
    logistics: SinglePixel | None = None

    def put(self, intensity: int, position: int) -> None:
        """Write the token at a position."""
        column, channel = divmod(position, self.written.shape[1])
        again = column > 0 and self.written[column - 1, channel] == intensity
        self.runs[channel] = self.runs[channel] + 1 if again else 0
        self.written[column, channel] = intensity
        self.values[position] = VALUES[intensity]

    def follow(self, recent: Recent) -> None:
        """Go on after pixels that were taken at once."""
        assert recent.written is not None
        self.written[:] = recent.written[0].cpu().numpy()
        self.values[: self.written.size] = VALUES[self.written].reshape(-1)  # nobody asks for what is not yet there
        self.runs[:] = recent.runs[0].cpu().numpy()


class SinglePixel:
    """What `Logistics` gives for one pixel, channel by channel.

    From its parameters [numbers, K], as `MixtureWriter` computes them, and base [C, K].
    """

    def __init__(self, parameters: Numbers, base: Numbers) -> None:
        channels = len(base)
        with np.errstate(all="ignore"):  # a broken model's numbers, which `finite` tells
            self.base, self.slopes = base, np.tanh(parameters[1 + 2 * channels :])
            scales = np.exp(np.maximum(parameters[1 + channels : 1 + 2 * channels], LEAST_LOG_SCALE))
            self.means, self.inverse = base + parameters[1 : 1 + channels] * scales, 1 / scales
            self.log_weights = parameters[0] - np.logaddexp.reduce(parameters[0])
            self.finite = math.isfinite(np.add.reduce(parameters, None) + np.add.reduce(self.means, None))
        self.values: list[float] = []
        self.mean: Numbers = self.means[0]

    def next(self) -> Numbers:
        """Log-probabilities [LEVELS] of the channel after those that were taken; NaN of a pixel that is not finite."""
        if not self.finite:
            return np.full(LEVELS, np.nan)
        below, mass = self._below(), np.empty(LEVELS)
        mass[0], mass[-1] = below[0] + 1, 1 - below[-1]
        np.subtract(below[1:], below[:-1], out=mass[1:-1])
        mass *= 0.5
        np.maximum(mass, LEAST, out=mass)
        return np.log(mass, out=mass)

    def draw(self, uniform: float) -> NDArray[np.int64]:
        """The intensity [1] of that channel where `uniform` falls in its cumulative distribution."""
        if not self.finite:
            raise FloatingPointError
        return self._below().searchsorted([2 * uniform - 1], side="right")

    def _below(self) -> Numbers:
        """How probable the intensities up to each but the last are, spread over -1 to 1: [LEVELS - 1]."""
        # The distribution function of a logistic distribution is (1 + tanh(x / 2)) / 2, and the weights sum to 1.
        place = np.subtract.outer(self.mean, BOUNDS)
        place *= (-0.5 * self.inverse[len(self.values)])[:, None]
        found: Numbers = np.exp(self.log_weights) @ np.tanh(place, out=place)
        return found

    def take(self, intensity: int) -> None:
        """The channel is that intensity: what this leaves of the mixture counts for the next."""
        if not self.finite:
            return
        channel = len(self.values)
        inverse = self.inverse[channel]
        left = self.log_weights  # and the mass of the intensity, by the factors of `log_mass`
        if intensity > 0:
            left = left - np.logaddexp(0, (BOUNDS[intensity - 1] - self.mean) * inverse)
        if intensity < LEVELS - 1:
            left = left - np.logaddexp(0, (self.mean - BOUNDS[intensity]) * inverse)
        if 0 < intensity < LEVELS - 1:
            left = left + np.log(-np.expm1(-2 * HALF * inverse))
        self.log_weights = left - np.logaddexp.reduce(left)
        self.values.append(float(VALUES[intensity]))
        channel += 1
        if channel < len(self.means):
            first = channel * (channel - 1) // 2
            self.mean = self.means[channel]
            for value, base, slope in zip(self.values, self.base, self.slopes[first:], strict=False):
                self.mean = self.mean + (value - base) * slope


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
        of_known = writer.parameters_of.weight.detach()[:, model.config.width :].cpu().double().numpy()
        self.of_known = np.ascontiguousarray(of_known)
        # In known pixels [KNOWN * C]: the first one, against the others; and what the components [C, K] begin from.
        self.first = np.tile(channels, KNOWN - 1)
        self.base = channels[:, None] + self.channels * (np.arange(self.components) % KNOWN)

    def start(self, columns: int, shown: Tensor | None) -> Picture:
        """An empty picture of so many pixels; shown [1, columns, C]: of an aligned source."""
        written = np.full((columns, self.channels), NOTHING)
        values, source = np.zeros(written.size + 1), None
        if shown is not None:
            source = shown[0].cpu()
            values = np.concatenate((values[:-1], VALUES[source.clamp(max=LEVELS - 1).numpy()].reshape(-1), [0.0]))
        places = self.surroundings.places(columns)
        known_at = _known_at(places, source, self.channels)
        return Picture(written, values, known_at, places[:, 1].tolist(), np.zeros(self.channels, np.int64))

    def read(self, picture: Picture, column: int) -> Tensor:
        """What a column reads of the pixel before it and of the one above it: [1, W]."""
        rows = [self.token_rows + picture.written[column - 1]]
        if self.recall:
            rows.append(self.run_rows + np.minimum(picture.runs, self.recall - 1))
        place = picture.above[column]
        if self.above_rows is not None and place >= 0:
            rows.append(self.above_rows + picture.written[place])
        chosen = torch.from_numpy(np.concatenate(rows)).to(self.table.device)
        return self.table.index_select(0, chosen).sum(0, keepdim=True)

    def begin(self, picture: Picture, told: Tensor, column: int) -> SinglePixel:
        """The distribution of the pixel at a column, of whose parameters the decoder tells this: [1, numbers]."""
        known = picture.values[picture.known_at[column]]
        parameters = told.double().cpu().numpy()[0] + self.of_known @ (known[self.channels :] - known[self.first])
        return SinglePixel(parameters.reshape(-1, self.components), known[self.base])


def _known_at(places: Tensor, source: Tensor | None, channels: int) -> NDArray[np.int64]:
    """Where the components of each pixel find what they begin from, as `MixtureWriter.beside` says: [columns,
    KNOWN * C], of places [columns, 2] and an aligned source [columns, C], whose numbers stand behind all the picture's.
    NOTHING is the last place, which holds a zero.
    """
    here = torch.arange(channels)
    left, above = (torch.where(place[:, None] >= 0, place[:, None] * channels + here, NOTHING) for place in places.T)
    shown = torch.full_like(left, NOTHING)
    if source is not None:
        behind = source.numel() + torch.arange(source.numel()).view_as(source)
        shown = torch.where(source < LEVELS, behind, NOTHING)
    return torch.cat(stand_ins(shown, left, above), 1).numpy()
