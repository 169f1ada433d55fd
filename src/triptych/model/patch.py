"""Several tokens at one position (MEGABYTE, Yu et al. 2023; RQ-Transformer, Lee et al. 2022): a patch.

The Transformer reads and writes patches. Inside of one, a small network without attention goes on from token to token:
few tokens stand before each other there, and the sum of a vector for each, by its place, tells them all.

What stood in the same place one patch before, and for how long, is told to each token: attention could find it, but a
sum at the input gives it to every layer from the first update on. The run length is after Peracha 2019, "Improving
Polyphonic Music Models with Feature-Rich Encoding".

Where ids are pitches, intervals are read beside them, and predicted: the logit of a pitch is that of its name, and of
its distance from each of the last tokens. It is relative attention's idea (Huang et al. 2018, section 4.1) at both
ends: what is the same in every key is learned once.

Shapes in comments: B rows, L target positions (tokens), P patches, S the size of a patch, W width, N pitches.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.model.cache import Recent
from triptych.model.config import Config, Patch
from triptych.model.dropout import Dropout
from triptych.model.layers import FeedForward, Residual

NOTHING = -1  # the token before the first, and an interval from or to what is no pitch


def patches(ids: Tensor, size: int) -> Tensor:
    """Ids [B, L] as patches [B, P, S]; the last one is filled with 0."""
    return functional.pad(ids, (0, -ids.size(1) % size)).view(len(ids), -1, size)


def run_lengths(ids: Tensor) -> Tensor:
    """For how many patches in succession the same id had stood in its place before: int64 [B, P, S] as ids."""
    again = torch.zeros_like(ids, dtype=torch.bool)
    again[:, 1:] = ids[:, 1:] == ids[:, :-1]
    count = torch.arange(ids.size(1), device=ids.device)[:, None].expand_as(ids)
    since = count.masked_fill(again, 0).cummax(1).values  # the patch in which the run began
    return count - since


def before(ids: Tensor, size: int) -> Tensor:
    """The `size` tokens before each of ids [B, L], the nearest first: [B, L, S]."""
    padded = functional.pad(ids, (size, 0), value=NOTHING)
    return padded.unfold(1, size, 1)[:, : ids.size(1)].flip(2)


def intervals(upper: Tensor, lower: Tensor, pitches: int) -> Tensor:
    """How many semitones `upper` lies above `lower`, plus N - 1: from 0 to 2 N - 2; NOTHING where one is no pitch."""
    known = (upper >= 0) & (upper < pitches) & (lower >= 0) & (lower < pitches)
    return torch.where(known, upper - lower + pitches - 1, NOTHING)


class PlaceEmbedding(nn.Module):
    """A vector for each token by its place in the patch, and with `recall` for its run, as large as those of tokens."""

    def __init__(self, vocabulary: int, patch: Patch, width: int) -> None:
        super().__init__()
        self.vocabulary, self.longest = vocabulary, patch.recall
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


class IntervalEmbedding(nn.Module):
    """A vector for each interval by its kind; none for NOTHING."""

    def __init__(self, kinds: int, patch: Patch, width: int) -> None:
        super().__init__()
        self.size = 2 * patch.intervals - 1
        self.table = nn.Embedding(kinds * self.size, width)
        self.scale = math.sqrt(width / patch.size)

    def forward(self, found: Tensor, first: int = 0) -> Tensor:
        """The sum [..., W] of the vectors of intervals [..., K], whose kinds are first, first + 1, ..."""
        kinds = torch.arange(first, first + found.size(-1), device=found.device) * self.size
        vectors = self.table((found + kinds).clamp(min=0)) * (found != NOTHING)[..., None]
        return vectors.sum(-2) * self.scale  # type: ignore[no-any-return]


class PatchReader(nn.Module):
    """Each patch as one vector: of its tokens, their runs, and the interval of each to the `S` tokens before it."""

    def __init__(self, vocabulary: int, patch: Patch, width: int) -> None:
        super().__init__()
        self.size, self.pitches = patch.size, patch.intervals
        self.tokens = PlaceEmbedding(vocabulary, patch, width)
        self.intervals = IntervalEmbedding(patch.size**2, patch, width) if patch.intervals else None

    def forward(self, ids: Tensor) -> Tensor:
        """[B, P, W] of ids [B, L]."""
        whole = patches(ids, self.size)
        return self._read(whole, run_lengths(whole), before(whole.flatten(1), self.size))

    def step(self, recent: Recent) -> Tensor:
        """The last patch alone, when it is whole: [rows, 1, W]."""
        last = recent.ids[:, None, self.size :]
        return self._read(last, recent.runs[:, None], before(recent.ids, self.size)[:, self.size :])

    def _read(self, ids: Tensor, runs: Tensor, earlier: Tensor) -> Tensor:
        """[B, P, W] of ids and runs [B, P, S] and of the tokens before each [B, P * S, S]."""
        told: Tensor = self.tokens(ids, runs).sum(2)
        if self.intervals is None:
            return told
        found = intervals(ids.flatten(1)[..., None], earlier, self.pitches)
        return told + self.intervals(found.view(*ids.shape[:2], -1))  # type: ignore[no-any-return]


class PatchNetwork(nn.Module):
    """From the decoder's output at each patch, and the tokens before each in it, to logits."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        patch = config.patch
        assert patch is not None
        inner = replace(config, feed_forward=patch.feed_forward)
        self.size, self.pitches = patch.size, patch.intervals
        self.before = PlaceEmbedding(config.vocabulary, replace(patch, recall=0), config.width)
        self.recall = PlaceEmbedding(config.vocabulary, patch, config.width) if patch.recall else None
        self.places = nn.Embedding(patch.size, config.width)
        self.intervals: IntervalEmbedding | None = None
        self.relative: nn.Linear | None = None
        if patch.intervals:
            self.intervals = IntervalEmbedding(patch.size * (patch.size - 1), patch, config.width)
            self.relative = nn.Linear(config.width, patch.size * (2 * patch.intervals - 1))
        self.layers = nn.ModuleList(FeedForward(inner) for _ in range(patch.layers))
        self.around = nn.ModuleList(Residual(config) for _ in range(patch.layers))
        self.norm = nn.LayerNorm(config.width) if config.norm == "pre" else nn.Identity()

    def forward(self, hidden: Tensor, target: Tensor, drop: Dropout | None) -> Tensor:
        """What stands before the output layer, [B, L, W], for hidden [B, P, W] and target [B, L]."""
        ids = patches(target, self.size)
        told = functional.pad(self.before(ids, ids)[:, :, :-1].cumsum(2), (0, 0, 1, 0)) + self._places()
        if self.recall is not None:
            recalled = self.recall(ids[:, :-1], run_lengths(ids)[:, :-1])
            told = told + functional.pad(recalled, (0, 0, 0, 0, 1, 0))
        if self.intervals is not None:
            earlier = before(ids.flatten(1), self.size).view(*ids.shape, self.size)
            told = told + torch.stack([self._leaps(earlier[:, :, place], place) for place in range(self.size)], 2)
        hidden = hidden[:, :, None] + told.to(hidden.dtype)
        hidden = self._through(hidden if drop is None else drop(hidden), drop)
        return hidden.flatten(1, 2)[:, : target.size(1)]

    def step(self, hidden: Tensor, recent: Recent, position: int) -> Tensor:
        """The token at `position`: [rows, 1, W], from hidden [rows, 1, W] of its patch and the tokens before it."""
        return self._through(hidden + self.told(recent, position)[:, None], None)

    def told(self, recent: Recent, position: int) -> Tensor:
        """What the token at `position` is told beside the decoder's output: [rows, W]."""
        place = position % self.size
        told = self._places()[place]
        if self.recall is not None and position >= self.size:
            here = slice(place, place + 1)
            told = told + self.recall(recent.ids[:, self.size : self.size + 1], recent.runs[:, here], place)[:, 0]
        if self.intervals is not None:
            told = told + self._leaps(self.earlier(recent), place)
        now = recent.ids[:, 2 * self.size - place :]
        return told + self.before(now, now).sum(1)  # type: ignore[no-any-return]

    def earlier(self, recent: Recent) -> Tensor:
        """The last `S` tokens, the nearest first: [rows, S]."""
        return recent.ids[:, self.size :].flip(1)

    def relate(self, logits: Tensor, terms: Tensor, earlier: Tensor) -> Tensor:
        """Logits [..., V] with what `relative` says, [..., S * (2 N - 1)], of each pitch's distance from the `earlier`
        tokens [..., S].
        """
        pitches = torch.arange(self.pitches, device=earlier.device)
        found = intervals(pitches, earlier[..., None], self.pitches)  # [..., S, N]
        chosen = terms.view(*terms.shape[:-1], self.size, -1).gather(-1, found.clamp(min=0))
        added = (chosen * (found != NOTHING)).sum(-2, dtype=torch.promote_types(terms.dtype, torch.float32))
        return logits + functional.pad(added, (0, logits.size(-1) - self.pitches))

    def _leaps(self, earlier: Tensor, place: int) -> Tensor:
        """Vectors [..., W] of the intervals of the last tokens [..., S] to the token that stood in this place."""
        assert self.intervals is not None
        found = intervals(earlier[..., :-1], earlier[..., -1:], self.pitches)
        return self.intervals(found, place * (self.size - 1))  # type: ignore[no-any-return]

    def _places(self) -> Tensor:
        return self.places.weight * self.before.scale

    def _through(self, hidden: Tensor, drop: Dropout | None) -> Tensor:
        for layer, around in zip(self.layers, self.around, strict=True):
            hidden = around.leave(hidden, layer(around.enter(hidden)), drop)  # type: ignore[operator]
        return self.norm(hidden)  # type: ignore[no-any-return]
