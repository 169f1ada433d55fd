"""The interface of decoders that products use: a plan's, or a Transformer's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from triptych.decode.history import Ids
from triptych.decode.maps import AttentionMaps


class Decoder(Protocol):
    """A model that `generation` steps; see `generation.protocol`, and `PlanDecoder` for the arguments."""

    def start(
        self,
        *,
        length: int,
        rows: int | None = None,
        source: Ids | None = None,
        source_lengths: Ids | None = None,
        label: Ids | None = None,
        metre: Ids | None = None,
        beams: int = 1,
    ) -> Any:
        """Fresh rows for at most `length` steps."""
        ...

    def step(self, ids: Ids | None, cache: Any, /) -> NDArray[np.floating[Any]]:
        """Log-probabilities [rows, V] of the next token after ids [rows]."""
        ...

    def log_probs(self, ids: Ids, *, source: Ids | None = None) -> NDArray[np.float64]:
        """Log-probability [B, L] of each of ids [B, L]."""
        ...

    def attention(
        self, ids: Ids, *, source: Ids | None = None, label: Ids | None = None, maps: AttentionMaps | None = None
    ) -> AttentionMaps:
        """The attention probabilities while ids [B, L] are written, appended to `maps` or new ones."""
        ...


class WatchedDecoder:
    """A plan's decoder that calls `watch` with the cache before its steps; what `watch` raises ends the generation."""

    def __init__(self, decoder: Any, watch: Callable[[Any], None]) -> None:
        self._decoder, self._watch = decoder, watch
        self.start, self.log_probs, self.attention = decoder.start, decoder.log_probs, decoder.attention
        self.prefill = decoder.prefill
        if hasattr(decoder, "largest"):  # see `generation.protocol.RankingModel`
            self.largest = decoder.largest

    def step(self, ids: Ids | None, cache: Any, /) -> NDArray[np.floating[Any]]:
        """See `Decoder.step`."""
        self._watch(cache)
        found: NDArray[np.floating[Any]] = self._decoder.step(ids, cache)
        return found

    def draw(
        self,
        ids: Ids | None,
        cache: Any,
        uniforms: NDArray[np.float64],
        allowed: NDArray[np.bool_] | None = None,
        /,
        **sampling: float,
    ) -> Ids | None:
        """See `generation.protocol.DrawModel`: some steps at once."""
        self._watch(cache)
        found: Ids | None = self._decoder.draw(ids, cache, uniforms, allowed, **sampling)
        return found
