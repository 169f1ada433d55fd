"""What each input reads at a step: a weighted sum of rows of its tables, as a function of the history.

The tables, and the same of whole sequences, are modules of `model.inputs`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from triptych.decode.history import MISSING, History, Ids
from triptych.decode.steps.keyboard import Keyboard
from triptych.shape.config import Config
from triptych.shape.parts import LEVELS, Patches, Pixels, Tokens
from triptych.shape.pattern import Local2D, causal_neighbours

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows of a table that are summed: `index` int64 [rows, n], weighed by `weights` float64 [rows, n] (None: by 1)."""

    table: str
    index: Ids
    weights: Numbers | None = None


@dataclass(frozen=True)
class Table:
    """A table of an input: the name of its parameter, its number of rows, and the scale of what they add."""

    parameter: str
    rows: int
    scale: float


class InputSteps(Protocol):
    """What an input reads of one generation, position by position."""

    def read(self, history: History) -> Sequence[Rows]:
        """What the position that comes next reads; nothing before there is an id. Asked once a position, in order."""
        ...

    def follow(self, history: History) -> None:
        """Go on after ids that were taken at once; all but the last of them are in the history."""
        ...

    def select(self, rows: Ids) -> None:
        """Let new row r continue old row `rows[r]`."""
        ...


class Stateless:
    """An input that reads nothing but the history."""

    def follow(self, history: History) -> None:
        """Nothing to follow."""

    def select(self, rows: Ids) -> None:
        """Nothing to select."""


class TokenSteps:
    """The last token, and the keyboard after it."""

    def __init__(self, config: Config, rows: int) -> None:
        assert isinstance(config.input, Tokens)
        layout = config.input.keyboard
        self.keyboard = None if layout is None else Keyboard(layout, rows)

    @staticmethod
    def tables(config: Config) -> dict[str, Table]:
        """The embeddings, as large as the positions that join them, and the features of the keyboard."""
        assert isinstance(config.input, Tokens)
        scale, layout = math.sqrt(config.width), config.input.keyboard
        found = {"tokens": Table("embedding.weight", config.vocabulary, scale)}
        if layout is not None:
            found["keyboard"] = Table("keyboard.vectors.weight", 2 * layout[0] + layout[2], scale)
        return found

    def read(self, history: History) -> Sequence[Rows]:
        """The row of the last token, and those of the keyboard after it."""
        if not history.length:
            return ()
        last = history.last()
        found = [Rows("tokens", last[:, None])]
        if self.keyboard is not None:
            self.keyboard.hear(last)
            found.append(Rows("keyboard", *self.keyboard.features()))
        return found

    def follow(self, history: History) -> None:
        """Let the keyboard hear what is in the history; the last one comes with the next `read`."""
        if self.keyboard is not None:
            for ids in history.ids[:, : history.length, 0].T:
                self.keyboard.hear(ids)

    def select(self, rows: Ids) -> None:
        """Let new row r continue old row `rows[r]`."""
        if self.keyboard is not None:
            self.keyboard.select(rows)


class PatchSteps(Stateless):
    """The tokens of the last patch by their places, and how often each was there before."""

    def __init__(self, config: Config, rows: int) -> None:
        assert isinstance(config.input, Patches)
        self.repeat = config.input.repeat_features
        places = np.arange(config.input.size)
        self.tokens, self.repeats = config.vocabulary * places, self.repeat * places  # the first row of each place

    @staticmethod
    def tables(config: Config) -> dict[str, Table]:
        """The vectors of tokens and of runs, whose sum is as large as a token."""
        assert isinstance(config.input, Patches)
        size, repeat, scale = config.input.size, config.input.repeat_features, place_scale(config)
        found = {"tokens": Table("places.tokens.weight", size * config.vocabulary, scale)}
        if repeat:
            found["repeats"] = Table("places.repeats.weight", size * repeat, scale)
        return found

    def read(self, history: History) -> Sequence[Rows]:
        """Rows of the last patch."""
        if not history.length:
            return ()
        before = history.position - 1
        found = [Rows("tokens", self.tokens + history.ids[:, before])]
        if self.repeat:
            found.append(Rows("repeats", self.repeats + history.repeats(before, self.repeat - 1)))
        return found


class PixelSteps(Stateless):
    """The channels of the last pixel, and of the one above the next."""

    def __init__(self, config: Config, rows: int) -> None:
        assert isinstance(config.input, Pixels)
        self.pattern, self.columns = config.pattern, columns_of(config)
        self.channels = LEVELS * np.arange(config.input.channels)

    @staticmethod
    def tables(config: Config) -> dict[str, Table]:
        """The vectors of the channels of the pixel before, and of the one above where there are columns."""
        assert isinstance(config.input, Pixels)
        rows, scale = config.input.channels * config.vocabulary, place_scale(config)
        found = {"tokens": Table("places.tokens.weight", rows, scale)}
        if columns_of(config):
            found["above"] = Table("above.tokens.weight", rows, scale)
        return found

    def read(self, history: History) -> Sequence[Rows]:
        """Rows of the last pixel and of the one above."""
        if not history.length:
            return ()
        found = [Rows("tokens", self.channels + history.ids[:, history.position - 1])]
        if self.columns:
            above = int(causal_neighbours(self.pattern, self.columns, history.ids.shape[1])[history.position, 1])
            if above != MISSING:
                found.append(Rows("above", self.channels + history.ids[:, above]))
        return found


def columns_of(config: Config) -> int:
    """The columns of the picture whose pixels are the positions; 0 where its width is not known."""
    if isinstance(config.pattern, Local2D):
        return config.pattern.width
    return (config.positions.length or 0) if config.positions.kind == "sinusoidal_2d" else 0


def place_scale(config: Config) -> float:
    """The scale of vectors of the tokens at a position, by which their sum is as large as a token alone."""
    return math.sqrt(config.width / config.input.size)


STEPS: dict[type[Any], Any] = {Tokens: TokenSteps, Patches: PatchSteps, Pixels: PixelSteps}


def steps_of(config: Config, rows: int) -> InputSteps:
    """The steps of the input of a configuration, for so many fresh rows."""
    found: InputSteps = STEPS[type(config.input)](config, rows)
    return found
