"""Layers against their formulas, written out."""

import math
from dataclasses import replace

import pytest
import torch
from configurations import BASE
from torch import Tensor, nn
from torch.nn import functional

from triptych.model.layers.attention import CrossAttention, SelfAttention
from triptych.model.layers.block import DecoderLayer, EncoderLayer, FeedForward, Residual
from triptych.shape.config import Config
from triptych.shape.pattern import Full

HIDDEN = torch.randn(2, 5, BASE.width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SOURCE = torch.randn(2, 7, BASE.width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
IDS = torch.zeros(2, 5, dtype=torch.int64)


def drawn(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.double().parameters():
        nn.init.normal_(parameter, 0.1, 0.3)
    return module


def by_heads(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Section 3.2.2, head by head."""
    width = BASE.width // BASE.heads
    found = []
    for head in range(BASE.heads):
        q, k, v = (each[..., head * width : (head + 1) * width] for each in (query, key, value))
        scores = q @ k.mT / math.sqrt(width)
        if causal:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -math.inf)
        found.append(scores.softmax(-1) @ v)
    return torch.cat(found, -1)


@pytest.mark.parametrize("causal", [True, False])
def test_self_attention(causal: bool) -> None:
    attention = drawn(SelfAttention(BASE, Full(causal=causal)))
    query, key, value = attention.query_key_value(HIDDEN).chunk(3, -1)  # type: ignore[operator]
    want = attention.output(by_heads(query, key, value, causal))  # type: ignore[operator]
    torch.testing.assert_close(attention(HIDDEN, None, IDS, None), want)


def test_cross_attention_sees_no_padding() -> None:
    attention = drawn(CrossAttention(BASE))
    lengths = torch.tensor([7, 4])
    got = attention(HIDDEN, attention.project_source(SOURCE), lengths)  # type: ignore[operator]
    for row, length in enumerate(lengths.tolist()):
        key, value = attention.key_value(SOURCE[row : row + 1, :length]).chunk(2, -1)  # type: ignore[operator]
        mixed = by_heads(attention.query(HIDDEN[row : row + 1]), key, value, causal=False)  # type: ignore[operator]
        torch.testing.assert_close(got[row : row + 1], attention.output(mixed))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("relu", lambda inner: inner.relu()),
        ("gelu", lambda inner: inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))),
        ("swiglu", lambda inner: inner[..., :40] * inner[..., :40].sigmoid() * inner[..., 40:]),
    ],
)
def test_feed_forward(name: str, formula: object) -> None:
    network = drawn(FeedForward(replace(BASE, activation=name)))  # type: ignore[arg-type]
    want = network.outer(formula(network.inner(HIDDEN)))  # type: ignore[operator]
    torch.testing.assert_close(network(HIDDEN), want)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_residual(norm: str) -> None:
    config = replace(BASE, norm=norm)  # type: ignore[arg-type]
    around = drawn(Residual(config))
    assert isinstance(around, Residual)
    normed = functional.layer_norm(HIDDEN, (BASE.width,), around.norm.weight, around.norm.bias)
    update = 2 * HIDDEN
    if norm == "pre":
        torch.testing.assert_close(around.enter(HIDDEN), normed)
        torch.testing.assert_close(around.leave(HIDDEN, update), 3 * HIDDEN)
    else:
        assert around.enter(HIDDEN) is HIDDEN
        want = functional.layer_norm(3 * HIDDEN, (BASE.width,), around.norm.weight, around.norm.bias)
        torch.testing.assert_close(around.leave(HIDDEN, update), want)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_layers_are_their_parts(norm: str) -> None:
    config = replace(BASE, norm=norm, encoder_layers=1)  # type: ignore[arg-type]

    def through(layer: nn.Module, hidden: Tensor, sublayer: str, *given: object) -> Tensor:
        around = getattr(layer, f"around_{sublayer}")
        return around.leave(hidden, getattr(layer, sublayer)(around.enter(hidden), *given))  # type: ignore[no-any-return]

    encoder = drawn(EncoderLayer(config))
    want = through(encoder, through(encoder, HIDDEN, "attention", None, IDS, None), "feed_forward")
    torch.testing.assert_close(encoder(HIDDEN, None, IDS, None, None), want)
    decoder = drawn(DecoderLayer(config))
    want = through(decoder, HIDDEN, "attention", None, IDS, None)
    want = through(decoder, want, "cross", decoder.cross.project_source(SOURCE), None)  # type: ignore[operator, union-attr]
    want = through(decoder, want, "feed_forward")
    torch.testing.assert_close(decoder(HIDDEN, SOURCE, None, IDS, None, None), want)


@pytest.mark.parametrize(("changes", "crosses"), [({}, False), ({"encoder_layers": 1}, True)])
def test_a_decoder_crosses_where_a_source_is_attended_to(changes: dict[str, int], crosses: bool) -> None:
    config: Config = replace(BASE, **changes)  # type: ignore[arg-type]
    assert DecoderLayer(config).crosses == crosses
    if crosses:
        assert not DecoderLayer(replace(config, aligned=True)).crosses
