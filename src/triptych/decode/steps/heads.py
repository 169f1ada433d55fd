"""Heads step by step, without torch: from the decoder's output at a position to log-probabilities of its tokens.

The modules of the same, over whole sequences, are `model.heads`.

Shapes in comments: R rows, V vocabulary, W width, C channels, K components.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from triptych.decode.arithmetic import Floats, log_softmax
from triptych.decode.history import History, Ids
from triptych.decode.parameters import Shapes, network_shapes, norm_shapes
from triptych.decode.steps.inputs import columns_of, place_scale
from triptych.decode.steps.pixels import KNOWN, Neighbours, PixelRows, parameters_of_a_pixel
from triptych.shape.config import Config
from triptych.shape.parts import Mixture, Patches, PatchNetwork, Pixels, Tied

if TYPE_CHECKING:
    from triptych.decode.plan import Plan

LogProbs = NDArray[np.floating[Any]]


class HeadSteps(Protocol):
    """What a head computes at a step."""

    @property
    def draws(self) -> bool:
        """Whether it draws by itself."""
        ...

    def begin(self, hidden: Floats, history: History) -> Any:
        """What the steps of a position share, of the decoder's output there [R, W]: it has `[rows]`, which selects."""
        ...

    def step(self, begun: Any, history: History) -> LogProbs:
        """Log-probabilities [R, V] of the next token."""
        ...

    def draw(self, begun: Any, history: History, uniforms: NDArray[np.float64]) -> Ids:
        """The next ids [R] where `uniforms` [R] fall in the cumulative distributions, of a head that `draws`."""
        ...


class Stepping:
    """A head whose draws are made from what `step` gives."""

    draws = False

    def draw(self, begun: Any, history: History, uniforms: NDArray[np.float64]) -> Ids:
        """Not asked for."""
        raise NotImplementedError


class TiedSteps(Stepping):
    """Products with the embeddings."""

    def __init__(self, plan: Plan) -> None:
        self.weight = plan.array("input.embedding.weight")

    @staticmethod
    def shapes(config: Config) -> Shapes:
        """It has no parameter of its own."""
        return {}

    def begin(self, hidden: Floats, history: History) -> Floats:
        """The decoder's output."""
        return hidden

    def step(self, begun: Floats, history: History) -> LogProbs:
        """A softmax over the vocabulary."""
        return log_softmax(np.dot(begun, self.weight.T))


class PatchSteps(Stepping):
    """The tokens of a patch one after another, by a network over the sum of a vector for each before."""

    def __init__(self, plan: Plan) -> None:
        config, settings = plan.config, plan.config.head
        assert isinstance(config.input, Patches) and isinstance(settings, PatchNetwork)
        self.vocabulary, self.repeat = config.vocabulary, config.input.repeat_features
        scale = np.float32(place_scale(config))
        self.before, self.places = (
            plan.array("head.before.tokens.weight") * scale,
            plan.array("head.places.weight") * scale,
        )
        if self.repeat:
            self.same = plan.array("head.repeats.tokens.weight") * scale
            self.times = plan.array("head.repeats.repeats.weight") * scale
        self.layers = [
            plan.network(f"head.layers.{number}", f"head.around.{number}.norm") for number in range(settings.layers)
        ]
        self.norm, self.output = plan.norm("head.norm"), plan.array("head.output.weight")

    @staticmethod
    def shapes(config: Config) -> Shapes:
        """Parameters by their names in the head."""
        settings, read, width = config.head, config.input, config.width
        assert isinstance(settings, PatchNetwork) and isinstance(read, Patches)
        found: Shapes = {
            "before.tokens.weight": (read.size * config.vocabulary, width),
            "places.weight": (read.size, width),
            "output.weight": (config.vocabulary, width),
        }
        if read.repeat_features:
            found["repeats.tokens.weight"] = (read.size * config.vocabulary, width)
            found["repeats.repeats.weight"] = (read.size * read.repeat_features, width)
        for number in range(settings.layers):
            found |= network_shapes(f"layers.{number}", f"around.{number}.norm", config, settings.feed_forward)
        return found | (norm_shapes("norm", width) if config.norm == "pre" else {})

    def begin(self, hidden: Floats, history: History) -> Floats:
        """The decoder's output."""
        return hidden

    def step(self, begun: Floats, history: History) -> LogProbs:
        """A softmax over the vocabulary after the patch's own network."""
        position, place = history.position, history.place
        hidden = begun + self.places[place]
        before = history.ids[:, position, :place]  # [R, place]
        if place:
            hidden += np.add.reduce(self.before[before + self.vocabulary * np.arange(place)], 1)
        if self.repeat and position:
            same = history.ids[:, position - 1, place]
            times = history.repeats(position - 1, self.repeat - 1)[:, place]
            hidden += self.same[same + self.vocabulary * place] + self.times[times + self.repeat * place]
        for layer in self.layers:
            hidden = layer(hidden)
        if self.norm is not None:
            hidden = self.norm(hidden)
        return log_softmax(np.dot(hidden, self.output.T))


class MixtureSteps:
    """The channels of a pixel, by a discretized logistic mixture."""

    draws = True

    def __init__(self, plan: Plan) -> None:
        config, settings = plan.config, plan.config.head
        assert isinstance(config.input, Pixels) and isinstance(settings, Mixture)
        weight, width = plan.array("head.parameters_of.weight"), config.width
        self.weight, self.bias = weight[:, :width], plan.array("head.parameters_of.bias")
        self.of_known = weight[:, width:].astype(np.float64)
        self.components = settings.components
        self.near = Neighbours(config.pattern, columns_of(config), config.input.channels, settings.components)

    @staticmethod
    def shapes(config: Config) -> Shapes:
        """Parameters by their names in the head."""
        assert isinstance(config.input, Pixels) and isinstance(config.head, Mixture)
        channels = config.input.channels
        numbers = parameters_of_a_pixel(channels, config.head.components)
        read = config.width + (KNOWN - 1) * channels
        return {"parameters_of.weight": (numbers, read), "parameters_of.bias": (numbers,)}

    def begin(self, hidden: Floats, history: History) -> PixelRows:
        """The distribution of the pixel that comes next."""
        apart, base = self.near.of(history)
        parameters = (np.dot(hidden, self.weight.T) + self.bias).astype(np.float64) + apart @ self.of_known.T
        return PixelRows(parameters.reshape(len(hidden), -1, self.components), base)

    def step(self, begun: PixelRows, history: History) -> LogProbs:
        """Log-probabilities [R, LEVELS] of the next channel."""
        begun.follow(history)
        return begun.next()

    def draw(self, begun: PixelRows, history: History, uniforms: NDArray[np.float64]) -> Ids:
        """The next channel itself."""
        begun.follow(history)
        return begun.draw(uniforms)


HEADS: dict[type[Any], type[Any]] = {Tied: TiedSteps, PatchNetwork: PatchSteps, Mixture: MixtureSteps}
