"""The pixels of one picture alone: what `MixtureHead` and `MixtureComponents` compute, in numpy.

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

from triptych.decode.history import MISSING, History, Ids
from triptych.model.heads.mixture import HALF, KNOWN, MIN_LOG_SCALE, MixtureHead, stand_ins
from triptych.shape.parts import LEVELS

Numbers = NDArray[np.float64]

BOUNDS = np.arange(1, LEVELS) * (2 * HALF) - (1 + HALF)  # between one intensity and the next
VALUES = np.arange(LEVELS, dtype=np.float32) * np.float32(2 * HALF) - 1  # as `scaled`, rounded alike
MIN_PROBABILITY = 1e-300  # of a probability, of which there are logarithms then


@dataclass
class Picture:
    """The pixels of a picture as numbers, in the order of the attention.

    Attributes:
        values: those that were written, from -1 to 1, then an aligned source, then a zero: [(columns or twice as many)
            * C + 1].
        known_at: where in `values` the components of each pixel find what they begin from, as `MixtureHead.beside`
            says: int64 [columns, KNOWN * C].
        pixel: the one that is being drawn.
    """

    values: Numbers
    known_at: Ids
    pixel: SinglePixel | None = None

    def put(self, intensity: int, place: int) -> None:
        """Write the token number `place`."""
        self.values[place] = VALUES[intensity]

    def follow(self, history: History) -> None:
        """Go on after pixels that were taken at once."""
        self.values[: history.length] = VALUES[history.ids.reshape(-1)[: history.length]]


class SinglePixel:
    """What `MixtureComponents` gives for one pixel, channel by channel.

    From its parameters [numbers, K], as `MixtureHead` computes them, and base [C, K].
    """

    def __init__(self, parameters: Numbers, base: Numbers) -> None:
        channels = len(base)
        with np.errstate(all="ignore"):  # a broken model's numbers, which `finite` tells
            self.base, self.slopes = base, np.tanh(parameters[1 + 2 * channels :])
            scales = np.exp(np.maximum(parameters[1 + channels : 1 + 2 * channels], MIN_LOG_SCALE))
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
        np.maximum(mass, MIN_PROBABILITY, out=mass)
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
    """Writes the pixels of a `Picture` as a mixture does."""

    def __init__(self, head: MixtureHead) -> None:
        self.head, self.components = head, head.components
        channels, width = np.arange(head.channels), head.parameters_of.in_features - (KNOWN - 1) * head.channels
        of_known = head.parameters_of.weight.detach()[:, width:].cpu().double().numpy()
        self.of_known = np.ascontiguousarray(of_known)
        # In known pixels [KNOWN * C]: the first one, against the others; and what the components [C, K] begin from.
        self.first = np.tile(channels, KNOWN - 1)
        self.base = channels[:, None] + head.channels * (np.arange(head.components) % KNOWN)

    def start(self, columns: int, source: Ids | None) -> Picture:
        """An empty picture of so many pixels; source [1, columns, C]: one that lies beside it."""
        count = columns * self.head.channels
        values = np.zeros(count + 1)
        if source is not None:
            values = np.concatenate((values[:-1], VALUES[np.minimum(source[0], LEVELS - 1)].reshape(-1), [0.0]))
        places = self.head.neighbours(columns)
        return Picture(values, _known_at(places, None if source is None else source[0], self.head.channels))

    def begin(self, picture: Picture, scores: Tensor, column: int) -> SinglePixel:
        """The distribution of the pixel at a column, of whose parameters the decoder gives this: [1, numbers]."""
        known = picture.values[picture.known_at[column]]
        apart = known[self.head.channels :] - known[self.first]
        parameters = scores.double().cpu().numpy()[0] + self.of_known @ apart
        return SinglePixel(parameters.reshape(-1, self.components), known[self.base])


def _known_at(places: Ids, source: Ids | None, channels: int) -> Ids:
    """Where the components of each pixel find what they begin from, as `MixtureHead.beside` says: [columns,
    KNOWN * C], of places [columns, 2] and an aligned source [columns, C], whose numbers stand behind all the picture's.
    MISSING is the last place, which holds a zero.
    """
    here = np.arange(channels)
    left, above = (np.where(place[:, None] >= 0, place[:, None] * channels + here, MISSING) for place in places.T)
    shown = np.full_like(left, MISSING)
    if source is not None:
        behind = source.size + np.arange(source.size).reshape(source.shape)
        shown = np.where(source < LEVELS, behind, MISSING)
    found = stand_ins(*(torch.from_numpy(each) for each in (shown, left, above)))
    return torch.cat(found, 1).numpy()
