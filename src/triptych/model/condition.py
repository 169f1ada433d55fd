"""What a target is conditioned on: a class, and a source that an encoder reads.

Shapes in comments: B rows, P target positions, Q source positions, S source tokens, W width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from triptych.decode.maps import AttentionMaps
from triptych.model.batch import Batch
from triptych.model.heads.cross_entropy import product_dtype
from triptych.model.inputs import source_input_of
from triptych.model.inputs.base import Input
from triptych.model.layers.block import EncoderLayer
from triptych.model.layers.dropout import Dropout
from triptych.model.layers.positions import MetreEmbedding, PositionEncoding
from triptych.shape.config import Config
from triptych.shape.pattern import Full

# A label is dropped this often in training, so that "no label" is defined (Ho and Salimans 2022).
LABEL_DROP = 0.1


@dataclass
class Given:
    """The condition of a batch: vectors that are added to the decoder's input, and a source to attend to.

    added: each [B, P or more, W], or [B, 1, W] for all positions. source: [B, Q, W]; lengths: its positions [B].
    """

    added: list[Tensor] = field(default_factory=list)
    source: Tensor | None = None
    lengths: Tensor | None = None

    def join(self, hidden: Tensor) -> Tensor:
        """Hidden [B, P, W] with what is added."""
        for vectors in self.added:
            hidden = hidden + vectors[:, : hidden.size(1)]
        return hidden


class Condition(nn.Module):
    """Class vectors, and the encoder of Vaswani et al. 2017, whose output is attended to or, where the source is
    aligned, added to the decoder's input position by position.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.size = config, config.input.size
        self.label = nn.Embedding(config.classes, config.width) if config.classes else None
        self.source = source_input_of(config)
        self.position: PositionEncoding | None = None
        if config.positions.source is not None:
            self.position = PositionEncoding(config.positions.source, config.width, Full())
        self.metre = MetreEmbedding(config.positions.metre, config.width) if config.positions.metre else None
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        # Pre-norm leaves the residual stream unnormalised, so the stack ends with a norm of its own.
        final = config.norm == "pre" and config.encoder_layers
        self.norm = nn.LayerNorm(config.width) if final else nn.Identity()

    def forward(
        self, batch: Batch, target: Input, position: PositionEncoding, maps: AttentionMaps | None, drop: Dropout | None
    ) -> Given:
        """The condition of a batch. target, position: what reads the target, and a source that has none of its own."""
        batch.check(self.config)
        given = Given()
        if batch.source is not None:
            encoded = self.encode(batch.source, batch.source_lengths, target, position, maps, drop, batch.metre)
            if self.config.aligned:
                given.added.append(encoded)
            else:
                given.source, given.lengths = encoded, self.positions(batch.source_lengths)
        places = self.places(batch.metre, -(-batch.target.size(1) // self.size))
        if places is not None:
            given.added.append(places)
        vectors = self.labels(batch.label, len(batch.target))
        if vectors is not None:
            given.added.append(vectors[:, None])
        return given

    def encode(
        self,
        source: Tensor,
        lengths: Tensor | None,
        target: Input,
        position: PositionEncoding,
        maps: AttentionMaps | None = None,
        drop: Dropout | None = None,
        metre: Tensor | None = None,
    ) -> Tensor:
        """The encoded source [B, Q, W] of ids [B, S]; tokens at or past `lengths` [B] are padding."""
        read = (self.position or position)((self.source or target).read(source), 0)
        places = self.places(metre, read.size(1)) if self.config.aligned else None  # beside the target
        hidden = stream(read if places is None else read + places, drop)
        for layer in self.encoder:
            hidden = layer(hidden, self.positions(lengths), source, maps.encoder if maps else None, drop)
        return self.norm(hidden)

    def labels(self, label: Tensor | None, rows: int) -> Tensor | None:
        """The class vectors [rows, W]: zero for label -1, and for a tenth of the rows in training; None if there are
        no classes, or no labels.
        """
        if self.label is None or label is None:
            return None
        known = label >= 0
        if self.training:
            known = known & (torch.rand(rows, device=label.device) >= LABEL_DROP)
        return self.label(label.clamp(min=0)) * self.config.width**0.5 * known[:, None]

    def places(self, metre: Tensor | None, count: int) -> Tensor | None:
        """The vectors [B or 1, count, W] of places in the bar, of metre [B, P, 2] as `Batch` has it; None of a model
        that does not read it.
        """
        return None if self.metre is None else self.metre(metre, count)

    def positions(self, tokens: Tensor | None) -> Tensor | None:
        """Numbers of tokens [B] as numbers of positions."""
        return tokens if tokens is None or self.size == 1 else (tokens + self.size - 1) // self.size


def stream(hidden: Tensor, drop: Dropout | None) -> Tensor:
    """The residual stream's beginning, in the dtype of the matrix products: in one dtype nothing is converted."""
    hidden = hidden.to(product_dtype(hidden))
    return hidden if drop is None else drop(hidden)
