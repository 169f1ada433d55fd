"""Several tokens at one position (MEGABYTE, Yu et al. 2023; RQ-Transformer, Lee et al. 2022): a patch.

The Transformer reads and writes patches. Inside of one, a small network without attention goes on from token to token:
few tokens stand before each other there, and the sum of a vector for each, by its place, tells them all.

What stood in the same place one patch before, and for how long, is told to each token: attention could find it, but a
sum at the input gives it to every layer from the first update on. The run length is after Peracha 2019, "Improving
Polyphonic Music Models with Feature-Rich Encoding".

Shapes in comments: B rows, L target positions (tokens), P patches, S the size of a patch, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.errors import UserError
from triptych.model.cache import Recent, run_lengths
from triptych.model.config import Config, Patch
from triptych.model.dropout import Dropout
from triptych.model.layers import FeedForward, Residual

Model = TypeVar("Model", bound=nn.Module)


def patches(ids: Tensor, size: int) -> Tensor:
    """Ids [B, L] as patches [B, P, S]; the last one is filled with 0."""
    return functional.pad(ids, (0, -ids.size(1) % size)).view(len(ids), -1, size)


class PlaceEmbedding(nn.Module):
    """A vector for each token by its place in the patch, and with `recall` for its run, as large as those of tokens."""

    def __init__(self, vocabulary: int, patch: Patch, width: int) -> None:
        super().__init__()
        self.vocabulary, self.longest, self.forget = vocabulary, patch.recall, patch.forget
        self.tokens = nn.Embedding(patch.size * vocabulary, width)
        self.runs = nn.Embedding(patch.size * patch.recall, width) if patch.recall else None
        self.scale = math.sqrt(width / patch.size)

    def forward(self, ids: Tensor, runs: Tensor, first: int = 0) -> Tensor:
        """[..., W] of ids and runs [...], int64, whose last axis holds the places first, first + 1, ..."""
        places = torch.arange(first, first + ids.size(-1), device=ids.device)
        told = self.tokens(ids + places * self.vocabulary)
        if self.runs is not None:
            told = told + self.runs(runs.clamp(max=self.longest - 1) + places * self.longest)
        return told * self.scale  # type: ignore[no-any-return]

    def read_like(self, other: PlaceEmbedding) -> None:
        """Take over the other's vectors of the ids and runs that both have."""
        shared, width = min(self.vocabulary, other.vocabulary), self.tokens.weight.size(1)
        tokens, others = (one.tokens.weight.view(-1, one.vocabulary, width) for one in (self, other))
        tokens[:, :shared] = others[:, :shared]
        if self.runs is not None and other.runs is not None:
            self.runs.weight.copy_(other.runs.weight)

    @torch.no_grad()
    def turn(self, places: Sequence[int]) -> None:
        """Put the vectors of these places into another order: what was at places[i] is at i."""
        for table in (self.tokens, self.runs):
            if table is not None:
                rows = table.weight.view(len(places), -1, table.weight.size(1))
                table.weight.copy_(rows[list(places)].flatten(0, 1))

    def read(self, ids: Tensor, size: int, *, forgetting: bool = False) -> Tensor:
        """Each patch as one vector: [B, P, W] of ids [B, L]; `forgetting` leaves out some of the tokens."""
        whole = patches(ids, size)
        told = self(whole, run_lengths(whole))
        if forgetting and self.forget:
            told = told * (torch.rand(whole.shape, device=whole.device) >= self.forget)[..., None]
        return told.sum(2)  # type: ignore[no-any-return]


class PatchNetwork(nn.Module):
    """From the decoder's output at each patch, and the tokens before each in it, to a vector for each token."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        patch = config.patch
        assert patch is not None
        inner = replace(config, feed_forward=patch.feed_forward)
        self.size = patch.size
        self.before = PlaceEmbedding(config.vocabulary, replace(patch, recall=0), config.width)
        self.recall = PlaceEmbedding(config.vocabulary, patch, config.width) if patch.recall else None
        self.places = nn.Embedding(patch.size, config.width)
        self.layers = nn.ModuleList(FeedForward(inner) for _ in range(patch.layers))
        self.around = nn.ModuleList(Residual(config) for _ in range(patch.layers))
        self.norm = nn.LayerNorm(config.width) if config.norm == "pre" else nn.Identity()

    def forward(self, hidden: Tensor, ids: Tensor, drop: Dropout | None) -> Tensor:
        """[B, P * S, W] for hidden [B, P, W] and ids [B, P, S]."""
        nothing = ids.new_zeros(ids.shape)
        told = functional.pad(self.before(ids, nothing)[:, :, :-1].cumsum(2), (0, 0, 1, 0)) + self._places()
        if self.recall is not None:
            recalled = self.recall(ids[:, :-1], run_lengths(ids)[:, :-1])
            told = told + functional.pad(recalled, (0, 0, 0, 0, 1, 0))
        hidden = hidden[:, :, None] + told.to(hidden.dtype)
        return self._through(hidden if drop is None else drop(hidden), drop).flatten(1, 2)

    def step(self, hidden: Tensor, recent: Recent, position: int) -> Tensor:
        """The token at `position`: [rows, 1, W], from hidden [rows, 1, W] of its patch and the tokens before it."""
        return self._through(hidden + self.told(recent, position)[:, None], None)

    def told(self, recent: Recent, position: int) -> Tensor:
        """What the token at `position` is told beside the decoder's output: [rows, W]."""
        place = position % self.size
        told = self._places()[place]
        if self.recall is not None and position >= self.size:
            here = slice(place, place + 1)
            told = told + self.recall(recent.ids[:, here], recent.runs[:, here], place)[:, 0]
        before = recent.ids[:, :place]
        return told + self.before(before, before).sum(1)  # type: ignore[no-any-return]

    @torch.no_grad()
    def turn(self, places: Sequence[int]) -> None:
        """Put the tokens of a patch into another order: what was at places[i] is at i."""
        for embedding in (self.before, self.recall):
            if embedding is not None:
                embedding.turn(places)
        self.places.weight.copy_(self.places.weight[list(places)])

    def _places(self) -> Tensor:
        return self.places.weight * self.before.scale

    def _through(self, hidden: Tensor, drop: Dropout | None) -> Tensor:
        for layer, around in zip(self.layers, self.around, strict=True):
            hidden = around.leave(hidden, layer(around.enter(hidden)), drop)  # type: ignore[operator]
        return self.norm(hidden)  # type: ignore[no-any-return]


def turned(model: Model, places: Sequence[int]) -> Model:
    """A copy of a model with the tokens of its patches in another order: what was at places[i] is at i. What it reads
    of a patch stays the same; on which tokens of its own patch a token may depend does not. UserError without patches.
    """
    copy = deepcopy(model)
    parts = [part for part in copy.children() if isinstance(part, PlaceEmbedding | PatchNetwork)]
    if not any(isinstance(part, PatchNetwork) for part in parts):
        raise UserError("expected a model with several tokens at a position to put them in order, got one; train anew")
    for part in parts:
        part.turn(places)
    return copy
