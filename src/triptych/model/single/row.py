"""The decoder's step for one sequence alone, flattened: what `Transformer.step` computes, in fewer and cheaper calls.

With one row, a product only reads its matrix and a call costs as much as what it does. So the matrices are kept in
float16, whose sums are float32 on a CPU, and everything that is constant is folded into them beforehand: norms' gains,
the scale of the logits, the order of the relation's table. Attention and the residual stream stay in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from triptych.attention.tables import visible
from triptych.decode.history import History
from triptych.decode.inputs import InputSteps, steps_of
from triptych.model.heads.mixture import MixtureHead
from triptych.model.heads.patch import PatchHead
from triptych.model.heads.tied import TiedHead
from triptych.model.inputs import weighted_sum
from triptych.model.inputs.patches import patches
from triptych.model.layers.block import DecoderLayer, FeedForward
from triptych.model.single.pixel import Picture, PixelSteps, SinglePixel
from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.shape.parts import Mixture, Patches, PatchNetwork, Pixels, Tied, Tokens
from triptych.shape.pattern import Full, Local1D, Local2D, Pattern, ring
from triptych.shape.relations import ByDistance


@dataclass
class Row:
    """What the decoder remembers of its one sequence: per layer keys and values [2, heads, width / heads, slots].

    With the columns side by side, one query's products with all keys, and its sums over all values, take half the time.
    Of a local pattern the last columns are kept that a step may need: in one dimension those from `first` on, side by
    side; in two, column c in slot c % slots. places: [columns, width], what the position, the label [1] and an aligned
    source [1, S] add to what is read. history, reading: as in `Cache`. hidden [1, width]: the decoder's output at the
    present column, normalised. picture: of a mixture.
    """

    layers: list[Tensor]
    places: Tensor
    history: History
    reading: InputSteps
    source: Tensor | None = None
    label: Tensor | None = None
    hidden: Tensor | None = None
    picture: Picture | None = None
    first: int = 0
    position: int = 0
    rows: int = 1

    def room(self, column: int, start: int) -> int:
        """The slot of a column that sees those from `start` on, as later ones do; for it older ones may be given up."""
        if column - self.first >= self.layers[0].size(3):
            for store in self.layers:
                kept = store[..., start - self.first : column - self.first]
                store[..., : column - start] = kept.clone()  # where it goes may overlap where it was
            self.first = start
        return column - self.first


_Linear = tuple[Tensor, Tensor]  # weight and bias

# What `SingleRow` computes; whatever is not named here, it leaves to the model.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": functional.relu, "gelu": functional.gelu}
POSITIONS = ("sinusoidal", "concatenated", "learned", "sinusoidal_2d", "none")
INPUTS, HEADS, PATTERNS = (Tokens, Patches, Pixels), (Tied, PatchNetwork, Mixture), (Full, Local1D, Local2D)


@dataclass(frozen=True)
class _Layer:
    query_key_value: _Linear
    output: _Linear
    inner: _Linear
    outer: _Linear
    distances: Tensor | None  # [heads, width / heads, rows], the farthest first


def fits(config: Config) -> bool:
    """Whether `SingleRow` can compute a model of this configuration: a pre-norm decoder alone, or with an aligned
    source, of known parts; in one dimension also with a relation by distance.
    """
    related = all(type(relation) is ByDistance for relation in config.relations)
    return (
        (config.aligned or not config.encoder_layers)
        and config.norm == "pre"
        and config.activation in ACTIVATIONS
        and config.positions.kind in POSITIONS
        and not config.positions.metre
        and type(config.input) in INPUTS
        and type(config.head) in HEADS
        and type(config.pattern) in PATTERNS
        and (not config.relations or (related and type(config.pattern) is not Local2D))
    )


def _slots(pattern: Pattern, columns: int) -> int:
    """How many of the columns are kept: at least those that a step sees."""
    if isinstance(pattern, Local1D):
        # Room moves the whole memory: of blocks that are much shorter than it, several pass between two moves.
        return min(columns, pattern.memory + max(pattern.query, pattern.memory // 4))
    return ring(pattern, columns)


class SingleRow:
    """The steps of a model that `fits`, for one row.

    The matrices are in `dtype`, by default float16 for a model in float32 on a CPU; the rest is in the model's own.
    """

    @torch.no_grad()
    def __init__(self, model: Transformer, dtype: torch.dtype | None = None) -> None:
        assert fits(model.config)
        small = model.dtype == torch.float32 and model.device.type == "cpu"
        self._size = model.config.input.size
        self.model, self.dtype = model, dtype or (torch.float16 if small else model.dtype)
        self._layers = [self._folded(layer) for layer in model.decoder]
        norm, head = model.decoder_norm, model.head
        assert isinstance(norm, nn.LayerNorm)
        self._pixels = PixelSteps(head) if isinstance(head, MixtureHead) else None
        self._within: list[tuple[_Linear, _Linear]] = []
        self._hidden_norm = norm
        if isinstance(head, PatchHead):
            self._within = [
                self._network(layer, around.norm) for layer, around in zip(head.layers, head.around, strict=True)
            ]
            assert isinstance(head.norm, nn.LayerNorm)
            norm = head.norm
        self._output = _after(norm, *_last(model))
        self._activation = ACTIVATIONS[model.config.activation]

    @torch.no_grad()
    def start(self, *, length: int, source: Tensor | None = None, label: Tensor | None = None) -> Row:
        """A cache for at most `length` steps; source [1, S], which is encoded once, here; label [1]."""
        config, like = self.model.config, self._output[1]
        columns = -(-length // self._size)
        shape = (2, config.heads, config.width // config.heads, _slots(config.pattern, columns))
        stores = [like.new_empty(shape) for _ in self._layers]
        places = self.model.position(like.new_zeros(1, columns, config.width), 0)[0]
        beside = None
        if source is not None:
            places = places + self.model.encode(source, None)[0, :columns]
            beside = patches(source, self._size)[:, :columns].cpu().numpy()
        vectors = self.model.condition.labels(label, 1)
        places = places if vectors is None else places + vectors
        history = History(1, length, self._size, beside)
        picture = None if self._pixels is None else self._pixels.start(columns, beside)
        return Row(stores, places, history, steps_of(config, 1), source, label, picture=picture)

    @torch.no_grad()
    def step(self, ids: Tensor | None, cache: Row) -> Tensor:
        """Log-probabilities [1, vocabulary] of the next token; `ids` [1] is the last one, None at the first step."""
        if cache.picture is not None:
            numbers = self._advance(ids, cache, cache.picture).next()
            return torch.from_numpy(numbers)[None].to(self._output[1].device)
        if ids is not None:
            cache.history.append(ids.cpu().numpy())
        head = self.model.head
        if cache.history.place == 0:
            cache.hidden = self._column(self._read(cache), cache.history.position, cache)
            if isinstance(head, PatchHead):
                cache.hidden = self._hidden_norm(cache.hidden)
        hidden = cache.hidden
        assert hidden is not None
        if isinstance(head, PatchHead):
            hidden = hidden + head.joined(cache.history)
            for network in self._within:
                hidden = hidden + self._forward(hidden, *network)
        cache.position += 1
        return self._scores(hidden).log_softmax(-1)

    def _read(self, cache: Row) -> Tensor | None:
        """What the next position reads, [1, width]; None at the first."""
        found = cache.reading.read(cache.history)
        return self.model.position.without(weighted_sum(self.model.input, found, 1)[:, 0]) if found else None

    def _scores(self, hidden: Tensor) -> Tensor:
        """Logits, or of a mixture parameters but for what known pixels add, from the residual stream [1, width]."""
        return functional.linear(torch.layer_norm(hidden, hidden.shape[1:]), *self._output)

    @torch.no_grad()
    def draw(self, ids: Tensor | None, cache: Row, uniform: float) -> NDArray[np.int64] | None:
        """Of a mixture, the next channel [1] itself where `uniform` falls in its cumulative distribution.

        For others None, and nothing has changed. Raises FloatingPointError where the distribution is not finite.
        """
        if cache.picture is None:
            return None
        return self._advance(ids, cache, cache.picture).draw(uniform)

    def _advance(self, ids: Tensor | None, cache: Row, picture: Picture) -> SinglePixel:
        """Advance to the next channel of a mixture; `ids` [1] is the last one."""
        assert self._pixels is not None
        if ids is not None:
            picture.put(int(ids), cache.history.length)
            cache.history.append(ids.cpu().numpy())
        column, channel = cache.history.position, cache.history.place
        if channel == 0:
            hidden = self._column(self._read(cache), column, cache)
            picture.pixel = self._pixels.begin(picture, self._scores(hidden), column)
        assert picture.pixel is not None
        if channel:
            picture.pixel.take(int(cache.history.last()[0]))
        cache.position += 1
        return picture.pixel

    @torch.no_grad()
    def prefill(self, ids: Tensor, cache: Row) -> Tensor:
        """The first steps in one parallel pass, by the model itself: see `Transformer.prefill`. ids [1, n]."""
        whole = self.model.start(length=len(cache.places) * self._size, rows=1, source=cache.source, label=cache.label)
        taken = self.model.prefill(ids, whole)
        last = taken.size(1) // self._size
        first = max(0, last - whole.slots)
        cache.first = 0 if isinstance(self.model.config.pattern, Local2D) else first
        columns = torch.arange(first, last, device=taken.device)
        theirs, ours = columns % whole.slots, (columns - cache.first) % cache.layers[0].size(3)
        for store, keys, values in zip(cache.layers, whole.keys, whole.values, strict=True):
            store[0][..., ours], store[1][..., ours] = keys[0, :, theirs].mT, values[0, :, theirs].mT
        cache.position, cache.reading = whole.taken, whole.reading
        whole.history.source = cache.history.source
        cache.history = whole.history
        if cache.picture is not None:
            cache.picture.follow(whole.history)
        return taken

    def _column(self, read: Tensor | None, column: int, cache: Row) -> Tensor:
        """The residual stream [1, width] after the last layer at a column that reads [1, width], or nothing."""
        hidden = cache.places[column][None]
        if read is not None:
            hidden = hidden + read
        seen, heads = self._seen(column), self.model.config.heads
        slots = cache.layers[0].size(3)
        # In 2-D a block may see further back than the one before it, so nothing slides: the slots go around.
        slot = cache.room(column, seen.start) if isinstance(seen, range) else column % slots
        for layer, store in zip(self._layers, cache.layers, strict=True):
            inner = torch.layer_norm(hidden, hidden.shape[1:]).to(self.dtype)
            parts = functional.linear(inner, *layer.query_key_value).view(3, heads, -1)
            store.select(3, slot).copy_(parts[1:])
            query = parts[0].to(hidden.dtype)[:, None]
            if isinstance(seen, range):
                keys, values = store.narrow(3, seen.start - cache.first, len(seen)).unbind()
            else:
                keys, values = store.index_select(3, seen % slots).unbind()
            scores = torch.bmm(query, keys)
            if layer.distances is not None:
                self._relate(scores, torch.bmm(query, layer.distances[..., -scores.size(-1) :]))
            mixed = torch.bmm(scores.softmax(-1), values.mT).view(1, -1)
            hidden = hidden + functional.linear(mixed.to(self.dtype), *layer.output)
            hidden = hidden + self._forward(hidden, layer.inner, layer.outer)
        return hidden

    def _forward(self, hidden: Tensor, inner: _Linear, outer: _Linear) -> Tensor:
        """What a feed-forward network with its norm adds to hidden [1, width]."""
        read = torch.layer_norm(hidden, hidden.shape[1:]).to(self.dtype)
        return functional.linear(self._activation(functional.linear(read, *inner)), *outer)

    def _seen(self, column: int) -> range | Tensor:
        """The columns that are seen: in one dimension a range that ends here."""
        pattern = self.model.config.pattern
        if isinstance(pattern, Local2D):
            return visible(pattern, column).to(self.model.device)
        first = 0
        if isinstance(pattern, Local1D):
            first = max(0, column // pattern.query * pattern.query - pattern.memory)
        return range(first, column + 1)

    def _relate(self, scores: Tensor, term: Tensor) -> None:
        """Add the products with the table to the last scores; those before are past the table."""
        known = term.size(-1)
        scores[..., scores.size(-1) - known :] += term
        if scores.size(-1) > known and self.model.config.relations[0].far == "clip":
            scores[..., : scores.size(-1) - known] += term[..., :1]

    def _folded(self, layer: DecoderLayer) -> _Layer:
        attention = layer.attention
        weight, bias = _after(
            layer.around_attention.norm, attention.query_key_value.weight, attention.query_key_value.bias
        )
        width = weight.size(1)
        scale = 1 / math.sqrt(width // attention.heads)
        weight[:width] *= scale
        bias[:width] *= scale
        table = attention.relations["distance"] if self.model.config.relations else None
        return _Layer(
            self._kept(weight, bias),
            self._kept(attention.output.weight, attention.output.bias),
            *self._network(layer.feed_forward, layer.around_feed_forward.norm),
            None if table is None else table.flip(1).mT.contiguous(),
        )

    def _network(self, network: FeedForward, norm: nn.LayerNorm) -> tuple[_Linear, _Linear]:
        inner = _after(norm, network.inner.weight, network.inner.bias)
        return self._kept(*inner), self._kept(network.outer.weight, network.outer.bias)

    def _kept(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        return weight.detach().to(self.dtype), bias.detach().to(self.dtype)


def _last(model: Transformer) -> _Linear:
    """Weight and bias of the product that follows the last norm, but for what known pixels add."""
    head = model.head
    if isinstance(head, MixtureHead):
        return head.parameters_of.weight[:, : model.config.width], head.parameters_of.bias
    assert isinstance(head, TiedHead | PatchHead)
    weight = head.weight if isinstance(head, TiedHead) else head.output.weight
    return weight, weight.new_zeros(len(weight))


def _after(norm: nn.LayerNorm, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear layer with the gain and shift of the norm before it folded in."""
    return weight * norm.weight, bias + weight @ norm.bias
