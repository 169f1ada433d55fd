"""The Transformer: encoder-decoder or decoder-only, for every panel. Read `forward` from top to bottom.

Shapes in comments: B rows, L target positions, S source positions, W width, H heads, D = W / H.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.attention.attend import attend
from triptych.attention.dense import weights as attention_weights
from triptych.attention.pattern import Full, Pattern, ring
from triptych.attention.relation import ByDistance
from triptych.attention.step import step as attend_step
from triptych.errors import UserError
from triptych.model.batch import Batch
from triptych.model.cache import Cache
from triptych.model.config import Config
from triptych.model.dropout import Dropout
from triptych.model.heads import cross_entropy, logits, product_dtype

# A label is dropped this often in training, so that "no label" is defined (Ho and Salimans 2022).
LABEL_DROP = 0.1


@dataclass
class AttentionMaps:
    """Attention probabilities of one forward pass: per kind a list over layers of [B, H, queries, keys]."""

    encoder: list[Tensor] = field(default_factory=list)
    decoder: list[Tensor] = field(default_factory=list)
    cross: list[Tensor] = field(default_factory=list)


class FusedLinear(nn.Linear):
    """Several square projections in one matrix product (query, key, value)."""

    def __init__(self, width: int, parts: int) -> None:
        super().__init__(width, parts * width)
        self.parts = parts


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2) with one fused projection."""

    def __init__(self, config: Config, pattern: Pattern) -> None:
        super().__init__()
        self.heads, self.pattern = config.heads, pattern
        self.relation = config.relation if _is_causal(pattern) else None
        self.query_key_value = FusedLinear(config.width, parts=3)
        self.output = nn.Linear(config.width, config.width)
        if self.relation is not None:
            head_width = config.width // config.heads
            self.distances = nn.Parameter(torch.empty(config.heads, self.relation.size, head_width))

    def forward(self, hidden: Tensor, lengths: Tensor | None, maps: list[Tensor] | None) -> Tensor:
        """Mix hidden [B, L, W]; with `maps`, the probabilities are appended there."""
        query, key, value = self._project(hidden)
        relations = self._relations()
        mixed = attend(query, key, value, pattern=self.pattern, relations=relations, lengths=lengths)
        if maps is not None:
            maps.append(attention_weights(query, key, pattern=self.pattern, relations=relations, lengths=lengths))
        return self.output(_join(mixed))  # type: ignore[no-any-return]

    def step(self, hidden: Tensor, cache: Cache, layer: int) -> Tensor:
        """One position: hidden [rows, 1, W]; its key and value join the cache."""
        query, key, value = self._project(hidden)
        cache.append(layer, key, value)
        mixed = attend_step(
            query,
            cache.keys[layer],
            cache.values[layer],
            position=cache.position,
            pattern=self.pattern,
            relations=self._relations(),
        )
        return self.output(_join(mixed))  # type: ignore[no-any-return]

    def _project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = (_split(part, self.heads) for part in self.query_key_value(hidden).chunk(3, -1))
        return query, key, value

    def _relations(self) -> tuple[ByDistance, ...]:
        return () if self.relation is None else (ByDistance(self.distances, far=self.relation.far),)


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
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        """Mix into hidden [B, L, W] the source given as `project_source` gives it, with its lengths [B]."""
        query = _split(self.query(hidden), self.heads)
        mixed = attend(query, *source, pattern=Full(), lengths=lengths)
        if maps is not None:
            maps.append(attention_weights(query, source[0], pattern=Full(), lengths=lengths))
        return self.output(_join(mixed))  # type: ignore[no-any-return]

    def step(self, hidden: Tensor, cache: Cache, layer: int) -> Tensor:
        """One position: hidden [rows, 1, W].

        The beams of one source are queries of one attention, so its keys are never repeated.
        """
        sources = cache.rows // cache.beams
        grouped = hidden.view(sources, cache.beams, -1)
        keys_values = cache.source_keys[layer], cache.source_values[layer]
        return self(grouped, keys_values, cache.source_lengths).view(cache.rows, 1, -1)  # type: ignore[no-any-return]


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
        self, hidden: Tensor, lengths: Tensor | None, maps: list[Tensor] | None, drop: Dropout | None
    ) -> Tensor:
        """Encode hidden [B, S, W] a layer further."""
        around = self.around_attention
        hidden = around.leave(hidden, self.attention(around.enter(hidden), lengths, maps), drop)
        around = self.around_feed_forward
        return around.leave(hidden, self.feed_forward(around.enter(hidden)), drop)


