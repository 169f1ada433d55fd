"""Held-out sentence pairs where none are given: evenly from all."""

from __future__ import annotations

from triptych.errors import UserError
from triptych.text.data import Pairs


def step(count: int) -> int:
    """The distance between held-out pairs of `count`: 100; less below 100 pairs, more beyond 100,000 of them."""
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
