"""The two kinds of layers: attention, feed-forward network, and the residual stream around them.

Shapes in comments: B rows, P target positions, Q source positions, L target tokens, S source tokens, W width, F units.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar, cast

from torch import Tensor, nn
from torch.nn import functional

from triptych.decode.maps import AttentionMaps, Map
from triptych.model.cache import Cache
from triptych.model.layers.attention import CrossAttention, SelfAttention
from triptych.model.layers.dropout import Dropout
from triptych.shape.config import Config
from triptych.shape.pattern import Full

Kind = TypeVar("Kind", bound=nn.Module)


class Stack(nn.ModuleList, Generic[Kind]):
    """Modules of one kind, one after another."""

    def __iter__(self) -> Iterator[Kind]:
        return cast(Iterator[Kind], super().__iter__())


class FeedForward(nn.Module):
    """The position-wise network (section 3.3); SwiGLU after Shazeer 2020."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.activation = config.activation
        gates = 2 if config.activation == "swiglu" else 1
        self.inner = nn.Linear(config.width, gates * config.feed_forward)
        self.outer = nn.Linear(config.feed_forward, config.width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Transform each position of hidden [B, P, W] alone."""
        inner = self.inner(hidden)  # [B, P, F], of swiglu [B, P, 2 F]
        if self.activation == "swiglu":
            gate, inner = inner.chunk(2, -1)  # [B, P, F] each
            inner = functional.silu(gate) * inner
        else:
            inner = functional.relu(inner) if self.activation == "relu" else functional.gelu(inner)
        return self.outer(inner)


class Residual(nn.Module):
    """x + dropout(f(norm(x))) (pre-norm), or norm(x + dropout(f(x))) (post-norm: section 5.4 of the paper)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.pre = config.norm == "pre"
        self.norm = nn.LayerNorm(config.width)

    def enter(self, hidden: Tensor) -> Tensor:
        """What the sublayer reads."""
        return self.norm(hidden) if self.pre else hidden

    def leave(self, hidden: Tensor, update: Tensor, drop: Dropout | None = None) -> Tensor:
        """The residual stream with the sublayer's update."""
        total = hidden + update if drop is None else drop.add(hidden, update)
        return total if self.pre else self.norm(total)


class EncoderLayer(nn.Module):
    """Self-attention, then the feed-forward network (figure 1, left)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention, self.around_attention = SelfAttention(config, Full()), Residual(config)
        self.feed_forward, self.around_feed_forward = FeedForward(config), Residual(config)

    def forward(
        self, hidden: Tensor, lengths: Tensor | None, ids: Tensor, maps: list[Map] | None, drop: Dropout | None
    ) -> Tensor:
        """Encode hidden [B, Q, W] of ids [B, S] a layer further."""
        around = self.around_attention
        hidden = around.leave(hidden, self.attention(around.enter(hidden), lengths, ids, maps), drop)
        around = self.around_feed_forward
        return around.leave(hidden, self.feed_forward(around.enter(hidden)), drop)


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the source where there is one, feed-forward network (figure 1, right)."""

    def __init__(self, config: Config, *, first: bool = False) -> None:
        super().__init__()
        self.attention, self.around_attention = SelfAttention(config, config.pattern, first=first), Residual(config)
        self.crosses = config.encoder_layers > 0 and not config.aligned
        if self.crosses:
            self.cross, self.around_cross = CrossAttention(config), Residual(config)
        self.feed_forward, self.around_feed_forward = FeedForward(config), Residual(config)

    def forward(
        self,
        hidden: Tensor,
        source: Tensor | None,
        lengths: Tensor | None,
        ids: Tensor,
        maps: AttentionMaps | None,
        drop: Dropout | None,
    ) -> Tensor:
        """Decode hidden [B, P, W] of ids [B, L] a layer further, with the encoded source [B, Q, W] and lengths [B]."""
        around = self.around_attention
        update = self.attention(around.enter(hidden), None, ids, maps.decoder if maps else None)
        hidden = around.leave(hidden, update, drop)
        if source is not None:
            around = self.around_cross
            keys_values = self.cross.project_source(source)
            update = self.cross(around.enter(hidden), keys_values, lengths, maps.cross if maps else None)
            hidden = around.leave(hidden, update, drop)
        around = self.around_feed_forward
        return around.leave(hidden, self.feed_forward(around.enter(hidden)), drop)

    def step(self, hidden: Tensor, cache: Cache, layer: int, ids: Tensor | None = None) -> Tensor:
        """The next position, or from the beginning several, of ids [B, L]: hidden [B, P, W]."""
        around = self.around_attention
        hidden = around.leave(hidden, self.attention.step(around.enter(hidden), cache, layer, ids))
        if self.crosses:
            around = self.around_cross
            hidden = around.leave(hidden, self.cross.step(around.enter(hidden), cache, layer))
        around = self.around_feed_forward
        return around.leave(hidden, self.feed_forward(around.enter(hidden)))