class DecoderLayer(nn.Module):
    """Causal self-attention, attention to the source where there is one, feed-forward network (figure 1, right)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention, self.around_attention = SelfAttention(config, config.pattern), Residual(config)
        self.crosses = config.encoder_layers > 0
        if self.crosses:
            self.cross, self.around_cross = CrossAttention(config), Residual(config)
        self.feed_forward, self.around_feed_forward = FeedForward(config), Residual(config)

    def forward(
        self,
        hidden: Tensor,
        source: Tensor | None,
        lengths: Tensor | None,
        maps: AttentionMaps | None,
        drop: Dropout | None,
    ) -> Tensor:
        """Decode hidden [B, L, W] a layer further, with the encoded source [B, S, W] and its lengths [B]."""
        around = self.around_attention
        update = self.attention(around.enter(hidden), None, maps.decoder if maps else None)
        hidden = around.leave(hidden, update, drop)
        if source is not None:
            around = self.around_cross
            keys_values = self.cross.project_source(source)
            update = self.cross(around.enter(hidden), keys_values, lengths, maps.cross if maps else None)
            hidden = around.leave(hidden, update, drop)
        around = self.around_feed_forward
        return around.leave(hidden, self.feed_forward(around.enter(hidden)), drop)

    def step(self, hidden: Tensor, cache: Cache, layer: int) -> Tensor:
        """One position: hidden [rows, 1, W]."""
        around = self.around_attention
        hidden = around.leave(hidden, self.attention.step(around.enter(hidden), cache, layer))
        if self.crosses:
            around = self.around_cross
            hidden = around.leave(hidden, self.cross.step(around.enter(hidden), cache, layer))
        around = self.around_feed_forward
        return around.leave(hidden, self.feed_forward(around.enter(hidden)))


class Transformer(nn.Module):
    """Vaswani et al. 2017: an encoder and a decoder, or (`encoder_layers=0`) a decoder alone.

    The decoder's input is the target shifted right by a zero vector, so no start token is needed: the logits at
    position i predict `target[:, i]` from `target[:, :i]`.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        if config.encoder_layers and config.source_vocabulary is not None:
            self.source_embedding = nn.Embedding(config.source_vocabulary, config.width)
        if config.classes:
            self.label_embedding = nn.Embedding(config.classes, config.width)
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.length, config.width)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        # Pre-norm leaves the residual stream unnormalised, so each stack ends with a norm of its own.
        final = config.norm == "pre"
        self.encoder_norm = nn.LayerNorm(config.width) if final and config.encoder_layers else nn.Identity()
        self.decoder_norm = nn.LayerNorm(config.width) if final else nn.Identity()
        self._initialize()

    def _initialize(self) -> None:
        """Every weight in one place: Xavier for projections (each part of a fused one alone), else variance 1 / W."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                for part in module.weight.chunk(module.parts if isinstance(module, FusedLinear) else 1):
                    nn.init.xavier_uniform_(part)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=self.config.width**-0.5)
            elif isinstance(module, SelfAttention) and module.relation is not None:
                nn.init.normal_(module.distances, std=module.distances.size(-1) ** -0.5)

    def forward(
        self,
        target: Tensor,
        *,
        source: Tensor | None = None,
        source_lengths: Tensor | None = None,
        label: Tensor | None = None,
        maps: AttentionMaps | None = None,
    ) -> Tensor:
        """Logits [B, L, vocabulary] of `target` [B, L] given source [B, S], its lengths [B] and label [B].

        A label of -1 is "no label". With `maps`, the attention probabilities are collected there.
        """
        hidden = self.hidden(
            Batch(target, target.new_full((len(target),), target.size(1)), source, source_lengths, label), maps
        )
        return logits(hidden, self.embedding.weight)

    def loss(self, batch: Batch, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Label-smoothed loss and plain negative log-likelihood in nats, both summed over `batch.lengths.sum()` tokens.

        The padding takes no part: its positions are dropped before the output layer.
        """
        hidden = self.hidden(batch)
        valid = torch.arange(batch.target.size(1), device=hidden.device) < batch.lengths[:, None]
        chosen = valid.flatten().nonzero()[:, 0]
        return cross_entropy(
            hidden.flatten(0, 1)[chosen], self.embedding.weight, batch.target.flatten()[chosen], smoothing
        )

    def hidden(self, batch: Batch, maps: AttentionMaps | None = None) -> Tensor:
        """The decoder's output [B, L, W], before the output layer."""
        self._check(batch)
        drop = self._dropout()
        source = None if batch.source is None else self._encode(batch.source, batch.source_lengths, maps, drop)
        shifted = functional.pad(self._embed(self.embedding, batch.target[:, :-1]), (0, 0, 1, 0))  # [B, L, W]
        hidden = self._with_positions(shifted, 0)
        label = self._label(batch.label, len(batch.target))
        if label is not None:
            hidden = hidden + label[:, None]
        hidden = _stream(hidden, drop)
        for layer in self.decoder:
            hidden = layer(hidden, source, batch.source_lengths, maps, drop)
        return self.decoder_norm(hidden)  # type: ignore[no-any-return]

    def encode(self, source: Tensor, lengths: Tensor | None, maps: AttentionMaps | None = None) -> Tensor:
        """The encoded source [B, S, W] of ids [B, S]; positions at or past `lengths` [B] are padding."""
        return self._encode(source, lengths, maps, self._dropout())

    def _encode(
        self, source: Tensor, lengths: Tensor | None, maps: AttentionMaps | None, drop: Dropout | None
    ) -> Tensor:
        embedding = self.embedding if self.config.source_vocabulary is None else self.source_embedding
        hidden = _stream(self._with_positions(self._embed(embedding, source), 0), drop)
        for layer in self.encoder:
            hidden = layer(hidden, lengths, maps.encoder if maps else None, drop)
        return self.encoder_norm(hidden)  # type: ignore[no-any-return]

    def _dropout(self) -> Dropout | None:
        return Dropout(self.config.dropout) if self.training and self.config.dropout else None

    @torch.no_grad()
    def start(
        self,
        *,
        length: int,
        rows: int | None = None,
        source: Tensor | None = None,
        source_lengths: Tensor | None = None,
        label: Tensor | None = None,
        beams: int = 1,
    ) -> Cache:
        """A cache for at most `length` steps; the source [sources, S] is encoded once, here.

        There are sources x beams rows (or `rows` for a decoder-only model, where a group of beams has one label).
        `label` [sources] names the class of each source.
        """
        config = self.config
        if (config.encoder_layers > 0) != (source is not None):
            raise UserError(f"expected {'a' if config.encoder_layers else 'no'} source for this model; see its config")
        groups = len(source) if source is not None else (rows or 1) // beams
        if beams < 1 or rows not in (None, groups * beams):
            raise UserError(f"expected {beams} rows (beams) for each of {groups} sources or labels, got rows={rows}")
        if label is not None and (len(label) != groups or (groups and int(label.max()) >= config.classes)):
            raise UserError(
                f"expected {groups} labels below classes={config.classes}, got {label.tolist()}; -1 is no label"
            )
        cache = Cache.allocate(
            layers=config.decoder_layers,
            rows=groups * beams,
            beams=beams,
            slots=ring(config.pattern, length),
            heads=config.heads,
            head_width=config.width // config.heads,
            like=self.embedding.weight,
        )
        vectors = self._label(label, groups)
        cache.label = None if vectors is None else vectors.repeat_interleave(beams, 0)
        if source is not None:
            encoded = self.encode(source, source_lengths)
            pairs = [layer.cross.project_source(encoded) for layer in self.decoder]  # type: ignore[operator, union-attr]
            cache.source_keys = [key.contiguous() for key, _ in pairs]
            cache.source_values = [value.contiguous() for _, value in pairs]
            full = source.new_full((groups,), source.size(1))
            cache.source_lengths = full if source_lengths is None else source_lengths
        return cache

    @torch.no_grad()
    def step(self, ids: Tensor | None, cache: Cache) -> Tensor:
        """Logits [rows, vocabulary] of the next token; `ids` [rows] are the last ones, None at the first step."""
        if ids is None:
            hidden = self.embedding.weight.new_zeros(cache.rows, 1, self.config.width)
        else:
            hidden = self._embed(self.embedding, ids[:, None])
        hidden = self._with_positions(hidden, cache.position)
        if cache.label is not None:
            hidden = hidden + cache.label[:, None]
        for number, layer in enumerate(self.decoder):
            hidden = layer.step(hidden, cache, number)  # type: ignore[operator]
        cache.position += 1
        return logits(self.decoder_norm(hidden)[:, 0], self.embedding.weight)

    def _embed(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        return embedding(ids) * math.sqrt(self.config.width)  # type: ignore[no-any-return]

    def _with_positions(self, hidden: Tensor, first: int) -> Tensor:
        if self.config.positions == "none":
            return hidden
        last = first + hidden.size(1)
        if self.config.positions == "sinusoidal":
            return hidden + _remembered_sinusoids(first, last, self.config.width, hidden.dtype, hidden.device)
        if last > self.config.length:
            raise UserError(
                f"expected at most {self.config.length} positions (learned), got {last}; "
                "shorten the input or use a model with sinusoidal or relative positions"
            )
        return hidden + self.position_embedding.weight[first:last]

    def _label(self, label: Tensor | None, rows: int) -> Tensor | None:
        """The class vectors [rows, W]: zero for label -1, and for a tenth of the rows in training."""
        if not self.config.classes or label is None:
            return None
        known = label >= 0
        if self.training:
            known = known & (torch.rand(rows, device=label.device) >= LABEL_DROP)
        return self.label_embedding(label.clamp(min=0)) * known[:, None]  # type: ignore[no-any-return]

    def _check(self, batch: Batch) -> None:
        if (self.config.encoder_layers > 0) != (batch.source is not None):
            raise UserError(
                f"expected {'a' if self.config.encoder_layers else 'no'} source for a model with "
                f"encoder_layers={self.config.encoder_layers}, got {'none' if batch.source is None else 'one'}"
            )


def _stream(hidden: Tensor, drop: Dropout | None) -> Tensor:
    """The residual stream's beginning, in the dtype of the matrix products: in one dtype nothing is converted."""
    hidden = hidden.to(product_dtype(hidden))
    return hidden if drop is None else drop(hidden)


def sinusoids(first: int, last: int, width: int, like: Tensor) -> Tensor:
    """Positional encoding [last - first, width]: sines at even, cosines at odd columns (section 3.5 of the paper)."""
    position = torch.arange(first, last, dtype=torch.float64, device=like.device)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float64, device=like.device) * (-math.log(10_000.0) / width))
    angle = position * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1).to(like.dtype)


@lru_cache(maxsize=512)  # a step asks for one position, training for a few lengths, and both again and again
@torch.inference_mode(False)
def _remembered_sinusoids(first: int, last: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return sinusoids(first, last, width, torch.empty(0, dtype=dtype, device=device))


def _split(values: Tensor, heads: int) -> Tensor:
    return values.view(*values.shape[:-1], heads, -1).transpose(1, 2)  # [B, L, W] -> [B, H, L, D]


def _join(values: Tensor) -> Tensor:
    return values.transpose(1, 2).flatten(-2)  # [B, H, L, D] -> [B, L, W]


def _is_causal(pattern: Pattern) -> bool:
    return not isinstance(pattern, Full) or pattern.causal
