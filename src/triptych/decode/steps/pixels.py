"""Pixels of a discretized logistic mixture, channel by channel, in numpy; `model.heads.mixture` is its torch twin.

Probabilities are differences of the distribution function, in float64. Below 1e-16 they cancel: from a temperature of 5
on, up to a thousandth of the draws is noise. Forced ids are weighed by logarithms, which do not cancel.

Shapes in comments: R rows, C channels, K components.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from triptych.decode.history import MISSING, History, Ids
from triptych.shape.parts import LEVELS
from triptych.shape.pattern import Pattern, causal_neighbours

Numbers = NDArray[np.float64]

HALF = 1 / (LEVELS - 1)  # half a step between intensities, where these are spread over -1 to 1
MIN_LOG_SCALE = -7.0
KNOWN = 3  # pixels, from which the components begin in turn: of the source, to the left, above
BOUNDS = np.arange(1, LEVELS) * (2 * HALF) - (1 + HALF)  # between one intensity and the next
VALUES = np.arange(LEVELS) * (2 * HALF) - 1  # intensities, -1 to 1
MIN_PROBABILITY = 1e-300  # so that logarithms are finite


def parameters_of_a_pixel(channels: int, components: int) -> int:
    """Numbers that describe the mixture of a pixel."""
    return components * (1 + 2 * channels + channels * (channels - 1) // 2)


def stand_ins(source: Ids, left: Ids, above: Ids) -> tuple[Ids, Ids, Ids]:
    """The three pixels from which components begin, another of them where one is MISSING; MISSING if all are."""
    left = np.where(left == MISSING, above, left)
    left = np.where(left == MISSING, source, left)
    return np.where(source == MISSING, left, source), left, np.where(above == MISSING, left, above)


class Neighbours:
    """The known pixels beside one that comes next: of an aligned source, to the left and above."""

    def __init__(self, pattern: Pattern, columns: int, channels: int, components: int) -> None:
        self.pattern, self.columns = pattern, columns
        self.turn = np.arange(components) % KNOWN  # the known pixel from which each component begins

    def of(self, history: History) -> tuple[Numbers, Numbers]:
        """Differences of the second and third known pixel from the first, [R, 2 C], and what the components begin from,
        [R, C, K]; all as numbers from -1 to 1, and 0 where nothing is known.
        """
        ids, position = history.ids, history.position
        places = causal_neighbours(self.pattern, self.columns, ids.shape[1])[position]
        left, above = (ids[:, place] if place != MISSING else np.full_like(ids[:, 0], MISSING) for place in places)
        source = np.full_like(left, MISSING)
        if history.source is not None:
            given = history.source[:, position]
            source = np.where(given < LEVELS, given, MISSING)  # an id past the intensities is a hole
        found = np.stack(stand_ins(source, left, above), 1)  # [R, KNOWN, C]
        known = np.where(found == MISSING, 0.0, VALUES[found])
        apart = (known[:, 1:] - known[:, :1]).reshape(len(known), -1)
        return apart, known[:, self.turn].transpose(0, 2, 1)


class PixelRows:
    """The distribution of one pixel of each row, channel by channel: parameters [R, numbers, K] as the head gives them,
    base [R, C, K].
    """

    def __init__(self, parameters: Numbers, base: Numbers) -> None:
        channels = base.shape[1]
        with np.errstate(all="ignore"):  # a broken model's numbers, which `finite` shows
            self.base, self.slopes = base, np.tanh(parameters[:, 1 + 2 * channels :])
            scales = np.exp(np.maximum(parameters[:, 1 + channels : 1 + 2 * channels], MIN_LOG_SCALE))
            self.means, self.inverse = base + parameters[:, 1 : 1 + channels] * scales, 1 / scales
            self.log_weights = parameters[:, 0] - np.logaddexp.reduce(parameters[:, 0], -1, keepdims=True)
            self.finite = np.isfinite(parameters.sum((1, 2)) + self.means.sum((1, 2)))  # [R]
        self.values = np.empty((len(base), 0))  # of the channels that were taken, [R, c]
        self.mean = self.means[:, 0]

    def __getitem__(self, rows: Ids) -> PixelRows:
        """New row r continues old row `rows[r]`."""
        chosen = object.__new__(PixelRows)
        for name, kept in vars(self).items():
            setattr(chosen, name, kept[rows])
        return chosen

    def follow(self, history: History) -> None:
        """Take the channels of the present pixel that are in the history."""
        for channel in range(self.values.shape[1], history.place):
            self.take(history.ids[:, history.position, channel])

    def next(self) -> Numbers:
        """Log-probabilities [R, LEVELS] of the channel after those that were taken; NaN where it is not finite."""
        below = self._below()
        mass = np.empty((len(below), LEVELS))
        mass[:, 0], mass[:, -1] = below[:, 0] + 1, 1 - below[:, -1]
        np.subtract(below[:, 1:], below[:, :-1], out=mass[:, 1:-1])
        mass *= 0.5
        np.maximum(mass, MIN_PROBABILITY, out=mass)
        np.log(mass, out=mass)
        if not self.finite.all():
            mass[~self.finite] = np.nan
        return mass

    def draw(self, uniforms: Numbers) -> Ids:
        """The intensities [R] of that channel where `uniforms` [R] fall in its cumulative distribution."""
        if not self.finite.all():
            raise FloatingPointError
        found: Ids = (self._below() <= (2 * uniforms - 1)[:, None]).sum(1)
        return found

    def _below(self) -> Numbers:
        """The cumulative distribution [R, LEVELS - 1] of the intensities but the last, spread over -1 to 1."""
        # The distribution function of a logistic distribution is (1 + tanh(x / 2)) / 2, and the weights sum to 1.
        with np.errstate(all="ignore"):
            place = self.mean[:, :, None] - BOUNDS  # [R, K, LEVELS - 1]
            place *= (-0.5 * self.inverse[:, self.values.shape[1]])[:, :, None]
            np.tanh(place, out=place)
            found: Numbers = np.matmul(np.exp(self.log_weights)[:, None], place)[:, 0]
        return found

    def take(self, intensities: Ids) -> None:
        """Condition the mixture on intensities [R] of the channel, and go on to the next one."""
        channel = self.values.shape[1]
        inverse = self.inverse[:, channel]  # [R, K]
        inner = np.clip(intensities, 1, LEVELS - 1)[:, None], np.clip(intensities, 0, LEVELS - 2)[:, None]
        first, last = (intensities == 0)[:, None], (intensities == LEVELS - 1)[:, None]
        with np.errstate(all="ignore"):  # the mass of an intensity, by factors that do not cancel
            down = np.logaddexp(0, (BOUNDS[inner[0] - 1] - self.mean) * inverse)
            up = np.logaddexp(0, (self.mean - BOUNDS[inner[1]]) * inverse)
            width = np.log(-np.expm1(-2 * HALF * inverse))
            left = self.log_weights - np.where(first, 0, down) - np.where(last, 0, up)
            left += np.where(first | last, 0, width)
            self.log_weights = left - np.logaddexp.reduce(left, -1, keepdims=True)
        self.values = np.concatenate((self.values, VALUES[intensities][:, None]), 1)
        channel += 1
        if channel < self.means.shape[1]:
            start = channel * (channel - 1) // 2
            apart = self.values[:, :, None] - self.base[:, :channel]  # [R, c, K]
            self.mean = self.means[:, channel] + (self.slopes[:, start : start + channel] * apart).sum(1)
