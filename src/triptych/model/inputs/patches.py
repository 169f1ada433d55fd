"""Several tokens a position: the sum of a vector for each by its place, and for how often it was there before."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.model.inputs.base import Input
from triptych.shape.config import Config
from triptych.shape.parts import Patches


def patches(ids: Tensor, size: int) -> Tensor:
    """Ids [B, L] as patches [B, P, S]; the last one is filled with 0."""
    return functional.pad(ids, (0, -ids.size(1) % size)).view(len(ids), -1, size)


def repeat_counts(ids: Tensor) -> Tensor:
    """For how many patches in succession the same id was in its place before: int64 [B, P, S] as ids."""
    again = torch.zeros_like(ids, dtype=torch.bool)
    again[:, 1:] = ids[:, 1:] == ids[:, :-1]
    count = torch.arange(ids.size(1), device=ids.device)[:, None].expand_as(ids)
    since = count.masked_fill(again, 0).cummax(1).values  # the patch in which the run began
    return count - since


class PlaceEmbedding(nn.Module):
    """A vector for each token by its place in the patch, and for its run of equal ones; sums are as large as tokens."""

    def __init__(self, vocabulary: int, size: int, width: int, repeat: int = 0) -> None:
        super().__init__()
        self.vocabulary, self.repeat = vocabulary, repeat
        self.tokens = nn.Embedding(size * vocabulary, width)
        self.repeats = nn.Embedding(size * repeat, width) if repeat else None
        self.scale = math.sqrt(width / size)

    def forward(self, ids: Tensor, counts: Tensor | None = None, first: int = 0) -> Tensor:
        """[..., W] of ids and counts [...], int64, whose last axis holds the places first, first + 1, ..."""
        places = torch.arange(first, first + ids.size(-1), device=ids.device)
        found = self.tokens(ids + places * self.vocabulary)
        if self.repeats is not None and counts is not None:
            found = found + self.repeats(counts.clamp(max=self.repeat - 1) + places * self.repeat)
        return found * self.scale


class PatchInput(Input):
    """Each patch as one vector."""

    def __init__(self, settings: Patches, vocabulary: int, config: Config) -> None:
        super().__init__()
        self.size, self.word_dropout = settings.size, settings.word_dropout
        self.places = PlaceEmbedding(vocabulary, settings.size, config.width, settings.repeat_features)

    def read(self, ids: Tensor) -> Tensor:
        """[B, P, W] of ids [B, L]; in training some of the tokens are left out."""
        whole = patches(ids, self.size)
        found = self.places(whole, repeat_counts(whole))  # [B, P, S, W]
        if self.training and self.word_dropout:
            found = found * (torch.rand(whole.shape, device=whole.device) >= self.word_dropout)[..., None]
        return found.sum(2)

    def tables(self) -> Mapping[str, tuple[Tensor, float]]:
        """The vectors of tokens and of counts."""
        found = {"tokens": (self.places.tokens.weight, self.places.scale)}
        if self.places.repeats is not None:
            found["repeats"] = self.places.repeats.weight, self.places.scale
        return found
