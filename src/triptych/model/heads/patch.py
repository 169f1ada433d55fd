"""The tokens of a patch one after another (MEGABYTE, Yu et al. 2023; RQ-Transformer, Lee et al. 2022).

Inside of a patch a small network without attention predicts token after token: few tokens come before each other
there, and the sum of a vector for each, by its place, represents them all.

Shapes in comments: B rows, L target positions (tokens), P patches, S the size of a patch, W width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.decode.history import History
from triptych.model.batch import Batch
from triptych.model.heads.base import Categorical, Head
from triptych.model.heads.cross_entropy import log_probabilities
from triptych.model.inputs.base import Input
from triptych.model.inputs.patches import PlaceEmbedding, patches, repeat_counts
from triptych.model.layers.block import FeedForward, Residual, Stack
from triptych.model.layers.dropout import Dropout
from triptych.shape.config import Config
from triptych.shape.parts import Patches, PatchNetwork


class PatchHead(Head):
    """From the decoder's output at each patch, and the tokens before each in it, to the tokens.

    With `repeat_features` each token is also joined by the one in its place in the patch before, and for how many
    patches that had been the same.
    """

    def __init__(self, settings: PatchNetwork, config: Config, source: Input) -> None:
        super().__init__()
        assert isinstance(config.input, Patches)
        inner = replace(config, feed_forward=settings.feed_forward)
        self.size, self.repeat = config.input.size, config.input.repeat_features
        self.before = PlaceEmbedding(config.vocabulary, self.size, config.width)
        self.repeats = PlaceEmbedding(config.vocabulary, self.size, config.width, self.repeat) if self.repeat else None
        self.places = nn.Embedding(self.size, config.width)
        self.layers = Stack[FeedForward](FeedForward(inner) for _ in range(settings.layers))
        self.around = Stack[Residual](Residual(config) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(config.width) if config.norm == "pre" else nn.Identity()
        self.output = nn.Embedding(config.vocabulary, config.width)

    def whole(self, hidden: Tensor, batch: Batch, drop: Dropout | None) -> Categorical:
        """The distribution of all tokens, from hidden [B, P, W]."""
        ids = patches(batch.target, self.size)  # [B, P, S]
        joined = functional.pad(self.before(ids)[:, :, :-1].cumsum(2), (0, 0, 1, 0)) + self._places()  # [B, P, S, W]
        if self.repeats is not None:
            repeated = self.repeats(ids[:, :-1], repeat_counts(ids)[:, :-1])
            joined = joined + functional.pad(repeated, (0, 0, 0, 0, 1, 0))
        hidden = hidden[:, :, None] + joined.to(hidden.dtype)
        tokens = self.through(hidden if drop is None else drop(hidden), drop).flatten(1, 2)  # [B, P * S, W]
        return Categorical(tokens[:, : batch.target.size(1)], self.output.weight, batch)

    def step(self, begun: Tensor, history: History) -> Tensor:
        """Log-probabilities [rows, V] of the next token, from begun [rows, W] of its patch."""
        return log_probabilities(self.through(begun + self.joined(history), None), self.output.weight)

    def joined(self, history: History) -> Tensor:
        """What joins the decoder's output at the next token: [rows, W]."""
        position, place = history.position, history.place
        device = self.places.weight.device
        found = self._places()[place]
        if self.repeats is not None and position:
            same = history.ids[:, position - 1, place, None]
            counts = history.repeats(position - 1, self.repeat - 1)[:, place, None]
            before, times = (torch.from_numpy(each).to(device) for each in (same, counts))
            found = found + self.repeats(before, times, place)[:, 0]
        before = torch.from_numpy(history.ids[:, position, :place]).to(device)
        return found + self.before(before).sum(1)

    def through(self, hidden: Tensor, drop: Dropout | None) -> Tensor:
        """The layers and the last norm, at every token of hidden [..., W]."""
        for layer, around in zip(self.layers, self.around, strict=True):
            hidden = around.leave(hidden, layer(around.enter(hidden)), drop)
        return self.norm(hidden)

    def _places(self) -> Tensor:
        return self.places.weight * self.before.scale
