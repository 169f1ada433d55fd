"""Vectors of an input, its tables scaled and summed up: what a position reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from triptych.decode.arithmetic import Floats
from triptych.decode.history import History, Ids
from triptych.decode.steps.inputs import InputSteps, Rows, steps_of
from triptych.shape.config import CAUSAL, Config, Positions
from triptych.shape.parts import PatchNetwork, Tied, Tokens


class InputTables:
    """The tables of an input by the names that its steps give them."""

    def __init__(self, tables: dict[str, Floats], width: int) -> None:
        """tables: [rows, W], each already scaled."""
        self.tables, self.width = tables, width

    def sum(self, found: Sequence[Rows], rows: int) -> Floats:
        """What a position reads: [rows, W]; zeros of nothing."""
        total: Floats | None = None
        for each in found:
            vectors = self.tables[each.table][each.index]  # [rows, n, W]
            if each.weights is not None:
                part = np.matmul(each.weights.astype(np.float32)[:, None], vectors)[:, 0]
            else:
                part = vectors[:, 0] if vectors.shape[1] == 1 else np.add.reduce(vectors, 1)
            total = part if total is None else total + part
        return np.zeros((rows, self.width), np.float32) if total is None else total

    def every(self, steps: InputSteps, ids: Ids, size: int, first: int = 0) -> Floats:
        """What the positions from `first` on read of ids [rows, L], one after another: [rows, P, W]. From 0 on, that is
        what a target reads of ids before its own; from 1 on, each position's own tokens, as a source is read.
        """
        rows, length = ids.shape
        history = History(rows, length + size * first, size)
        positions = -(-length // size)
        filled = np.zeros((rows, positions * size), np.int64)
        filled[:, :length] = ids
        found = np.empty((rows, positions, self.width), np.float32)
        for position in range(first, first + positions):
            if position:
                history.ids[:, position - 1] = filled[:, (position - 1) * size : position * size]
            history.length = position * size
            found[:, position - first] = self.sum(steps.read(history), rows)
        return found


def source_config(config: Config) -> Config:
    """The configuration whose input reads a source as a target is read, without what belongs to the target's place."""
    if config.source_vocabulary is None:
        return dataclasses.replace(
            config, pattern=CAUSAL, positions=Positions("none"), relations=(), encoder_layers=0, aligned=False
        )
    settings = config.input.of_source()
    head = Tied() if isinstance(settings, Tokens) else PatchNetwork()
    return Config(config.source_vocabulary, width=config.width, heads=config.heads, input=settings, head=head)


def source_steps(config: Config, rows: int) -> InputSteps:
    """The steps of the input that reads a source."""
    return steps_of(source_config(config), rows)
