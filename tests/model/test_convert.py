"""Copies with another configuration: what they change, and that nothing else does."""

from typing import Any

import pytest
import torch
from torch import Tensor

from triptych.errors import UserError
from triptych.model.convert import with_dropout, with_encoder, with_keyboard, with_order, with_pattern
from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.shape.parts import Patches, PatchNetwork, Tokens
from triptych.shape.pattern import Local1D
from triptych.shape.relations import ByDistance

SMALL = {"width": 16, "heads": 4, "feed_forward": 24, "encoder_layers": 2, "decoder_layers": 2, "dropout": 0.0}
PATCHES: dict[str, Any] = {
    "input": {"kind": "patches", "size": 4, "repeat_features": 3},
    "head": {"kind": "patch", "layers": 1, "feed_forward": 8},
}


def make(**changes: object) -> Transformer:
    torch.manual_seed(0)
    return Transformer(Config.from_dict({"vocabulary": 13, **SMALL, **changes})).double().eval()


def ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(13, shape, generator=torch.Generator().manual_seed(seed))


def test_another_pattern_and_the_same_weights() -> None:
    ours = Transformer(Config(9, width=8, heads=2, feed_forward=8, encoder_layers=0, decoder_layers=1)).eval()
    ids = torch.randint(0, 9, (1, 12))
    local = with_pattern(ours, {"kind": "local_1d", "query": 4, "memory": 8}).eval()
    torch.testing.assert_close(local(ids), ours(ids))
    narrow = with_pattern(ours, Local1D(1, 0)).eval()
    assert not torch.allclose(narrow(ids), ours(ids))
    with pytest.raises(UserError, match="a two-dimensional one orders the positions"):
        with_pattern(ours, {"kind": "local_2d", "height": 4, "width": 3, "query_rows": 2, "query_columns": 3,
                           "memory_rows": 1, "memory_columns": 1})  # fmt: skip


@pytest.mark.parametrize("parts", [{}, PATCHES])
def test_a_decoder_is_given_an_encoder(parts: dict[str, Any]) -> None:
    alone = make(encoder_layers=0, norm="pre", **parts, relations=(ByDistance(4),), positions={"kind": "none"})
    torch.manual_seed(0)
    joined = with_encoder(alone, 14, 1).eval()
    target, source = ids(2, 12), torch.full((2, 12), 13)
    assert joined.config.aligned and joined.config.encoder_layers == 1
    assert not torch.allclose(joined(target, source=target), joined(target, source=source))
    for parameter in joined.condition.norm.parameters():  # without what it says, the decoder is what it was
        torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(joined(target, source=source), alone(target), rtol=0, atol=0)
    # What both vocabularies have is read as it was; what is new is not.
    fresh = with_encoder(alone, 14, 1)
    source_input = fresh.condition.source
    assert source_input is not None
    known = ids(2, 12)
    torch.testing.assert_close(source_input.read(known), alone.input.read(known))


def test_who_cannot_be_given_an_encoder() -> None:
    with pytest.raises(UserError, match="expected a decoder alone to be given an encoder, got encoder_layers=2"):
        with_encoder(make(), 14, 1)
    with pytest.raises(UserError, match="expected encoder_layers from 1 with aligned, got 0"):
        with_encoder(make(encoder_layers=0), 14, 0)


def test_a_keyboard_adds_nothing_at_first() -> None:
    before = make(encoder_layers=0)
    model = with_keyboard(before, (2, 3, 2)).eval()
    assert model.config.input == Tokens((2, 3, 2))
    assert torch.equal(model(ids(2, 9)), before(ids(2, 9)))
    model(ids(2, 9)).square().sum().backward()
    gradient = dict(model.named_parameters())["input.keyboard.vectors.weight"].grad
    assert gradient is not None and all(part.any() for part in gradient.split((2, 2, 2)))
    assert with_keyboard(model, (2, 3, 2)).config == model.config
    with pytest.raises(UserError, match=r"without another keyboard than \(2, 2, 2\)"):
        with_keyboard(model, (2, 2, 2))
    with pytest.raises(UserError, match="expected input tokens"):
        with_keyboard(make(encoder_layers=0, **PATCHES), (2, 2, 2))


def test_another_dropout_and_word_dropout() -> None:
    model = make(encoder_layers=0, **PATCHES)
    changed = with_dropout(model, 0.3, 0.1)
    assert changed.config.dropout == 0.3 and changed.config.input == Patches(4, 3, 0.1)
    assert changed.config.head == PatchNetwork(1, 8)
    assert torch.equal(changed.eval()(ids(2, 8)), model(ids(2, 8)))
    assert with_dropout(model).config == model.config
    with pytest.raises(UserError, match=r"a model of patches for input\.word_dropout=0\.1"):
        with_dropout(make(), word_dropout=0.1)


def test_another_order_reads_the_same_patch() -> None:
    model = make(encoder_layers=0, **PATCHES)
    turned = with_order(model, [3, 0, 1, 2])
    whole = ids(1, 8)
    other = whole.view(1, 2, 4)[:, :, [3, 0, 1, 2]].flatten(1)
    torch.testing.assert_close(turned.input.read(other), model.input.read(whole))
    with pytest.raises(UserError, match="expected a model with several tokens"):
        with_order(make(), [1, 0])
