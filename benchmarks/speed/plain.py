"""Transformers of torch's own modules alone: what a good programmer writes in an afternoon.

They take their shape from a `Config`. A model that takes part in a benchmark is `Built`: the module, and the mean loss
of a batch in nats.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speed.ours import Built
from triptych.model.batch import Batch
from triptych.model.layers.positions import sinusoids
from triptych.shape.config import Config

Mix = Callable[[Tensor, Tensor, Tensor], Tensor]


def mean_loss(logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of logits [B, L, V], the mean over all tokens that are no padding."""
    beyond = torch.arange(batch.target.size(1)) >= batch.lengths[:, None]
    target = batch.target.masked_fill(beyond, -100)
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), label_smoothing=smoothing)


def shifted(batch: Batch) -> Tensor:
    """The decoder's input, int64 [B, L]: the target behind a token 0, so that all L tokens are predicted."""
    return F.pad(batch.target[:, :-1], (1, 0))


def decoder_only(model: nn.Module) -> Built:
    """Give a model that maps ids [B, L] to logits [B, L, V] its loss."""

    def loss(batch: Batch) -> Tensor:
        out = model(shifted(batch))
        return mean_loss(getattr(out, "logits", out), batch)

    return model, loss


def causal(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Full causal attention [B, H, L, D] by torch's scaled_dot_product_attention."""
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


def block_local(query: Tensor, key: Tensor, value: Tensor, *, block: int) -> Tensor:
    """Local causal attention [B, H, L, D] by scaled_dot_product_attention: `Local1D(block, block)`.

    Blocks are folded into the batch; each has the previous block and itself as keys, and a mask that is written down.
    """
    batch, heads, length, width = query.shape
    blocks = -(-length // block)
    see = torch.ones(blocks, 1, block, 2 * block, dtype=torch.bool).tril(block)
    see[0, ..., :block] = False

    def fold(x: Tensor) -> Tensor:  # [B, H, L, D] -> [B, blocks, H, block, D]
        padded = F.pad(x, (0, 0, 0, blocks * block - length))
        return padded.reshape(batch, heads, blocks, block, width).transpose(1, 2)

    def with_previous(x: Tensor) -> Tensor:  # [B, H, L, D] -> [B * blocks, H, 2 * block, D]
        own = fold(x)
        previous = F.pad(own, (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1]
        return torch.cat((previous, own), 3).flatten(0, 1)

    mask = see.repeat(batch, 1, 1, 1)
    out = F.scaled_dot_product_attention(
        fold(query).flatten(0, 1), with_previous(key), with_previous(value), attn_mask=mask
    )
    return out.view(batch, blocks, heads, block, width).transpose(1, 2).flatten(2, 3)[:, :, :length]


class PlainLayer(nn.Module):
    """Self-attention around `mix` (of query, key, value [B, H, L, D]) and feed-forward network, post-norm."""

    def __init__(self, config: Config, mix: Mix, inner_dropout: float) -> None:
        super().__init__()
        self.heads, self.mix = config.heads, mix
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)
        self.feed_forward = nn.Sequential(
            nn.Linear(config.width, config.feed_forward),
            nn.ReLU(),
            nn.Dropout(inner_dropout),
            nn.Linear(config.feed_forward, config.width),
        )
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """Transform hidden [B, L, W]."""
        parts = (part.unflatten(-1, (self.heads, -1)) for part in self.query_key_value(hidden).chunk(3, -1))
        mixed = self.mix(*(part.transpose(1, 2) for part in parts)).transpose(1, 2).flatten(-2)
        hidden = self.norms[0](hidden + self.dropout(self.output(mixed)))
        return self.norms[1](hidden + self.dropout(self.feed_forward(hidden)))


class PlainTransformer(nn.Module):
    """A decoder-only model: tied embeddings, sinusoids, and layers around what `mix` gives for each."""

    def __init__(self, config: Config, mix: Callable[[], Mix], inner_dropout: float = 0.0) -> None:
        super().__init__()
        self.width = config.width
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.Sequential(*(PlainLayer(config, mix(), inner_dropout) for _ in range(config.decoder_layers)))

    def forward(self, ids: Tensor) -> Tensor:
        """Logits [B, L, V] of ids [B, L]."""
        hidden = self.embedding(ids) * math.sqrt(self.width)
        hidden = self.layers(self.dropout(hidden + sinusoids(0, ids.size(1), self.width, hidden)))
        return F.linear(hidden, self.embedding.weight)


class TorchTransformer(nn.Module):
    """torch.nn.Transformer, pre-norm, with the embeddings, positions and output layer that it leaves to its user."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.width = config.width
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        self.dropout = nn.Dropout(config.dropout)
        sizes = config.encoder_layers, config.decoder_layers, config.feed_forward
        with warnings.catch_warnings():  # pre-norm knows no nested tensors, of which it tells
            warnings.filterwarnings("ignore", message="enable_nested_tensor")
            self.transformer = nn.Transformer(
                config.width, config.heads, *sizes, config.dropout, batch_first=True, norm_first=True
            )

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, L, V] of a batch with sources."""
        assert batch.source is not None and batch.source_lengths is not None
        padding = torch.arange(batch.source.size(1)) >= batch.source_lengths[:, None]
        hidden = self.transformer(
            self._embed(batch.source),
            self._embed(shifted(batch)),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(batch.target.size(1)),
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        return F.linear(hidden, self.embedding.weight)

    def _embed(self, ids: Tensor) -> Tensor:
        hidden = self.embedding(ids) * math.sqrt(self.width)
        embedded: Tensor = self.dropout(hidden + sinusoids(0, ids.size(1), self.width, hidden))
        return embedded
