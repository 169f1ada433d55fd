"""No n-gram twice: a rule for sampling and beam search."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from triptych.errors import whole_number
from triptych.generation.protocol import Ids


def no_repeat(size: int, vocabulary: int) -> Callable[[Ids], NDArray[np.bool_]] | None:
    """The `allow` of `generate` and `beam_search` by which no `size` ids in succession come twice in a row (Paulus et
    al. 2018, section 2.5); None for size 0, which allows everything. UserError for a size below.
    """
    size = whole_number(size, "no_repeat_ngram", 0)

    def allow(ids: Ids) -> NDArray[np.bool_]:
        """Bool [rows, vocabulary], false where an id would complete an n-gram of ids [rows, t] again."""
        allowed = np.ones((len(ids), vocabulary), bool)
        if ids.shape[1] >= size:
            grams = sliding_window_view(ids, size, 1)  # [rows, t - size + 1, size]
            last = ids[:, None, ids.shape[1] - size + 1 :]  # [rows, 1, size - 1]
            rows, places = (grams[..., :-1] == last).all(-1).nonzero()
            allowed[rows, grams[rows, places, -1]] = False
        return allowed

    return allow if size else None
