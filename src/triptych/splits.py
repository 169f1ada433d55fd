"""The splits of a data set: their names as people write them, and so many of its examples evenly from all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "valid", "test")
WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("valid", "validation", "validate", "val", "eval", "dev", "devel", "development"), "valid"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}


def evenly(count: int, most: int | None) -> NDArray[np.int64]:
    """Numbers of at most so many of `count` examples, evenly from the first to the last; of all of them if None."""
    if most is None or most >= count:
        return np.arange(count)
    return np.linspace(0, count - 1, max(1, most)).round().astype(np.int64)
