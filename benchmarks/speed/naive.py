"""Relative attention as it is written first: every pair of positions written down, every tensor kept for training.

The function is Huang et al. (2018), figure 1. The module has the arithmetic of the public PyTorch implementation that
people train with (gwinndr's MusicTransformer-Pytorch, 2019): one table for all heads, a float32 mask added to the
logits, and dropout of the attention probabilities.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speed.plain import PlainTransformer
from triptych.shape.config import Config


def skew(products: Tensor) -> Tensor:
    """Move row i of [B, H, L, L] left by L - 1 - i; column m held distance L - 1 - m. Future columns hold garbage."""
    rows, length = products.shape[:2], products.size(-1)
    return F.pad(products, (1, 0)).reshape(*rows, length + 1, length)[:, :, 1:]


def relative(query: Tensor, key: Tensor, value: Tensor, table: Tensor) -> Tensor:
    """Causal relative attention [B, H, L, D] of query, key, value [B, H, L, D]; row d of table [H, L, D] is distance
    d.
    """
    logits = (query @ key.transpose(-1, -2) + skew(_products(query, table))) / math.sqrt(query.size(-1))
    return logits.masked_fill(_future(query.size(2)), -math.inf).softmax(-1) @ value


def relative_by_mask(query: Tensor, key: Tensor, value: Tensor, table: Tensor) -> Tensor:
    """Compute the same, the relative term handed to torch's scaled_dot_product_attention as its mask."""
    term = skew(_products(query, table)) / math.sqrt(query.size(-1))
    mask = term.masked_fill(_future(query.size(2)), -math.inf)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def relative_by_pairs(query: Tensor, key: Tensor, value: Tensor, table: Tensor) -> Tensor:
    """Compute the same as before the skew: the row of each pair of positions is written down (Shaw et al. 2018)."""
    places = torch.arange(query.size(2))
    rows = table[:, (places[:, None] - places).clamp(min=0)]  # [H, L, L, D]
    term = torch.einsum("bhid,hijd->bhij", query, rows)
    logits = (query @ key.transpose(-1, -2) + term) / math.sqrt(query.size(-1))
    return logits.masked_fill(_future(query.size(2)), -math.inf).softmax(-1) @ value


def _products(query: Tensor, table: Tensor) -> Tensor:
    return query @ table.flip(1).transpose(-1, -2)


def _future(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).triu(1)


class NaiveMix(nn.Module):
    """Causal relative attention of query, key, value [B, H, L, D]; `length` is the L that its masks are made for."""

    mask: Tensor
    real: Tensor

    def __init__(self, length: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.table = nn.Parameter(torch.rand(length, width))  # the last row is distance 0
        self.register_buffer("mask", torch.full((length, length), -math.inf).triu(1), persistent=False)
        self.register_buffer("real", torch.ones(length, length).triu().flip(0), persistent=False)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Mix into [B, H, L, D]."""
        query = query * query.size(-1) ** -0.5
        logits = query @ key.transpose(-1, -2) + skew(query @ self.table.T * self.real) + self.mask
        return F.dropout(logits.softmax(-1), self.dropout, self.training) @ value


def naive_transformer(config: Config, length: int) -> PlainTransformer:
    """Build the decoder-only model around it; dropout also inside the feed-forward network, as theirs has."""
    width = config.width // config.heads
    return PlainTransformer(config, lambda: NaiveMix(length, width, config.dropout), inner_dropout=config.dropout)
