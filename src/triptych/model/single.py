"""The decoder's step for one sequence alone, flattened: what `Transformer.step` computes, in fewer and cheaper calls.

With one row, a product only reads its matrix and a call costs as much as what it does. So the matrices are kept in
float16, whose sums are float32 on a CPU, and everything that is constant is folded into them beforehand: norms' gains,
the scale of the logits, the order of the relation's table. Attention and the residual stream stay in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.attention.pattern import Local1D, Local2D, Pattern, ring, visible
from triptych.model.cache import Recent
from triptych.model.keyboard import SingleKeyboard, SingleKeys
from triptych.model.layers import DecoderLayer, FeedForward
from triptych.model.mixture import MixtureWriter
from triptych.model.patch import PatchNetwork
from triptych.model.single_pixel import Picture, PixelSteps, SinglePixel
from triptych.model.transformer import Transformer


@dataclass
class Row:
    """What the decoder remembers of its one sequence: per layer keys and values [2, heads, width / heads, slots].

    With the columns side by side, one query's products with all keys, and its sums over all values, take half the time.
    Of a local pattern the last columns are kept that a step may need: in one dimension those from `first` on, side by
    side; in two, column c in slot c % slots. places: [columns, width], what the position, the label [1] and an aligned
    source [1, S] add to what is read. recent, hidden [1, width]: of a model with patches, as in `Cache`. down: the keys
    of a piano. picture: of a mixture.
    """

    layers: list[Tensor]
    places: Tensor
    source: Tensor | None = None
    label: Tensor | None = None
    recent: Recent | None = None
    hidden: Tensor | None = None
    down: SingleKeys | None = None
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

    def select(self, rows: Tensor) -> None:
        """One row can only go on with itself."""
        assert rows.tolist() == [0]


_Linear = tuple[Tensor, Tensor]  # weight and bias


@dataclass(frozen=True)
class _Layer:
    query_key_value: _Linear
    output: _Linear
    inner: _Linear
    outer: _Linear
    distances: Tensor | None  # [heads, width / heads, rows], the farthest first


def fits(model: Transformer) -> bool:
    """Whether `SingleRow` can stand for the model: a pre-norm decoder alone, or with a source that is aligned, related
    by distance, which in 2-D there is none for, that is not told the metre.
    """
    config, relation = model.config, model.config.relation
    return (
        (config.aligned or not config.encoder_layers)
        and config.norm == "pre"
        and config.activation != "swiglu"
        and not config.positions.metre
        and (relation is None or not (relation.intervals or relation.steps or isinstance(config.pattern, Local2D)))
    )


def _slots(pattern: Pattern, columns: int) -> int:
    """How many of the columns are kept: at least those that a step sees."""
    if isinstance(pattern, Local1D):
        # Room moves the whole memory: of blocks that are much shorter than it, several pass between two moves.
        return min(columns, pattern.memory + max(pattern.query, pattern.memory // 4))
    return ring(pattern, columns)


def started(
    model: Transformer,
    *,
    length: int,
    rows: int = 1,
    source: Tensor | None = None,
    label: Tensor | None = None,
    metre: Tensor | None = None,
    exact: bool = False,
) -> tuple[Any, Any]:
    """What makes the steps, the model or for one row its flattened form where that fits, and a fresh cache for it.

    length, rows, source, label, metre: as `Transformer.start` takes them. exact: in no other number format than the
    model's.
    """
    if rows == 1 and fits(model):
        alone = SingleRow(model, model.embedding.weight.dtype if exact else None)
        return alone, alone.start(length=length, source=source, label=label)
    return model, model.start(length=length, rows=rows, source=source, label=label, metre=metre)


class SingleRow:
    """The steps of a model that `fits`, for one row.

    The matrices are in `dtype`, by default float16 for a model in float32 on a CPU; the rest is in the model's own.
    """

    @torch.no_grad()
    def __init__(self, model: Transformer, dtype: torch.dtype | None = None) -> None:
        assert fits(model)
        weight = model.embedding.weight
        small = weight.dtype == torch.float32 and weight.device.type == "cpu"
        self._size = 1 if model.config.patch is None else model.config.patch.size
        self.model, self.dtype = model, dtype or (torch.float16 if small else weight.dtype)
        self._layers = [self._folded(layer) for layer in model.decoder if isinstance(layer, DecoderLayer)]
        norm = model.decoder_norm
        assert isinstance(norm, nn.LayerNorm)
        everything = torch.arange(model.config.vocabulary, device=norm.weight.device)
        self._tokens = model.position.without(model.embed(model.embedding, everything))
        self._pixels = PixelSteps(model) if isinstance(model.writer, MixtureWriter) else None
        self._keyboard = None if model.keyboard is None else SingleKeyboard(model.keyboard)
        self._within: list[tuple[_Linear, _Linear]] = []
        self._hidden_norm = norm
        if isinstance(model.writer, PatchNetwork):
            self._within = [
                self._network(layer, around.norm)  # type: ignore[arg-type]
                for layer, around in zip(model.writer.layers, model.writer.around, strict=True)
            ]
            assert isinstance(model.writer.norm, nn.LayerNorm)
            norm = model.writer.norm
        output, bias = model.embedding.weight, model.embedding.weight.new_zeros(model.config.vocabulary)
        if isinstance(model.writer, MixtureWriter):
            output, bias = model.writer.parameters_of.weight[:, : model.config.width], model.writer.parameters_of.bias
        self._output = _after(norm, output, bias)
        self._activation = functional.relu if model.config.activation == "relu" else functional.gelu

    @torch.no_grad()
    def start(self, *, length: int, source: Tensor | None = None, label: Tensor | None = None) -> Row:
        """A cache for at most `length` steps; source [1, S], which is encoded once, here; label [1]."""
        config = self.model.config
        columns = -(-length // self._size)
        shape = (2, config.heads, config.width // config.heads, _slots(config.pattern, columns))
        stores = [self._tokens.new_empty(shape) for _ in self._layers]
        places = self.model.position(self._tokens.new_zeros(1, columns, config.width), 0)[0]
        if source is not None:
            places = places + self.model.encode(source, None)[0, :columns]
        vector = self.model.label(label, 1)
        picture, recent = None, None
        if self._pixels is not None:
            picture = self._pixels.start(columns, self.model.shown(source, columns))
        elif config.patch is not None:
            recent = Recent.nothing(1, self._size, places.device)
        places = places if vector is None else places + vector
        down = None if self._keyboard is None else self._keyboard.start()
        return Row(stores, places, source, label, recent, down=down, picture=picture)

    @torch.no_grad()
    def step(self, ids: Tensor | None, cache: Row) -> Tensor:
        """Logits [1, vocabulary] of the next token; `ids` [1] is the last one, None at the first step."""
        if cache.picture is not None:
            numbers = self._advance(ids, cache, cache.picture).next()
            return torch.from_numpy(numbers)[None].to(self._tokens.device)
        model, position = self.model, cache.position
        if cache.recent is None or model.reader is None:
            read = None
            if ids is not None:
                read = self._tokens[ids]
                if self._keyboard is not None and cache.down is not None:
                    read = read + model.position.without(self._keyboard.step(int(ids), cache.down))
            hidden = self._column(read, position, cache)
        else:
            if ids is not None:
                cache.recent.append(ids, position - 1)
            column, place = divmod(position, self._size)
            if place == 0:
                read = None if ids is None else model.position.without(model.read_patch(cache.recent))
                cache.hidden = self._hidden_norm(self._column(read, column, cache))
            assert cache.hidden is not None
            assert isinstance(model.writer, PatchNetwork)
            hidden = cache.hidden + model.writer.told(cache.recent, position)
            for network in self._within:
                hidden = hidden + self._forward(hidden, *network)
        cache.position += 1
        return self._told(hidden)

    def _told(self, hidden: Tensor) -> Tensor:
        """Logits, or of a mixture parameters but for what known pixels add, from the residual stream [1, width]."""
        return functional.linear(torch.layer_norm(hidden, hidden.shape[1:]), *self._output)

    def draw(self, ids: Tensor | None, cache: Row, uniforms: Tensor) -> Tensor | None:
        """Of a mixture, the next channel [1] itself where uniforms [1] falls in its cumulative distribution.

        For others None, and nothing has changed. Raises FloatingPointError where the distribution is not finite. Called
        without gradients, as `generate` does.
        """
        if cache.picture is None:
            return None
        return torch.from_numpy(self._advance(ids, cache, cache.picture).draw(float(uniforms))).to(self._tokens.device)

    def _advance(self, ids: Tensor | None, cache: Row, picture: Picture) -> SinglePixel:
        """Advance to the next channel of a mixture; `ids` [1] is the last one."""
        assert self._pixels is not None
        column, channel = divmod(cache.position, self._pixels.channels)
        if ids is not None:
            picture.put(int(ids), cache.position - 1)
        if channel == 0:
            read = None if ids is None else self.model.position.without(self._pixels.read(picture, column))
            picture.logistics = self._pixels.begin(picture, self._told(self._column(read, column, cache)), column)
        assert picture.logistics is not None
        if channel:
            picture.logistics.take(int(picture.written[column, channel - 1]))
        cache.position += 1
        return picture.logistics

    @torch.no_grad()
    def prefill(self, ids: Tensor, cache: Row) -> Tensor:
        """The first steps in one parallel pass, by the model itself: see `Transformer.prefill`. ids [1, n]."""
        length = len(cache.places) * self._size
        whole = self.model.start(length=length, source=cache.source, label=cache.label)
        taken = self.model.prefill(ids, whole)
        first = max(0, whole.column - whole.slots)
        cache.first = 0 if isinstance(self.model.config.pattern, Local2D) else first
        columns = torch.arange(first, whole.column, device=taken.device)
        theirs, ours = columns % whole.slots, (columns - cache.first) % cache.layers[0].size(3)
        for store, keys, values in zip(cache.layers, whole.keys, whole.values, strict=True):
            store[0][..., ours], store[1][..., ours] = keys[0, :, theirs].mT, values[0, :, theirs].mT
        cache.position = whole.position
        if cache.down is not None and whole.down is not None:
            cache.down.follow(whole.down)
        if cache.picture is None:
            cache.recent = whole.recent
        elif taken.numel() and whole.recent is not None:
            cache.picture.follow(whole.recent)
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
            return visible(pattern, column).to(self._tokens.device)
        first = 0
        if isinstance(pattern, Local1D):
            first = max(0, column // pattern.query * pattern.query - pattern.memory)
        return range(first, column + 1)

    def _relate(self, scores: Tensor, term: Tensor) -> None:
        """Add the products with the table to the last scores; those before are past the table."""
        known = term.size(-1)
        scores[..., scores.size(-1) - known :] += term
        relation = self.model.config.relation
        if scores.size(-1) > known and relation is not None and relation.far == "clip":
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
        table = attention.distances
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


def _after(norm: nn.LayerNorm, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear layer with the gain and shift of the norm before it folded in."""
    return weight * norm.weight, bias + weight @ norm.bias
