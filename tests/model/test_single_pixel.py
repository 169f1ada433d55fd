from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.model.config import Config, Patch, Positions
from triptych.model.mixture import LEVELS, Logistics, scaled
from triptych.model.single import SingleRow
from triptych.model.single_pixel import SinglePixel
from triptych.model.transformer import Transformer


def pixel(channels: int, components: int, seed: int, spread: float = 1.0) -> tuple[SinglePixel, Logistics]:
    torch.manual_seed(seed)
    base = scaled(torch.randint(LEVELS, (channels, components)))
    parameters = spread * torch.randn(Logistics.size(channels, components))
    numbers = parameters.double().numpy().reshape(-1, components)
    return SinglePixel(numbers, base.double().numpy()), Logistics(parameters, base)


@settings(deadline=None, max_examples=40)
@given(channels=st.integers(1, 4), components=st.integers(1, 10), seed=st.integers(0, 1000))
def test_equals_the_distribution_channel_by_channel(channels: int, components: int, seed: int) -> None:
    single, whole = pixel(channels, components, seed)
    taken = torch.empty(0, dtype=torch.int64)
    for _ in range(channels):
        got, want = single.next(), whole.next(taken)
        assert np.exp(got).sum() == pytest.approx(1, abs=1e-9)
        likely = (want > -12).numpy()
        np.testing.assert_allclose(got[likely], want.numpy()[likely], atol=2e-3)
        intensity = int(want.argmax())
        single.take(intensity)
        taken = torch.cat((taken, torch.tensor([intensity])))


def test_what_nothing_explains_leaves_the_mixture_as_it_is() -> None:
    single, _ = pixel(3, 2, 0)
    single.means[:], single.inverse[:] = -1.0, 1e4  # all at intensity 0
    before = single.weights.copy()
    assert single.next()[0] == pytest.approx(0)
    single.take(200)
    np.testing.assert_array_equal(single.weights, before)
    assert np.isfinite(np.exp(single.next())).all()


@pytest.mark.parametrize("recall", [0, 3])
@pytest.mark.parametrize("known", ["nothing", "the source", "a source with holes"])
def test_reads_what_the_model_reads(known: str, recall: int) -> None:
    """Neighbours, those of them that a picture's edge leaves out, the source, and how long a pixel has stood there."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {"width": 24, "heads": 3, "feed_forward": 40, "decoder_layers": 2, "norm": "pre"}
    sourced: dict[str, Any] = {"encoder_layers": 0}
    if known != "nothing":
        sourced = {"encoder_layers": 1, "aligned": True, "source_vocabulary": LEVELS + 1}
    positions = Positions("sinusoidal_2d", length=4)
    patch = Patch(3, logistics=4, recall=recall)
    model = Transformer(Config(LEVELS, **shape, **sourced, positions=positions, patch=patch)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    ids = torch.randint(LEVELS, (1, 48))
    ids[:, 12:24] = 7  # a run
    source = None if known == "nothing" else torch.randint(LEVELS, (1, 48))
    if known == "a source with holes" and source is not None:
        source[:, 3:30] = LEVELS
    single = SingleRow(model, torch.float32)
    row = single.start(length=48, source=source)
    with torch.no_grad():
        want = model(ids, source=source)[0]
    got = torch.cat([single.step(ids[:, at - 1] if at else None, row) for at in range(48)])
    likely = want > -12
    assert float(likely.float().mean()) > 0.3
    torch.testing.assert_close(got.float()[likely], want[likely], rtol=0, atol=2e-3)
