import numpy as np
import pytest

from triptych.look.heat import draw


@pytest.mark.parametrize("shape", [(28, 28), (8, 40), (1, 1)])
def test_every_pixel_is_drawn(shape: tuple[int, int]) -> None:
    heat = np.linspace(1, 7, shape[0] * shape[1]).reshape(shape)
    figure = draw(heat)
    (image,) = figure.axes[0].images
    assert np.array_equal(np.asarray(image.get_array()), heat)
    assert image.get_clim()[0] == 0
