"""The parts of the Transformer: attention, feed-forward network, residual, and the two kinds of layer.

Shapes in comments: B rows, L target positions, S source positions, W width, H heads, D = W / H.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from triptych.attention.attend import attend
from triptych.attention.dense import weights as attention_weights
from triptych.attention.step import step as attend_step
from triptych.decode.maps import AttentionMaps, Map
from triptych.model.cache import Cache
from triptych.model.dropout import Dropout
from triptych.model.relations import Relations
from triptych.shape.config import Config
from triptych.shape.pattern import Full, Pattern
from triptych.shape.relations import Layer


class FusedLinear(nn.Linear):
    """Several square projections in one matrix product (query, key, value)."""

    def __init__(self, width: int, parts: int) -> None:
        super().__init__(width, parts * width)
        self.parts = parts


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2) with one fused projection."""

    def __init__(self, config: Config, pattern: Pattern, *, first: bool = False) -> None:
        """`first`: whether this is the decoder's first layer."""
        super().__init__()
        self.heads, self.pattern = config.heads, pattern
        self.relations = Relations(config, Layer(causal=pattern != Full(), first=first))
        self.query_key_value = FusedLinear(config.width, parts=3)
        self.output = nn.Linear(config.width, config.width)

    def forward(self, hidden: Tensor, lengths: Tensor | None, ids: Tensor, maps: list[Map] | None) -> Tensor:
        """Mix hidden [B, P, W] of ids [B, L]; with `maps`, the probabilities [B, H, P, P] are appended there."""
        query, key, value = self._project(hidden)  # [B, H, P, D] each
        relations = self.relations.whole(ids)
        mixed = attend(query, key, value, pattern=self.pattern, relations=relations, lengths=lengths)  # [B, H, P, D]
        if maps is not None:
            weights = attention_weights(query, key, pattern=self.pattern, relations=relations, lengths=lengths)
            maps.append(_array(weights))
        return self.output(_join(mixed))  # type: ignore[no-any-return]

    def step(self, hidden: Tensor, cache: Cache, layer: int, ids: Tensor | None) -> Tensor:
        """The next position, or from the beginning several, of ids [B, L]: hidden [B, P, W]; keys and values join the
        cache.
        """
        query, key, value = self._project(hidden)  # [B, H, P, D] each
        cache.append(layer, key, value)
        if ids is not None:
            mixed = attend(query, key, value, pattern=self.pattern, relations=self.relations.whole(ids))
        else:
            mixed = attend_step(
                query,
                cache.keys[layer],
                cache.values[layer],
                position=cache.column,
                pattern=self.pattern,
                relations=self.relations.step(cache.history, cache.slots, hidden.device),
            )
        return self.output(_join(mixed))  # type: ignore[no-any-return]

    def _project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = (_split(part, self.heads) for part in self.query_key_value(hidden).chunk(3, -1))
        return query, key, value


class CrossAttention(nn.Module):
    """Multi-head attention from the target to the encoded source, padding excluded by length."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key_value = FusedLinear(config.width, parts=2)
        self.output = nn.Linear(config.width, config.width)

    def project_source(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, S, D] of the encoded source [B, S, W]; the same at every step."""
        key, value = (_split(part, self.heads) for part in self.key_value(source).chunk(2, -1))
        return key, value

    def forward(
        self,
        hidden: Tensor,
        source: tuple[Tensor, Tensor],
        lengths: Tensor | None,
        maps: list[Map] | None = None,
    ) -> Tensor:
        """Mix into hidden [B, L, W] the source given as `project_source` gives it, with its lengths [B]."""
        query = _split(self.query(hidden), self.heads)
        mixed = attend(query, *source, pattern=Full(), lengths=lengths)
        if maps is not None:
            maps.append(_array(attention_weights(query, source[0], pattern=Full(), lengths=lengths)))
        return self.output(_join(mixed))  # type: ignore[no-any-return]

    def step(self, hidden: Tensor, cache: Cache, layer: int) -> Tensor:
        """One position, or several: hidden [rows, L, W].

        The beams of one source are queries of one attention, so its keys are never repeated.
        """
        sources = cache.rows // cache.beams
        grouped = hidden.reshape(sources, -1, hidden.size(-1))
        keys_values = cache.source_keys[layer], cache.source_values[layer]
        return self(grouped, keys_values, cache.source_lengths).view_as(hidden)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """The position-wise network (section 3.3); SwiGLU after Shazeer 2020."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.activation = config.activation
        gates = 2 if config.activation == "swiglu" else 1
        self.inner = nn.Linear(config.width, gates * config.feed_forward)
        self.outer = nn.Linear(config.feed_forward, config.width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Transform each position of hidden [B, L, W] alone."""
        inner = self.inner(hidden)
        if self.activation == "swiglu":
            gate, inner = inner.chunk(2, -1)
            inner = functional.silu(gate) * inner
        else:
            inner = functional.relu(inner) if self.activation == "relu" else functional.gelu(inner)
        return self.outer(inner)  # type: ignore[no-any-return]


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
        """The next position, or from the beginning several, of ids [rows, L]: hidden [rows, P, W]."""
        around = self.around_attention
        hidden = around.leave(hidden, self.attention.step(around.enter(hidden), cache, layer, ids))
        if self.crosses:
            around = self.around_cross
            hidden = around.leave(hidden, self.cross.step(around.enter(hidden), cache, layer))
        around = self.around_feed_forward
        return around.leave(hidden, self.feed_forward(around.enter(hidden)))


def _split(values: Tensor, heads: int) -> Tensor:
    return values.view(*values.shape[:-1], heads, -1).transpose(1, 2)  # [B, L, W] -> [B, H, L, D]


def _array(weights: Tensor) -> Map:
    """Attention probabilities as an array on the CPU."""
    found: Map = weights.detach().float().cpu().numpy()
    return found


def _join(values: Tensor) -> Tensor:
    return values.transpose(1, 2).flatten(-2)  # [B, H, L, D] -> [B, L, W]
