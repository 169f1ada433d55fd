"""Multi-head attention: of a sequence to itself, and of the target to the encoded source.

Shapes in comments: B rows, P target positions, Q source positions, L tokens, W width, H heads, D = W / H.
"""

from __future__ import annotations

from torch import Tensor, nn

from triptych.attention.attend import attend
from triptych.attention.dense import weights as attention_weights
from triptych.attention.step import step as attend_step
from triptych.decode.maps import Map
from triptych.model.cache import Cache
from triptych.model.layers.relations import Relations
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
        return self.output(_join(mixed))

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
        return self.output(_join(mixed))

    def _project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.query_key_value(hidden).chunk(3, -1)  # [B, P, W] each
        query, key, value = (_split(part, self.heads) for part in parts)  # [B, H, P, D] each
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
        """Keys and values [B, H, Q, D] of the encoded source [B, Q, W]; the same at every step."""
        key, value = (_split(part, self.heads) for part in self.key_value(source).chunk(2, -1))  # [B, H, Q, D] each
        return key, value

    def forward(
        self, hidden: Tensor, source: tuple[Tensor, Tensor], lengths: Tensor | None, maps: list[Map] | None = None
    ) -> Tensor:
        """Mix the source, as `project_source` gives it, with its lengths [B], for hidden [B, P, W]."""
        query = _split(self.query(hidden), self.heads)  # [B, H, P, D]
        mixed = attend(query, *source, pattern=Full(), lengths=lengths)  # [B, H, P, D]
        if maps is not None:
            maps.append(_array(attention_weights(query, source[0], pattern=Full(), lengths=lengths)))  # [B, H, P, Q]
        return self.output(_join(mixed))

    def step(self, hidden: Tensor, cache: Cache, layer: int) -> Tensor:
        """One position, or several: hidden [B, P, W].

        The beams of one source are queries of one attention, so its keys are never repeated.
        """
        sources = cache.rows // cache.beams
        grouped = hidden.reshape(sources, -1, hidden.size(-1))  # [sources, beams * P, W]
        keys_values = cache.source_keys[layer], cache.source_values[layer]
        return self(grouped, keys_values, cache.source_lengths).view_as(hidden)


def _split(values: Tensor, heads: int) -> Tensor:
    return values.view(*values.shape[:-1], heads, -1).transpose(1, 2)  # [B, P, W] -> [B, H, P, D]


def _array(weights: Tensor) -> Map:
    """Attention probabilities as an array on the CPU."""
    found: Map = weights.detach().float().cpu().numpy()
    return found


def _join(values: Tensor) -> Tensor:
    return values.transpose(1, 2).flatten(-2)  # [B, H, P, D] -> [B, P, W]
