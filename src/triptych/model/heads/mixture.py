"""Discretized logistic mixtures over the channels of a pixel (Salimans et al. 2017, PixelCNN++, section 2.1).

A pixel has C channels, each one of `LEVELS` intensities. A component gives every channel a logistic distribution whose
mass between two half steps is the probability of an intensity; the means of later channels move with the intensities of
earlier ones (section 2.2). One mixture weight chooses the component of all channels at once.

Unlike there, means and their moves are differences from a known pixel: the components begin in turn at that of an
aligned source, at the one to the left and at the one above (or, where one is not known, at another). In a flat part of
a picture all differences are then zero. The network gives a difference in units of its component's scale, so that an
update moves narrow and wide components alike; in intensities it would be too small for the wide or too large for the
narrow.

The distribution of a channel given the ones before it is again a mixture, with the weights that these leave: so a pixel
is also drawn channel by channel, each one exactly and in whole intensities before the next depends on it.

Shapes in comments: B rows, P pixels, W width, C channels, K components; `...` are any dimensions before them, such as B
and P.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from triptych.decode.history import MISSING, History
from triptych.decode.steps.inputs import columns_of
from triptych.decode.steps.pixels import HALF, KNOWN, MIN_LOG_SCALE, parameters_of_a_pixel
from triptych.errors import UserError
from triptych.model.batch import Batch
from triptych.model.heads.base import Head
from triptych.model.inputs.base import Input
from triptych.model.inputs.patches import patches
from triptych.model.layers.dropout import Dropout
from triptych.shape.config import Config
from triptych.shape.parts import LEVELS, Mixture, Pixels
from triptych.shape.pattern import causal_neighbours

FIRST_LOG_SCALES = (-6.5, -0.5)  # of the narrowest and the widest component, untrained
GENTLE = 0.1  # of the usual size: the output of an untrained network


def scaled(ids: Tensor, like: Tensor) -> Tensor:
    """Intensities 0 to 255 as numbers from -1 to 1, in the dtype of `like`, but at least in float32."""
    return ids.to(_at_least_float32(like)) * (2 * HALF) - 1


def _at_least_float32(like: Tensor) -> torch.dtype:
    return torch.promote_types(like.dtype, torch.float32)


def log_mass(values: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Logarithm of the logistic mass within half a step of `values` (from -1 to 1), which at -1 and at 1 goes on to
    infinity: exact, and over all intensities its exponential sums to 1. All three broadcast.
    """
    inverse = (-log_scale).exp()
    above, below = (values - mean + HALF) * inverse, (values - mean - HALF) * inverse
    # sigmoid(a) - sigmoid(b) = sigmoid(a) * sigmoid(-b) * (1 - exp(b - a)), of which no factor cancels
    up, down = functional.logsigmoid(above), functional.logsigmoid(-below)
    width = torch.log(-torch.expm1(-2 * HALF * inverse))
    up_to, down_from = values < HALF - 1, values > 1 - HALF
    return torch.where(up_to, up, torch.where(down_from, down, up + down + width))


