"""The Transformer: encoder-decoder or decoder-only, for every panel. Read `forward` from top to bottom.

Shapes in comments: B rows, L target tokens, S source tokens, W width, H heads, D = W / H; with `Config.patch` there are
fewer positions than tokens: P in the target, Q in the source. Without, P = L and Q = S.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.attention.pattern import Full, Local2D, Pattern, ring
from triptych.errors import UserError
from triptych.model import coordinates
from triptych.model.batch import Batch
from triptych.model.cache import Cache, Recent
from triptych.model.config import Config
from triptych.model.dropout import Dropout
from triptych.model.heads import cross_entropy, logits, product_dtype
from triptych.model.keyboard import Keyboard, Keys
from triptych.model.layers import AttentionMaps, DecoderLayer, EncoderLayer, FusedLinear, SelfAttention
from triptych.model.mixture import Logistics, MixtureWriter
from triptych.model.patch import PatchNetwork, PlaceEmbedding, patches
from triptych.model.positions import MetreEmbedding, PositionEncoding
from triptych.model.surroundings import Surroundings

# A label is dropped this often in training, so that "no label" is defined (Ho and Salimans 2022).
LABEL_DROP = 0.1


SMOOTHED = (
    "expected label_smoothing=0 with teachers, whose probabilities are learned as they are; leave one of both out"
)


class Transformer(nn.Module):
    """Vaswani et al. 2017: an encoder and a decoder, or (`encoder_layers=0`) a decoder alone.

    The decoder's input is the target shifted right by a zero vector, so no start token is needed: the logits at
    position i predict `target[:, i]` from `target[:, :i]`.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.reader: PlaceEmbedding | None = None
        self.writer: PatchNetwork | MixtureWriter | None = None
        self.source_reader: PlaceEmbedding | None = None
        if config.patch is not None:
            self.reader = PlaceEmbedding(config.vocabulary, config.patch, config.width)
            self.writer = MixtureWriter(config) if config.patch.logistics else PatchNetwork(config)
        self.surroundings = Surroundings(config) if isinstance(self.writer, MixtureWriter) else None
        self.above: PlaceEmbedding | None = None
        if config.patch is not None and self.surroundings is not None and self.surroundings.columns:
            self.above = PlaceEmbedding(config.vocabulary, replace(config.patch, recall=0), config.width)
        if config.encoder_layers and config.source_vocabulary is not None:
            if config.patch is None:
                self.source_embedding = nn.Embedding(config.source_vocabulary, config.width)
            else:
                self.source_reader = PlaceEmbedding(config.source_vocabulary, config.patch, config.width)
        if config.classes:
            self.label_embedding = nn.Embedding(config.classes, config.width)
        self.keyboard = Keyboard(config.positions.keyboard, config.width) if config.positions.keyboard else None
        self.position = PositionEncoding(config.positions, config.width, config.pattern)
        self.metre = MetreEmbedding(config.positions.metre, config.width) if config.positions.metre else None
        if config.positions.source is not None:
            self.source_position = PositionEncoding(config.positions.source, config.width, Full())
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config, first=number == 0) for number in range(config.decoder_layers))
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
            elif isinstance(module, SelfAttention):
                for table in module.tables():
                    nn.init.normal_(table, std=table.size(-1) ** -0.5)
        if isinstance(self.writer, MixtureWriter):
            self.writer.initialize()
        for told in (self.keyboard, self.metre):
            if told is not None:
                told.initialize()

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
        batch = Batch(target, target.new_full((len(target),), target.size(1)), source, source_lengths, label)
        if isinstance(self.writer, MixtureWriter):
            pixels, whole = self._pixels(self.writer, batch, maps)
            return pixels.every(whole).flatten(1, 2)[:, : target.size(1)]
        return logits(self.hidden(batch, maps), self.embedding.weight)

    def loss(self, batch: Batch, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Label-smoothed loss and plain negative log-likelihood in nats, both summed over `batch.tokens` tokens.

        Padding and context take no part: their positions are dropped before the output layer. With `batch.wanted` the
        loss is the cross-entropy with these probabilities, and takes no smoothing.
        """
        if isinstance(self.writer, MixtureWriter):
            if smoothing:
                raise UserError(f"expected label_smoothing=0 with patch.logistics, got {smoothing}; leave it out")
            nll = (self.nll(batch) * batch.counted()).sum()
            return nll, nll
        hidden = self.hidden(batch)
        chosen = batch.counted().flatten().nonzero()[:, 0]
        if batch.wanted is not None:
            if smoothing:
                raise UserError(SMOOTHED)
            found = logits(hidden.flatten(0, 1)[chosen], self.embedding.weight).float().log_softmax(-1)
            nll = -found.detach().gather(1, batch.target.flatten()[chosen, None]).sum()
            return -(batch.wanted.flatten(0, 1)[chosen] * found).sum(), nll
        return cross_entropy(
            hidden.flatten(0, 1)[chosen], self.embedding.weight, batch.target.flatten()[chosen], smoothing
        )

    def nll(self, batch: Batch) -> Tensor:
        """Negative log-likelihood of every target token in nats: float32 [B, L]; that of padding means nothing."""
        if isinstance(self.writer, MixtureWriter):
            pixels, whole = self._pixels(self.writer, batch, None)
            return pixels.nll(whole).flatten(1)[:, : batch.target.size(1)]
        scores = logits(self.hidden(batch), self.embedding.weight)
        return functional.cross_entropy(scores.float().transpose(1, 2), batch.target, reduction="none")

    def _pixels(self, writer: MixtureWriter, batch: Batch, maps: AttentionMaps | None) -> tuple[Logistics, Tensor]:
        """The distribution of all pixels, and their ids [B, P, size]."""
        whole = patches(batch.target, self._size)
        decoded = self._decode(batch, maps, self._dropout())
        assert self.surroundings is not None
        shown = self.shown(batch.source, whole.size(1))
        return writer(writer.beside(decoded, self.surroundings.of(whole), shown)), whole

    def hidden(self, batch: Batch, maps: AttentionMaps | None = None) -> Tensor:
        """What stands before the output layer of a vocabulary: [B, L, W]."""
        drop = self._dropout()
        hidden = self._decode(batch, maps, drop)
        if isinstance(self.writer, PatchNetwork):
            hidden = self.writer(hidden, patches(batch.target, self._size), drop)[:, : batch.target.size(1)]
        return hidden

    def _decode(self, batch: Batch, maps: AttentionMaps | None, drop: Dropout | None) -> Tensor:
        """The decoder's output at every position: [B, P, W]."""
        batch.check(self.config)
        hidden = self.position(self._read(batch.target), 0)  # [B, P, W]
        source = None
        if batch.source is not None:
            source = self._encode(batch.source, batch.source_lengths, maps, drop, batch.metre)
            if self.config.aligned:
                hidden, source = hidden + source[:, : hidden.size(1)], None
        if self.metre is not None:
            hidden = hidden + self.metre(batch.metre, hidden.size(1))
        label = self.label(batch.label, len(batch.target))
        if label is not None:
            hidden = hidden + label[:, None]
        hidden = _stream(hidden, drop)
        where = coordinates.of_targets(self.config, batch.target)
        for layer in self.decoder:
            hidden = layer(hidden, source, self._positions(batch.source_lengths), where, maps, drop)
        return self.decoder_norm(hidden)  # type: ignore[no-any-return]

    def _read(self, target: Tensor) -> Tensor:
        """What each position reads, [B, P, W]: the token or the patch before its own; zeros at the first."""
        if self.reader is None:
            read = self.embed(self.embedding, target[:, :-1])
            if self.keyboard is not None:
                read = read + self.keyboard(target[:, :-1])
        else:
            read = self.reader.read(target, self._size, forgetting=self.training)[:, :-1]
        read = functional.pad(read, (0, 0, 1, 0))
        if self.above is None or self.surroundings is None:
            return read
        return read + self.told_above(self.surroundings.of(patches(target, self._size)))

    def told_above(self, near: Tensor) -> Tensor:
        """What each pixel reads of the one above it: [..., W] of its neighbours, ids [..., 2, C]."""
        assert self.above is not None
        pixel = near[..., 1, :]
        told: Tensor = self.above(pixel.clamp(min=0), torch.zeros_like(pixel))
        return (told * (pixel >= 0)[..., None]).sum(-2)

    def encode(
        self, source: Tensor, lengths: Tensor | None, maps: AttentionMaps | None = None, metre: Tensor | None = None
    ) -> Tensor:
        """The encoded source [B, Q, W] of ids [B, S]; tokens at or past `lengths` [B] are padding. metre: `Batch`'s."""
        return self._encode(source, lengths, maps, self._dropout(), metre)

    def _encode(
        self,
        source: Tensor,
        lengths: Tensor | None,
        maps: AttentionMaps | None,
        drop: Dropout | None,
        metre: Tensor | None,
    ) -> Tensor:
        own = self.config.source_vocabulary is not None
        reader = self.source_reader if own else self.reader
        if reader is None:
            read = self.embed(self.source_embedding if own else self.embedding, source)
        else:
            read = reader.read(source, self._size)
        position = self.position if self.config.positions.source is None else self.source_position
        read = position(read, 0)
        if self.metre is not None and self.config.aligned:  # source and target stand at the same places
            read = read + self.metre(metre, read.size(1))
        hidden = _stream(read, drop)
        for layer in self.encoder:
            hidden = layer(hidden, self._positions(lengths), maps.encoder if maps else None, drop)
        return self.encoder_norm(hidden)  # type: ignore[no-any-return]

    def shown(self, source: Tensor | None, count: int) -> Tensor | None:
        """The first pixels of an aligned source [B, S], of so many positions: [B, count, size]."""
        return None if source is None or not self.config.aligned else patches(source, self._size)[:, :count]

    def _positions(self, tokens: Tensor | None) -> Tensor | None:
        """Numbers of tokens [B] as numbers of positions."""
        size = self._size
        return tokens if tokens is None or size == 1 else (tokens + size - 1) // size

    @property
    def _size(self) -> int:
        """Tokens at one position."""
        return 1 if self.config.patch is None else self.config.patch.size

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
        metre: Tensor | None = None,
        beams: int = 1,
    ) -> Cache:
        """A cache for at most `length` steps; the source [sources, S] is encoded once, here.

        There are sources x beams rows (or `rows` for a decoder-only model, where a group of beams has one label).
        `label` [sources] names the class of each source; `metre` [1, P, 2] is as `Batch` has it, for all rows.
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
            slots=ring(config.pattern, -(-length // self._size)),
            heads=config.heads,
            head_width=config.width // config.heads,
            like=self.embedding.weight,
        )
        if config.patch is not None:
            cache.patch = config.patch.size
            columns = 0 if self.surroundings is None else -(-length // self._size)
            cache.recent = Recent.nothing(cache.rows, cache.patch, self.embedding.weight.device, columns)
        if config.relation is not None and config.relation.intervals:
            cache.pitches = torch.zeros(cache.rows, cache.slots, dtype=torch.int64, device=self.embedding.weight.device)
        if self.keyboard is not None:
            cache.down = Keys.silent(cache.rows, self.keyboard.keys, self.embedding.weight.device)
        if self.metre is not None:
            cache.metre = self.metre(metre, -(-length // self._size))
        vectors = self.label(label, groups)
        cache.label = None if vectors is None else vectors.repeat_interleave(beams, 0)
        if source is not None:
            encoded = self.encode(source, source_lengths, metre=metre)
            full = source.new_full((groups,), encoded.size(1))
            cache.source_lengths = full if source_lengths is None else self._positions(source_lengths)
            if config.aligned:
                cache.aligned = encoded
                if isinstance(self.writer, MixtureWriter):
                    cache.shown = self.shown(source, encoded.size(1))
                return cache
            pairs = [layer.cross.project_source(encoded) for layer in self.decoder]  # type: ignore[operator, union-attr]
            cache.source_keys = [key.contiguous() for key, _ in pairs]
            cache.source_values = [value.contiguous() for _, value in pairs]
        return cache

    @torch.no_grad()
    def step(self, ids: Tensor | None, cache: Cache) -> Tensor:
        """Logits [rows, vocabulary] of the next token; `ids` [rows] are the last ones, None at the first step."""
        if cache.recent is None or self.reader is None or self.writer is None:
            read = None
            if ids is not None:
                read = self.embed(self.embedding, ids[:, None])
                if self.keyboard is not None and cache.down is not None:
                    read = read + self.keyboard.step(ids, cache.down)[:, None]
            hidden = self._column(read, ids, cache)
        else:
            if ids is not None:
                cache.recent.append(ids, cache.position - 1)
            if cache.position % cache.patch == 0:  # a patch is whole, or nothing is there yet
                near = self.near(cache.recent, cache.column)
                read = None if ids is None else self.read_patch(cache.recent, near)[:, None]
                cache.hidden = self._column(read, ids, cache)
                if isinstance(self.writer, MixtureWriter):
                    assert near is not None
                    shown = None if cache.shown is None else cache.shown[:, cache.column, None]
                    shown = None if shown is None else shown.repeat_interleave(cache.beams, 0)
                    cache.hidden = self.writer.beside(cache.hidden, near[:, None], shown)
            assert cache.hidden is not None
            hidden = self.writer.step(cache.hidden, cache.recent, cache.position)
        cache.position += 1
        if isinstance(self.writer, MixtureWriter):
            return hidden[:, 0]  # log-probabilities already
        return logits(hidden[:, 0], self.embedding.weight)

    def near(self, recent: Recent, column: int) -> Tensor | None:
        """The neighbours [rows, 2, C] of the pixel at a column, for a mixture."""
        if self.surroundings is None or recent.written is None:
            return None
        return self.surroundings.at(column, recent.written)

    def read_patch(self, recent: Recent, near: Tensor | None = None) -> Tensor:
        """What the position after the last patch reads, [rows, W]; near: of a pixel, its neighbours."""
        assert self.reader is not None
        read: Tensor = self.reader(recent.ids, recent.runs).sum(1)
        return read if self.above is None or near is None else read + self.told_above(near)

    def _column(self, read: Tensor | None, ids: Tensor | None, cache: Cache) -> Tensor:
        """The decoder's output [rows, 1, W] at the present column, which reads [rows, 1, W], at first nothing."""
        if read is None:
            read = self.embedding.weight.new_zeros(cache.rows, 1, self.config.width)
        return self._columns(read, coordinates.of_step(self.config, ids, cache), cache)

    def _columns(self, read: Tensor, where: coordinates.Coordinates | None, cache: Cache) -> Tensor:
        """The decoder's output [rows, L, W] at the present column and those after it, which read [rows, L, W]."""
        hidden = self.position(read, cache.column)
        if cache.aligned is not None:
            here = cache.aligned[:, cache.column : cache.column + read.size(1)]
            hidden = hidden + here.repeat_interleave(cache.beams, 0)
        if cache.metre is not None:
            hidden = hidden + cache.metre[:, cache.column : cache.column + read.size(1)]
        if cache.label is not None:
            hidden = hidden + cache.label[:, None]
        for number, layer in enumerate(self.decoder):
            hidden = layer.step(hidden, cache, number, where)  # type: ignore[operator]
        return self.decoder_norm(hidden)  # type: ignore[no-any-return]

    @torch.no_grad()
    def prefill(self, ids: Tensor, cache: Cache) -> Tensor:
        """Take the first steps in one parallel pass: those that choose ids [rows, n], as far as they fill patches.

        Returns these ids; the next `step` is given the last of them.
        """
        assert cache.position == 0
        ids = ids.to(self.embedding.weight.device)
        if ids.numel():
            least, most, last = int(ids.min()), int(ids.max()), self.config.vocabulary - 1
            if not 0 <= least <= most <= last:
                raise UserError(f"expected ids from 0 to {last}, got {least} to {most}")
        ids = ids[:, : ids.size(1) // self._size * self._size]
        if ids.size(1) <= self._size:  # of one position there is nothing to gain
            return ids[:, :0]
        where = coordinates.of_targets(self.config, ids)
        if cache.pitches is not None:
            assert where is not None and where.intervals is not None
            columns = torch.arange(max(0, ids.size(1) - cache.slots), ids.size(1), device=ids.device)
            cache.pitches[:, columns % cache.slots] = where.intervals[1][:, columns]
        self._columns(self._read(ids), where, cache)
        if cache.recent is not None:
            cache.recent.follow(patches(ids, self._size))
        if self.keyboard is not None:
            cache.down = self.keyboard.after(ids[:, :-1])  # the last one is what the next step is given
        cache.position = ids.size(1)
        return ids

    def with_dropout(self, probability: float | None = None, forget: float | None = None) -> Transformer:
        """A copy of the model with another dropout, or another `patch.forget`, for further training."""
        config = self.config if probability is None else replace(self.config, dropout=probability)
        if forget is not None:
            if config.patch is None:
                raise UserError(
                    f"expected a model with patches for patch.forget={forget}, got one without; leave it out"
                )
            config = replace(config, patch=replace(config.patch, forget=forget))
        return self._with(config)

    def with_pattern(self, pattern: Pattern | Mapping[str, Any]) -> Transformer:
        """A copy of the model that attends by another pattern (or what `config.json` says of one), on which no weight
        depends. UserError where either is two-dimensional: that is also the order of the positions.
        """
        config = Config.from_dict({**self.config.to_dict(), "pattern": pattern})
        if config.pattern != self.config.pattern and Local2D in map(type, (config.pattern, self.config.pattern)):
            raise UserError(
                f"expected full or one-dimensional patterns, got {self.config.pattern} to be {config.pattern}; "
                "a two-dimensional one orders the positions, so the model must be trained anew"
            )
        return self._with(config)

    def with_keyboard(self, layout: tuple[int, int, int]) -> Transformer:
        """A copy that is told the keyboard (`Positions.keyboard`), which where it is new says nothing at first, so that
        the outputs stay. UserError where there is another.
        """
        positions = self.config.positions
        if positions.keyboard not in (None, layout):
            raise UserError(f"expected no other keyboard than the model's {positions.keyboard}, got {layout}")
        return self._with(replace(self.config, positions=replace(positions, keyboard=layout)), ("keyboard.",))

    def with_classes(self, classes: int) -> Transformer:
        """A copy with further classes, untrained, behind those that there are. UserError for fewer of them."""
        known = self.config.classes
        if classes < known:
            raise UserError(f"expected at least the {known:,} classes of the model, got {classes:,}")
        config = replace(self.config, classes=classes)
        model = Transformer(config).to(self.embedding.weight)
        held = {name: value for name, value in self.state_dict().items() if name != "label_embedding.weight"}
        found = model.load_state_dict(held, strict=False)
        assert not found.unexpected_keys and set(found.missing_keys) <= {"label_embedding.weight"}
        if known:
            with torch.no_grad():
                model.label_embedding.weight[:known] = self.label_embedding.weight
        return model

    def with_metre(self, longest: int) -> Transformer:
        """A copy that is told the metre (`Positions.metre`), which where it is new says nothing at first."""
        return self._with(replace(self.config, positions=replace(self.config.positions, metre=longest)), ("metre.",))

    def with_encoder(self, source_vocabulary: int, layers: int) -> Transformer:
        """A copy with an untrained encoder, for a source that is aligned (`Config.aligned`): the decoder knows already
        how sequences go on, and has to learn what the source tells beyond (after Ramachandran et al. 2017, who pretrain
        both sides). Ids that both vocabularies have are read as the decoder reads them. UserError where there is one.
        """
        if self.config.encoder_layers:
            raise UserError(
                f"expected a decoder alone to be given an encoder, got encoder_layers={self.config.encoder_layers}"
            )
        said = {"source_vocabulary": source_vocabulary, "encoder_layers": layers, "aligned": True}
        new = ("encoder.", "encoder_norm.", "source_embedding.", "source_reader.")
        model = self._with(Config.from_dict({**self.config.to_dict(), **said}), new=new)
        with torch.no_grad():
            if model.source_reader is None or self.reader is None:
                model.source_embedding.weight[: self.config.vocabulary] = self.embedding.weight[:source_vocabulary]
            else:
                model.source_reader.read_like(self.reader)
        return model

    def _with(self, config: Config, new: tuple[str, ...] = ()) -> Transformer:
        """A copy of another configuration; only what the names in `new` begin is not taken over."""
        model = Transformer(config).to(self.embedding.weight)
        found = model.load_state_dict(self.state_dict(), strict=False)
        assert not found.unexpected_keys and all(name.startswith(new) for name in found.missing_keys)
        return model

    def embed(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        """Embeddings [..., W] of ids, as large as the positions that join them (section 3.4 of the paper)."""
        return embedding(ids) * math.sqrt(self.config.width)  # type: ignore[no-any-return]

    def label(self, label: Tensor | None, rows: int) -> Tensor | None:
        """The class vectors [rows, W]: zero for label -1, and for a tenth of the rows in training; None if there are
        no classes, or no labels.
        """
        if not self.config.classes or label is None:
            return None
        known = label >= 0
        if self.training:
            known = known & (torch.rand(rows, device=label.device) >= LABEL_DROP)
        return self.embed(self.label_embedding, label.clamp(min=0)) * known[:, None]


def _stream(hidden: Tensor, drop: Dropout | None) -> Tensor:
    """The residual stream's beginning, in the dtype of the matrix products: in one dtype nothing is converted."""
    hidden = hidden.to(product_dtype(hidden))
    return hidden if drop is None else drop(hidden)
