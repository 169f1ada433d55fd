"""The forced prefix that sampling and beam search share: ids the result must begin with, -1 where it is free."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.generation.protocol import Ids

FREE = -1


def forced_ids(prefix: NDArray[np.integer] | None, *, rows: int, length: int, end: int | None) -> Ids:
    """Check `prefix` [rows, P] of whole numbers and return it as int64 [rows, length], filled up with -1 (free).

    A row may be free before and between forced ids, so ragged prefixes and templates with holes both work.

    Raises:
        UserError: wrong shape or type, an id below -1, more forced ids than `length`, or an id after `end`.
    """
    forced = np.full((rows, length), FREE, np.int64)
    if prefix is None:
        return forced
    if prefix.ndim != 2 or prefix.shape[0] != rows or prefix.dtype.kind not in "iu":
        raise UserError(
            f"expected a prefix int64 [{rows}, P], got {prefix.dtype} {list(prefix.shape)}; "
            "give a line for each sequence, -1 where it is free"
        )
    prefix = prefix.astype(np.int64)
    if (prefix < FREE).any():
        raise UserError(f"expected ids in the prefix, or -1 for a free place, got {int(prefix.min())}")
    if (prefix[:, length:] != FREE).any():
        raise UserError(f"expected a prefix of at most {length} ids, got {prefix.shape[1]}; allow more steps or cut it")
    if end is not None:
        ends = prefix == end
        ended = ends.cumsum(1) > ends
        if (ended & (prefix != FREE) & ~ends).any():
            raise UserError(f"expected nothing after END ({end}) in the prefix, got an id; cut the line there")
    width = min(length, prefix.shape[1])
    forced[:, :width] = prefix[:, :width]
    return forced


def check_vocabulary(forced: Ids, end: int | None, vocabulary: int) -> None:
    """Raise `UserError` when a forced id or `end` lies outside the model's vocabulary."""
    if end is not None and not 0 <= end < vocabulary:
        raise UserError(f"expected end to be an id of the vocabulary, 0 to {vocabulary - 1}, got {end}")
    if forced.size and forced.max() >= vocabulary:
        raise UserError(f"expected ids in the prefix below the vocabulary size {vocabulary}, got {int(forced.max())}")