def stand_ins(source: Tensor, left: Tensor, above: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three pixels from which components begin, another of them where one is MISSING; MISSING if all are."""
    left = torch.where(left == MISSING, above, left)
    left = torch.where(left == MISSING, source, left)
    return torch.where(source == MISSING, left, source), left, torch.where(above == MISSING, left, above)


class MixtureComponents:
    """The distribution of pixels: `weights` [..., K] (log), and by channel `means`, `log_scales` [..., C, K]; `slopes`
    [..., C * (C - 1) / 2, K] are how much the mean of a channel moves with each channel before it. base [..., C, K]:
    the pixel that they are differences from, from -1 to 1.
    """

    def __init__(self, parameters: Tensor, base: Tensor) -> None:
        """From parameters [..., N] (N: `parameters_of_a_pixel`) and base [..., C, K]."""
        channels = base.size(-2)
        pairs = channels * (channels - 1) // 2
        blocks = parameters.to(_at_least_float32(parameters)).view(
            *parameters.shape[:-1], 1 + 2 * channels + pairs, -1
        )  # [..., numbers, K]
        weights, means, scales, slopes = torch.split(blocks, [1, channels, channels, pairs], -2)  # [..., each, K]
        self.channels, self.base = channels, base
        self.weights, self.log_scales = weights[..., 0, :].log_softmax(-1), scales.clamp(min=MIN_LOG_SCALE)
        self.means, self.slopes = base + means * self.log_scales.exp(), slopes.tanh()

    def mean(self, channel: int, before: Tensor) -> Tensor:
        """Means [..., K] of a channel after the intensities `before` [..., channel] of the pixel, from -1 to 1."""
        mean = self.means[..., channel, :]  # [..., K]
        if channel:
            first = channel * (channel - 1) // 2
            slopes = self.slopes[..., first : first + channel, :]  # [..., channel, K]
            mean = mean + (slopes * (before[..., None] - self.base[..., :channel, :])).sum(-2)  # [..., K]
        return mean

    def joint(self, ids: Tensor) -> Tensor:
        """Log-probability of each component together with the first c channels of ids [..., C], for c from 0 to C:
        [..., C + 1, K].
        """
        values = scaled(ids, self.means)
        found = [self.weights.expand(*values.shape[:-1], -1)]  # [..., K]
        for channel in range(ids.size(-1)):
            mean = self.mean(channel, values[..., :channel])
            mass = log_mass(values[..., channel : channel + 1], mean, self.log_scales[..., channel, :])  # [..., K]
            found.append(found[-1] + mass)
        return torch.stack(found, -2)

    def nll(self, ids: Tensor) -> Tensor:
        """Negative log-likelihood of every channel given those before it: [..., C] of ids [..., C], in nats."""
        along = self.joint(ids).logsumexp(-1)  # [..., C + 1]
        return along[..., :-1] - along[..., 1:]

    def every(self, ids: Tensor) -> Tensor:
        """Log-probabilities of all intensities for every channel given those before it: [..., C, LEVELS] of ids
        [..., C].
        """
        return torch.stack([self.next(ids[..., :channel]) for channel in range(self.channels)], -2)

    def next(self, before: Tensor) -> Tensor:
        """Log-probabilities [..., LEVELS] of the channel after ids `before` [..., channel]."""
        channel = before.size(-1)
        weights = self.joint(before)[..., -1, :].log_softmax(-1)  # [..., K], given the channels before
        every = scaled(torch.arange(LEVELS, device=weights.device), weights)[:, None]  # [LEVELS, 1]
        mean = self.mean(channel, scaled(before, weights))[..., None, :]  # [..., 1, K]
        mass = log_mass(every, mean, self.log_scales[..., channel, None, :])  # [..., LEVELS, K]
        return (weights[..., None, :] + mass).logsumexp(-1)


class MixtureHead(Head):
    """From the decoder's output at each pixel, and known pixels beside it, to the distribution of its channels."""

    def __init__(self, settings: Mixture, config: Config, source: Input) -> None:
        super().__init__()
        assert isinstance(config.input, Pixels)
        self.channels, self.components, self.aligned = config.input.channels, settings.components, config.aligned
        self.pattern, self.columns = config.pattern, columns_of(config)
        read = config.width + (KNOWN - 1) * self.channels
        self.parameters_of = nn.Linear(read, parameters_of_a_pixel(self.channels, self.components))

    @torch.no_grad()
    def initialize(self) -> None:
        """Begin near pixels that are known, with components from narrow to wide, so that each soon has its part."""
        self.parameters_of.weight.mul_(GENTLE)
        scales = self.parameters_of.bias.view(-1, self.components)[1 + self.channels :][: self.channels]
        scales.copy_(torch.linspace(*FIRST_LOG_SCALES, self.components))

    def whole(self, hidden: Tensor, batch: Batch, drop: Dropout | None) -> PixelDistribution:
        """The distribution of all pixels, from hidden [B, P, W]."""
        pixels = patches(batch.target, self.channels)  # [B, P, C]
        places = torch.from_numpy(self.neighbours(pixels.size(1))).to(pixels.device)
        near = pixels[:, places.clamp(min=0)].masked_fill((places == MISSING)[..., None], MISSING)  # [B, P, 2, C]
        source = None
        if self.aligned and batch.source is not None:
            source = patches(batch.source, self.channels)[:, : pixels.size(1)]
        return PixelDistribution(self.mixture(self.beside(hidden, near, source)), pixels, batch)

    def begin(self, hidden: Tensor, history: History) -> Tensor:
        """The decoder's output and known pixels beside it: [rows, W + 3 * C]."""
        ids, position = history.ids, history.position
        places = self.neighbours(ids.shape[1])[position]
        near = np.where((places == MISSING)[:, None], MISSING, ids[:, places])  # [rows, 2, C]
        source = None if history.source is None else torch.from_numpy(history.source[:, position]).to(hidden.device)
        return self.beside(hidden[:, 0], torch.from_numpy(near).to(hidden.device), source)

    def step(self, begun: Tensor, history: History) -> Tensor:
        """Log-probabilities [rows, LEVELS] of the next channel, from what `begin` gave."""
        before = history.ids[:, history.position, : history.place]
        return self.mixture(begun).next(torch.from_numpy(before).to(begun.device))

    def neighbours(self, count: int) -> NDArray[np.int64]:
        """The positions of the left and the upper neighbour of so many pixels: [count, 2], `MISSING` for none."""
        return causal_neighbours(self.pattern, self.columns, count)

    def beside(self, hidden: Tensor, near: Tensor, source: Tensor | None = None) -> Tensor:
        """The decoder's output [..., W] and beside it the `KNOWN` pixels as numbers from -1 to 1, of which a
        distribution is made: [..., W + 3 * C]. Half precision has not all of these.

        near [..., 2, C]: ids of the neighbours, to the left and above, or MISSING; source [..., C]: of an aligned
        source, where an id past the intensities is a hole. What is missing is replaced by another.
        """
        holes = torch.full_like(near[..., 0, :], MISSING)  # [..., C]
        source = holes if source is None else torch.where(source < LEVELS, source, holes)
        whole = stand_ins(source, near[..., 0, :], near[..., 1, :])
        known = [scaled(ids, hidden).masked_fill(ids == MISSING, 0.0) for ids in whole]  # [..., C] each
        return torch.cat((hidden, *known), -1)

    def mixture(self, beside: Tensor) -> MixtureComponents:
        """The distribution of pixels [...] for hidden [..., W] and known pixels, as `beside` joins them."""
        width = beside.size(-1) - KNOWN * self.channels
        hidden, known = beside[..., :width], beside[..., width:].view(*beside.shape[:-1], KNOWN, self.channels)
        apart = (known[..., 1:, :] - known[..., :1, :]).flatten(-2)
        base = known[..., torch.arange(self.components, device=known.device) % KNOWN, :].mT  # [..., C, K]
        read = torch.cat((hidden, apart), -1)
        return MixtureComponents(self.parameters_of(read.to(self.parameters_of.weight.dtype)), base)


class PixelDistribution:
    """The mixtures of all pixels [B, P, C] of a batch."""

    def __init__(self, components: MixtureComponents, pixels: Tensor, batch: Batch) -> None:
        self.components, self.pixels, self.batch = components, pixels, batch

    def logits(self) -> Tensor:
        """Log-probabilities [B, L, LEVELS]."""
        return self.components.every(self.pixels).flatten(1, 2)[:, : self.batch.target.size(1)]

    def nll(self) -> Tensor:
        """Float32 [B, L]."""
        return self.components.nll(self.pixels).flatten(1)[:, : self.batch.target.size(1)]

    def loss(self, smoothing: float) -> tuple[Tensor, Tensor]:
        """The same twice: a mixture takes no smoothing (UserError)."""
        if smoothing:
            raise UserError(f"expected label_smoothing=0 with head mixture, got {smoothing}; leave it out")
        nll = (self.nll() * self.batch.counted()).sum()
        return nll, nll
