"""Small pictures to train on and to be measured with."""

import numpy as np
import pytest

from triptych.image.files.pictures import Pictures


@pytest.fixture(scope="session")
def pictures() -> Pictures:
    """Twelve RGB pictures of 8 x 8 in two classes: slopes, each with noise of its own."""
    random = np.random.default_rng(0)
    slope = np.add.outer(np.arange(8), np.arange(8))[None, :, :, None] * np.linspace(1, 12, 12)[:, None, None, None]
    noise = random.integers(0, 40, (12, 8, 8, 3))
    return Pictures((slope + noise).clip(0, 255).astype(np.uint8), random.integers(0, 2, 12), ("cat", "dog"))
