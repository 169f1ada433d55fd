"""Which sentence pairs are held out where a person names none: every so many-th."""

from __future__ import annotations

from triptych.errors import UserError
from triptych.text.data import Pairs


def step(count: int) -> int:
    """Return, of so many pairs, every how many-th is held out: every hundredth, at least one, at most about 1,000."""
    return max(2, min(100, count), count // 1000)


def split(pairs: Pairs) -> tuple[Pairs, Pairs]:
    """Return pairs to train on, and those that are held out. Raises UserError for fewer than two."""
    if len(pairs) < 2:
        raise UserError(
            f"expected at least 2 sentence pairs, one to train on and one to hold out, got {len(pairs)} "
            f"({pairs.report}); give more"
        )
    every = step(len(pairs))
    kept = [row for row in range(len(pairs)) if row % every]
    held = [row for row in range(len(pairs)) if not row % every]
    return pairs.only(kept), pairs.only(held)
