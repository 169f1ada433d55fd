"""Which examples are joined to a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def grouped(lengths: Sequence[int], tokens: int, random: np.random.Generator) -> list[Ids]:
    """Examples of like length together, at most `tokens` a batch with their padding; the batches in random order."""
    # Noise before sorting, so that the neighbours change every epoch.
    order = np.argsort(np.array(lengths) * random.uniform(0.9, 1.1, len(lengths)))
    groups: list[list[int]] = []
    longest = 0
    for row in order.tolist():
        longest = max(longest, lengths[row])
        if not groups or (len(groups[-1]) + 1) * longest > tokens:
            groups.append([])
            longest = lengths[row]
        groups[-1].append(row)
    return [np.array(groups[place]) for place in random.permutation(len(groups))]
