"""The mixture of a pixel, channel by channel, equals that of whole pictures in torch."""

import numpy as np
import pytest
import torch

from triptych.decode.history import MISSING, History
from triptych.decode.steps.pixels import KNOWN, Neighbours, PixelRows, parameters_of_a_pixel, stand_ins
from triptych.model.heads.mixture import MixtureComponents
from triptych.model.heads.mixture import stand_ins as torch_stand_ins
from triptych.shape.parts import LEVELS
from triptych.shape.pattern import Full

ROWS, COMPONENTS = 4, 3


def both(channels: int) -> tuple[PixelRows, MixtureComponents, np.ndarray]:
    torch.manual_seed(channels)
    parameters = torch.randn(ROWS, parameters_of_a_pixel(channels, COMPONENTS), dtype=torch.float64)
    base = torch.rand(ROWS, channels, COMPONENTS, dtype=torch.float64) * 2 - 1
    ids = np.random.default_rng(2).integers(0, LEVELS, (ROWS, channels))
    ids[0], ids[1] = 0, LEVELS - 1
    rows = PixelRows(parameters.numpy().reshape(ROWS, -1, COMPONENTS), base.numpy())
    return rows, MixtureComponents(parameters, base), ids


@pytest.mark.parametrize("channels", [1, 3])
def test_distributions_of_channels(channels: int) -> None:
    rows, whole, ids = both(channels)
    for channel in range(channels):
        expected = whole.next(torch.from_numpy(ids[:, :channel])).numpy()
        found = rows.next()
        likely = expected > np.log(1e-9)
        np.testing.assert_allclose(found[likely], expected[likely], atol=2e-3)
        np.testing.assert_allclose(np.exp(found).sum(1), 1)
        rows.take(ids[:, channel])


def test_draws_fall_in_the_cumulative_distribution() -> None:
    rows, _, ids = both(3)
    rows.take(ids[:, 0])
    uniforms = np.array([0.0, 0.3, 0.7, 1 - 1e-9])
    below = np.exp(rows.next()).cumsum(1)
    assert rows.draw(uniforms).tolist() == (below[:, :-1] <= uniforms[:, None]).sum(1).tolist()


def test_rows_are_selected() -> None:
    rows, _, ids = both(3)
    rows.take(ids[:, 0])
    chosen, order = rows[np.array([2, 2, 0])], [2, 2, 0]
    np.testing.assert_array_equal(chosen.next(), rows.next()[order])


def test_numbers_that_are_not_finite() -> None:
    rows = PixelRows(np.full((2, 3, 1), [[[0.0]], [[np.inf]]]), np.zeros((2, 1, 1)))
    found = rows.next()
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()
    with pytest.raises(FloatingPointError):
        rows.draw(np.array([0.5, 0.5]))


def test_stand_ins() -> None:
    each = np.array([MISSING, 7])
    source, left, above = (found.ravel() for found in np.meshgrid(each, each + (each > 0), each + 2 * (each > 0)))
    expected = torch_stand_ins(*(torch.from_numpy(ids) for ids in (source, left, above)))
    for found, one in zip(stand_ins(source, left, above), expected, strict=True):
        assert found.tolist() == one.tolist()


def test_known_pixels_of_a_history() -> None:
    """Of a picture of 2 columns: the source, to the left, above; the others where one is not there."""
    history = History(1, 12, 3, source=np.full((1, 4, 3), LEVELS))  # holes alone
    near = Neighbours(Full(), 2, 3, KNOWN + 1)
    apart, base = near.of(history)
    assert apart.tolist() == [[0] * 6] and not base.any(), "nothing is known"
    history.extend(np.array([[0, 0, 0, 255, 255, 255, 51, 51, 51]]))
    apart, base = near.of(history)  # of the last pixel: 51 to the left, 255 above
    assert base[0].round(6).tolist() == [[-0.6, -0.6, 1, -0.6]] * 3
    assert apart[0].round(6).tolist() == [0] * 3 + [1.6] * 3
