"""The Transformer: encoder-decoder or decoder-only, for every panel. Read `run` from top to bottom, then `step`.

input -> positions and condition -> layers -> head. What a panel needs beyond that is in its input and its head.

Shapes in comments: B rows, L target tokens, S source tokens, W width; an input may read several tokens at one
position, so that there are fewer positions than tokens: P in the target, Q in the source.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from triptych.decode.history import History
from triptych.decode.maps import AttentionMaps
from triptych.decode.steps.inputs import steps_of
from triptych.errors import UserError
from triptych.model.batch import Batch
from triptych.model.cache import Cache
from triptych.model.condition import Condition, stream
from triptych.model.heads import head_of
from triptych.model.heads.base import Distribution
from triptych.model.inputs import input_of, weighted_sum
from triptych.model.inputs.patches import patches
from triptych.model.layers.block import DecoderLayer, Stack
from triptych.model.layers.dropout import Dropout
from triptych.model.layers.positions import PositionEncoding
from triptych.model.parameters import initialize
from triptych.shape.config import Config
from triptych.shape.pattern import ring


class Transformer(nn.Module):
    """Vaswani et al. 2017: an encoder and a decoder, or (`encoder_layers=0`) a decoder alone.

    The decoder's input is the target shifted right by a zero vector, so no start token is needed: the prediction at
    token i is of `target[:, i]` from `target[:, :i]`.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.input = input_of(config)
        self.condition = Condition(config)
        self.position = PositionEncoding(config.positions, config.width, config.pattern)
        layers = (DecoderLayer(config, first=number == 0) for number in range(config.decoder_layers))
        self.decoder = Stack[DecoderLayer](layers)
        # Pre-norm leaves the residual stream unnormalised, so the stack ends with a norm of its own.
        self.decoder_norm = nn.LayerNorm(config.width) if config.norm == "pre" else nn.Identity()
        self.head = head_of(config, self.input)
        initialize(self, config.width)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the parameters."""
        return next(self.parameters()).dtype

    # -- whole sequences ----------------------------------------------------------------------------------------------

    def run(self, batch: Batch, maps: AttentionMaps | None = None, drop: Dropout | None = None) -> Tensor:
        """The decoder's output at every position: [B, P, W]."""
        given = self.condition(batch, self.input, self.position, maps, drop)  # source [B, Q, W]
        hidden = self.position(self.input.whole(batch.target), 0)  # [B, P, W]
        hidden = stream(given.join(hidden), drop)
        for layer in self.decoder:
            hidden = layer(hidden, given.source, given.lengths, batch.target, maps, drop)  # [B, P, W]
        return self.decoder_norm(hidden)

    def predict(self, batch: Batch, maps: AttentionMaps | None = None) -> Distribution:
        """The distribution of every target token of a batch; with `maps`, attention is collected there."""
        drop = Dropout(self.config.dropout) if self.training and self.config.dropout else None
        return self.head.whole(self.run(batch, maps, drop), batch, drop)

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
        lengths = target.new_full((len(target),), target.size(1))
        return self.predict(Batch(target, lengths, source, source_lengths, label), maps).logits()

    def loss(self, batch: Batch, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Label-smoothed loss and plain negative log-likelihood in nats, both summed over `batch.tokens` tokens."""
        return self.predict(batch).loss(smoothing)

    def nll(self, batch: Batch) -> Tensor:
        """Negative log-likelihood of every target token in nats: float32 [B, L]; that of padding means nothing."""
        return self.predict(batch).nll()

    def encode(self, source: Tensor, lengths: Tensor | None, metre: Tensor | None = None) -> Tensor:
        """The encoded source [B, Q, W] of ids [B, S]; tokens at or past `lengths` [B] are padding. metre: `Batch`'s."""
        return self.condition.encode(source, lengths, self.input, self.position, metre=metre)

    # -- step by step -------------------------------------------------------------------------------------------------

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
        config, size = self.config, self.config.input.size
        if (config.encoder_layers > 0) != (source is not None):
            raise UserError(f"expected {'a' if config.encoder_layers else 'no'} source for this model; see its config")
        groups = len(source) if source is not None else (rows or 1) // beams
        if beams < 1 or rows not in (None, groups * beams):
            raise UserError(f"expected {beams} rows (beams) for each of {groups} sources or labels, got rows={rows}")
        if label is not None and (len(label) != groups or (groups and int(label.max()) >= config.classes)):
            raise UserError(
                f"expected {groups} labels below classes={config.classes}, got {label.tolist()}; -1 is no label"
            )
        cache = Cache(
            beams=beams,
            slots=ring(config.pattern, -(-length // size)),
            history=History(groups * beams, length, size),
            reading=steps_of(config, groups * beams),
        )
        head_width, like = config.width // config.heads, next(self.parameters())
        cache.allocate(layers=len(self.decoder), heads=config.heads, head_width=head_width, like=like)
        vectors = self.condition.labels(label, groups)
        cache.label = None if vectors is None else vectors.repeat_interleave(beams, 0)[:, None]
        cache.added = self.condition.places(metre, cache.history.ids.shape[1])
        if source is not None:
            self._begin_source(cache, source, source_lengths, metre)
        return cache

    def _begin_source(self, cache: Cache, source: Tensor, lengths: Tensor | None, metre: Tensor | None) -> None:
        """Encode the source [sources, S]: an aligned one is added to the target's positions; else its keys are kept."""
        encoded = self.encode(source, lengths, metre)
        if self.config.aligned:
            beside = encoded.repeat_interleave(cache.beams, 0)
            cache.added = beside if cache.added is None else beside + cache.added[:, : beside.size(1)]
            cache.history.source = patches(source, cache.history.size).repeat_interleave(cache.beams, 0).cpu().numpy()
            return
        full = source.new_full((len(source),), encoded.size(1))
        cache.source_lengths = full if lengths is None else self.condition.positions(lengths)
        pairs = [layer.cross.project_source(encoded) for layer in self.decoder]
        cache.source_keys = [key.contiguous() for key, _ in pairs]
        cache.source_values = [value.contiguous() for _, value in pairs]

    @torch.no_grad()
    def step(self, ids: Tensor | None, cache: Cache) -> Tensor:
        """Log-probabilities [rows, vocabulary] of the next token; `ids` [rows] are the last ones, None at first."""
        if ids is not None:
            cache.history.append(ids.cpu().numpy())
        if cache.history.place == 0:  # a position begins
            read = weighted_sum(self.input, cache.reading.read(cache.history), cache.rows)  # [B, 1, W]
            cache.begun = self.head.begin(self._columns(read, cache), cache.history)
        assert cache.begun is not None
        cache.taken += 1
        return self.head.step(cache.begun, cache.history)

    @torch.no_grad()
    def prefill(self, ids: Tensor, cache: Cache) -> Tensor:
        """Take the first steps in one parallel pass: those that choose ids [rows, n], as far as they fill positions.

        Returns these ids; the next `step` is given the last of them.
        """
        assert cache.taken == 0
        size, last = cache.history.size, self.config.vocabulary - 1
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) <= last:
            raise UserError(f"expected ids from 0 to {last}, got {int(ids.min())} to {int(ids.max())}")
        ids = ids[:, : ids.size(1) // size * size].to(self.device)
        if ids.size(1) <= size:  # of one position there is nothing to gain
            return ids[:, :0]
        self._columns(self.input.whole(ids), cache, ids)
        cache.history.extend(ids[:, :-1].cpu().numpy())
        cache.reading.follow(cache.history)
        cache.taken = ids.size(1)
        return ids

    def _columns(self, read: Tensor, cache: Cache, ids: Tensor | None = None) -> Tensor:
        """The decoder's output [rows, P, W] at the present column, or at the first ones, of ids [rows, L]."""
        hidden = cache.join(self.position(read, cache.column))  # [B, P, W]
        for number, layer in enumerate(self.decoder):
            hidden = layer.step(hidden, cache, number, ids)
        return self.decoder_norm(hidden)
