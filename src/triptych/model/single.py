"""The decoder's step for one sequence alone, flattened: what `Transformer.step` computes, in fewer and cheaper calls.

With one row, a product only reads its matrix and a call costs as much as what it does. So the matrices are kept in
float16, whose sums are float32 on a CPU, and everything that is constant is folded into them beforehand: norms' gains,
the scale of the logits, the order of the relation's table. Attention and the residual stream stay in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.attention.pattern import Full, Local1D
from triptych.model.layers import DecoderLayer
from triptych.model.recall import Recent
from triptych.model.transformer import Transformer


@dataclass
class Row:
    """What the decoder remembers of its one sequence: per layer keys and values [2, heads, length, width / heads].

    places: [length, width], what the position and the label add to a token.
    """

    layers: list[Tensor]
    places: Tensor
    recent: Recent | None = None
    position: int = 0
    rows: int = 1

    def select(self, rows: Tensor) -> None:
        """One row can only go on with itself."""
        assert rows.tolist() == [0]


@dataclass(frozen=True)
class _Layer:
    query_key_value: tuple[Tensor, Tensor]  # weight and bias
    output: tuple[Tensor, Tensor]
    inner: tuple[Tensor, Tensor]
    outer: tuple[Tensor, Tensor]
    distances: Tensor | None  # [heads, width / heads, rows], the farthest first


def fits(model: Transformer) -> bool:
    """Whether `SingleRow` can stand for the model: a pre-norm decoder alone, full or 1-D local, related by distance."""
    config, relation = model.config, model.config.relation
    return (
        not config.encoder_layers
        and config.norm == "pre"
        and config.activation != "swiglu"
        and isinstance(config.pattern, Full | Local1D)
        and (relation is None or not (relation.intervals or relation.steps))
    )


class SingleRow:
    """The steps of a model that `fits`, for one row.

    The matrices are in `dtype`, by default float16 for a model in float32 on a CPU; the rest is in the model's own.
    """

    @torch.no_grad()
    def __init__(self, model: Transformer, dtype: torch.dtype | None = None) -> None:
        assert fits(model)
        weight = model.embedding.weight
        small = weight.dtype == torch.float32 and weight.device.type == "cpu"
        self.model, self.dtype = model, dtype or (torch.float16 if small else weight.dtype)
        self._layers = [self._folded(layer) for layer in model.decoder if isinstance(layer, DecoderLayer)]
        norm = model.decoder_norm
        assert isinstance(norm, nn.LayerNorm)
        everything = torch.arange(model.config.vocabulary, device=norm.weight.device)
        self._tokens = model.position.without(model.embed(model.embedding, everything))
        self._output = _after(norm, model.embedding.weight, model.embedding.weight.new_zeros(model.config.vocabulary))
        self._activation = functional.relu if model.config.activation == "relu" else functional.gelu

    @torch.no_grad()
    def start(self, *, length: int, label: Tensor | None = None) -> Row:
        """A cache for at most `length` steps; label [1]."""
        config = self.model.config
        shape = (2, config.heads, length, config.width // config.heads)
        stores = [self._tokens.new_empty(shape) for _ in self._layers]
        places = self.model.position(self._tokens.new_zeros(1, length, config.width), 0)[0]
        vector = self.model.label(label, 1)
        recent = Recent.nothing(1, config.positions.grid[0], places.device) if config.recall else None
        return Row(stores, places if vector is None else places + vector, recent)

    @torch.no_grad()
    def step(self, ids: Tensor | None, cache: Row) -> Tensor:
        """Logits [1, vocabulary] of the next token; `ids` [1] is the last one, None at the first step."""
        position, shape = cache.position, (self.model.config.width,)
        hidden = cache.places[position][None]
        if ids is not None:
            hidden = hidden + self._tokens[ids]
        if cache.recent is not None and self.model.recall is not None:
            hidden = hidden + self.model.recall.step(cache.recent, ids, position)[0]
        first = self._first(position)
        for layer, store in zip(self._layers, cache.layers, strict=True):
            read = functional.layer_norm(hidden, shape).to(self.dtype)
            parts = functional.linear(read, *layer.query_key_value).to(hidden.dtype).view(3, store.size(1), 1, -1)
            store[:, :, position] = parts[1:, :, 0]
            keys, values = store[:, :, first : position + 1]
            scores = torch.bmm(parts[0], keys.mT)
            if layer.distances is not None:
                self._relate(scores, torch.bmm(parts[0], layer.distances[..., -scores.size(-1) :]))
            mixed = torch.bmm(scores.softmax(-1), values).view(1, -1)
            hidden = hidden + functional.linear(mixed.to(self.dtype), *layer.output)
            read = functional.layer_norm(hidden, shape).to(self.dtype)
            hidden = hidden + functional.linear(self._activation(functional.linear(read, *layer.inner)), *layer.outer)
        cache.position += 1
        return functional.linear(functional.layer_norm(hidden, shape), *self._output)

    def _first(self, position: int) -> int:
        """The first position that is seen; all from there on are."""
        pattern = self.model.config.pattern
        if isinstance(pattern, Local1D):
            return max(0, position // pattern.query * pattern.query - pattern.memory)
        return 0

    def _relate(self, scores: Tensor, term: Tensor) -> None:
        """Add the products with the table to the last scores; those before are past the table."""
        known = term.size(-1)
        scores[..., scores.size(-1) - known :] += term
        relation = self.model.config.relation
        if scores.size(-1) > known and relation is not None and relation.far == "clip":
            scores[..., : scores.size(-1) - known] += term[..., :1]

    def _folded(self, layer: DecoderLayer) -> _Layer:
        attention, network = layer.attention, layer.feed_forward
        weight, bias = _after(
            layer.around_attention.norm, attention.query_key_value.weight, attention.query_key_value.bias
        )
        width = weight.size(1)
        scale = 1 / math.sqrt(width // attention.heads)
        weight[:width] *= scale
        bias[:width] *= scale
        table = attention.distances
        return _Layer(
            self._kept(weight, bias),
            self._kept(attention.output.weight, attention.output.bias),
            self._kept(*_after(layer.around_feed_forward.norm, network.inner.weight, network.inner.bias)),
            self._kept(network.outer.weight, network.outer.bias),
            None if table is None else table.flip(1).mT.contiguous(),
        )

    def _kept(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        return weight.detach().to(self.dtype), bias.detach().to(self.dtype)


def _after(norm: nn.LayerNorm, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear layer with the gain and shift of the norm before it folded in."""
    return weight * norm.weight, bias + weight @ norm.bias
