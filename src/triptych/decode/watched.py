"""A decoder that somebody watches while it generates: to show what there is so far, or to end it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from triptych.decode.history import Ids
from triptych.decode.interpreter import PlanCache, PlanDecoder
from triptych.decode.steps.heads import LogProbs


class WatchedDecoder(PlanDecoder):
    """A plan's decoder that calls `watch` with the cache before each step; what `watch` raises ends the generation."""

    def __init__(self, decoder: PlanDecoder, watch: Callable[[PlanCache], None]) -> None:
        super().__init__(decoder.plan)
        self._watch = watch

    def step(self, ids: Ids | None, cache: PlanCache) -> LogProbs:
        """See `PlanDecoder.step`."""
        self._watch(cache)
        return super().step(ids, cache)

    def draw(self, ids: Ids | None, cache: PlanCache, uniforms: NDArray[np.float64]) -> Ids | None:
        """See `PlanDecoder.draw`."""
        self._watch(cache)
        return super().draw(ids, cache, uniforms)
