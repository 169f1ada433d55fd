"""The interface of decoders that products use: a plan's, or a Transformer's."""

from __future__ import annotations

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
