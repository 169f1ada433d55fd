"""A Transformer on arrays: its steps are the model's own."""

from typing import Any

import numpy as np
import pytest
import torch

from triptych.model.decoder import TorchDecoder
from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.shape.parts import Patches, PatchNetwork


def make(**changes: Any) -> Transformer:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"width": 24, "heads": 3, "feed_forward": 40, "decoder_layers": 2, "encoder_layers": 0}
    return Transformer(Config(17, **{**shape, "norm": "pre", **changes})).eval()


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("given", [0, 8])
def test_steps_are_log_probabilities_of_the_whole_pass(rows: int, given: int) -> None:
    model = make(classes=2, input=Patches(4), head=PatchNetwork(1, 12))
    ids, label = np.random.default_rng(0).integers(17, size=(rows, 20)), np.array([-1, 1, 0])[:rows]
    want = model(torch.from_numpy(ids), label=torch.from_numpy(label)).log_softmax(-1).detach().numpy()
    decoder = TorchDecoder(model)
    started = decoder.start(length=20, rows=rows, label=label)
    taken = decoder.prefill(ids[:, :given], started).shape[1]
    assert taken == started.position == given
    for at in range(taken, 20):
        got = decoder.step(ids[:, at - 1] if at else None, started)
        assert isinstance(got, np.ndarray)
        np.testing.assert_allclose(got, want[:, at], atol=1e-5)
    assert started.position == 20


def test_rows_are_selected() -> None:
    decoder = TorchDecoder(make())
    many = decoder.start(length=4, rows=3)
    first = decoder.step(None, many)
    decoder.step(np.array([4, 5, 6]), many)
    many.select(np.array([2, 0]))
    assert many.rows == 2
    whole = decoder.model(torch.tensor([[6, 1, 0], [4, 2, 0]])).log_softmax(-1).detach().numpy()
    np.testing.assert_allclose(decoder.step(np.array([1, 2]), many), whole[:, 2], atol=1e-5)
    assert first.shape == (3, 17)


def test_a_label_is_ignored_by_a_model_without_classes() -> None:
    decoder = TorchDecoder(make())
    plain, labelled = decoder.start(length=3, rows=2), decoder.start(length=3, rows=2, label=np.array([-1, -1]))
    assert np.array_equal(decoder.step(None, plain), decoder.step(None, labelled))
