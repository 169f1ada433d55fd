"""A token a position, read as its embedding, and with it the keyboard of a piano after it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from triptych.model.inputs.base import Input
from triptych.model.inputs.keyboard import KeyboardFeatures
from triptych.shape.config import Config
from triptych.shape.parts import Tokens


class TokenInput(Input):
    """Embeddings as large as the positions that join them (Vaswani et al. 2017, section 3.4)."""

    def __init__(self, settings: Tokens, vocabulary: int, config: Config) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, config.width)
        self.scale = math.sqrt(config.width)
        self.keyboard = None if settings.keyboard is None else KeyboardFeatures(settings.keyboard, config.width)

    def read(self, ids: Tensor) -> Tensor:
        """[B, L, W] of ids [B, L]."""
        read: Tensor = self.embedding(ids) * self.scale
        return read if self.keyboard is None else read + self.keyboard(ids)

    def tables(self) -> Mapping[str, tuple[Tensor, float]]:
        """The embeddings, and the features of the keyboard."""
        found = {"tokens": (self.embedding.weight, self.scale)}
        if self.keyboard is not None:
            found["keyboard"] = self.keyboard.vectors.weight, self.scale
        return found
